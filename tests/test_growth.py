"""Tests of `siamese.decision.growth`."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from siamese.decision.growth import GrowthModel, fit_growth, num_answering, replay_growth
from siamese.errors import SiameseError


def impostors(rng, num_queries, num_identities, *, spread=0.0):
    """Scores of queries with individuals that they do not show; some queries look like many."""
    shift = spread * rng.normal(size=(num_queries, 1))
    return (shift + rng.normal(size=(num_queries, num_identities))).astype(np.float32)


def test_a_rate_is_that_of_the_formula():
    model = GrowthModel(10, (0.0, 1.0), (0.0, math.log(0.1)), 1.0, 0.0, (0.0,), (math.log(2.0),))
    assert model.rate(1.0, 10) == pytest.approx(1 - (1 + 10 * 0.1 / 2) ** -2)
    assert model.rate(2.0, 10) == pytest.approx(1 - (1 + math.exp(-1) / 2) ** -2)  # an exponential tail beyond 1


def test_a_tail_with_an_end_names_nobody_beyond_it():
    model = GrowthModel(10, (0.0, 1.0), (0.0, math.log(0.1)), 1.0, -0.5, (0.0,), (9.0,))
    assert model.rate(2.9, 10) > 0
    assert model.rate(3.0, 10) == 0


def test_independent_scores_grow_as_their_maximum_does(rng):
    """With p above the threshold, one of N reaches it with chance 1 - (1 - p)^N."""
    model = fit_growth(impostors(rng, 400, 100))
    fresh = impostors(rng, 2000, 1000)
    for rate in (0.05, 0.2, 0.5):
        threshold = model.threshold(rate, 1000)
        assert np.mean(fresh.max(axis=1) >= threshold) == pytest.approx(rate, rel=0.5)


def test_queries_that_look_like_many_slow_the_growth(rng):
    """Where hits gather on a few queries, the rate grows less than tenfold; the model learns that."""
    small, large = impostors(rng, 600, 60, spread=1.5), impostors(rng, 3000, 600, spread=1.5)
    model = fit_growth(small)
    threshold = model.threshold(0.2, 60)
    seen = np.mean(large.max(axis=1) >= threshold)
    assert seen == pytest.approx(model.rate(threshold, 600), abs=0.06)
    assert seen < 1 - (1 - 0.2) ** 10 - 0.2  # what queries alike would give


def test_the_model_reproduces_the_catalog_it_was_fitted_on(rng):
    scores = impostors(rng, 500, 80, spread=1.0)
    model = fit_growth(scores)
    for level in np.quantile(scores.max(axis=1), (0.3, 0.6, 0.9)):
        assert model.rate(level, 80) == pytest.approx(np.mean(scores.max(axis=1) >= level), abs=0.03)


def test_an_unmoved_threshold_names_more_strangers_as_the_catalog_grows(rng):
    model = fit_growth(impostors(rng, 300, 50, spread=0.5))
    threshold = model.threshold(0.05, 50)
    rates = [model.rate(threshold, size) for size in (5, 50, 500, 5000)]
    assert rates == sorted(rates)
    assert rates[2] > 3 * rates[1]
    moved = [threshold + model.shift(0.05, 50, size) for size in (5, 500, 5000)]
    assert [round(model.rate(cut, size), 3) for cut, size in zip(moved, (5, 500, 5000), strict=True)] == [0.05] * 3


def test_a_threshold_is_not_moved_where_the_catalog_stays(rng):
    model = fit_growth(impostors(rng, 100, 50))
    for rate in (0.0, 0.3, 1.0):  # the ends too, where a threshold would be without end
        assert model.shift(rate, 50, 50) == 0
        assert model.shift(rate, 50, 60) > 0 > model.shift(rate, 50, 40)


def test_a_higher_threshold_never_names_more_whatever_the_catalog(rng):
    for spread in (0.0, 0.5, 1.5):
        model = fit_growth(impostors(rng, 60, 30, spread=spread))
        cuts = np.linspace(model.scores[0] - 1, model.scores[-1] + 3 * model.tail_scale, 200)
        for size in (3, 30, 300, 3000):
            assert (np.diff([model.rate(cut, size) for cut in cuts]) <= 1e-9).all()


def test_own_individuals_take_no_part(rng):
    scores = impostors(rng, 60, 30)
    with_own = np.insert(scores, 0, -np.inf, axis=1)
    assert fit_growth(with_own) == fit_growth(scores)


def test_the_interval_holds_for_new_queries_in_a_catalog_ten_times_as_large(rng, monkeypatch):
    """The claim itself, with individuals that are both queries and catalog, and hubs on both sides."""
    monkeypatch.setattr("siamese.decision.growth.NUM_REPLAYS", 50)
    inside, num = 0, 15
    for _ in range(num):
        hub, lure = rng.normal(size=(2, 400))
        scores = hub[:, None] + lure[None, :] + rng.normal(size=(400, 400))
        np.fill_diagonal(scores, -np.inf)
        few = np.arange(40)
        model = fit_growth(scores[:40, :40])
        low, high = replay_growth(scores[:40, :40], few, few, rate=0.1)
        inside += low <= np.mean(scores[40:].max(axis=1) >= model.threshold(0.1, 399)) <= high
    assert inside >= 0.9 * num


def test_the_interval_is_that_of_plain_loops(rng, monkeypatch):
    monkeypatch.setattr("siamese.decision.growth.NUM_REPLAYS", 30)
    scores, few = impostors(rng, 60, 60, spread=1.0), np.arange(60)
    np.fill_diagonal(scores, -np.inf)
    draws, shares = np.random.default_rng(5), []
    draws.permutation(60), draws.permutation(60)
    for _ in range(30):
        order = draws.permutation(60)
        own, others = (scores[np.ix_(np.sort(part), np.sort(part))] for part in (order[:12], order[12:]))
        shares.append(np.mean(others.max(axis=1) >= fit_growth(own).threshold(0.2, 47)))
    exact = binomtest(12, 60).proportion_ci(method="exact")
    expected = min(np.quantile(shares, 0.025), exact.low), max(np.quantile(shares, 0.975), exact.high)
    assert replay_growth(scores, few, few, rate=0.2, seed=5) == pytest.approx(expected)


def test_the_interval_is_never_narrower_than_that_of_independent_trials(rng, monkeypatch):
    monkeypatch.setattr("siamese.decision.growth.NUM_REPLAYS", 1)
    few = np.arange(40)
    for rate, hits in ((1e-9, 0), (0.1, 4), (0.5, 20)):
        exact = binomtest(hits, 40).proportion_ci(method="exact")
        low, high = replay_growth(impostors(rng, 40, 40), few, few, rate=rate)
        assert low <= exact.low + 1e-6
        assert high >= exact.high - 1e-6


def test_few_individuals_say_nothing(rng):
    few = np.arange(8)
    assert replay_growth(impostors(rng, 8, 8), few, few, rate=0.1) == (0.0, 1.0)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 8), st.floats(1e-4, 1), st.integers(1, 10_000))
def test_any_scores_give_a_threshold_that_keeps_the_rate(seed, num_queries, num_identities, rate, size):
    scores = np.random.default_rng(seed).integers(-3, 4, (num_queries, num_identities)).astype(np.float32)
    model = fit_growth(scores)
    threshold = model.threshold(rate, size)
    assert math.isfinite(threshold)
    assert model.rate(threshold, size) <= rate + 1e-9
    rates = [model.rate(cut, size) for cut in np.linspace(-4, threshold + 1, 60)]
    assert (np.diff(rates) <= 1e-9).all()
    assert model.rate(threshold, size) <= model.rate(threshold, size + 1)


def test_the_scores_stay_unchanged(rng):
    scores = impostors(rng, 30, 20)
    before = scores.copy()
    fit_growth(scores)
    replay_growth(scores, np.arange(30), np.arange(20), rate=0.1)
    assert np.array_equal(before, scores)


def test_individuals_that_may_answer_are_counted():
    names = np.array(["ann", "bob", "ann", ""], dtype=object)
    allowed = np.array([[True, False, True, True], [True, True, True, True], [True, True, False, False]])
    assert num_answering(names, allowed) == 2
    assert num_answering(names, allowed[:1]) == 1


def test_no_scores_are_told():
    with pytest.raises(SiameseError, match="individuals that they do not show. Received: 0 scores"):
        fit_growth(np.full((3, 2), -np.inf))


def test_a_rate_outside_of_zero_to_one_is_told(rng):
    with pytest.raises(SiameseError, match="`rate` must lie between 0 and 1. Received: rate=2"):
        fit_growth(impostors(rng, 9, 9)).threshold(2, 9)
