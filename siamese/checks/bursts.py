"""Bursts: photos of one individual taken at one go, which show nearly the same and must not be divided by a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from siamese.checks.groups import group_codes, join_confirmed, join_linked
from siamese.checks.hashes import hamming_distance, hashes_from_text, near_pair_blocks
from siamese.checks.pictures import Pictures
from siamese.settings import CheckSettings

ENOUGH_PAIRS = 1 << 20  # gathered before they are compared, so that memory stays flat


def burst_groups(
    identity: np.ndarray,
    phash: np.ndarray,
    taken: np.ndarray,
    settings: CheckSettings,
    *,
    paths: Sequence[str] | np.ndarray | None = None,
) -> np.ndarray:
    """Groups the photos of each individual that belong to one burst.

    Two photos of one known individual are linked when they were taken within `burst_seconds`, or when they are nearly
    the same picture: their hashes differ by at most `burst_bits`, and the two in grey at 64 x 64 pixels, each of mean 0
    and variance 1, by a mean square of at most `burst_error`. Hashes alone part a burst where the animal turns its head
    and join photos of one whale in one pose. A burst is what links connect (single linkage). Photos of unknown
    individuals need time and hash: a minute may show several animals, and among thousands of photos hashes meet by
    chance.

    Args:
        identity: `(num_images,)` names; "" is an unknown individual.
        phash: `(num_images,)` hashes as 16 hexadecimal digits, "" without one.
        taken: `(num_images,)` ISO times; "", a date without a time, and what is no time link nothing.
        settings: `burst_seconds`, `burst_bits` and `burst_error`.
        paths: `(num_images,)` photo files; without them hashes decide, and may differ by `duplicate_bits` only.

    Returns:
        `(num_images,)` integers: bursts are numbered by their first photos, -1 is a photo alone.

    Raises:
        SiameseError: a hash is not 16 hexadecimal digits.

    Example:
    >>> names = np.array(["Mara", "Mara", "Tano"])
    >>> times = np.array(["2019-05-03T10:00:00", "2019-05-03T10:00:20", "2019-05-03T10:00:25"])
    >>> burst_groups(names, np.array(["", "", ""]), times, CheckSettings())
    array([ 0,  0, -1])
    """
    identity, phash = np.asarray(identity, dtype=object), np.asarray(phash, dtype=object)
    seconds, has_hash = _seconds(taken), phash != ""
    hashes = np.zeros(len(identity), dtype=np.uint64)
    hashes[has_hash] = hashes_from_text(phash[has_hash])
    sure = [np.empty((0, 2), dtype=np.int64), *_sure_links(identity, hashes, has_hash, seconds, settings)]
    label = join_linked(np.arange(len(identity)), np.concatenate(sure))
    if paths is None:
        for pairs in _gathered(_near_hashes(identity, hashes, has_hash, settings.duplicate_bits)):
            label = join_linked(label, pairs)
        return group_codes(label)
    pictures = Pictures(paths)
    for pairs in _gathered(_near_hashes(identity, hashes, has_hash, settings.burst_bits)):
        label = join_confirmed(label, pairs, lambda pairs: pictures.differences(pairs) <= settings.burst_error)
    return group_codes(label)


def _gathered(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same pairs in fewer, larger blocks."""
    gathered, num_pairs = [], 0
    for block in blocks:
        gathered.append(block)
        num_pairs += len(block)
        if num_pairs > ENOUGH_PAIRS:
            yield np.concatenate(gathered)
            gathered, num_pairs = [], 0
    if gathered:
        yield np.concatenate(gathered)


def _seconds(taken: np.ndarray) -> np.ndarray:
    """`(num_images,)` seconds since 1970, NaN where there is no time of day."""
    text = pd.Series(np.asarray(taken, dtype=object))
    times = pd.to_datetime(text.where(text.str.contains(":"), None), format="ISO8601", errors="coerce", utc=True)
    return ((times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(dtype=float)


def _sure_links(
    identity: np.ndarray, hashes: np.ndarray, has_hash: np.ndarray, seconds: np.ndarray, settings: CheckSettings
) -> Iterator[np.ndarray]:
    for name, photos in pd.Series(range(len(identity))).groupby(identity, sort=False):
        rows = photos.to_numpy()
        if name:
            yield _close_in_time(rows, seconds, settings.burst_seconds)
            yield _equal_hashes(rows[has_hash[rows]], hashes)
        else:
            rows = rows[has_hash[rows] & np.isfinite(seconds[rows])]
            yield from _close_and_alike(rows, hashes, seconds, settings)


def _near_hashes(identity: np.ndarray, hashes: np.ndarray, has_hash: np.ndarray, max_bits: int) -> Iterator[np.ndarray]:
    """Pairs of photos of one known individual, one for each pair of different hashes."""
    known = np.flatnonzero((identity != "") & has_hash)
    for _, photos in pd.Series(known).groupby(identity[known], sort=False):
        rows = photos.to_numpy()
        values, first = np.unique(hashes[rows], return_index=True)
        for block in near_pair_blocks(values, max_bits):
            yield rows[first[block]]


def _close_in_time(rows: np.ndarray, seconds: np.ndarray, longest: float) -> np.ndarray:
    """Each photo with the next one: in single linkage these links make the same groups as all."""
    dated = rows[np.isfinite(seconds[rows])]
    ordered = dated[np.argsort(seconds[dated], kind="stable")]
    return np.column_stack([ordered[:-1], ordered[1:]])[np.diff(seconds[ordered]) <= longest]


def _equal_hashes(rows: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Each photo with the first one of its hash."""
    _, first, which = np.unique(hashes[rows], return_index=True, return_inverse=True)
    return np.column_stack([rows, rows[first[which]]])


def _close_and_alike(
    rows: np.ndarray, hashes: np.ndarray, seconds: np.ndarray, settings: CheckSettings
) -> Iterator[np.ndarray]:
    """Compares each photo with those that were taken after it, as long as one of them is close enough in time."""
    ordered = rows[np.argsort(seconds[rows], kind="stable")]
    for step in range(1, len(ordered)):
        earlier, later = ordered[:-step], ordered[step:]
        close = seconds[later] - seconds[earlier] <= settings.burst_seconds
        if not close.any():
            return
        near = close & (hamming_distance(hashes[earlier], hashes[later]) <= settings.burst_bits)
        yield np.column_stack([earlier, later])[near]
