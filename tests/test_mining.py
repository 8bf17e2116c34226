import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import InfeasiblePairing
from siamese.mining import NegativeMiner, check_pairing

seeds = st.integers(0, 2**32 - 1)


def couples(pairs):
    return {frozenset(couple) for couple in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)}


def draw_scores(rng, count):
    scores = rng.normal(size=(count, count)).astype(np.float32)
    return (scores + scores.T) / 2


def crowds(rng, count):
    """Identities none of which holds more than half of the images."""
    identity = rng.integers(0, 6, count)
    while 2 * np.bincount(identity).max() > count:
        identity = rng.integers(0, 6, count)
    return identity


def test_the_likeliest_confusions_are_taken(rng):
    identity = np.array([0, 0, 1, 1, 2, 2])
    scores = np.zeros((6, 6), np.float32)
    for left, right in [(0, 2), (2, 4), (4, 0), (1, 3), (3, 5), (5, 1)]:
        scores[left, right] = scores[right, left] = 5
    scores[0, 1] = scores[1, 0] = 99  # the same animal: not a confusion
    pairs = NegativeMiner(scores, identity, noise=0, rng=rng).draw()
    assert couples(pairs) == {frozenset(c) for c in [(0, 2), (2, 4), (4, 0), (1, 3), (3, 5), (5, 1)]}


@given(seed=seeds, count=st.integers(6, 24), noise=st.sampled_from([0.0, 0.25, 1000.0]))
def test_every_epoch_pairs_different_animals_and_no_pair_comes_again_in_either_order(seed, count, noise):
    rng = np.random.default_rng(seed)
    identity = crowds(rng, count)
    miner = NegativeMiner(draw_scores(rng, count), identity, noise=noise, rng=rng)
    first, second = miner.draw(), miner.draw()
    for pairs in (first, second):
        assert not np.any(identity[pairs.left] == identity[pairs.right])
        assert len(couples(pairs)) == len(pairs)
        for side in (pairs.left, pairs.right):
            assert len(np.unique(side)) == len(side)
    possible = int(np.sum(identity[:, None] != identity)) // 2
    if len(first) < possible:
        assert not couples(first) & couples(second)


@given(seed=seeds)
def test_every_image_finds_a_partner_where_others_are_many(seed):
    rng = np.random.default_rng(seed)
    pairs = NegativeMiner(draw_scores(rng, 30), np.repeat(np.arange(10), 3), noise=1, rng=rng).draw()
    assert set(pairs.left.tolist()) | set(pairs.right.tolist()) == set(range(30))


def test_few_couples_choose_each_other_so_nearly_every_image_stands_left_once(rng):
    counts = [
        len(NegativeMiner(draw_scores(rng, 30), np.repeat(np.arange(10), 3), noise=1, rng=rng).draw())
        for _ in range(20)
    ]
    assert np.mean(counts) > 28


@pytest.mark.parametrize("noise", [0, 1000])
def test_each_image_counts_as_often_when_one_identity_holds_exactly_half(noise, rng):
    identity = np.repeat([0, 1, 2], [10, 5, 5])
    pairs = NegativeMiner(draw_scores(rng, 20), identity, noise=noise, rng=rng).draw()
    assert not np.any(identity[pairs.left] == identity[pairs.right])
    assert set(pairs.left.tolist()) | set(pairs.right.tolist()) == set(range(20))


def test_noise_decides_against_the_scores_once_it_is_wide(rng):
    scores = draw_scores(rng, 24)
    identity = np.arange(24)

    def mean_score(noise):
        pairs = NegativeMiner(scores, identity, noise=noise, rng=np.random.default_rng(3)).draw()
        return scores[pairs.left, pairs.right].mean()

    assert mean_score(0) > mean_score(2) > mean_score(1000)
    assert abs(mean_score(1000) - scores[~np.eye(24, dtype=bool)].mean()) < 0.5


def test_unknown_individuals_are_never_paired_with_each_other(rng):
    identity = np.array([-1, -1, -1, 0, 0, 1, 1, 2])
    pairs = NegativeMiner(draw_scores(rng, 8), identity, noise=0, rng=rng).draw()
    assert not np.any((identity[pairs.left] < 0) & (identity[pairs.right] < 0))


def test_under_one_matrix_all_pairs_are_used_before_one_comes_again(rng):
    identity = np.array([0, 0, 1, 1, 2, 2])  # twelve pairs of different animals
    miner = NegativeMiner(draw_scores(rng, 6), identity, noise=0, rng=rng)
    seen = set()
    while len(seen) < 12:
        drawn = couples(miner.draw())
        assert drawn
        assert not drawn & seen
        seen |= drawn
    again = couples(miner.draw())
    assert again
    assert again <= seen


def test_two_animals_with_one_photo_each_make_one_pair(rng):
    pairs = NegativeMiner(np.zeros((2, 2), np.float32), np.array([0, 1]), noise=0, rng=rng).draw()
    assert couples(pairs) == {frozenset((0, 1))}
    assert len(pairs) == 1


def test_the_same_seed_gives_the_same_pairs(rng):
    scores, identity = draw_scores(rng, 20), np.repeat(np.arange(5), 4)
    first, second = (NegativeMiner(scores, identity, noise=1, rng=np.random.default_rng(1)) for _ in range(2))
    for _ in range(3):
        assert np.array_equal(first.draw().right, second.draw().right)


def test_scores_and_identities_stay_unchanged(rng):
    scores, identity = draw_scores(rng, 12), np.repeat(np.arange(4), 3)
    before = scores.copy(), identity.copy()
    miner = NegativeMiner(scores, identity, noise=100, rng=rng)
    for _ in range(3):
        miner.draw()
    assert np.array_equal(scores, before[0])
    assert np.array_equal(miner.scores, before[0])
    assert np.array_equal(identity, before[1])


def test_an_identity_of_more_than_half_is_refused_with_its_numbers(rng):
    identity = np.array([0, 0, 0, 1, 2])
    with pytest.raises(InfeasiblePairing, match=r"more than half of the images. Received: 3 of 5. Draw fewer"):
        NegativeMiner(np.zeros((5, 5)), identity, noise=0, rng=rng)
    check_pairing(np.array([0, 0, 1, 2]))
