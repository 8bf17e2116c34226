"""Copies: files that show one photo, byte for byte or resized, recompressed, in grey."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd

from siamese.checks.groups import group_codes, join_linked
from siamese.checks.hashes import hamming_distance, hashes_from_text, near_pairs
from siamese.checks.pictures import SMALL_IMAGES, image_difference, small_image
from siamese.errors import ImageError
from siamese.images import opened, upright
from siamese.settings import CheckSettings

# Copies of other sizes are compared in grey at one small size, which blurs what differs between photos, so less may
# differ. Measured at 64 pixels on pairs of near hashes: planted copies up to 0.024, other photos from 0.25 on.
REDUCED_SHARE = 0.5
PAIRS_AT_ONCE = 256  # pairs of hashes compared before their groups are joined; those that need no comparing drop out
FULL_IMAGES = 4  # kept in memory: as many photos as two pairs hold
Outcome = Literal["copies", "different", "unreadable"]


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which files are copies of one photo.

    Attributes:
        group: `(num_files,)` integers, numbered by their first files; -1 is a file without copies.
        unconfirmed: pairs whose hashes are near and whose photos could not be compared: columns `file_a`, `file_b`
            (rows of the facts, the first file of each hash), `path_a`, `path_b`, `bits`.
    """

    group: np.ndarray
    unconfirmed: pd.DataFrame


def find_duplicates(facts: pd.DataFrame, settings: CheckSettings) -> Duplicates:
    """Groups the files that show one photo.

    Files of equal perceptual hashes are copies. Two hashes that differ by at most `duplicate_bits` are one if every
    file of one is a copy of every file of the other. With `duplicate_sizes` = same that is the rule of the humpback
    kernel (Piotte 2018): same colour mode, same size, and a mean squared difference of at most `duplicate_error` of the
    two images, each of mean 0 and variance 1. With `any`, the two have the same shape within the rounding of a pixel,
    and are compared in grey at 64 x 64 pixels, where half of `duplicate_error` is allowed. Unlike in the kernel, chains
    are one group: if a is a copy of b and b of c, all three are.

    Args:
        facts: columns path, mode, width, height, phash; a file whose phash is "" has no copies. Not changed.
        settings: the limits above.

    Raises:
        SiameseError: a hash is not 16 hexadecimal digits.
    """
    files = _Files(facts, settings)
    label, pairs = np.arange(len(files.hashes)), near_pairs(files.hashes, settings.duplicate_bits)
    outcomes = np.full(len(pairs), "different", dtype=object)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            apart = start + np.flatnonzero(np.diff(label[pairs[start : start + PAIRS_AT_ONCE]])[:, 0])
            outcomes[apart] = list(threads.map(files.compare, pairs[apart]))
            label = join_linked(label, pairs[apart][outcomes[apart] == "copies"])
    return _result(facts, files, label, pairs[outcomes == "unreadable"])


def hash_list_duplicates(facts: pd.DataFrame, settings: CheckSettings) -> Duplicates:
    """Groups files by their hashes alone, where there are no photos; near hashes of fitting sizes are unconfirmed.

    Args:
        facts: columns path, phash and, where they are known, width, height. Not changed.
        settings: `duplicate_bits`; `duplicate_sizes` says which sizes fit.

    Raises:
        SiameseError: a hash is not 16 hexadecimal digits.

    Example:
    >>> photos = pd.DataFrame({"path": ["a", "b", "c"], "phash": ["0" * 16, "0" * 15 + "1", "0" * 16]})
    >>> found = hash_list_duplicates(photos.assign(width=30, height=20), CheckSettings())
    >>> found.group, found.unconfirmed[["path_a", "path_b", "bits"]].values.tolist()
    (array([ 0, -1,  0]), [['a', 'b', 1]])
    """
    files = _Files(facts, settings)
    pairs = near_pairs(files.hashes, settings.duplicate_bits)
    fit = np.array([files.fit(pair) for pair in pairs], dtype=bool)
    return _result(facts, files, np.arange(len(files.hashes)), pairs[fit])


class _Files:
    """The distinct hashes of files, and how the files of two of them compare.

    Attributes:
        hashes: `(num_hashes,)` uint64, distinct.
        rows: files with a hash.
        which: index of the hash of each of these.
        members: the files of each hash.
    """

    def __init__(self, facts: pd.DataFrame, settings: CheckSettings) -> None:
        phash = facts["phash"].to_numpy(dtype=object)
        self.rows = np.flatnonzero(phash != "")
        self.hashes, self.which = np.unique(hashes_from_text(phash[self.rows]), return_inverse=True)
        order = np.argsort(self.which, kind="stable")
        self.members = np.split(self.rows[order], np.cumsum(np.bincount(self.which)))[:-1]
        self._path = facts["path"].to_numpy(dtype=object)
        self._size = _sizes(facts)
        self._mode = facts["mode"].to_numpy(dtype=object) if "mode" in facts else np.full(len(facts), "")
        self._any_size = settings.duplicate_sizes == "any"
        self._limit = settings.duplicate_error * (REDUCED_SHARE if self._any_size else 1)
        read = small_image if self._any_size else _full_image
        self._read: Callable[[str], np.ndarray] = lru_cache(SMALL_IMAGES if self._any_size else FULL_IMAGES)(read)

    def fit(self, pair: np.ndarray) -> bool:
        """Whether all files of two hashes have sizes, and modes, that copies have."""
        if self._any_size:
            return all(same_shape(self._size[a], self._size[b]) for a, b in self._file_pairs(pair))
        return len({(*self._size[file], self._mode[file]) for hash_ in pair for file in self.members[hash_]}) == 1

    def compare(self, pair: np.ndarray) -> Outcome:
        """Whether the files of two hashes are all copies of each other."""
        if not self.fit(pair):
            return "different"
        try:
            alike = all(
                image_difference(self._read(self._path[a]), self._read(self._path[b])) <= self._limit
                for a, b in self._file_pairs(pair)
            )
        except ImageError:  # the file went away, or changed, since it was inspected
            return "unreadable"
        return "copies" if alike else "different"

    def _file_pairs(self, pair: np.ndarray) -> Iterator[tuple[int, int]]:
        return product(*(self.members[hash_] for hash_ in pair))


def same_shape(size: np.ndarray, other: np.ndarray) -> bool:
    """Whether one size (width, height) may come from the other by resizing, each side rounded up or down to a pixel.

    Example:
    >>> same_shape(np.array([1050, 700]), np.array([512, 341])), same_shape(np.array([1050, 700]), np.array([512, 339]))
    (True, False)
    """
    larger, smaller = (size, other) if size[0] >= other[0] else (other, size)
    return bool(abs(larger[0] * smaller[1] - larger[1] * smaller[0]) <= larger[0] + larger[1])


def _full_image(path: str) -> np.ndarray:
    with opened(path) as image:
        return np.asarray(upright(image, 3))


def _sizes(facts: pd.DataFrame) -> np.ndarray:
    """`(num_files, 2)` widths and heights, 0 where they are not known."""
    return facts.reindex(columns=["width", "height"], fill_value=0).to_numpy(dtype=np.int64)


def _result(facts: pd.DataFrame, files: _Files, label: np.ndarray, unconfirmed: np.ndarray) -> Duplicates:
    """Brings groups of hashes back to files; near pairs that other links made one group need no more confirming."""
    of_file = np.arange(len(facts)) + len(label)  # a file without a hash is alone
    of_file[files.rows] = label[files.which]
    group = group_codes(of_file)
    open_pairs = unconfirmed[label[unconfirmed[:, 0]] != label[unconfirmed[:, 1]]]
    first = np.array([members[0] for members in files.members], dtype=np.int64)
    rows = np.sort(first[open_pairs], axis=1)
    bits = hamming_distance(files.hashes[open_pairs[:, 0]], files.hashes[open_pairs[:, 1]])
    path = facts["path"].to_numpy(dtype=object)
    table = pd.DataFrame(
        {"file_a": rows[:, 0], "file_b": rows[:, 1], "path_a": path[rows[:, 0]], "path_b": path[rows[:, 1]]}
    ).assign(bits=bits.astype(int))
    table = table.sort_values(["file_a", "file_b"], ignore_index=True)
    return Duplicates(group, table)
