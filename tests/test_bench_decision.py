"""Tests of `siamese.bench.decision`."""

import json

import numpy as np
import pytest

from siamese.bench.decision import Labelled, bench_decision, grown_rates, of_model
from siamese.decision import cuts, fit_decision, growth
from siamese.errors import SiameseError


@pytest.fixture
def few_replays(monkeypatch):
    monkeypatch.setattr(cuts, "NUM_REPLAYS", 20)
    monkeypatch.setattr(growth, "NUM_REPLAYS", 20)


def labelled(rng, num_identities):
    """Two photos each; pairs of one animal score 4 higher."""
    identity = np.repeat([f"w{place:03}" for place in range(num_identities)], 2).astype(object)
    noise = rng.normal(size=(len(identity), len(identity)))
    scores = (noise + noise.T) / np.sqrt(2) + 4.0 * (identity[:, None] == identity[None, :])
    return Labelled(scores.astype(np.float32), identity, ~np.eye(len(identity), dtype=bool))


def test_each_pair_enters_once(rng):
    pairs = labelled(rng, 12).pairs()
    assert (len(pairs.same), len(pairs.different)) == (12, 24 * 23 // 2 - 12)


def test_a_part_holds_the_photos_of_its_individuals(rng):
    whole = labelled(rng, 12)
    part = whole.part(np.array(["w003", "w005"]))
    assert part.identity.tolist() == ["w003", "w003", "w005", "w005"]
    assert np.array_equal(part.scores[0], whole.scores[6, [6, 7, 10, 11]])


def test_a_threshold_that_moves_keeps_the_rate_and_one_that_stays_does_not(rng, few_replays):
    rows = [row for division in grown_rates(labelled(rng, 400), 5, seed=0) for row in division if row["rate"] == 0.05]
    assert np.median([row["observed"] for row in rows]) == pytest.approx(0.05, abs=0.04)
    assert np.median([row["unmoved"] for row in rows]) > 0.2
    assert all(row["low"] <= 0.05 <= row["high"] for row in rows)


def test_a_model_is_checked_on_photos_it_never_saw(run_program, finished_run, draw_photo, tmp_path, few_replays):
    for animal in range(24):
        for photo in range(2):
            draw_photo(tmp_path / "new" / f"n{animal}" / f"{photo}.jpg", seed=500 + 2 * animal + photo)
    given = ("--run", finished_run.folder, "--photos", tmp_path / "new", "--divisions", 3, "--json")
    code, out, err = run_program("bench", "decision", *given)
    assert code == 0, err
    numbers = json.loads(out)
    assert (numbers["num_photos"], numbers["num_identities"], numbers["divisions"]) == (48, 24, 3)
    assert [row["rate"] for row in numbers["match"]] == [0.001, 0.01, 0.05]
    assert numbers["growth"] == []  # 24 individuals are too few for a tenth of them to say something
    for row in numbers["match"]:
        assert 0 <= row["inside"] <= 3
        assert row["low"] <= row["rate"] <= row["high"]
    assert [row["what"] for row in numbers["model"]] == ["false matches"] * 3 + ["new ones named"]
    assert {row["kind"] for row in numbers["calibration"]} == {"platt", "logistic", "isotonic"}


def test_what_a_model_states_is_held_against_what_other_individuals_show(rng):
    """The model was calibrated on scores 1 lower than those of the others."""
    seen = labelled(rng, 60)
    decision = fit_decision(seen.scores, seen.identity, seen.identity, allowed=seen.allowed)
    others = labelled(rng, 60)
    assert [row["inside"] for row in of_model(decision, others)] == [True] * 4
    higher = Labelled(others.scores + 1, others.identity, others.allowed)
    *match, named = of_model(decision, higher)
    for row, cut in zip(match, decision.match_cuts, strict=True):
        different = higher.scores[higher.identity[:, None] != higher.identity]
        assert row["observed"] == pytest.approx(np.mean(different >= cut.score))
        assert row["rate"] == cut.rate
    assert [row["inside"] for row in match] == [False] * 3
    best = np.where(higher.identity[:, None] == higher.identity, -np.inf, higher.scores).max(axis=1)
    assert named["observed"] == np.mean(best >= decision.threshold)
    assert (named["rate"], named["low"]) == (decision.named_rate, decision.named_low)


def test_growth_is_told_where_a_tenth_of_the_individuals_says_something(rng, few_replays, monkeypatch, tmp_path):
    class Loaded:
        decision = fit_decision(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array(["a", "b"], object), ["a", "b"])

    monkeypatch.setattr("siamese.bench.decision.load", lambda folder: Loaded)
    for num_identities, rates in ((99, []), (100, [0.001, 0.01, 0.05])):
        whole = labelled(rng, num_identities)
        monkeypatch.setattr("siamese.bench.decision._of_photos", lambda photos, matcher, whole=whole: whole)
        numbers = bench_decision(tmp_path, photos=tmp_path, divisions=2)
        assert [row["rate"] for row in numbers["growth"]] == rates


def test_too_few_individuals_are_told(finished_run):
    with pytest.raises(SiameseError, match="20 individuals that the model was not trained on. Received: 0. Give --ph"):
        bench_decision(finished_run.folder)
