"""Tests of `siamese.decision.cuts`."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from siamese.decision.cuts import DifferentPairs, above, between, cut_with_share_above, cut_with_share_below, num_below
from siamese.errors import SiameseError


def all_pairs(scores, num_identities):
    """Pairs of identities with one photo each, from a symmetric matrix."""
    left, right = np.triu_indices(num_identities, 1)
    values = scores[left, right]
    order = np.argsort(values, kind="stable")
    return DifferentPairs(values[order], np.stack([left, right])[:, order], num_identities)


def with_hubs(rng, num_identities=60, spread=1.0):
    """Scores of a symmetric matrix in which some individuals look like many."""
    likeness = spread * rng.normal(size=num_identities)
    noise = rng.normal(size=(num_identities, num_identities))
    return likeness[:, None] + likeness[None, :] + (noise + noise.T) / math.sqrt(2)


def test_a_cut_stands_halfway_between_the_scores_it_parts():
    assert cut_with_share_above(np.array([1.0, 2.0, 3.0, 4.0]), 0.5) == 2.5
    assert cut_with_share_below(np.array([1.0, 2.0, 3.0, 4.0]), 0.25) == 1.5


def test_equal_scores_stay_together_under_the_cut():
    assert cut_with_share_above(np.array([1.0, 3.0, 3.0, 4.0]), 0.5) == 3.5


@given(arrays(np.float32, st.integers(1, 30), elements=st.floats(-9, 9, width=32)), st.floats(0, 1))
def test_no_more_than_the_share_lies_above_and_no_lower_cut_would_do(scores, share):
    scores = np.sort(scores)
    cut = cut_with_share_above(scores, share)
    count = len(scores) - num_below(scores, cut)
    assert count <= share * len(scores) + 1e-6
    lower = scores[scores < cut]
    if len(lower):
        assert np.sum(scores >= lower[-1]) > share * len(scores) - 1e-6


def test_a_cut_between_neighbouring_floats_still_parts_them():
    low = 1.0
    assert low < between(low, above(low)) <= above(low)
    assert between(low, math.nextafter(low, 2)) == math.nextafter(low, 2)


def test_the_share_above_is_counted():
    pairs = DifferentPairs(np.array([1.0, 2.0, 2.0, 5.0]), np.array([[0, 0, 1, 1], [1, 2, 2, 3]]), 4)
    assert [pairs.share_above(cut) for cut in (0.0, 2.0, 3.0, 6.0)] == [1.0, 0.75, 0.25, 0.0]
    assert math.isnan(DifferentPairs(np.empty(0), np.empty((2, 0), int), 2).share_above(1.0))


def test_the_interval_holds_for_halves_of_new_individuals(rng, monkeypatch):
    """The claim itself: calibrate on 60 individuals, look at 60 others, 20 times."""
    monkeypatch.setattr("siamese.decision.cuts.NUM_REPLAYS", 100)
    inside = 0
    for _ in range(20):
        (cut,) = all_pairs(with_hubs(rng), 60).cuts([0.05])
        inside += cut.low <= all_pairs(with_hubs(rng), 60).share_above(cut.score) <= cut.high
    assert inside >= 18


def test_hubs_make_the_interval_wider_than_chance_among_pairs(rng):
    (even,), (uneven,) = (all_pairs(with_hubs(rng, spread=spread), 60).cuts([0.05]) for spread in (0.0, 1.0))
    assert uneven.high - uneven.low > 2 * (even.high - even.low)


def test_every_rate_lies_in_its_interval_and_stricter_rates_have_higher_cuts(rng):
    cuts = all_pairs(with_hubs(rng), 60).cuts([0.001, 0.01, 0.05])
    assert all(cut.low <= cut.rate <= cut.high for cut in cuts)
    assert cuts[0].score > cuts[1].score > cuts[2].score


def test_the_interval_is_that_of_plain_loops(rng, monkeypatch):
    monkeypatch.setattr("siamese.decision.cuts.NUM_REPLAYS", 25)
    scores = with_hubs(rng, 12).astype(np.float32)
    pairs = all_pairs(scores, 12)
    (cut,) = pairs.cuts([0.2], seed=3)
    draws, shares = np.random.default_rng(3), []
    for _ in range(25):
        half = draws.permutation(12) < 6
        own, others = (
            np.array([scores[i, j] for i in range(12) for j in range(i + 1, 12) if half[i] == half[j] == side])
            for side in (True, False)
        )
        shares.append(np.mean(others >= cut_with_share_above(np.sort(own), 0.2)))
    assert (cut.low, cut.high) == pytest.approx(
        (min(np.quantile(shares, 0.025), 0.2), max(np.quantile(shares, 0.975), 0.2)), abs=1e-12
    )


def test_a_random_part_of_very_many_pairs_gives_about_the_same_interval(rng, monkeypatch):
    pairs = all_pairs(with_hubs(rng, 120), 120)
    (whole,) = pairs.cuts([0.05])
    monkeypatch.setattr("siamese.decision.cuts.MOST_REPLAYED", 3000)
    (part,) = pairs.cuts([0.05])
    assert part.score == whole.score
    assert (part.low, part.high) == pytest.approx((whole.low, whole.high), rel=0.25)


def test_few_individuals_say_nothing():
    (cut,) = all_pairs(np.arange(81.0).reshape(9, 9), 9).cuts([0.1])
    assert (cut.low, cut.high) == (0.0, 1.0)


def test_individuals_that_no_pair_shows_do_not_count(rng):
    for num_seen, known in ((9, False), (10, True)):
        pairs = all_pairs(with_hubs(rng, num_seen, spread=0.0), num_seen)
        (cut,) = DifferentPairs(pairs.scores, pairs.codes, 12).cuts([0.1])
        assert ((cut.low, cut.high) != (0.0, 1.0)) == known


def test_scores_that_are_all_equal_match_nobody():
    (cut,) = all_pairs(np.ones((12, 12)), 12).cuts([0.5])
    assert cut.score > 1.0
    assert (cut.rate, cut.reached, cut.low) == (0.5, 0.0, 0.0)


def test_no_pairs_are_told():
    with pytest.raises(SiameseError, match="among pairs of different individuals. Received: none"):
        DifferentPairs(np.empty(0), np.empty((2, 0), int), 2).cuts([0.1])


def test_the_same_seed_gives_the_same_interval(rng):
    pairs = all_pairs(with_hubs(rng), 60)
    assert pairs.cuts([0.05], seed=4) == pairs.cuts([0.05], seed=4)
    assert pairs.cuts([0.05], seed=4) != pairs.cuts([0.05], seed=5)
