"""Tests of `siamese.evaluation.openset`."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from siamese.decision import choose_threshold, scan_thresholds
from siamese.errors import SiameseError
from siamese.evaluation.evaluate import evaluate
from siamese.evaluation.openset import auc_new, threshold_curve
from siamese.identity_scores import identity_scores
from tests.test_evaluate import decision

CATALOG = np.array(["ann", "bob", "cleo"], dtype=object)
KNOWN, NEW = False, True


def test_one_means_that_every_new_query_lies_under_every_known_one():
    assert auc_new(np.array([3.0, 4.0, 1.0, 2.0]), np.array([KNOWN, KNOWN, NEW, NEW])) == 1.0
    assert auc_new(np.array([1.0, 2.0, 3.0, 4.0]), np.array([KNOWN, KNOWN, NEW, NEW])) == 0.0


def test_an_equal_score_counts_half():
    assert auc_new(np.array([2.0, 2.0, 1.0]), np.array([KNOWN, NEW, NEW])) == 0.75


def test_a_query_that_nobody_may_answer_scores_under_all():
    assert auc_new(np.array([2.0, -np.inf]), np.array([KNOWN, NEW])) == 1.0


@pytest.mark.parametrize("kind", [KNOWN, NEW])
def test_without_one_side_there_is_no_number(kind):
    assert math.isnan(auc_new(np.array([1.0, 2.0]), np.array([kind, kind])))


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_the_area_is_scikit_learns(queries):
    scores, is_new = np.array([score for score, _ in queries], float), np.array([new for _, new in queries])
    if is_new.any() and not is_new.all():
        assert auc_new(scores, is_new) == pytest.approx(roc_auc_score(is_new, -scores))


def evaluated(scores, truth, threshold=0.0):
    ids = [str(number) for number in range(len(truth))]
    return evaluate(scores, CATALOG, truth, query_ids=ids, decision=decision(threshold))


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_the_curve_is_what_the_scan_of_all_thresholds_and_plain_counting_say(seed):
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array(["ann", "bob", ""], dtype=object), 12)
    scores = rng.integers(-3, 4, (12, 3)).astype(np.float64)
    curve = threshold_curve(evaluated(scores, truth).queries, num_points=7)
    table = identity_scores(scores, CATALOG)
    known = truth != ""
    np.testing.assert_allclose(curve["map"], scan_thresholds(table, truth).at(curve["threshold"].to_numpy()))
    if known.any():
        alone = scan_thresholds(table.select(known), truth[known]).at(curve["threshold"].to_numpy())
        np.testing.assert_allclose(curve["map_known"], alone)
    for row in curve.itertuples():
        metrics = evaluated(scores, truth, row.threshold).metrics
        for name in ("first_right", "new_found", "known_called_new"):
            assert getattr(row, name) == pytest.approx(metrics[name], nan_ok=True)


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_the_curve_shows_the_peak_that_was_chosen(seed):
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array(["ann", "bob", ""], dtype=object), 30)
    scores = rng.normal(size=(30, 3)) + 2 * (truth[:, None] == CATALOG[None, :])
    chosen = choose_threshold(identity_scores(scores, CATALOG), truth)
    curve = threshold_curve(evaluated(scores, truth).queries, num_points=2000, mark=chosen)
    assert curve["threshold"].is_monotonic_increasing
    assert curve["threshold"].iloc[0] <= chosen <= curve["threshold"].iloc[-1]
    assert curve["map"].max() == pytest.approx(np.interp(chosen, curve["threshold"], curve["map"]), abs=0.05)
    assert curve["map_known"].dropna().is_monotonic_decreasing


def test_the_range_of_the_curve_reaches_the_mark():
    queries = evaluated(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), ["ann", ""]).queries
    assert threshold_curve(queries, mark=50.0)["threshold"].iloc[-1] > 50


def test_a_curve_of_nothing_is_empty():
    evaluation = evaluate(np.ones((1, 1)), [""], [""], query_ids=["a"], decision=decision())
    assert len(evaluation.curve) == 0
    assert {"threshold", "map", "map_known"} <= set(evaluation.curve.columns)


def test_scores_and_kinds_of_different_lengths_are_told():
    with pytest.raises(SiameseError, match=r"one value per query. Received: shapes \(2,\) and \(1,\)"):
        auc_new(np.ones(2), np.array([NEW]))
