import json

import numpy as np
import pytest

from siamese.bench.postprocessing import STEPS, Asked
from siamese.bench.ranking import PLAIN, WAYS, Way, bench_ranking, validation_rows
from siamese.errors import SiameseError
from siamese.identity_scores import identity_scores
from siamese.open_scores import open_scores
from siamese.postprocessing import nearest_queries


@pytest.fixture(scope="module")
def found(finished_run):
    said = []
    numbers = bench_ranking(finished_run.folder, ways=["mean", "flip", "crops, scores"], say=said.append)
    return numbers, said


def test_every_way_that_is_asked_for_is_measured_beside_the_best_photo(found):
    numbers, said = found
    assert said == [PLAIN, "mean", "flip", "crops, scores"]
    assert [row["way"] for row in numbers["validation"]] == said
    assert {row["step"] for row in numbers["test"]} == {"mean", "flip", "crops, scores"}
    assert {"map5", "map5_closed", "top1"} <= {row["metric"] for row in numbers["test"]}


def test_the_way_is_chosen_on_the_validation_photos(found):
    numbers, _ = found
    best = max(row["map5"] for row in numbers["validation"])
    assert {row["way"]: row["map5"] for row in numbers["validation"]}[numbers["chosen"]] == best


def test_the_best_photo_has_the_numbers_of_the_run(found, finished_run):
    for metric in ("top1", "map5_closed"):
        rows = [row for row in found[0]["test"] if row["metric"] == metric]
        assert [row["first"] for row in rows] == pytest.approx([finished_run.metrics[metric]] * len(rows))


def test_the_program_prints_it(run_program, finished_run):
    code, out, _ = run_program("bench", "ranking", "--run", finished_run.folder, "--way", "mean", "--json")
    assert code == 0
    assert json.loads(out)["chosen"] in WAYS


@pytest.fixture(scope="module")
def stepped(finished_run):
    said = []
    return bench_ranking(finished_run.folder, ways=list(STEPS), say=said.append), said


def test_the_steps_follow_on_the_best_photo(stepped):
    numbers, said = stepped
    assert said == [PLAIN, *STEPS]
    assert [row["way"] for row in numbers["validation"]] == said
    assert {row["step"] for row in numbers["test"]} == set(STEPS)
    assert numbers["chosen"] == PLAIN  # steps are told, and not chosen


def test_what_is_fitted_never_loses_on_validation(stepped):
    rows = {row["way"]: row for row in stepped[0]["validation"]}
    for name in ("class balance, fitted", "transposed swap, fitted", "singletons first"):
        assert rows[name]["map5"] >= rows[PLAIN]["map5"]
    assert rows["temperature"]["map5"] == rows[PLAIN]["map5"]
    assert rows["temperature"]["within_noise"]
    assert rows["class balance, 0.3"]["gap"] == 0.3


def test_queries_that_nothing_right_may_answer_count_for_no_way():
    names, truth = np.array(["ann", "bob"], dtype=object), np.array(["ann", "bob", ""], dtype=object)
    scores = np.array([[2.0, 1.0], [3.0, -np.inf], [2.0, 1.0]])
    ways = {PLAIN: Way(identity_scores(scores, names), 0.0), "raised": Way(identity_scores(scores, names), 1.5)}
    asked = Asked(open_scores(ways[PLAIN].table, 0.0), truth, truth, names, nearest_queries(scores, names))
    plain, raised = validation_rows(ways, asked, {"raised": {"near": None}})
    assert plain == {"way": PLAIN, "map5": pytest.approx((1 + 1 / 3) / 2)}  # bob may not answer his own photo
    assert raised["map5"] == pytest.approx((1 + 1 / 2) / 2)
    assert raised["difference"] == pytest.approx(raised["map5"] - plain["map5"])
    assert raised["near"] is None


def test_a_gain_within_noise_is_said_to_be(stepped):
    for row in stepped[0]["validation"][1:]:
        assert row["within_noise"] == (row["low"] <= 0 <= row["high"])


def test_the_log_loss_of_probabilities_is_told_on_both_sides(stepped):
    rows = stepped[0]["log_loss"]
    asked = [(row["step"], row["side"]) for row in rows]
    assert asked == [(step, side) for step in ("temperature", "sharpened") for side in ("validation", "test")]
    assert rows[0]["second"] <= rows[0]["first"]  # it was fitted there


def test_a_way_that_does_not_exist_is_told(finished_run):
    with pytest.raises(SiameseError, match="`ways` must be among best photo, mean, .*temperature.* Received: magic"):
        bench_ranking(finished_run.folder, ways=["magic"])
