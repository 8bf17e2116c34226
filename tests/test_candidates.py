import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.candidates import Candidates, MatrixScores, MatrixTile, PairNoise, collect_candidates

seeds = st.integers(0, 2**32 - 1)
noises = st.sampled_from([0.0, 0.25, 3.0, 1000.0])


def draw_scores(rng, count, *, digits=7):
    scores = rng.normal(size=(count, count)).astype(np.float32)
    return np.round(scores + scores.T, digits)


def noise_matrix(noise, count):
    index = np.arange(count)
    return noise.of(noise.hashed(index[:, None], index))


def collect(scores, identity, noise, tile_size=4096, **options):
    return collect_candidates(MatrixScores(scores, tile_size).tiles(), identity, noise, **options)


def brute_force(scores, identity, noise, num_candidates, prices=0.0):
    """The best columns of each row by value, then by hash, from the whole matrix."""
    index = np.arange(len(scores))
    hashed = noise.hashed(index[:, None], index)
    value = (scores - np.float32(prices)) + noise.of(hashed)
    known = np.maximum(identity, -1)
    allowed = known[:, None] != known
    order = np.lexsort((-hashed.astype(np.int64), -value, ~allowed), axis=1)
    best = np.where(np.take_along_axis(allowed, order, axis=1), order, -1)
    return best[:, :num_candidates]


def test_each_image_keeps_its_best_negatives_in_order():
    scores = np.array([[0, 9, 5, 6], [9, 0, 7, 1], [5, 7, 0, 9], [6, 1, 9, 0]], np.float32)
    best, _ = collect(scores, np.array([0, 0, 1, 1]), PairNoise(np.arange(4), width=0, seed=[0]), num_candidates=2)
    assert best.column.tolist() == [[3, 2], [2, 3], [1, 0], [0, 1]]
    assert best.score.tolist() == [[6, 5], [7, 1], [7, 5], [6, 1]]
    assert best.noisy.tolist() == best.score.tolist()
    assert best.lowest.tolist() == [5, 1, 5, 1]


@given(seed=seeds, count=st.integers(2, 40), width=noises, num_candidates=st.integers(1, 12), priced=st.booleans())
def test_the_candidates_are_those_of_the_whole_matrix(seed, count, width, num_candidates, priced):
    rng = np.random.default_rng(seed)
    scores, identity = draw_scores(rng, count, digits=1), rng.integers(-2, 4, count)  # with ties
    noise = PairNoise(np.arange(count), width=width, seed=[seed])
    prices = rng.normal(size=count).astype(np.float32) if priced else np.zeros(count, np.float32)
    best, _ = collect(scores, identity, noise, num_candidates=num_candidates, prices=prices)
    expected = brute_force(scores, identity, noise, num_candidates, prices)[:, : best.column.shape[1]]
    assert best.column.tolist() == expected.tolist()
    row, place = np.nonzero(best.column >= 0)
    column = best.column[row, place]
    assert np.array_equal(best.score[row, place], scores[row, column])
    assert np.array_equal(best.noisy[row, place], (scores + noise_matrix(noise, count))[row, column])


@pytest.mark.parametrize("width", [0, 0.5, 50])
def test_many_images_and_full_rows_give_the_same_as_the_whole_matrix(rng, width):
    count = 700  # more than a block and than a row's room
    scores, identity = draw_scores(rng, count), rng.integers(0, 200, count)
    noise = PairNoise(np.arange(count), width=width, seed=[1])
    best, _ = collect(scores, identity, noise, tile_size=300, num_candidates=5)
    assert np.array_equal(best.column, brute_force(scores, identity, noise, 5))


@given(seed=seeds, tile_size=st.integers(4, 40), width=noises)
def test_the_size_and_order_of_the_tiles_do_not_matter(seed, tile_size, width):
    rng = np.random.default_rng(seed)
    scores, identity = draw_scores(rng, 30, digits=1), rng.integers(0, 9, 30)
    noise = PairNoise(np.arange(30), width=width, seed=[seed])
    tiles = list(MatrixScores(scores, tile_size).tiles())
    shuffled = [tiles[number] for number in rng.permutation(len(tiles))]
    expected = collect(scores, identity, noise, num_candidates=4, num_mid_ranks=4)
    found = collect_candidates(shuffled, identity, noise, num_candidates=4, num_mid_ranks=4)
    for one, other in zip(expected, found, strict=True):
        for name in ("column", "score", "noisy", "lowest"):
            assert np.array_equal(getattr(one, name), getattr(other, name))


def test_tiles_of_the_whole_square_and_tiles_across_the_diagonal_count_each_pair_once(rng):
    scores, identity = draw_scores(rng, 30), np.arange(30) // 3
    noise = PairNoise(np.arange(30), width=1, seed=[0])
    square = [
        MatrixTile(slice(row, row + 6), slice(column, column + 10), scores[row : row + 6, column : column + 10])
        for row in range(0, 30, 6)
        for column in range(0, 30, 10)
    ]
    found, _ = collect_candidates(square, identity, noise, num_candidates=7)
    assert np.array_equal(found.column, collect(scores, identity, noise, num_candidates=7)[0].column)


@given(seed=seeds, width=noises)
def test_another_order_of_the_images_gives_the_same_candidates_by_key(seed, width):
    rng = np.random.default_rng(seed)
    scores, identity = draw_scores(rng, 25), rng.integers(0, 6, 25)
    keys, order = rng.choice(1000, 25, replace=False), rng.permutation(25)
    first, _ = collect(scores, identity, PairNoise(keys, width=width, seed=[3]), num_candidates=6)
    noise = PairNoise(keys[order], width=width, seed=[3])
    second, _ = collect(scores[np.ix_(order, order)], identity[order], noise, num_candidates=6)
    assert np.array_equal(
        np.where(first.column < 0, -1, keys[first.column])[order],
        np.where(second.column < 0, -1, keys[order][second.column]),
    )


def test_noise_is_uniform_and_that_of_a_pair_tells_nothing_of_its_neighbours():
    noise = noise_matrix(PairNoise(np.arange(600), width=2, seed=[7, 1]), 600)
    assert noise.dtype == np.float32
    assert 0 <= noise.min() < noise.max() < 2
    counts = np.histogram(noise, bins=50, range=(0, 2))[0]
    assert np.all(np.abs(counts - noise.size / 50) < 5 * np.sqrt(noise.size / 50))
    for other in (noise.T, np.roll(noise, 1, axis=0), np.roll(noise, 1, axis=1)):
        assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.01
    square = noise[:-1, :-1] + noise[1:, 1:] - noise[1:, :-1] - noise[:-1, 1:]
    assert np.var(square) == pytest.approx(4 * 4 / 12, rel=0.02)  # four independent ones


@pytest.mark.parametrize("seed", [[8, 1], [7, 2]])
def test_another_seed_or_round_gives_other_noise(seed):
    first, second = (noise_matrix(PairNoise(np.arange(300), width=1, seed=s), 300) for s in ([7, 1], seed))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


def test_mid_ranks_are_spread_evenly_over_the_first_32_times_as_many(rng):
    scores = draw_scores(rng, 1000)
    noise = PairNoise(np.arange(1000), width=0, seed=[5])
    _, mid = collect(scores, np.arange(1000), noise, num_candidates=4, num_mid_ranks=10)
    np.fill_diagonal(scores, -np.inf)
    rank = (scores[:, None, :] > mid.score[:, :, None]).sum(axis=2) + 1
    assert rank.mean(axis=0) == pytest.approx(32 * np.arange(1, 11), rel=0.1)
    assert np.mean(rank[:, 0] == 1) == pytest.approx(1 / 32, abs=0.02)


def test_few_images_have_as_many_mid_ranks_as_candidates(rng):
    noise = PairNoise(np.arange(8), width=0, seed=[5])
    best, mid = collect(draw_scores(rng, 8), np.arange(8), noise, num_candidates=8, num_mid_ranks=8)
    assert np.array_equal(best.column, mid.column)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_told(value):
    scores = np.zeros((3, 3), np.float32)
    scores[0, 1] = value
    with pytest.raises(ValueError, match="`scores` must be finite: a score is infinite or not a number"):
        collect(scores, np.arange(3), PairNoise(np.arange(3), width=0, seed=[0]), num_candidates=1)


def test_pairs_left_out_by_the_tiles_are_told(rng):
    tiles = list(MatrixScores(draw_scores(rng, 9), 3).tiles())
    noise = PairNoise(np.arange(9), width=0, seed=[0])
    with pytest.raises(ValueError, match="`tiles` must cover the 36 pairs of 9 images once. Received: 27."):
        collect_candidates(tiles[:1] + tiles[2:], np.arange(9), noise, num_candidates=2)


def test_scores_identities_and_prices_stay_unchanged(rng):
    scores, identity, prices = draw_scores(rng, 20), np.arange(20) // 2, rng.normal(size=20)
    before = scores.copy(), identity.copy(), prices.copy()
    noise = PairNoise(np.arange(20), width=9, seed=[0])
    assert isinstance(collect(scores, identity, noise, num_candidates=3, prices=prices)[0], Candidates)
    for now, then in zip((scores, identity, prices), before, strict=True):
        assert np.array_equal(now, then)
