"""Tests of `siamese.evaluation.bootstrap`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from siamese.errors import SiameseError
from siamese.evaluation.bootstrap import (
    auc_of,
    balanced_mean_of,
    calibration_error_of,
    draw_individuals,
    effective_size,
    individual_codes,
    interval,
    intervals,
    mean_of,
)
from siamese.evaluation.probability import expected_calibration_error


@st.composite
def weighted_queries(draw):
    """Values with ties, a truth, who each query is of, and how often each of the four individuals counts."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    num = draw(st.integers(4, 25))
    code = np.concatenate([np.arange(4), rng.integers(0, 4, num - 4)])
    truth = np.append(rng.random(num - 2) < 0.5, [True, False])
    return rng.integers(0, 4, num) / 4, truth, code, rng.integers(0, 3, 4)


def repeated(values, code, counts):
    """The queries of each individual, as often as it counts."""
    return np.repeat(values, counts[code])


def draws_of(measure, counts):
    return measure(counts[None].astype(np.float64))[0]


@given(weighted_queries())
def test_counts_are_repetitions_of_all_queries_of_an_individual(queries):
    values, truth, code, counts = queries
    again = repeated(values, code, counts)
    assert draws_of(mean_of(values, code), counts) == pytest.approx(again.mean() if len(again) else np.nan, nan_ok=True)
    kept = repeated(values[truth], code[truth], counts)
    expected = kept.mean() if len(kept) else np.nan
    assert draws_of(mean_of(values, code, where=truth), counts) == pytest.approx(expected, nan_ok=True)


@given(weighted_queries())
def test_a_balanced_mean_counts_each_drawn_individual_alike(queries):
    values, _, code, counts = queries
    means = [values[code == individual].mean() for individual in range(4) for _ in range(counts[individual])]
    expected = np.mean(means) if means else np.nan
    assert draws_of(balanced_mean_of(values, code), counts) == pytest.approx(expected, nan_ok=True)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@given(weighted_queries())
def test_a_balanced_mean_of_right_answers_is_scikit_learns_balanced_accuracy(queries):
    _, truth, code, _ = queries
    answers = np.where(truth, code, -1)
    found = draws_of(balanced_mean_of(truth, code), np.ones(4))
    assert found == pytest.approx(balanced_accuracy_score(code, answers))


@given(weighted_queries())
def test_the_area_is_scikit_learns_over_repeated_queries(queries):
    scores, truth, code, counts = queries
    kinds = repeated(truth, code, counts)
    found = draws_of(auc_of(truth, scores, code), counts)
    if len(set(kinds)) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(kinds, repeated(scores, code, counts)))


@given(weighted_queries())
def test_the_area_over_some_queries_leaves_the_others_out(queries):
    scores, truth, code, counts = queries
    some = scores > 0
    alone = auc_of(truth[some], scores[some], code[some])
    expected = draws_of(alone, counts)
    assert draws_of(auc_of(truth, scores, code, where=some), counts) == pytest.approx(expected, nan_ok=True)


@given(weighted_queries())
def test_the_calibration_error_is_that_of_repeated_queries(queries):
    prob, truth, code, counts = queries
    again = [repeated(values, code, counts) for values in (truth, prob)]
    found = draws_of(calibration_error_of(truth, prob, code), counts)
    assert found == pytest.approx(expected_calibration_error(*again), nan_ok=True)


def test_unknown_names_are_individuals_of_their_own():
    assert individual_codes(["", "bob", "", "ann"]).tolist() == [2, 1, 3, 0]
    assert individual_codes([]).tolist() == []


def test_draws_are_the_same_for_a_seed_and_hold_everybody_in_the_mean():
    counts = draw_individuals(50, num_draws=400, rng=np.random.default_rng(3))
    assert np.array_equal(counts, draw_individuals(50, num_draws=400, rng=np.random.default_rng(3)))
    assert set(counts.sum(axis=1)) == {50.0}
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.25)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says(rng):
    values = rng.normal(size=400)
    counts = draw_individuals(400, num_draws=4000, rng=rng)
    found = interval(mean_of(values, np.arange(400), are_shares=False), counts)
    width = 2 * 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(width, rel=0.08)


@pytest.mark.parametrize("num_right", [0, 3, 200, 390, 400])
def test_the_interval_of_a_share_with_one_query_each_is_wilsons(num_right):
    right = np.arange(400) < num_right
    counts = draw_individuals(400, num_draws=4000, rng=np.random.default_rng(1))
    for make in (mean_of, balanced_mean_of):
        found = interval(make(right, np.arange(400)), counts)
        wilson = binomtest(num_right, 400).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=0.003)


def test_photos_of_one_individual_that_agree_widen_the_interval(rng):
    values = np.repeat(rng.integers(0, 2, 60).astype(float), 25)
    together, apart = np.repeat(np.arange(60), 25), np.arange(1500)
    widths = []
    for code in (together, apart):
        found = interval(mean_of(values, code), draw_individuals(code.max() + 1, rng=np.random.default_rng(0)))
        widths.append(found.high - found.low)
    assert widths[0] / widths[1] == pytest.approx(5, rel=0.15)  # the root of 25 photos each


def test_the_interval_covers_the_truth_about_as_often_as_it_says(rng):
    covered = 0
    for _ in range(200):
        level = rng.normal(size=40)
        values = np.repeat(level, 3) + 0.3 * rng.normal(size=120)
        counts = draw_individuals(40, num_draws=300, rng=rng)
        found = interval(mean_of(values, np.repeat(np.arange(40), 3), are_shares=False), counts)
        covered += found.low <= 0 <= found.high
    assert 0.91 <= covered / 200 <= 0.99


@pytest.mark.parametrize("make", [mean_of, balanced_mean_of])
@pytest.mark.parametrize(("num_individuals", "truth"), [(8, 0.8), (20, 0.95), (40, 0.98)])
def test_the_interval_of_a_share_covers_the_truth_with_few_individuals_and_heavy_tails(make, num_individuals, truth):
    rng = np.random.default_rng(3)
    photos = np.array([1] * 41 + [2] * 26 + [3] * 11 + [4] * 5 + [6] * 8 + [9] * 4 + [20] * 4 + [60])  # as humpbacks'
    covered = 0
    for _ in range(200):
        num = rng.choice(photos, num_individuals)
        share = rng.beta(2 * truth, 2 * (1 - truth), num_individuals)  # photos of one individual agree
        code = np.repeat(np.arange(num_individuals), num)
        counts = draw_individuals(num_individuals, num_draws=200, rng=rng)
        found = interval(make(rng.random(len(code)) < share[code], code), counts)
        covered += found.low <= truth <= found.high
    assert covered / 200 >= 0.89  # the middle of the draws covers 0.70 to 0.84 of them


def test_many_queries_of_one_individual_count_little():
    assert effective_size([2, 2, 2, 2]) == 4
    assert effective_size([0, 5, 0]) == 1
    assert effective_size([]) == effective_size([0, 0]) == 0
    assert effective_size(np.append(np.ones(10), 1000)) < 1.1


def test_one_individual_has_no_interval():
    found = interval(mean_of([0.0, 1.0], np.array([0, 0])), draw_individuals(1, rng=np.random.default_rng(0)))
    assert found.value == 0.5
    assert np.isnan([found.low, found.high]).all()


def test_draws_without_a_number_are_passed_over():
    values, code = np.array([1.0, 1.0, 0.0]), np.array([0, 1, 2])
    counts = draw_individuals(3, num_draws=300, rng=np.random.default_rng(0))
    some = mean_of(values, code, where=np.array([True, True, False]))
    assert np.isnan(some(counts)).any()
    found = interval(some, counts)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0 < found.low < 0.1  # two individuals say next to nothing


def test_one_of_a_kind_among_others_has_no_interval():
    counts = draw_individuals(3, num_draws=300, rng=np.random.default_rng(0))
    measures = (
        mean_of([1.0, 1.0, 0.0], np.arange(3), where=np.array([True, False, False])),
        auc_of([True, False, False], [3.0, 2.0, 1.0], np.arange(3)),
    )
    for measure in measures:
        found = interval(measure, counts)
        assert found.value == 1
        assert np.isnan([found.low, found.high]).all()


def test_numbers_worked_out_together_are_those_worked_out_alone():
    code, counts = np.arange(5), draw_individuals(5, num_draws=250, rng=np.random.default_rng(0))
    one, other = mean_of(np.arange(5) / 4, code), balanced_mean_of(np.arange(5) ** 2 / 16, code)
    found = intervals(lambda some: {"one": one(some), "other": other(some)}, counts, size=5)
    assert found == {"one": interval(one, counts), "other": interval(other, counts)}


def test_a_share_outside_its_bounds_is_told():
    with pytest.raises(SiameseError, match="`values` must lie between 0 and 1, as shares do. Received: 0 to 2"):
        mean_of([0.0, 2.0], np.array([0, 1]))


def test_values_and_individuals_of_different_lengths_are_told():
    with pytest.raises(SiameseError, match=r"one entry per query. Received: shapes \(2,\) and \(1,\)"):
        mean_of([0.0, 1.0], np.array([0]))
