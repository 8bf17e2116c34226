"""Tests of `siamese.calibration`."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from siamese.calibration import KINDS, Calibration, choose_kind, fit_calibration
from siamese.errors import SiameseError
from siamese.evaluation.probability import expected_calibration_error


def drawn(rng, num=3000, gap=3.0):
    """Scores N(gap, 1) of right ones and N(0, 1) of wrong ones: the log odds of even numbers are gap s - gap^2 / 2."""
    return np.sort(rng.normal(gap, 1, num)), np.sort(rng.normal(0, 1, num))


def test_a_constant_is_what_scores_of_one_kind_teach():
    curve = fit_calibration(np.array([1.0, 2.0, 3.0]), np.array([]))
    assert curve.probability(np.array([-9.0, 9.0])) == pytest.approx([0.8, 0.8])  # (3 + 1) / (3 + 2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_the_curve_that_made_the_scores(rng, kind):
    curve = fit_calibration(*drawn(rng, 20_000), kind=kind)
    scores = np.linspace(0, 3, 7)
    np.testing.assert_allclose(curve.probability(scores), expit(3 * scores - 4.5), atol=0.05)


def test_the_logistic_curve_is_scikit_learns(rng):
    positive, negative = drawn(rng, 500, gap=1.0)
    curve = fit_calibration(positive, negative[:200], kind="logistic")
    target = np.repeat([1, 0], [500, 200])
    peer = LogisticRegression(C=1e6, class_weight="balanced")
    peer.fit(np.concatenate([positive, negative[:200]])[:, None], target)
    assert (curve.slope, curve.intercept) == pytest.approx((peer.coef_[0, 0], peer.intercept_[0]), rel=1e-3)


def test_the_isotonic_curve_is_scikit_learns_kept_off_the_ends(rng):
    positive, negative = np.array([1.0, 4.0, 5.0]), np.array([0.0, 2.0, 3.0])
    curve = fit_calibration(positive, negative, kind="isotonic")
    peer = IsotonicRegression().fit(np.arange(6.0), [0, 1, 0, 0, 1, 1])
    expected = np.clip(peer.predict(np.arange(6.0)), 1 / 5, 4 / 5)
    np.testing.assert_allclose(curve.probability(np.arange(6.0)), expected, atol=1e-9)
    assert curve.probability(np.array([99.0])) == pytest.approx([0.8])


def test_platts_targets_keep_the_slope_of_separable_scores_finite():
    platt, plain = (fit_calibration(np.array([2.0, 3.0]), np.array([0.0, 1.0]), kind=kind) for kind in KINDS[:2])
    assert platt.slope < 3 < plain.slope


def test_a_prior_multiplies_the_odds():
    curve = Calibration("platt", slope=1.0)
    assert curve.probability(np.array(0.0), prior=0.2) == pytest.approx(0.2)
    odds = np.exp(logit(curve.probability(np.array(1.3), prior=0.01)) - logit(curve.probability(np.array(1.3))))
    assert odds == pytest.approx(0.01 / 0.99)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_hold_on_pairs_that_were_not_fitted_on(rng, kind):
    curve = fit_calibration(*drawn(rng), kind=kind)
    positive, negative = drawn(rng)
    scores = np.concatenate([positive, negative])
    target = np.repeat([1, 0], [len(positive), len(negative)])
    assert expected_calibration_error(target, curve.probability(scores)) < 0.02
    rare = np.concatenate([positive, np.tile(negative, 9)])
    told = curve.probability(rare, prior=0.1)
    assert expected_calibration_error(np.repeat([1, 0], [len(positive), 9 * len(negative)]), told) < 0.02
    assert (
        expected_calibration_error(np.repeat([1, 0], [len(positive), 9 * len(negative)]), curve.probability(rare))
        > 0.02
    )


@given(
    st.lists(st.floats(-30, 30, width=32), max_size=30),
    st.lists(st.floats(-30, 30, width=32), max_size=30),
    st.sampled_from(KINDS),
    st.booleans(),
)
def test_any_scores_give_a_rising_curve_between_zero_and_one(positive, negative, kind, balanced):
    curve = fit_calibration(np.sort(np.array(positive)), np.sort(np.array(negative)), kind=kind, balanced=balanced)
    told = curve.probability(np.linspace(-40, 40, 50))
    assert np.isfinite(told).all()
    assert (np.diff(told) >= -1e-12).all()
    assert (told >= 0).all()
    assert (told <= 1).all()


def test_scores_that_do_not_follow_a_logistic_curve_prefer_the_isotonic_one(rng):
    codes = np.arange(4000) // 4
    step = np.where(
        rng.random(4000) < 0.9, rng.normal(6, 0.3, 4000), rng.normal(0, 0.3, 4000)
    )  # a tenth looks different
    others = rng.normal(0, 3, 4000)
    pairs = rng.integers(0, 1000, (2, 4000))
    assert choose_kind(step, others, codes, pairs, rng=rng) == "isotonic"


def test_scores_that_follow_a_logistic_curve_keep_one(rng):
    positive, negative = rng.normal(1.5, 1, 200), rng.normal(0, 1, 200)
    kind = choose_kind(positive, negative, np.arange(200) // 4, rng.integers(0, 50, (2, 200)), rng=rng)
    assert kind in ("platt", "logistic")


def test_without_pairs_in_both_halves_platts_curve_is_taken(rng):
    assert choose_kind(np.ones(1), np.zeros(1), np.zeros(1, int), np.array([[0], [1]]), rng=rng) == "platt"


def test_thinning_the_scores_hardly_moves_the_curve(rng, monkeypatch):
    positive, negative = drawn(rng, 20_000)
    exact = fit_calibration(positive, negative)
    monkeypatch.setattr("siamese.calibration.MOST_FITTED", 2000)
    assert fit_calibration(positive, negative).slope == pytest.approx(exact.slope, rel=0.03)


def test_the_scores_stay_unchanged(rng):
    positive, negative = drawn(rng, 50)
    before = positive.copy(), negative.copy()
    for kind in KINDS:
        fit_calibration(positive, negative, kind=kind)
    assert np.array_equal(before[0], positive)
    assert np.array_equal(before[1], negative)


def test_an_unknown_kind_is_told():
    with pytest.raises(SiameseError, match="`kind` must be one of platt, logistic, isotonic. Received: spline"):
        fit_calibration(np.ones(2), np.zeros(2), kind="spline")


@pytest.mark.parametrize("prior", [0.0, 1.0, math.nan])
def test_a_prior_that_leaves_no_doubt_is_told(prior):
    with pytest.raises(SiameseError, match="`prior` must lie between 0 and 1. Received: prior="):
        Calibration("platt").probability(np.zeros(1), prior=prior)
