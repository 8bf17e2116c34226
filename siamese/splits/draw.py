"""Shares of things that differ in size: some of them spread evenly, or all of them dealt into equal heaps."""

from __future__ import annotations

import numpy as np


def draw(sizes: np.ndarray, wanted: int) -> np.ndarray:
    """Draws things by systematic sampling: every stretch of the list gives its share.

    A thing is drawn as soon as the share that is due so far has room for it. At no place on the way does the sum fall
    behind its due by the size of the largest thing or more, and it never runs ahead. What is left is then filled
    with the first things that fit, so that in the end nothing fits any more.

    Args:
        sizes: `(num_things,)` photos of each, in an order drawn by chance.
        wanted: photos to draw.

    Returns:
        `(num_things,)` bool. The sizes of the drawn sum up to `wanted` at most, and to more than `wanted` minus the
        largest size if all together are enough.

    Example:
    >>> draw(np.array([1, 1, 1, 1, 1, 1]), 2)
    array([False, False,  True, False, False,  True])
    """
    drawn = np.zeros(len(sizes), dtype=bool)
    due = wanted * np.cumsum(sizes) // max(1, sizes.sum())
    num_drawn = 0
    for limits in (np.minimum(due, wanted), np.full(len(sizes), wanted)):
        for thing, (size, limit) in enumerate(zip(sizes.tolist(), limits.tolist(), strict=True)):
            if not drawn[thing] and num_drawn + size <= limit:
                drawn[thing] = True
                num_drawn += size
    return drawn


def deal(sizes: np.ndarray, num_heaps: int) -> np.ndarray:
    """Deals each thing to the heap that holds least, so that heaps differ by the largest size at most.

    Args:
        sizes: `(num_things,)` photos of each; neighbours go to different heaps.
        num_heaps: number of heaps.

    Returns:
        `(num_things,)` number of the heap of each thing.

    Example:
    >>> deal(np.array([1, 1, 1, 4, 1]), 3)
    array([0, 1, 2, 0, 1])
    """
    heap, held = np.empty(len(sizes), dtype=int), [0] * num_heaps
    for thing, size in enumerate(sizes.tolist()):
        heap[thing] = least = held.index(min(held))
        held[least] += size
    return heap
