import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.decision import Decision
from siamese.errors import SiameseError
from siamese.evaluation.evaluate import evaluate
from siamese.evaluation.ranking_steps import answer_values, ranking_steps
from siamese.identity_scores import identity_scores
from tests.test_ranking import score_tables

CATALOG = np.array(["ann", "bob", "ann"], dtype=object)
SCORES = np.array([[4.0, 3.0, 0.0], [1.0, 2.0, 5.0], [1.0, 2.0, 0.0]])
TRUTH = np.array(["ann", "bob", "zoe"], dtype=object)  # nobody knows zoe


def steps(**changed):
    tables = {
        "best": identity_scores(SCORES, CATALOG),
        "worse": identity_scores(-SCORES, CATALOG),
    }
    return ranking_steps(tables, TRUTH, thresholds={"best": 2.5, "worse": None} | changed)


def test_the_values_of_three_queries_are_those_counted_by_hand():
    values = answer_values(identity_scores(SCORES, CATALOG), TRUTH, 2.5)
    assert values["map5"].tolist() == [1.0, 1 / 3, 1.0]  # ann first; ann, new, bob; new first
    assert values["first_right"].tolist() == [True, False, True]
    assert values["map5_closed"].tolist() == [1.0, 0.5, 0.0]
    assert values["top1"].tolist() == [True, False, False]
    assert values["top5"].tolist() == [True, True, False]


def test_each_way_is_compared_with_the_first_one():
    table = steps().set_index("metric")
    assert set(table["step"]) == {"worse"}
    assert table.loc["top1", ["first", "second"]].tolist() == [0.5, 0.5]
    assert table.loc["map5", "first"] == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert table.loc["map5", "second"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert table.loc["map5", "num_individuals"] == 3
    assert table.loc["top1", "num_individuals"] == 2


def test_the_threshold_of_each_way_places_its_new_individual():
    assert steps(worse=100.0).set_index("metric").loc["first_right", "second"] == pytest.approx(1 / 3)


def test_known_queries_that_nothing_may_answer_are_left_out():
    allowed = np.ones(SCORES.shape, dtype=bool)
    allowed[1, 1] = False
    tables = {name: identity_scores(SCORES, CATALOG, allowed=allowed) for name in ("one", "other")}
    table = ranking_steps(tables, TRUTH, thresholds={"one": 2.5, "other": 2.5}).set_index("metric")
    assert table.loc["map5", "num_individuals"] == 2
    assert table.loc["top1", "first"] == 1.0
    assert (table["difference"] == 0).all()


def test_one_way_alone_is_compared_with_nothing():
    assert ranking_steps({"best": identity_scores(SCORES, CATALOG)}, TRUTH, thresholds={"best": 0.0}).empty


@given(score_tables(), st.integers(-4, 4).map(float))
def test_the_means_are_the_metrics_of_the_evaluation(case, threshold):
    scores, catalog, allowed, truth = case
    decision = Decision(threshold, 1.0, 0.0, 1.0, 0.0, same_above=1.0, different_below=0.0)
    found = evaluate(scores, catalog, truth, query_ids=np.arange(len(scores)), decision=decision, allowed=allowed)
    values = pd.DataFrame(answer_values(identity_scores(scores, catalog, allowed=allowed), truth, threshold))
    for metric, where in (
        ("map5", found.counted),
        ("first_right", found.counted),
        ("map5_closed", found.is_known),
        ("top1", found.is_known),
        ("top5", found.is_known),
    ):
        assert values[metric][where].mean() == pytest.approx(found.metrics[metric], nan_ok=True)


def test_a_truth_too_few_is_told():
    with pytest.raises(SiameseError, match=r"`truth` must hold one value per query, shape \(3,\)"):
        ranking_steps({"best": identity_scores(SCORES, CATALOG)}, TRUTH[:2], thresholds={"best": 0.0})
