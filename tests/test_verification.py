"""Tests of `siamese.evaluation.verification`."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as reference_curve

from siamese.errors import SiameseError
from siamese.evaluation.verification import AcceptRate, equal_error_rate, roc_auc, roc_curve, tar_at_far


@st.composite
def scored_pairs(draw):
    """Pairs of both kinds with tied scores and whole weights, at least one of each kind with weight."""
    pair = st.tuples(st.booleans(), st.integers(-3, 3), st.integers(0, 3))
    pairs = [(True, 0, 1), (False, draw(st.integers(-3, 3)), 1), *draw(st.lists(pair, max_size=40))]
    same, scores, weights = zip(*pairs, strict=True)
    return np.array(same), np.array(scores, dtype=np.float64), np.array(weights, dtype=np.float64)


@given(scored_pairs())
def test_the_curve_is_scikit_learns(pairs):
    same, scores, _ = pairs
    roc = roc_curve(same, scores)
    false, true, thresholds = reference_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc.false_accept_rate, false)
    np.testing.assert_allclose(roc.true_accept_rate, true)
    np.testing.assert_array_equal(roc.thresholds, thresholds)
    assert (roc.num_same, roc.num_different) == (same.sum(), (~same).sum())


@given(scored_pairs())
def test_the_area_is_scikit_learns_with_and_without_weights(pairs):
    same, scores, weights = pairs
    assert roc_auc(same, scores) == pytest.approx(roc_auc_score(same, scores))
    expected = roc_auc_score(same, scores, sample_weight=weights)
    assert roc_auc(same, scores, sample_weight=weights) == pytest.approx(expected)


@given(scored_pairs())
def test_whole_weights_are_repetitions(pairs):
    same, scores, weights = pairs
    repeated = [np.repeat(values, weights.astype(int)) for values in (same, scores)]
    assert equal_error_rate(same, scores, sample_weight=weights) == pytest.approx(equal_error_rate(*repeated))
    for far in (0.05, 0.5, 1.0):
        weighted, plain = tar_at_far(same, scores, far=far, sample_weight=weights), tar_at_far(*repeated, far=far)
        assert (weighted.tar, weighted.threshold) == pytest.approx((plain.tar, plain.threshold))


@given(scored_pairs(), st.sampled_from([0.1, 0.25, 0.5, 1.0]))
def test_tar_at_far_is_the_best_of_all_thresholds(pairs, far):
    same, scores, _ = pairs
    reached = [
        np.mean(scores[same] >= threshold)
        for threshold in [*np.unique(scores), np.inf]
        if np.mean(scores[~same] >= threshold) <= far
    ]
    found = tar_at_far(same, scores, far=far)
    assert found.tar == pytest.approx(max(reached))
    assert np.mean(scores[same] >= found.threshold) == pytest.approx(found.tar)
    assert np.mean(scores[~same] >= found.threshold) <= far


def crossing(false, miss):
    """Where the line through the points meets false = miss, segment by segment."""
    for place in range(1, len(false)):
        before, after = false[place - 1] - miss[place - 1], false[place] - miss[place]
        if before < 0 <= after:
            return false[place - 1] + before / (before - after) * (false[place] - false[place - 1])
    return None


@given(scored_pairs())
def test_the_equal_error_rate_is_where_the_reference_curve_crosses(pairs):
    same, scores, _ = pairs
    false, true, _ = reference_curve(same, scores, drop_intermediate=False)
    rate = equal_error_rate(same, scores)
    assert rate == pytest.approx(crossing(false, 1 - true))
    assert rate == pytest.approx(equal_error_rate(~same, -scores), abs=1e-9)


def test_the_equal_error_rate_is_interpolated_along_the_curve():
    # from (0, 0.5) to (1, 1) in one step of equal scores: crosses false = 1 - true at a third
    assert equal_error_rate([1, 1, 0], [2.0, 1.0, 1.0]) == pytest.approx(1 / 3)
    assert equal_error_rate([1, 0], [1.0, 0.0]) == 0.0
    assert equal_error_rate([1, 0], [0.0, 1.0]) == 1.0


@pytest.mark.parametrize("kind", [True, False])
def test_without_one_kind_there_is_no_number(kind):
    pairs = [kind] * 3, [1.0, 2.0, 3.0]
    assert math.isnan(roc_auc(*pairs))
    assert math.isnan(equal_error_rate(*pairs))
    assert math.isnan(tar_at_far(*pairs).tar)
    assert tar_at_far(*pairs).threshold == math.inf


def test_nothing_gives_no_number():
    assert math.isnan(roc_auc([], []))


def test_a_thousand_different_pairs_are_enough_for_one_in_a_thousand():
    assert AcceptRate(0.001, 0.5, 1.0, 1000).enough
    few = AcceptRate(0.001, 0.5, 1.0, 999)
    assert not few.enough
    assert few.sentence().startswith("TAR at FAR 0.1 % needs at least 1,000 different pairs. There are 999")


def test_the_pairs_stay_as_they_are():
    same, scores = np.array([True, False]), np.array([1.0, 2.0])
    roc_curve(same, scores)
    assert (same.tolist(), scores.tolist()) == ([True, False], [1.0, 2.0])


def test_other_lengths_are_told():
    with pytest.raises(SiameseError, match=r"one value per pair. Received: shapes \(2,\), \(1,\) and \(1,\)"):
        roc_auc([1, 0], [1.0])


def test_a_score_that_is_no_number_is_told():
    with pytest.raises(SiameseError, match="`y_score` must be numbers. Received: NaN"):
        roc_auc([1, 0], [1.0, np.nan])


@pytest.mark.parametrize("far", [0.0, 1.5, -0.1])
def test_a_rate_out_of_range_is_told(far):
    with pytest.raises(SiameseError, match="`far` must be over 0 and at most 1"):
        tar_at_far([1, 0], [1.0, 0.0], far=far)
