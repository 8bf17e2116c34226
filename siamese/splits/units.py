"""What is never divided: photos that belong together, and individuals that are seen together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from siamese.errors import ManifestError
from siamese.manifest import Manifest
from siamese.settings import SplitSettings


@dataclass(frozen=True)
class Units:
    """Photos that stay together on every side, one unit each; numbered in the order that chance draws them.

    The units of one individual have neighbouring numbers.

    Attributes:
        unit: `(num_images,)` number of each photo's unit; -1 for a photo that is left out.
        size: `(num_units,)` photos of each unit.
        num_known: `(num_units,)` photos of known individuals among them.
        fixed: `(num_units,)` bool: must stay in training.
        kept: `(num_units,)` bool: the unit that one of its individuals keeps when its others become queries.
        family: `(num_units,)` number of the set of units that share individuals, directly or through others; small sets
            have low numbers, and equally large ones are numbered by chance.
    """

    unit: np.ndarray
    size: np.ndarray
    num_known: np.ndarray
    fixed: np.ndarray
    kept: np.ndarray
    family: np.ndarray

    def photos(self, values: np.ndarray) -> np.ndarray:
        """Gives each photo the value of its unit, and "" to a photo that is left out."""
        return np.append(np.asarray(values, dtype=object), "")[self.unit]


def find_units(manifest: Manifest, settings: SplitSettings) -> Units:
    """Finds what stays together: photos of one file, and of equal values in the columns that settings name.

    Chains hold: where A and B are copies, and B and C a burst, all three are one unit. Individuals without another unit
    are treated as `settings.single_photos` says.

    Args:
        manifest: the collection. Not changed.
        settings: kind, seed, `keep_together` and `single_photos`.

    Raises:
        ManifestError: the kind needs a column that is not there, or a date is wrong.
    """
    identity, use = codes(manifest.identity), manifest.column("use")
    group = connected(_linking(manifest, settings))
    there = use != "nothing"
    single = _in_one_group(group, np.where(there, identity, -1))
    if settings.single_photos == "leave_out":
        there &= ~single
    fixed = (use == "catalog") | (single & (settings.single_photos == "train"))
    unit = np.full(len(manifest), -1)
    unit[there] = _numbered(group[there], manifest.select(there), settings.seed)
    known, num_units = there & (identity >= 0), unit.max(initial=-1) + 1
    size = np.bincount(unit[there], minlength=num_units)
    return Units(
        unit=unit,
        size=size,
        num_known=np.bincount(unit[known], minlength=num_units),
        fixed=np.bincount(unit[there & fixed], minlength=num_units) > 0,
        kept=_kept(unit, identity, known & ~np.isin(unit, unit[use == "catalog"]), num_units),
        family=_families(unit[there], identity[there], size),
    )


def codes(column: np.ndarray) -> np.ndarray:
    """Numbers the different values of a text column; "" gets -1.

    Example:
    >>> codes(np.array(["b", "", "a", "b"], dtype=object))
    array([ 0, -1,  1,  0])
    """
    values = np.array(column, dtype=object)
    values[values == ""] = None
    return pd.factorize(values)[0]


def connected(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers the sets of rows that are linked by equal codes, directly or through others.

    Args:
        columns: `(num_rows,)` codes each; -1 links nothing.

    Returns:
        `(num_rows,)` number of each row's set.

    Example:
    >>> connected([np.array([0, 0, 1, -1]), np.array([-1, 5, 5, -1])])
    array([0, 0, 0, 1], dtype=int32)
    """
    left, right, num_nodes = [], [], len(columns[0])
    for column in columns:
        rows = np.flatnonzero(column >= 0)
        left.append(rows)
        right.append(num_nodes + column[rows])
        num_nodes += column.max(initial=-1) + 1
    ends = np.concatenate(left), np.concatenate(right)
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(num_nodes, num_nodes))
    return connected_components(graph, directed=False)[1][: len(columns[0])]


def read_dates(manifest: Manifest) -> np.ndarray:
    """`(num_images,)` local dates and times, seconds; NaT where `date` is empty. An offset from UTC is passed over.

    Raises:
        ManifestError: a date is not ISO 8601; names the row, counted as a spreadsheet does.
    """
    number, texts = pd.factorize(manifest.column("date"))
    dates = [_date(text, manifest) for text in texts]
    return np.array(dates, dtype="datetime64[s]")[number]


def _date(text: str, manifest: Manifest) -> np.datetime64:
    try:
        moment = datetime.fromisoformat(text.strip()).replace(tzinfo=None) if text.strip() else "NaT"
    except ValueError:
        row = int(np.flatnonzero(manifest.column("date") == text)[0])
        raise ManifestError(
            f"manifest, row {row + 2}: `date` must be empty or ISO 8601, such as 2019-07-31 or 2019-07-31T14:05:00. "
            f"Received: {text!r} for image {manifest.image_ids[row]!r}. Correct the row."
        ) from None
    return np.datetime64(moment, "s")


def _linking(manifest: Manifest, settings: SplitSettings) -> list[np.ndarray]:
    """Codes of everything that keeps photos together."""
    columns = [manifest.column(name) for name in settings.keep_together]
    columns.append(np.array([str(path) for path in manifest.paths], dtype=object))
    if settings.kind == "encounter":
        columns.append(_filled(manifest, "encounter"))
    if settings.kind == "date":
        columns.append(_same_day(manifest))
    return [codes(column) for column in columns]


def _filled(manifest: Manifest, name: str) -> np.ndarray:
    column = manifest.column(name)
    if not (column != "").any():
        raise ManifestError(
            f"manifest: `{name}` must be filled in for a split by {name}. Received: no photo with one. "
            "Fill in the column, or choose another `split.kind`."
        )
    return column


def _same_day(manifest: Manifest) -> np.ndarray:
    """Individual and day as one text; "" without both. One day's light and background stay on one side."""
    _filled(manifest, "date")
    day, identity = read_dates(manifest).astype("datetime64[D]"), manifest.identity
    return np.where(np.isnat(day) | (identity == ""), "", day.astype(str).astype(object) + " " + identity)


def _in_one_group(group: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """`(num_images,)` bool: the photo shows a known individual all of whose photos are in one group."""
    num_groups = pd.Series(group).groupby(identity).transform("nunique").to_numpy()
    return (identity >= 0) & (num_groups == 1)


def _numbered(group: np.ndarray, photos: Manifest, seed: int) -> np.ndarray:
    """Numbers the groups of photos in an order drawn by hashes of names.

    NumPy may change what its generators draw, and they know rows alone. A hash of the seed and a name gives one order
    on every machine, with every version and however the rows are sorted.
    """
    names, identity = photos.image_ids, photos.identity
    groups, first = _first(group, np.argsort(names))  # a group is named by its first image
    drawn = _hashes(seed, "unit", names[first])
    by_identity = np.argsort(identity)
    known, first = _first(group, by_identity[identity[by_identity] != ""])
    individual = drawn.copy()
    individual[np.searchsorted(groups, known)] = _hashes(seed, "individual", identity[first])
    number = np.empty(len(groups), dtype=int)
    number[np.lexsort((drawn, individual))] = np.arange(len(groups))
    return number[np.searchsorted(groups, group)]


def _first(group: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups among the rows in `order`, sorted, and for each the row that comes first."""
    groups, place = np.unique(group[order], return_index=True)
    return groups, order[place]


def _hashes(seed: int, purpose: str, names: np.ndarray) -> np.ndarray:
    """`(num_names,)` unsigned 64-bit numbers: BLAKE2b of seed, purpose and name."""
    texts = (f"{seed}\n{purpose}\n{name}".encode("utf-8", "surrogatepass") for name in names)
    digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype=">u8")


def _kept(unit: np.ndarray, identity: np.ndarray, known: np.ndarray, num_units: int) -> np.ndarray:
    rows = np.flatnonzero(known)
    _, first = _first(identity, rows[np.argsort(unit[rows], kind="stable")])
    return np.isin(np.arange(num_units), unit[first])


def _families(unit: np.ndarray, identity: np.ndarray, size: np.ndarray) -> np.ndarray:
    """`(num_units,)` numbers of the families, smallest first."""
    of_unit = np.empty(len(size), dtype=int)
    of_unit[unit] = connected([unit, identity])
    family = pd.factorize(of_unit)[0]
    photos = np.bincount(family, weights=size)
    number = np.empty(len(photos), dtype=int)
    number[np.argsort(photos, kind="stable")] = np.arange(len(photos))
    return number[family]
