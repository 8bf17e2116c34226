import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.assignment import solve_assignment
from siamese.candidates import MatrixScores, PairNoise, collect_candidates
from siamese.errors import InfeasiblePairing
from siamese.mining import NegativeMiner, hard_positives, nearest_negatives
from siamese.settings import MiningSettings

seeds = st.integers(0, 2**32 - 1)
ways = st.sampled_from(["dense", "sparse", "blocks"])


def miner_of(scores, identity, *, noise=0.0, seed=0, assignment="dense", keys=None, tile_size=4096, **settings):
    settings = MiningSettings(assignment=assignment, **settings)
    matrix = MatrixScores(np.asarray(scores, np.float32), tile_size)
    return NegativeMiner(matrix, identity, noise=noise, seed=[seed, 1], settings=settings, keys=keys)


def couples(pairs):
    return {frozenset(couple) for couple in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)}


def named(pairs, keys):
    return {frozenset(couple) for couple in zip(keys[pairs.left].tolist(), keys[pairs.right].tolist(), strict=True)}


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
    pairs = miner_of(scores, identity).draw()
    assert couples(pairs) == {frozenset(c) for c in [(0, 2), (2, 4), (4, 0), (1, 3), (3, 5), (5, 1)]}


@given(seed=seeds, count=st.integers(6, 24), noise=st.sampled_from([0.0, 0.25, 1000.0]), way=ways)
def test_every_epoch_pairs_different_animals_and_no_pair_comes_again_in_either_order(seed, count, noise, way):
    rng = np.random.default_rng(seed)
    identity = crowds(rng, count)
    miner = miner_of(draw_scores(rng, count), identity, noise=noise, seed=seed, assignment=way, num_candidates=6)
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
    pairs = miner_of(draw_scores(rng, 30), np.repeat(np.arange(10), 3), noise=1).draw()
    assert set(pairs.left.tolist()) | set(pairs.right.tolist()) == set(range(30))


@pytest.mark.parametrize("way", ["dense", "sparse"])
def test_few_couples_choose_each_other_so_nearly_every_image_stands_left_once(way, rng):
    counts = [
        len(miner_of(draw_scores(rng, 30), np.repeat(np.arange(10), 3), noise=1, assignment=way).draw())
        for _ in range(20)
    ]
    assert np.mean(counts) > 28


@pytest.mark.parametrize("way", ["dense", "sparse", "blocks"])
@pytest.mark.parametrize("noise", [0, 1000])
def test_each_image_counts_as_often_when_one_identity_holds_exactly_half(noise, way, rng):
    identity = np.repeat([0, 1, 2], [10, 5, 5])
    pairs = miner_of(draw_scores(rng, 20), identity, noise=noise, assignment=way).draw()
    assert not np.any(identity[pairs.left] == identity[pairs.right])
    assert set(pairs.left.tolist()) | set(pairs.right.tolist()) == set(range(20))


def test_noise_decides_against_the_scores_once_it_is_wide(rng):
    scores = draw_scores(rng, 24)
    identity = np.arange(24)

    def mean_score(noise):
        pairs = miner_of(scores, identity, noise=noise, seed=3).draw()
        return scores[pairs.left, pairs.right].mean()

    assert mean_score(0) > mean_score(2) > mean_score(1000)
    assert abs(mean_score(1000) - scores[~np.eye(24, dtype=bool)].mean()) < 0.5


@pytest.mark.parametrize("way", ["dense", "sparse", "blocks"])
def test_unknown_individuals_are_never_paired_with_each_other(way, rng):
    identity = np.array([-1, -1, -2, 0, 0, 1, 1, 2])
    pairs = miner_of(draw_scores(rng, 8), identity, assignment=way).draw()
    assert not np.any((identity[pairs.left] < 0) & (identity[pairs.right] < 0))


@pytest.mark.parametrize("way", ["dense", "sparse"])
def test_under_one_matrix_all_pairs_are_used_before_one_comes_again(way, rng):
    identity = np.array([0, 0, 1, 1, 2, 2])  # twelve pairs of different animals
    miner = miner_of(draw_scores(rng, 6), identity, assignment=way)
    seen = set()
    while len(seen) < 12:
        drawn = couples(miner.draw())
        assert drawn
        assert not drawn & seen
        seen |= drawn
    again = couples(miner.draw())
    assert again
    assert again <= seen


def test_an_assignment_says_where_it_could_not_avoid_a_used_pair(rng):
    identity = np.repeat(np.arange(5), 2)
    miner = miner_of(draw_scores(rng, 10), identity, assignment="sparse", num_candidates=3)
    used, refused = {frozenset(two) for two in np.argwhere(identity[:, None] == identity).tolist()}, 0
    for _ in range(4):
        drawn = couples(miner.draw())
        taken = [frozenset(couple) for couple in enumerate(miner.assignment.column.tolist())]
        for couple, allowed in zip(taken, miner.assignment.allowed, strict=True):
            assert allowed == (couple not in used)
            refused += not allowed
        used |= drawn
    assert refused > 0


@pytest.mark.parametrize("way", ["dense", "sparse", "blocks"])
def test_two_animals_with_one_photo_each_make_one_pair(way):
    pairs = miner_of(np.zeros((2, 2)), np.array([0, 1]), assignment=way).draw()
    assert couples(pairs) == {frozenset((0, 1))}
    assert len(pairs) == 1


@given(seed=seeds, way=ways, noise=st.sampled_from([0.25, 100.0]), tile_size=st.integers(5, 40))
def test_neither_the_order_of_the_images_nor_the_size_of_the_tiles_changes_the_pairs(seed, way, noise, tile_size):
    rng = np.random.default_rng(seed)
    scores, identity = draw_scores(rng, 30), crowds(rng, 30)
    keys, order = rng.choice(10_000, 30, replace=False), rng.permutation(30)
    first = miner_of(scores, identity, noise=noise, assignment=way, num_candidates=5, keys=keys)
    second = miner_of(
        scores[np.ix_(order, order)],
        identity[order],
        noise=noise,
        assignment=way,
        num_candidates=5,
        keys=keys[order],
        tile_size=tile_size,
    )
    for _ in range(2):
        one, other = first.draw(), second.draw()
        assert named(one, keys) == named(other, keys[order])


@pytest.mark.parametrize("way", ["dense", "sparse", "blocks"])
def test_the_same_seed_gives_the_same_pairs(way, rng):
    scores, identity = draw_scores(rng, 20), np.repeat(np.arange(5), 4)
    first, second, other = (miner_of(scores, identity, noise=1, seed=seed, assignment=way) for seed in (1, 1, 2))
    for _ in range(3):
        right = first.draw().right
        assert np.array_equal(right, second.draw().right)
        assert not np.array_equal(right, other.draw().right)


@pytest.mark.parametrize("way", ["dense", "sparse", "blocks"])
def test_scores_and_identities_stay_unchanged(way, rng):
    scores, identity = draw_scores(rng, 12), np.repeat(np.arange(4), 3)
    before = scores.copy(), identity.copy()
    miner = miner_of(scores, identity, noise=100, assignment=way, suspect_margin=0.0, mid_rank_share=0.5)
    for _ in range(3):
        miner.draw()
    assert np.array_equal(scores, before[0])
    assert np.array_equal(identity, before[1])


@pytest.mark.parametrize(
    ("codes", "who"), [([0, 7, 7, 7, 1], "identity 7"), ([-1, 3, -2, -1, 1], "the unknown individuals")]
)
def test_an_identity_of_more_than_half_is_refused_with_its_name_and_numbers(codes, who):
    with pytest.raises(
        InfeasiblePairing, match=rf"more than half of the images. Received: 3 of 5 for {who}. Draw fewer"
    ):
        miner_of(np.zeros((5, 5)), np.array(codes))


@given(seed=seeds, noise=st.sampled_from([0.0, 0.25, 1000.0]))
def test_candidates_that_cover_all_cost_as_little_as_the_whole_matrix(seed, noise):
    rng = np.random.default_rng(seed)
    scores, identity = draw_scores(rng, 24), crowds(rng, 24)
    dense, sparse = (
        miner_of(scores, identity, noise=noise, assignment=way, num_candidates=24) for way in ("dense", "sparse")
    )
    for miner in (dense, sparse):
        miner.draw()
        assert miner.assignment.allowed.all()
    assert sparse.assignment.cost == pytest.approx(dense.assignment.cost, rel=1e-6, abs=1e-5)


@given(seed=seeds, num_candidates=st.integers(2, 8), way=st.sampled_from(["sparse", "blocks"]))
def test_a_shortcut_never_costs_less_than_the_whole_matrix_and_tells_its_true_cost(seed, num_candidates, way):
    rng = np.random.default_rng(seed)
    scores, identity = draw_scores(rng, 30), crowds(rng, 30)
    miner = miner_of(scores, identity, noise=2, assignment=way, num_candidates=num_candidates)
    miner.draw()
    noise, index = PairNoise(np.arange(30), width=2, seed=[0, 1]), np.arange(30)
    cost = -(scores + noise.of(noise.hashed(index[:, None], index)))
    best = solve_assignment(cost, identity[:, None] == identity)
    assert sorted(miner.assignment.column.tolist()) == index.tolist()
    assert miner.assignment.cost == pytest.approx(cost[index, miner.assignment.column].sum(), abs=1e-3)
    assert miner.assignment.cost >= best.cost - 1e-3


def hub_scores(rng, count):
    """Some images are alike to all others, so they stand in every list of the best."""
    vectors = rng.normal(size=(count, 16)) * rng.gamma(3, 0.4, size=(count, 1))
    return (vectors @ vectors.T + 3 * (charm := rng.normal(size=count)) + 3 * charm[:, None]).astype(np.float32)


def test_few_candidates_come_within_a_thousandth_of_the_whole_matrix_though_some_images_are_in_every_list(rng):
    scores, identity = hub_scores(rng, 600), np.arange(600) // 3
    costs = {}
    for way in ("dense", "sparse"):
        miner = miner_of(scores, identity, noise=1, assignment=way, num_candidates=64)
        miner.draw()
        costs[way] = miner.assignment.cost
    assert costs["sparse"] == pytest.approx(costs["dense"], rel=1e-3)


def test_above_1024_images_the_candidates_are_solved_alone(rng):
    scores, identity = draw_scores(rng, 1100), np.arange(1100) // 2
    miner = miner_of(scores, identity, noise=0.25, assignment="auto", num_candidates=16)
    pairs = miner.draw()
    assert (miner.method, miner.assignment.method) == ("sparse", "sparse")
    assert miner_of(scores[:900, :900], identity[:900], assignment="auto").method == "dense"
    assert len(pairs) > 1050
    assert not np.any(identity[pairs.left] == identity[pairs.right])


def test_blocks_pair_every_image_within_its_block_and_spread_each_identity(rng):
    identity = np.repeat([0, 1, 2, 3], [1000, 700, 500, 300])
    scores = draw_scores(rng, 2500)
    miner = miner_of(scores, identity, noise=1, assignment="blocks")
    pairs = miner.draw()
    assert not np.any(identity[pairs.left] == identity[pairs.right])
    column = miner.assignment.column
    assert sorted(column.tolist()) == list(range(2500))
    cost = -scores[np.arange(2500), column].sum()
    assert cost - 2500 < miner.assignment.cost < cost


@pytest.mark.parametrize("way", ["dense", "sparse"])
def test_a_pair_far_above_the_best_positive_is_left_out_and_listed(way):
    identity = np.array([0, 0, 1, 1, 2, 3])
    scores = np.zeros((6, 6))
    for left, right, score in [(0, 1, 4), (2, 3, 6), (0, 2, 9), (1, 3, 6.5), (4, 5, 20)]:
        scores[left, right] = scores[right, left] = score
    miner = miner_of(scores, identity, assignment=way, suspect_margin=3.0)
    found = miner.suspects
    assert (found.left.tolist(), found.right.tolist()) == ([0], [2])  # 4 and 5 have no positive to tell by
    assert (found.score.tolist(), found.excess.tolist()) == ([9], [5])
    for _ in range(8):
        assert frozenset((0, 2)) not in couples(miner.draw())
    assert len(miner_of(scores, identity, assignment=way).suspects.left) == 0


@pytest.mark.parametrize("way", ["dense", "sparse"])
def test_a_share_of_the_images_gets_partners_from_the_mid_ranks(way, rng):
    scores, identity = draw_scores(rng, 900), np.arange(900)

    def ranks(share):
        miner = miner_of(scores, identity, assignment=way, num_candidates=64, mid_rank_share=share)
        miner.draw()
        column = miner.assignment.column
        return (scores > scores[identity, column][:, None]).sum(axis=1) + 1

    assert np.mean(ranks(0.0) > 40) < 0.05
    assert np.mean(ranks(0.5) > 40) == pytest.approx(0.45, abs=0.1)
    assert np.median(ranks(1.0)) == pytest.approx(100, abs=50)


def test_the_nearest_negatives_are_drawn_from_the_first_candidates(rng):
    scores, identity = draw_scores(rng, 20), np.arange(20) // 2
    noise = PairNoise(np.arange(20), width=0, seed=[0])
    candidates, _ = collect_candidates(MatrixScores(scores).tiles(), identity, noise, num_candidates=6)
    drawn = [nearest_negatives(candidates, 3, rng=rng) for _ in range(60)]
    for pairs in drawn:
        assert pairs.left.tolist() == list(range(20))
        assert not np.any(identity[pairs.left] == identity[pairs.right])
    for image in range(20):
        assert {int(pairs.right[image]) for pairs in drawn} == set(candidates.column[image, :3].tolist())


def test_the_least_alike_photos_of_an_animal_become_its_hard_positives(rng):
    group = np.array([5, 5, 5, 5, -1, 8, 8, 9])
    scores = np.full((8, 8), 50.0)
    scores[:4, :4] = [[9, 8, 1, 7], [8, 9, 7, 1], [1, 7, 9, 8], [7, 1, 8, 9]]
    pairs = hard_positives(MatrixScores(scores), group, noise=0, rng=rng)
    assert dict(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)) == {0: 2, 2: 0, 1: 3, 3: 1, 5: 6, 6: 5}


@given(seed=seeds, noise=st.sampled_from([0.0, 1.0, 1000.0]))
def test_hard_positives_give_each_image_another_of_its_group_and_use_it_once(seed, noise):
    rng = np.random.default_rng(seed)
    group, scores = rng.integers(-1, 6, 30), draw_scores(rng, 30)
    before = scores.copy()
    pairs = hard_positives(MatrixScores(scores), group, noise=noise, rng=rng)
    sizes = np.bincount(group[group >= 0], minlength=6)
    assert sorted(pairs.left.tolist()) == np.flatnonzero((group >= 0) & (sizes[group] > 1)).tolist()
    assert sorted(pairs.right.tolist()) == sorted(pairs.left.tolist())
    assert np.all(pairs.left != pairs.right)
    assert np.array_equal(group[pairs.left], group[pairs.right])
    assert np.array_equal(scores, before)


def test_noise_changes_which_positives_are_hard(rng):
    group, scores = np.zeros(12, int), MatrixScores(draw_scores(rng, 12))
    drawn = [hard_positives(scores, group, noise=100, rng=rng).right for _ in range(2)]
    assert not np.array_equal(*drawn)


def test_no_group_of_two_gives_no_hard_positives(rng):
    assert len(hard_positives(MatrixScores(np.zeros((2, 2))), np.array([0, 1]), noise=0, rng=rng)) == 0
