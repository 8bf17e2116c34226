"""Pairs become batches: which images are encoded together and which of them are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from siamese.candidates import PairScores
from siamese.pairs import Pairs


@dataclass(frozen=True)
class BatchPlan:
    """All batches of an epoch; row b of each table is batch b.

    Attributes:
        images: `(num_batches, batch_size)` image indices to encode.
        left: `(num_batches, num_pairs)` places in the batch.
        right: `(num_batches, num_pairs)` places in the batch.
        target: `(num_batches, num_pairs)` 1.0 for the same animal, 0.0 for different ones.
        weight: `(num_batches, num_pairs)` weight in the loss; in each batch both targets weigh the same.
        mirror: `(num_batches, batch_size)` bool, images that are mirrored; None mirrors none.
    """

    images: np.ndarray
    left: np.ndarray
    right: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    mirror: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)


class PairBatches:
    """Reads the images of one batch of a plan; nothing else, so a batch is a function of its index."""

    def __init__(self, plan: BatchPlan, read: Callable[[np.ndarray], np.ndarray]) -> None:
        """Takes a plan and a function from image indices to `uint8` images."""
        self.plan, self.read = plan, read

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        plan = self.plan
        images = self.read(plan.images[index])
        if plan.mirror is not None and plan.mirror[index].any():
            images = np.where(plan.mirror[index][:, None, None, None], images[:, :, ::-1], images)
        inputs = {"images": images, "left": plan.left[index], "right": plan.right[index]}
        return inputs, plan.target[index][:, None], plan.weight[index]


def plan_pairs(positives: Pairs, negatives: Pairs, *, batch_size: int, rng: np.random.Generator) -> BatchPlan:
    """Plans the classical batches of two branches: half of the pairs of a batch are positive, each image in one pair.

    Args:
        positives: pairs of one animal; where they are fewer than the negatives, they are taken again.
        negatives: pairs of two animals, likewise.
        batch_size: images encoded in one step, a multiple of 4; a quarter as many pairs of each target.
        rng: the only source of randomness.

    Raises:
        ValueError: there is no positive or no negative pair.
    """
    if not len(positives) or not len(negatives):
        raise ValueError(
            "`positives` and `negatives` must hold at least one pair. "
            f"Received: {len(positives)} positive, {len(negatives)} negative. Train on images that give both."
        )
    quarter = max(1, batch_size // 4)
    num_batches = -(-max(len(positives), len(negatives)) // quarter)
    same_left, same_right = _shuffled_rows(positives, num_batches, quarter, rng)
    other_left, other_right = _shuffled_rows(negatives, num_batches, quarter, rng)
    images = np.concatenate([same_left, other_left, same_right, other_right], axis=1)
    shape = (num_batches, 2 * quarter)
    left = np.broadcast_to(np.arange(2 * quarter, dtype=np.int32), shape)
    target = np.broadcast_to(np.repeat(np.array([1, 0], np.float32), quarter), shape)
    return BatchPlan(images, left, left + 2 * quarter, target, np.ones(shape, np.float32))


def _shuffled_rows(
    pairs: Pairs, num_batches: int, row_length: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    index = np.resize(rng.permutation(len(pairs)), (num_batches, row_length))
    return pairs.left[index], pairs.right[index]


def walk(
    positive_partner: np.ndarray,
    negative_partner: np.ndarray,
    *,
    rng: np.random.Generator,
    unknown: np.ndarray | None = None,
) -> np.ndarray:
    """Orders the images so that partners stand next to each other.

    An image, its positive partner, that one's hard negative, its positive partner, and so on; where the next one was
    visited before, the walk starts again at a random image.

    Args:
        positive_partner: `(num_images,)` integers, -1 for none.
        negative_partner: `(num_images,)` integers, -1 for none.
        rng: the only source of randomness.
        unknown: `(num_images,)` bool, images of unknown individuals, which are compared with named ones alone: no walk
            starts at one, and those that none meets are spread evenly, so that no batch is made of them. None has none.

    Returns:
        `(num_images,)` integers, each image once.

    Example:
    >>> walk(np.array([1, 0, 3, 2]), np.array([2, 2, 0, 0]), rng=np.random.default_rng(0)).tolist()
    [2, 3, 0, 1]
    """
    visited = np.zeros(len(positive_partner), dtype=bool)
    order: list[int] = []
    starts = rng.permutation(len(visited))
    may_start = np.ones(len(visited), dtype=bool) if unknown is None else ~unknown
    for start in starts[may_start[starts]].tolist():
        image = start
        while image >= 0 and not visited[image]:
            for member in (image, positive_partner[image]):
                if member >= 0 and not visited[member]:
                    visited[member] = True
                    order.append(int(member))
            image = negative_partner[order[-1]]
    unmet = starts[~visited[starts]]
    places = np.linspace(0, len(order), len(unmet) + 2)[1:-1].astype(np.intp)
    return np.insert(np.array(order, dtype=np.intp), places, unmet)


def plan_walk(
    positives: Pairs,
    negatives: Pairs,
    *,
    group: np.ndarray,
    identity: np.ndarray,
    scores: PairScores,
    limit: np.ndarray,
    batch_size: int,
    pairs_per_image: int,
    random_share: float = 0.5,
    rng: np.random.Generator,
) -> BatchPlan:
    """Plans batches that encode each image once an epoch and compare it with many others of its batch.

    The walk brings positive partners and hard negatives into one batch. Of all pairs within the batch every positive
    one is compared, then the negative ones: the assigned ones first, then those scored highest, and some at random.

    Args:
        positives: positive pairs, indices into the arrays below.
        negatives: hard negative pairs, likewise.
        group: `(num_images,)` codes; pairs of one code are positive.
        identity: `(num_images,)` codes; pairs of different codes are negative, two unknowns (-1) are never compared.
        scores: where the scores of the round come from; asked for the images of one batch at a time.
        limit: `(num_images,)` floats; a negative pair scored above the lower of its two is left out as probably
            mislabelled.
        batch_size: images encoded in one step.
        pairs_per_image: pairs compared in one step, per image of the batch.
        random_share: share of the negative pairs that are drawn at random.
        rng: the only source of randomness.

    Returns:
        The plan. The last batch is filled up with images of the first ones.

    Raises:
        ValueError: a batch has no pair to compare.
    """
    assigned = negatives.partner(len(group))
    order = walk(positives.partner(len(group)), assigned, rng=rng, unknown=identity < 0)
    images = np.resize(order, (-(-len(order) // batch_size), batch_size))
    num_pairs = min(batch_size * pairs_per_image, batch_size * (batch_size - 1) // 2)
    size = _PairsOfABatch(num_pairs, random_share)
    rows = [_compare_within(batch, group, identity, scores, assigned, limit, size, rng) for batch in images]
    left, right, target, weight = (np.stack(column) for column in zip(*rows, strict=True))
    return BatchPlan(images, left, right, target, weight)


class _PairsOfABatch(NamedTuple):
    total: int
    random_share: float  # of the negative ones


def _compare_within(
    batch: np.ndarray,
    group: np.ndarray,
    identity: np.ndarray,
    scores: PairScores,
    assigned: np.ndarray,
    limit: np.ndarray,
    num_pairs: _PairsOfABatch,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Chooses the pairs of one batch; see `plan_walk`."""
    left, right = (side.astype(np.int32) for side in np.triu_indices(len(batch), k=1))
    one, other = batch[left], batch[right]
    same_group = (group[one] == group[other]) & (group[one] >= 0) & (one != other)
    different = (identity[one] != identity[other]) & (one != other)
    positive = rng.permutation(np.flatnonzero(same_group))[: num_pairs.total // 2]
    score = scores.within(batch)[left, right]
    negative = np.flatnonzero(different & (score <= np.minimum(limit[one], limit[other])))
    score = np.where((assigned[one] == other) | (assigned[other] == one), np.inf, score)
    hardest_first = negative[np.argsort(-score[negative], kind="stable")]
    num_hard = round((num_pairs.total - len(positive)) * (1 - num_pairs.random_share))
    hard, rest = np.split(hardest_first, [num_hard])
    chosen = np.concatenate([positive, hard, rng.permutation(rest)])
    if not len(chosen):
        raise ValueError("A batch must hold a pair to compare. Received: none. Raise `mining.suspect_margin`.")
    target = (np.arange(len(chosen)) < len(positive)).astype(np.float32)
    chosen, target = np.resize(chosen, num_pairs.total), np.resize(target, num_pairs.total)
    return left[chosen], right[chosen], target, _balanced_weight(target)


def mirrored(images: np.ndarray, identity: np.ndarray, share: float, *, rng: np.random.Generator) -> np.ndarray:
    """Draws which images of each batch are mirrored: all of an individual together, so never one side of a positive.

    Smart flipping of pairs (10th place, humpback 2019): a mirrored pair of one animal stays a pair of one animal, and
    two animals stay two, whichever of them is mirrored.

    Args:
        images: `(num_batches, batch_size)` image indices.
        identity: codes by image index.
        share: probability that an individual is mirrored in a batch, 0 to 1.
        rng: the only source of randomness.

    Returns:
        `(num_batches, batch_size)` booleans.

    Example:
    >>> mirrored(np.array([[0, 1, 2]]), np.array([7, 7, 9]), 1.0, rng=np.random.default_rng(0)).tolist()
    [[True, True, True]]
    """
    rows = [np.unique(identity[batch], return_inverse=True)[1] for batch in images]
    draws = rng.random(images.shape) < share
    return np.stack([draw[code] for draw, code in zip(draws, rows, strict=True)])


def _balanced_weight(target: np.ndarray) -> np.ndarray:
    """Weighs both targets alike, 1 on average."""
    share = target.mean()
    if share in (0.0, 1.0):
        return np.ones_like(target)
    return np.where(target == 1, 0.5 / share, 0.5 / (1 - share)).astype(np.float32)
