"""Tests of `siamese.evaluation.probability`."""

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from siamese.errors import SiameseError
from siamese.evaluation.probability import expected_calibration_error, log_loss, log_losses, reliability

# Tenths, so that edges of bins and certain probabilities come up
stated = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=40).map(
    lambda pairs: (np.array([happened for happened, _ in pairs]), np.array([tenth / 20 for _, tenth in pairs]))
)


@given(stated)
def test_log_loss_is_scikit_learns(pairs):
    happened, prob = pairs
    assert log_loss(happened, prob) == pytest.approx(sklearn.metrics.log_loss(happened, prob, labels=[0, 1]))


@given(st.integers(0, 1000), st.integers(2, 5), st.sampled_from([np.float32, np.float64]))
def test_log_loss_of_several_classes_is_scikit_learns(seed, num_classes, dtype):
    rng = np.random.default_rng(seed)
    prob = rng.dirichlet(np.full(num_classes, 0.3), 20).astype(dtype)
    truth = rng.integers(0, num_classes, 20)
    expected = sklearn.metrics.log_loss(truth, prob, labels=np.arange(num_classes))
    assert log_loss(truth, prob) == pytest.approx(expected, rel=1e-4)


@given(stated, st.integers(1, 12))
def test_reliability_is_scikit_learns_and_the_error_a_plain_loop(pairs, num_bins):
    happened, prob = pairs
    table = reliability(happened, prob, num_bins=num_bins)
    share, mean = calibration_curve(happened, prob, n_bins=num_bins)
    np.testing.assert_allclose(table["share"], share)
    np.testing.assert_allclose(table["probability"], mean)
    error, edges = 0.0, np.linspace(0, 1, num_bins + 1)
    for number in range(num_bins):
        inside = (prob > edges[number]) & (prob <= edges[number + 1]) | ((number == 0) & (prob == 0))
        if inside.any():
            error += inside.mean() * abs(prob[inside].mean() - happened[inside].mean())
    assert expected_calibration_error(happened, prob, num_bins=num_bins) == pytest.approx(error)


def test_a_certain_error_costs_much_but_not_everything():
    assert 30 < log_losses([1], [0.0])[0] < 40


def test_nothing_gives_no_number():
    assert math.isnan(log_loss([], []))
    assert math.isnan(expected_calibration_error([], []))


def test_the_inputs_stay_as_they_are():
    happened, prob = np.array([1, 0]), np.array([0.0, 1.0])
    log_loss(happened, prob)
    reliability(happened, prob)
    assert (happened.tolist(), prob.tolist()) == ([1, 0], [0.0, 1.0])


def test_a_probability_out_of_range_is_told():
    with pytest.raises(SiameseError, match="`y_prob` must lie between 0 and 1"):
        log_loss([1], [1.5])
    with pytest.raises(SiameseError, match="`y_prob` must lie between 0 and 1"):
        expected_calibration_error([1], [np.nan])


def test_rows_that_do_not_add_up_are_told():
    with pytest.raises(SiameseError, match="rows of `y_prob` must add up to 1"):
        log_loss([0], [[0.5, 0.2]])


def test_a_class_that_has_no_column_is_told():
    with pytest.raises(SiameseError, match="one column of `y_prob` for each row"):
        log_loss([2], [[0.5, 0.5]])


def test_other_lengths_are_told():
    with pytest.raises(SiameseError, match=r"one value each. Received: shapes \(1,\) and \(2,\)"):
        reliability([1], [0.5, 0.5])


def test_no_bins_are_told():
    with pytest.raises(SiameseError, match="`num_bins` must be at least 1"):
        reliability([1], [0.5], num_bins=0)
