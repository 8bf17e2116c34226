"""Tests of `siamese.evaluation.openset`."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from siamese.decision import choose_threshold
from siamese.errors import SiameseError
from siamese.evaluation.openset import auc_new, threshold_curve
from siamese.ranking import identity_scores

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


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_the_curve_shows_the_peak_that_was_chosen(seed):
    rng = np.random.default_rng(seed)
    catalog = np.array(["ann", "bob", "cleo"], dtype=object)
    truth = rng.choice(np.array(["ann", "bob", ""], dtype=object), 30)
    table = identity_scores(rng.normal(size=(30, 3)) + 2 * (truth[:, None] == catalog[None, :]), catalog)
    chosen = choose_threshold(table, truth)
    curve = threshold_curve(table, truth, num_points=2000, mark=chosen)
    assert curve["threshold"].is_monotonic_increasing
    assert curve["threshold"].iloc[0] <= chosen <= curve["threshold"].iloc[-1]
    assert curve["map"].max() == pytest.approx(np.interp(chosen, curve["threshold"], curve["map"]), abs=0.05)
    assert curve["map_known"].is_monotonic_decreasing


def test_the_range_of_the_curve_reaches_the_mark():
    table = identity_scores(np.array([[1.0], [0.0]]), np.array(["ann"], dtype=object))
    assert threshold_curve(table, ["ann", ""], mark=50.0)["threshold"].iloc[-1] > 50


def test_a_curve_of_nothing_is_empty():
    table = identity_scores(np.ones((1, 1)), np.array([""], dtype=object))
    assert len(threshold_curve(table, [""])) == 0


def test_scores_and_kinds_of_different_lengths_are_told():
    with pytest.raises(SiameseError, match=r"one value per query. Received: shapes \(2,\) and \(1,\)"):
        auc_new(np.ones(2), np.array([NEW]))
