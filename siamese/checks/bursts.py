"""Bursts: photos of one individual taken at one go, which show nearly the same and must not be divided by a split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from siamese.checks.groups import group_codes, join_linked
from siamese.checks.hashes import hamming_distance, hashes_from_text, near_pair_blocks
from siamese.settings import CheckSettings

ENOUGH_LINKS = 1 << 20  # kept before they are joined into groups, so that memory stays flat


def burst_groups(identity: np.ndarray, phash: np.ndarray, taken: np.ndarray, settings: CheckSettings) -> np.ndarray:
    """Groups the photos of each individual that belong to one burst.

    Two photos of one known individual are linked when they were taken within `burst_seconds`, or when their hashes
    differ by at most `burst_bits`; a burst is what links connect (single linkage). Photos of unknown individuals need
    both: a minute may show several animals, and among thousands of photos hashes meet by chance.

    Args:
        identity: `(num_images,)` names; "" is an unknown individual.
        phash: `(num_images,)` hashes as 16 hexadecimal digits, "" without one.
        taken: `(num_images,)` ISO times; "", a date without a time, and what is no time link nothing.
        settings: `burst_seconds` and `burst_bits`.

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
    label, links, num_links = np.arange(len(identity)), [np.empty((0, 2), dtype=np.int64)], 0
    for block in _links(identity, hashes, has_hash, seconds, settings):
        links.append(block)
        num_links += len(block)
        if num_links > ENOUGH_LINKS:
            label, links, num_links = join_linked(label, np.concatenate(links)), [], 0
    return group_codes(join_linked(label, np.concatenate(links)) if links else label)


def _seconds(taken: np.ndarray) -> np.ndarray:
    """`(num_images,)` seconds since 1970, NaN where there is no time of day."""
    text = pd.Series(np.asarray(taken, dtype=object))
    times = pd.to_datetime(text.where(text.str.contains(":"), None), format="ISO8601", errors="coerce", utc=True)
    return ((times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(dtype=float)


def _links(
    identity: np.ndarray, hashes: np.ndarray, has_hash: np.ndarray, seconds: np.ndarray, settings: CheckSettings
) -> Iterator[np.ndarray]:
    for name, photos in pd.Series(range(len(identity))).groupby(identity, sort=False):
        rows = photos.to_numpy()
        if name:
            yield _close_in_time(rows, seconds, settings.burst_seconds)
            yield from _alike(rows[has_hash[rows]], hashes, settings.burst_bits)
        else:
            rows = rows[has_hash[rows] & np.isfinite(seconds[rows])]
            yield from _close_and_alike(rows, hashes, seconds, settings)


def _close_in_time(rows: np.ndarray, seconds: np.ndarray, longest: float) -> np.ndarray:
    """Each photo with the next one: in single linkage these links make the same groups as all."""
    dated = rows[np.isfinite(seconds[rows])]
    ordered = dated[np.argsort(seconds[dated], kind="stable")]
    return np.column_stack([ordered[:-1], ordered[1:]])[np.diff(seconds[ordered]) <= longest]


def _alike(rows: np.ndarray, hashes: np.ndarray, max_bits: int) -> Iterator[np.ndarray]:
    values, first, which = np.unique(hashes[rows], return_index=True, return_inverse=True)
    yield np.column_stack([rows, rows[first[which]]])
    for block in near_pair_blocks(values, max_bits):
        yield rows[first[block]]


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
