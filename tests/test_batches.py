import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.batches import BatchPlan, PairBatches, mirrored, plan_pairs, plan_walk, walk
from siamese.candidates import MatrixScores
from siamese.mining import NegativeMiner
from siamese.pairs import Pairs, positive_pairs
from siamese.settings import MiningSettings

seeds = st.integers(0, 2**32 - 1)


def plan_of(identity, *, seed=0, batch_size=8, pairs_per_image=4, group=None, limit=None, random_share=0.5):
    rng = np.random.default_rng(seed)
    group = identity if group is None else group
    scores = rng.normal(size=(len(identity),) * 2).astype(np.float32)
    scores += scores.T
    positives, negatives = (
        positive_pairs(group, rng=rng),
        NegativeMiner(MatrixScores(scores), identity, noise=0, seed=[seed], settings=MiningSettings()).draw(),
    )
    plan = plan_walk(
        positives,
        negatives,
        group=group,
        identity=identity,
        scores=MatrixScores(scores),
        limit=np.full(len(identity), np.inf) if limit is None else limit,
        batch_size=batch_size,
        pairs_per_image=pairs_per_image,
        random_share=random_share,
        rng=rng,
    )
    return plan, scores


def ends(plan):
    """Image indices of both sides of each pair, `(num_batches, num_pairs)` each."""
    rows = np.arange(len(plan))[:, None]
    return plan.images[rows, plan.left], plan.images[rows, plan.right]


def test_a_walk_goes_from_partner_to_partner(rng):
    # Couples 0-1, 2-3, 4-5; the hard negatives 1 -> 2, 3 -> 4, 5 -> 0 close one circle.
    order = walk(np.array([1, 0, 3, 2, 5, 4]), np.array([5, 2, 1, 4, 3, 0]), rng=rng).tolist()
    couples = [tuple(sorted(order[place : place + 2])) for place in (0, 2, 4)]
    assert sorted(couples) == [(0, 1), (2, 3), (4, 5)]


@given(seeds, st.lists(st.integers(0, 4), min_size=2, max_size=30).map(np.array))
def test_a_walk_visits_each_image_once_and_couples_stand_side_by_side(seed, group):
    rng = np.random.default_rng(seed)
    partner = positive_pairs(group, rng=rng).partner(len(group))
    order = walk(partner, rng.integers(-1, len(group), len(group)), rng=rng)
    assert np.sort(order).tolist() == list(range(len(group)))
    place = np.argsort(order)
    for image, other in enumerate(partner):
        if other >= 0 and partner[other] == image:
            assert abs(place[image] - place[other]) == 1


def test_a_walk_without_partners_is_a_random_order(rng):
    alone = np.full(50, -1)
    orders = [walk(alone, alone, rng=rng).tolist() for _ in range(2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == list(range(50))


@given(seed=seeds, batch_size=st.sampled_from([4, 8, 10]), pairs_per_image=st.integers(1, 8))
def test_walked_batches_encode_every_image_and_compare_truthfully(seed, batch_size, pairs_per_image):
    identity = np.repeat(np.arange(7), 3)
    plan, _ = plan_of(identity, seed=seed, batch_size=batch_size, pairs_per_image=pairs_per_image)
    assert len(plan) == -(-21 // batch_size)
    assert sorted(plan.images.ravel()[:21].tolist()) == list(range(21))
    left, right = ends(plan)
    assert np.array_equal(plan.target, identity[left] == identity[right])
    assert not np.any(left == right)
    assert plan.left.shape[1] == min(batch_size * pairs_per_image, batch_size * (batch_size - 1) // 2)


@given(seed=seeds)
def test_in_each_walked_batch_both_targets_weigh_the_same_and_one_on_average(seed):
    plan, _ = plan_of(np.repeat(np.arange(9), 4), seed=seed, batch_size=12)
    np.testing.assert_allclose(plan.weight.mean(axis=1), 1, rtol=1e-5)
    for target, weight in zip(plan.target, plan.weight, strict=True):
        assert weight[target == 1].sum() == pytest.approx(weight[target == 0].sum(), rel=1e-5)


def test_a_batch_of_one_target_alone_weighs_one_everywhere():
    plan, _ = plan_of(np.arange(8))
    assert not plan.target.any()
    assert np.array_equal(plan.weight, np.ones_like(plan.weight))


def negatives_of(plan):
    left, right = (side[plan.target == 0] for side in ends(plan))
    return {frozenset(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)}


def assigned_of(identity, seed=0):
    """The hard negatives that `plan_of` walks along."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(identity),) * 2).astype(np.float32)
    miner = NegativeMiner(MatrixScores(scores + scores.T), identity, noise=0, seed=[seed], settings=MiningSettings())
    drawn = miner.draw()
    return {frozenset(pair) for pair in zip(drawn.left.tolist(), drawn.right.tolist(), strict=True)}


def test_a_walked_batch_compares_the_assigned_negatives_and_then_the_highest_scored():
    identity = np.repeat(np.arange(8), 2)
    plan, scores = plan_of(identity, batch_size=16, pairs_per_image=2, random_share=0.0)
    assigned = assigned_of(identity)
    others = [(a, b) for a in range(16) for b in range(a) if identity[a] != identity[b] and {a, b} not in assigned]
    hardest = sorted(others, key=lambda pair: -scores[pair])[: 32 - 8 - len(assigned)]
    assert negatives_of(plan) == assigned | {frozenset(pair) for pair in hardest}


@given(seeds)
def test_the_random_share_of_the_negatives_is_not_chosen_by_score(seed):
    identity = np.repeat(np.arange(8), 2)
    plan, _ = plan_of(identity, seed=seed, batch_size=16, pairs_per_image=4, random_share=0.5)
    assert assigned_of(identity, seed) <= negatives_of(plan)
    assert len(negatives_of(plan)) == 64 - 8


def test_an_individual_is_mirrored_as_a_whole_or_not_at_all(rng):
    identity, images = np.repeat(np.arange(6), 4), np.stack([rng.permutation(24) for _ in range(50)])
    flips = mirrored(images, identity, 0.5, rng=rng)
    for batch, flip in zip(identity[images], flips, strict=True):
        assert all(len(set(flip[batch == code])) == 1 for code in range(6))
    assert 0.4 < flips.mean() < 0.6
    assert not mirrored(images, identity, 0.0, rng=rng).any()


def test_pairs_of_one_animal_but_another_group_are_not_compared():
    identity = np.repeat(np.arange(6), 4)
    group = 2 * identity + np.tile([0, 0, 1, 1], 6)  # two flanks
    plan, _ = plan_of(identity, group=group, batch_size=24)
    left, right = ends(plan)
    assert not np.any((identity[left] == identity[right]) & (group[left] != group[right]))
    assert np.array_equal(plan.target, group[left] == group[right])


def test_two_unknown_individuals_are_never_compared():
    plan, _ = plan_of(np.array([-1, -1, -1, 0, 0, 1, 1, 2, 2]), batch_size=9)
    identity = np.array([-1, -1, -1, 0, 0, 1, 1, 2, 2])
    left, right = ends(plan)
    assert not np.any((identity[left] < 0) & (identity[right] < 0))


def test_unknown_individuals_that_no_walk_meets_are_spread_evenly(rng):
    named, alone = np.array([1, 0, 3, 2]), np.full(4, -1)  # two couples, and four unknown ones that nobody is led to
    order = walk(np.append(named, alone), np.full(8, -1), rng=rng, unknown=np.arange(8) >= 4)
    assert sorted(order.tolist()) == list(range(8))
    assert max(np.diff(np.flatnonzero(order < 4)).max(), np.diff(np.flatnonzero(order >= 4)).max()) <= 3


@given(seed=seeds)
def test_every_walked_batch_compares_something_where_nearly_half_of_the_images_are_unknown(seed):
    identity = np.append(np.repeat(np.arange(20), 2), np.full(36, -1))
    plan, _ = plan_of(identity, seed=seed, batch_size=8)
    assert sorted(set(plan.images.ravel().tolist())) == list(range(76))
    left, right = ends(plan)
    assert not np.any((identity[left] < 0) & (identity[right] < 0))


def test_the_last_walked_batch_is_filled_with_images_of_the_first():
    plan, _ = plan_of(np.repeat(np.arange(5), 2), batch_size=8)
    assert plan.images.shape == (2, 8)
    assert np.array_equal(plan.images[1, 2:], plan.images[0, :6])


def test_classical_batches_hold_as_many_positive_as_negative_pairs_and_each_image_in_one_pair(rng):
    positives = Pairs(np.arange(8), np.array([1, 0, 3, 2, 5, 4, 7, 6]))
    negatives = Pairs(np.arange(8), np.array([2, 3, 4, 5, 6, 7, 0, 1]))
    plan = plan_pairs(positives, negatives, batch_size=8, rng=rng)
    assert plan.images.shape == (4, 8)
    assert plan.target.tolist() == [[1, 1, 0, 0]] * 4
    assert np.array_equal(np.sort(np.concatenate([plan.left, plan.right], axis=1)), np.tile(np.arange(8), (4, 1)))
    couples = list(zip(*(side.ravel().tolist() for side in ends(plan)), plan.target.ravel().tolist(), strict=True))
    expected = [(a, b, 1.0) for a, b in zip(positives.left.tolist(), positives.right.tolist(), strict=True)]
    expected += [(a, b, 0.0) for a, b in zip(negatives.left.tolist(), negatives.right.tolist(), strict=True)]
    assert sorted(couples) == sorted(expected)


def test_thirty_two_pairs_of_a_classical_batch_need_64_images(rng):
    same = Pairs(np.arange(40), np.roll(np.arange(40), 1))
    plan = plan_pairs(same, same, batch_size=64, rng=rng)
    assert plan.images.shape == (3, 64)
    assert plan.target.sum(axis=1).tolist() == [16, 16, 16]
    assert np.array_equal(plan.weight, np.ones((3, 32)))


def test_fewer_pairs_of_one_target_are_taken_again(rng):
    positives = Pairs(np.array([0, 1]), np.array([1, 0]))
    negatives = Pairs(np.arange(8), np.roll(np.arange(8), 1))
    plan = plan_pairs(positives, negatives, batch_size=8, rng=rng)
    assert np.all(plan.images[:, :2] < 2)
    assert sorted(plan.images[:, 2:4].ravel().tolist()) == list(range(8))


def test_a_side_without_pairs_is_told(rng):
    nothing, some = Pairs(np.empty(0, int), np.empty(0, int)), Pairs(np.array([0]), np.array([1]))
    for positives, negatives in [(nothing, some), (some, nothing)]:
        with pytest.raises(ValueError, match=r"must hold at least one pair. Received: \d positive, \d negative"):
            plan_pairs(positives, negatives, batch_size=8, rng=rng)


def test_a_small_collection_gives_classical_batches_for_ten_epochs_under_one_matrix(rng):
    identity = np.repeat(np.arange(3), 2)  # its twelve negative pairs run out after a few epochs
    scores = MatrixScores(rng.normal(size=(6, 6)))
    miner = NegativeMiner(scores, identity, noise=0, seed=[0], settings=MiningSettings())
    for _ in range(10):
        plan = plan_pairs(positive_pairs(identity, rng=rng), miner.draw(), batch_size=8, rng=rng)
        left, right = ends(plan)
        assert np.array_equal(plan.target, identity[left] == identity[right])


@settings(max_examples=20)
@given(seeds)
def test_the_same_seed_plans_the_same_batches(seed):
    first, second = (plan_of(np.repeat(np.arange(6), 3), seed=seed)[0] for _ in range(2))
    for name in ("images", "left", "right", "target", "weight"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_mirrored_images_are_read_mirrored_and_the_others_as_they_are(rng):
    photos = rng.integers(0, 256, (4, 3, 5, 1)).astype(np.uint8)
    row = np.zeros((1, 1))
    plan = BatchPlan(np.array([[2, 0, 3]]), row, row, row, row, np.array([[True, False, True]]))
    images = PairBatches(plan, lambda index: photos[index])[0][0]["images"]
    assert np.array_equal(images, np.stack([photos[2][:, ::-1], photos[0], photos[3][:, ::-1]]))


def test_a_batch_is_a_function_of_its_index():
    photos = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    plan = BatchPlan(
        images=np.array([[0, 1, 2], [5, 4, 3]]),
        left=np.array([[0, 1], [0, 0]]),
        right=np.array([[1, 2], [1, 2]]),
        target=np.array([[1, 0], [0, 1]], np.float32),
        weight=np.array([[0.5, 1.5], [1, 1]], np.float32),
    )
    batches = PairBatches(plan, lambda index: photos[index])
    assert len(batches) == 2
    for _ in range(2):
        inputs, target, weight = batches[1]
        assert inputs["images"][:, 0, 0, 0].tolist() == [5, 4, 3]
        assert (inputs["left"].tolist(), inputs["right"].tolist()) == ([0, 0], [1, 2])
        assert target.tolist() == [[0], [1]]
        assert weight.tolist() == [1, 1]


def test_a_negative_pair_over_its_limit_is_never_compared():
    identity = np.repeat(np.arange(4), 2)
    limit = np.full(8, np.inf)
    limit[3] = -np.inf  # whatever image 3 is scored, it is suspicious
    plan, _ = plan_of(identity, limit=limit)
    left, right = ends(plan)
    assert not np.any((plan.target == 0) & ((left == 3) | (right == 3)))
    assert np.any((plan.target == 1) & ((left == 3) | (right == 3)))


def test_a_batch_in_which_everything_is_suspicious_is_told():
    with pytest.raises(ValueError, match="must hold a pair to compare"):
        plan_of(np.arange(8), limit=np.full(8, -np.inf))
