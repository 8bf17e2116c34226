"""Pairs of images, and positive pairs drawn by a seeded derangement within each identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.errors import InfeasiblePairing


@dataclass(frozen=True)
class Pairs:
    """Pairs of image indices.

    Attributes:
        left: `(num_pairs,)` integers.
        right: `(num_pairs,)` integers, the partner of `left` at the same place.
    """

    left: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.left)

    def partner(self, num_images: int) -> np.ndarray:
        """Returns `(num_images,)` integers: the partner of each image as `left`, -1 where it has none."""
        partner = np.full(num_images, -1, dtype=np.intp)
        partner[self.left] = self.right
        return partner


def derangement(count: int, *, rng: np.random.Generator) -> np.ndarray:
    """Draws a permutation that leaves nothing in its place, each such permutation equally likely.

    Args:
        count: number of items, at least 2.
        rng: the only source of randomness.

    Returns:
        `(count,)` integers, a permutation of `arange(count)` without a fixed point.

    Raises:
        ValueError: `count` is below 2.

    Example:
    >>> derangement(2, rng=np.random.default_rng(0))
    array([1, 0])
    """
    if count < 2:
        raise ValueError(f"`count` must be at least 2, else nothing can change its place. Received: count={count}.")
    here = np.arange(count)
    while True:  # one try in e succeeds, whatever the count
        order = rng.permutation(count)
        if not np.any(order == here):
            return order


def positive_pairs(group: np.ndarray, *, rng: np.random.Generator) -> Pairs:
    """Gives every image another image of its group (Piotte 2018: two lists, one of them deranged).

    Args:
        group: `(num_images,)` integer codes; images of one code show the same animal (and the same side of it).
            A negative code is an unknown individual and gets no partner, nor does an image alone in its group.
        rng: the only source of randomness.

    Returns:
        `Pairs` in which each image with a partner stands once left and once right.

    Example:
    >>> pairs = positive_pairs(np.array([4, 7, 4, -1]), rng=np.random.default_rng(0))
    >>> pairs.left, pairs.right
    (array([0, 2]), array([2, 0]))
    """
    groups = groups_of(group)
    if not groups:
        return Pairs(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp))
    right = [members[derangement(len(members), rng=rng)] for members in groups]
    return Pairs(np.concatenate(groups), np.concatenate(right))


def groups_of(group: np.ndarray) -> list[np.ndarray]:
    """Lists the images of each group of two or more, groups by code and images by index; negative codes are left out.

    Example:
    >>> groups_of(np.array([4, 7, 4, -1, -1]))
    [array([0, 2])]
    """
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=group[order][:1] - 1))
    return [members for members in np.split(order, starts[1:]) if len(members) > 1 and group[members[0]] >= 0]


def pairs_within(group: np.ndarray) -> Pairs:
    """Lists all pairs of images of one group, each once, group after group in the order of `groups_of`.

    Example:
    >>> pairs = pairs_within(np.array([4, 7, 4, 4]))
    >>> pairs.left, pairs.right
    (array([0, 0, 2]), array([2, 3, 3]))
    """
    groups = groups_of(group)
    if not groups:
        return Pairs(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp))
    places = [np.triu_indices(len(members), k=1) for members in groups]
    left, right = (
        np.concatenate([members[place[side]] for members, place in zip(groups, places, strict=True)]) for side in (0, 1)
    )
    return Pairs(left, right)


def check_pairing(identity: np.ndarray) -> None:
    """Raises InfeasiblePairing when an identity holds over half of the images, for then some find no other animal."""
    codes, counts = np.unique(np.maximum(identity, -1), return_counts=True)
    if 2 * counts.max(initial=0) > len(identity):
        code, largest = int(codes[counts.argmax()]), int(counts.max())
        holder = "the unknown individuals" if code < 0 else f"identity {code}"
        raise InfeasiblePairing(
            "`identity` must leave every image a partner of another identity, so no identity may hold more "
            f"than half of the images. Received: {largest} of {len(identity)} for {holder}. Draw fewer images of it."
        )
