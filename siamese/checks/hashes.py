"""Perceptual hashes of 64 bits: text and number, distances, and pairs of near hashes without comparing every pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd

from siamese.errors import SiameseError
from siamese.formats.tables import read_labels

WORDS = 4  # a hash is four words of 16 bits
BLOCK = 1 << 21  # pairs compared at once: 16 MB for each array of hashes
LOOKUP_COST = 10  # measured: a pair found by a look-up costs as much as ten of the plain double loop


def hashes_from_text(text: Sequence[str] | np.ndarray) -> np.ndarray:
    """Turns hashes written as 16 hexadecimal digits, as `imagehash` writes them, into numbers.

    Args:
        text: `(num_hashes,)` text.

    Returns:
        `(num_hashes,)` uint64.

    Raises:
        SiameseError: one of them is not 16 hexadecimal digits.

    Example:
    >>> hashes_from_text(["00000000000000ff"])
    array([255], dtype=uint64)
    """
    for digits in text:
        if len(digits) != 16 or not set(digits) <= set("0123456789abcdefABCDEF"):
            raise SiameseError(
                f"A perceptual hash must be 16 hexadecimal digits. Received: {digits!r}. "
                "Write it as imagehash does, or leave out the photo."
            )
    return np.array([int(digits, 16) for digits in text], dtype=np.uint64)


def hashes_to_text(hashes: np.ndarray) -> np.ndarray:
    """Turns hashes `(num_hashes,)` uint64 into 16 hexadecimal digits each, as objects.

    Example:
    >>> hashes_to_text(np.array([255], dtype=np.uint64))
    array(['00000000000000ff'], dtype=object)
    """
    return np.array([f"{value:016x}" for value in hashes.tolist()], dtype=object)


def hamming_distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Number of bits in which hashes differ, 0 to 64, as uint8; the shapes of the two uint64 arrays broadcast.

    Example:
    >>> hamming_distance(np.uint64(0b1100), np.array([0b1100, 0b1010, 0], dtype=np.uint64))
    array([0, 2, 2], dtype=uint8)
    """
    return np.bitwise_count(np.bitwise_xor(left, right))


def near_pairs(hashes: np.ndarray, max_bits: int) -> np.ndarray:
    """All pairs of hashes that differ by at most `max_bits` bits.

    Args:
        hashes: `(num_hashes,)` uint64, no two equal (equal ones are grouped by `np.unique` first). Not changed.
        max_bits: largest distance of a pair.

    Returns:
        `(num_pairs, 2)` indices, the lower one first, in rising order.

    Raises:
        SiameseError: two hashes are equal.

    Example:
    >>> near_pairs(np.array([0b0000, 0b1111, 0b0001], dtype=np.uint64), 3)
    array([[0, 2],
           [1, 2]])
    """
    pairs = np.concatenate([np.empty((0, 2), dtype=np.int64), *near_pair_blocks(hashes, max_bits)])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def near_pair_blocks(hashes: np.ndarray, max_bits: int) -> Iterator[np.ndarray]:
    """Yields what `near_pairs` returns block by block, so that memory stays flat however many pairs there are.

    Hashes are bucketed by each of their four words of 16 bits. Where two differ by r bits or fewer, the words cannot
    all differ by more than their share of r, so probing the buckets within that share finds every pair (multi-index
    hashing: Norouzi, Punjani, Fleet 2012; shares that differ by word: Qin et al. 2018). Where the buckets are so full
    that this would not pay, all pairs are compared, which takes no more memory.

    Args:
        hashes: `(num_hashes,)` uint64, no two equal. Not changed.
        max_bits: largest distance of a pair.

    Yields:
        `(num_pairs, 2)` indices, the lower one first; no pair comes twice, the order is not sorted.

    Raises:
        SiameseError: two hashes are equal.
    """
    hashes = np.asarray(hashes, dtype=np.uint64)
    if len(np.unique(hashes)) < len(hashes):
        raise SiameseError(
            "`hashes` must differ from each other. Received: equal ones. Group equal hashes with `np.unique` first."
        )
    words = np.ascontiguousarray(hashes).view(np.uint16).reshape(-1, WORDS)
    shares = [(max_bits + WORDS - word) // WORDS - 1 for word in range(WORDS)]  # sum of (share + 1) is max_bits + 1
    all_pairs = len(hashes) * (len(hashes) - 1) // 2
    if LOOKUP_COST * _num_candidates(words, shares, all_pairs) >= all_pairs:
        yield from _near_of_all(hashes, max_bits)
        return
    for left, right in _bucket_pairs(words, shares):
        near = hamming_distance(hashes[left], hashes[right]) <= max_bits
        yield np.column_stack([left[near], right[near]])


def _near_of_all(hashes: np.ndarray, max_bits: int) -> Iterator[np.ndarray]:
    for left in range(len(hashes) - 1):
        right = left + 1 + np.flatnonzero(hamming_distance(hashes[left], hashes[left + 1 :]) <= max_bits)
        yield np.column_stack([np.full(len(right), left), right])


def _num_candidates(words: np.ndarray, shares: Sequence[int], enough: int) -> int:
    """Number of pairs the buckets would bring up; stops counting at `enough`."""
    if sum(comb(16, bits) for share in shares for bits in range(share + 1)) << 16 > enough:
        return enough
    total = 0
    for word, share in enumerate(shares):
        counts = np.bincount(words[:, word], minlength=1 << 16)
        every = np.arange(1 << 16)
        itself = len(words) if share >= 0 else 0
        total += (sum(int(counts @ counts[every ^ mask]) for mask in _masks(share)) - itself) // 2
    return total


def _masks(share: int) -> list[int]:
    """Every way in which a word of 16 bits differs by at most `share` bits; none where the share is below 0."""
    return [sum(1 << bit for bit in bits) for count in range(share + 1) for bits in combinations(range(16), count)]


def _bucket_pairs(words: np.ndarray, shares: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for word, share in enumerate(shares):
        for left, right in _word_pairs(words[:, word], share):
            # A pair that an earlier word brought up came there.
            gaps = np.bitwise_count(words[left, :word] ^ words[right, :word])
            fresh = (gaps > np.array(shares[:word], dtype=np.int64)).all(axis=1)
            yield left[fresh], right[fresh]


def _word_pairs(keys: np.ndarray, share: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of indices whose keys differ by at most `share` bits, each once, in blocks."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order].astype(np.int64)
    ends = np.cumsum(np.bincount(ordered, minlength=1 << 16))
    starts = ends - np.bincount(ordered, minlength=1 << 16)
    places = np.arange(len(keys))
    for mask in _masks(share):
        target = ordered ^ mask
        # Each pair from one side alone: from the smaller key, or within a bucket from the earlier place.
        first = np.maximum(starts[target], places + 1) if mask == 0 else starts[target]
        sizes = np.where(target >= ordered, np.maximum(ends[target] - first, 0), 0)
        for left, right in _ranges(first, sizes):
            pair = np.sort(np.column_stack([order[left], order[right]]), axis=1)
            yield pair[:, 0], pair[:, 1]


def _ranges(first: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (i, j) for j from first[i] on, sizes[i] of them; so many rows at once that a block stays small."""
    filled = np.flatnonzero(sizes)
    block = np.cumsum(sizes[filled]) // BLOCK
    for number in np.unique(block):
        rows = filled[block == number]
        left = np.repeat(rows, sizes[rows])
        offset = np.repeat(np.cumsum(sizes[rows]) - sizes[rows], sizes[rows])
        yield left, first[left] + np.arange(len(left)) - offset


def read_hashes(path: Path) -> pd.DataFrame:
    """Reads a list of perceptual hashes, such as the published one of the humpback challenge, as text.

    Args:
        path: a CSV in UTF-8; `check_collection` says which columns it needs.

    Raises:
        ManifestError: the file cannot be read.
    """
    return read_labels(path, ())
