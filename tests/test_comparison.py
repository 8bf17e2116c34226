"""Tests of `siamese.evaluation.comparison`."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from siamese.errors import SiameseError
from siamese.evaluation.comparison import compare_evaluations, compare_steps, compare_values, decision_steps
from siamese.evaluation.evaluate import evaluate
from siamese.evaluation.probability import log_loss
from tests.test_evaluate import ALLOWED, CATALOG, SCORES, TRUTH, decision, evaluated


def exact_p(gap, code):
    """Two-sided p over every way to flip the signs of whole individuals."""
    each = np.bincount(code, weights=gap)
    flips = [abs(np.dot(signs, each)) for signs in product([-1, 1], repeat=len(each))]
    return np.mean(np.array(flips) >= abs(each.sum()) - 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_all_flips(seed):
    rng = np.random.default_rng(seed)
    code = np.concatenate([np.arange(8), rng.integers(0, 8, 12)])
    first, second = rng.integers(0, 2, 20).astype(float), rng.integers(0, 2, 20) + 0.1
    found = compare_values(first, second, np.array([f"animal {number}" for number in code], dtype=object))
    assert found.p_value == pytest.approx(exact_p(second - first, code), abs=0.015)
    assert found.num_individuals == 8


def test_models_that_are_alike_differ_significantly_as_rarely_as_stated(rng):
    code = np.repeat(np.arange(25), 4)
    identity = np.array([f"animal {number}" for number in code], dtype=object)
    significant = 0
    for _ in range(100):
        luck = rng.normal(size=(2, 25))[:, code] + 0.2 * rng.normal(size=(2, 100))  # photos of one animal agree
        significant += compare_values(*luck, identity, num_draws=20).p_value <= 0.05
    assert significant <= 12  # 5 expected; photos taken one by one would give some 30


def test_a_clear_difference_is_found_and_its_interval_leaves_out_nothing(rng):
    identity = np.array([f"animal {number}" for number in range(40)], dtype=object)
    first = rng.random(40)
    found = compare_values(first, first + 0.2 + 0.05 * rng.normal(size=40), identity)
    assert found.p_value < 0.001
    assert 0.15 < found.low < found.difference < found.high < 0.25
    assert found.second - found.first == pytest.approx(found.difference)
    turned = compare_values(first + 0.5, first, identity)
    assert turned.high < 0


def test_no_difference_has_p_of_one():
    found = compare_values([0.5, 1.0], [0.5, 1.0], ["ann", "bob"])
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_balanced_weighs_each_individual_alike():
    found = compare_values([0, 0, 0, 0], [1, 1, 1, 0], ["ann", "ann", "ann", "bob"], balanced=True)
    assert found.difference == 0.5
    assert compare_values([0, 0, 0, 0], [1, 1, 1, 0], ["ann", "ann", "ann", "bob"]).difference == 0.75


def reversed_evaluation(ids="fedcba", **changed):
    """The same photos in another order, with another threshold."""
    given = {"query_ids": np.array(list(ids), dtype=object), "allowed": ALLOWED[::-1], "decision": decision(9.5)}
    return evaluate(SCORES[::-1], CATALOG, TRUTH[::-1], **(given | changed))


def test_two_models_are_compared_on_the_queries_that_both_were_asked():
    table = compare_evaluations({"one": evaluated(), "other": reversed_evaluation("fedcbz")}).set_index(
        ["metric", "model"]
    )
    assert table.loc[("map5", "one"), "num_queries"] == 4
    assert table.loc[("map5", "one"), "value"] == pytest.approx((1 / 2 + 1 / 2 + 1 + 1 / 2) / 4)
    assert table.loc[("map5", "other"), "value"] == pytest.approx((1 / 3 + 1 / 2 + 1 + 1) / 4)
    assert table.loc[("top1", "other"), ["num_queries", "difference"]].tolist() == [2, 0]
    assert table.loc[("first_right", "other"), "value"] == pytest.approx(2 / 4)
    assert np.isnan(table.loc[("map5", "one"), ["difference", "low", "high", "p_value"]].astype(float)).all()


def test_several_models_stand_side_by_side_over_the_same_queries():
    three = {"one": evaluated(), "other": reversed_evaluation(), "fewer": reversed_evaluation("fedcbz")}
    table = compare_evaluations(three)
    assert table["model"].tolist() == ["one", "other", "fewer"] * 6
    assert (table.groupby("metric")["num_queries"].nunique() == 1).all()
    two = compare_evaluations({name: three[name] for name in ("one", "fewer")})
    pd.testing.assert_frame_equal(
        table[table["model"] != "other"].reset_index(drop=True), two
    )  # the other was asked for all photos, so that it changes nothing


def test_what_nobody_was_asked_has_no_row():
    new = evaluate(SCORES[:1], CATALOG, [""], query_ids=["a"], decision=decision())
    assert set(compare_evaluations({"one": new, "other": new})["metric"]) == {"map5", "first_right"}


def test_models_without_a_common_query_are_refused():
    other = evaluated(query_ids=np.array(list("uvwxyz"), dtype=object))
    with pytest.raises(SiameseError, match="must share queries to be compared"):
        compare_evaluations({"one": evaluated(), "other": other})


def test_models_that_disagree_about_a_photo_are_refused():
    truth = TRUTH.copy()
    truth[0] = "bob"
    other = evaluate(SCORES, CATALOG, truth, query_ids=list("abcdef"), decision=decision(), allowed=ALLOWED)
    with pytest.raises(SiameseError, match="'a' is 'ann' in one and 'bob' in another"):
        compare_evaluations({"one": evaluated(), "same": evaluated(), "other": other})


def test_each_step_is_compared_with_the_one_before_it():
    steps = [
        ("plain", {"top1": np.array([0.0, 0.0])}),
        ("re-ranked", {"top1": np.array([1.0, 0.0]), "map5": np.array([1.0, 1.0])}),
        ("blended", {"top1": np.array([1.0, 1.0]), "map5": np.array([0.5, 1.0])}),
    ]
    table = compare_steps(steps, np.array(["ann", "bob"], dtype=object))
    assert table[["step", "metric", "first", "second"]].to_numpy().tolist() == [
        ["re-ranked", "top1", 0.0, 0.5],
        ["blended", "top1", 0.5, 1.0],
        ["blended", "map5", 1.0, 0.75],
    ]


def test_the_threshold_is_set_against_calling_nobody_new():
    steps = decision_steps(evaluated(), decision()).set_index(["metric"])
    nobody = evaluated(decision=decision(-np.inf)).metrics
    assert steps.loc["map5", "first"] == pytest.approx(nobody["map5"])
    assert steps.loc["map5", "second"] == pytest.approx(evaluated().metrics["map5"])
    assert steps.loc["first_right", "first"] == pytest.approx(nobody["first_right"])


def test_the_calibration_is_set_against_the_plain_logistic():
    calibrated = replace(decision(), identity_slope=0.5, identity_intercept=-3.0)
    evaluation = evaluated(decision=calibrated)
    steps = decision_steps(evaluation, calibrated).set_index("metric")
    right, best = np.array([1, 0, 1, 0, 0]), np.array([9.0, 9.0, 4.0, 3.0, 9.0])
    assert steps.loc["log_loss", "first"] == pytest.approx(log_loss(right, expit(best)))
    assert steps.loc["log_loss", "second"] == pytest.approx(log_loss(right, expit(0.5 * best - 3)))


def test_values_stay_as_they_are():
    first, second = np.array([1.0, 0.0]), np.array([0.0, 0.0])
    compare_values(first, second, ["ann", "bob"])
    assert (first.tolist(), second.tolist()) == ([1.0, 0.0], [0.0, 0.0])


def test_nothing_to_compare_is_told():
    with pytest.raises(SiameseError, match="compared on at least one query. Received: none"):
        compare_values([], [], [])
