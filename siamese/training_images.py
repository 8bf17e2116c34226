"""What a training sees of a collection, and which of it takes part in a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siamese.augment import turn_images
from siamese.scoring import Read
from siamese.settings import Turn

UNKNOWN_SHARE = 0.25  # of the images of a round at most (Shen 2019: 25 % of the groups of a batch)


@dataclass(frozen=True)
class TrainingImages:
    """What a training sees of a collection.

    Attributes:
        read: function from `(count,)` indices to `(count, height, width, channels)` `uint8` images.
        identity: `(num_images,)` codes; different codes are different animals, -1 is an unknown individual.
        group: `(num_images,)` codes; equal codes are positive pairs (one animal, one side of it).
        image_ids: `(num_images,)` names, for the list of suspected pairs.
    """

    read: Read
    identity: np.ndarray
    group: np.ndarray
    image_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.identity)


def with_turns(images: TrainingImages, turns: Sequence[Turn]) -> TrainingImages:
    """Adds a turned copy of every image as further identities (Shen, Park and Qiao 2019 with flips)."""
    count = len(images)

    def read(index: np.ndarray) -> np.ndarray:
        batch = images.read(index % count).copy()
        for number, turn in enumerate(turns, start=1):
            turned = index // count == number
            if turned.any():
                batch[turned] = turn_images(batch[turned], turn)
        return batch

    names = [images.image_ids, *(images.image_ids + f" ({turn})" for turn in turns)]
    identity, group = (_repeated(codes, len(turns)) for codes in (images.identity, images.group))
    return TrainingImages(read, identity, group, np.concatenate(names))


def _repeated(codes: np.ndarray, times: int) -> np.ndarray:
    step = int(codes.max()) + 1
    return np.concatenate([np.where(codes < 0, codes, codes + copy * step) for copy in range(times + 1)])


def choose_images(
    identity: np.ndarray, group: np.ndarray, limit: int | None, *, min_photos: int = 1, rng: np.random.Generator
) -> np.ndarray:
    """Chooses the images of one round: all, or a random subset of whole positive groups, at most `limit` images.

    Piotte proposed subsets of fixed size so that the assignment's time stays linear in the collection.
    Of a group larger than an eighth of the limit, a random part is taken, so that every round has many identities; of
    unknown individuals at most a quarter of the round (second place, humpback 2019).

    Args:
        identity: `(num_images,)` codes, -1 for unknown individuals.
        group: `(num_images,)` codes of the positive groups, -1 for none.
        limit: the most images; None takes all.
        min_photos: images of identities that have fewer wait (the frequent ones first: first and fourth place,
            humpback 2019).
        rng: the only source of randomness.

    Returns:
        Sorted image indices.
    """
    ready = np.flatnonzero(photos_of(identity) >= min_photos)
    named, unknown = ready[identity[ready] >= 0], ready[identity[ready] < 0]
    most = int(UNKNOWN_SHARE * min(len(named) / (1 - UNKNOWN_SHARE), limit or np.inf))
    if len(unknown) > most:
        unknown = rng.permutation(unknown)[:most]
    if limit is not None and len(named) + len(unknown) > limit:
        named = named[_whole_groups(group[named], limit - len(unknown), rng)]
    return np.sort(np.concatenate([named, unknown]))


def photos_of(identity: np.ndarray) -> np.ndarray:
    """Returns how many images each image's identity has; for unknown individuals the largest integer.

    Example:
    >>> photos_of(np.array([4, 7, 4]))
    array([2, 1, 2])
    """
    known = identity >= 0
    counts = np.full(len(identity), np.iinfo(np.intp).max)
    counts[known] = np.bincount(identity[known])[identity[known]]
    return counts


def _whole_groups(group: np.ndarray, limit: int, rng: np.random.Generator) -> np.ndarray:
    keys = np.where(group < 0, int(group.max()) + 1 + np.arange(len(group)), group)  # each unknown is a group
    order = rng.permutation(len(keys))
    order = order[np.argsort(rng.permutation(int(keys.max()) + 1)[keys[order]], kind="stable")]
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return np.sort(order[place < max(2, limit // 8)][:limit])
