"""Statistics of a collection: photos per individual, sizes, colour, light and dates, as numbers JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

PERCENTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)
NUM_BINS = 40
MEASURES = ("contrast", "brightness", "sharpness")
NUM_COMMONEST = 10


def identity_statistics(identity: Sequence[str] | np.ndarray) -> dict[str, Any]:
    """Counts photos and individuals: tables 2.1 and 2.2 of the Overview report of the humpback challenge.

    Args:
        identity: `(num_rows,)` names; "" is an unknown individual.

    Returns:
        num_rows, num_unknown, num_identities; photos_per_identity (number of individuals with 1, 2, 3, ... photos, the
        numbers of photos as text, only those that occur); cumulated (share of individuals with at most so many);
        single (individuals with one photo) and single_share; under_six_share; median and mean number of photos;
        largest (name and number of photos). Shares of nothing are None. The report's own shares (87.3 % under six)
        count `new_whale` as one more individual; among the 5,004 named ones it is 4,371, 87.35 %.

    Example:
    >>> found = identity_statistics(["Mara", "Mara", "Tano", ""])
    >>> found["photos_per_identity"], found["single_share"], found["largest"]
    ({'1': 1, '2': 1}, 0.5, {'identity': 'Mara', 'num_photos': 2})
    """
    names = pd.Series(np.asarray(identity, dtype=object), dtype=object)
    known = names[names != ""]
    sizes = known.value_counts().sort_index(kind="stable")
    histogram = sizes.value_counts().sort_index()
    shares = histogram.cumsum() / max(1, len(sizes))
    return {
        "num_rows": len(names),
        "num_unknown": len(names) - len(known),
        "num_identities": len(sizes),
        "photos_per_identity": {str(size): int(count) for size, count in histogram.items()},
        "cumulated": {str(size): float(share) for size, share in shares.items()},
        "single": int((sizes == 1).sum()),
        "single_share": _share(sizes == 1),
        "under_six_share": _share(sizes < 6),
        "mean": float(sizes.mean()) if len(sizes) else None,
        "median": float(sizes.median()) if len(sizes) else None,
        "largest": {"identity": str(sizes.idxmax()), "num_photos": int(sizes.max())} if len(sizes) else None,
    }


def photo_statistics(facts: pd.DataFrame) -> dict[str, Any]:
    """Sums up what was measured on the photo files.

    Args:
        facts: the table of `inspect_photos`, or any of its columns. Not changed.

    Returns:
        num_files, num_unreadable; and, over the readable files, as far as the columns are there: sizes (commonest,
        width, height, aspect), grey_share, contrast, brightness and sharpness (percentiles and histogram), kinds,
        modes, notes (number of files each).

    Example:
    >>> found = photo_statistics(pd.DataFrame({"width": [400, 400, 300], "height": [200, 200, 300]}))
    >>> found["sizes"]["commonest"]
    [{'width': 400, 'height': 200, 'num_files': 2}, {'width': 300, 'height': 300, 'num_files': 1}]
    """
    readable = facts[facts["reason"] == ""] if "reason" in facts else facts
    found: dict[str, Any] = {"num_files": len(facts), "num_unreadable": len(facts) - len(readable)}
    if {"width", "height"} <= set(readable):
        found["sizes"] = _sizes(readable)
    if "grey" in readable:
        found["grey_share"] = _share(readable["grey"].astype(bool))
    found |= {name: spread(readable[name]) for name in MEASURES if name in readable}
    found |= {f"{name}s": _counts(readable[name]) for name in ("kind", "mode") if name in readable}
    if "notes" in readable:
        found["notes"] = _counts(readable["notes"].str.split(";").explode().str.strip())
    return found


def telling_sizes(identity: np.ndarray, width: np.ndarray, height: np.ndarray) -> dict[str, int]:
    """Counts photos whose exact size gives the individual away, as some did in the humpback challenge (Park 2019).

    Args:
        identity: `(num_rows,)` names; "" is an unknown individual and not counted.
        width: `(num_rows,)` pixels, 0 where it is not known.
        height: `(num_rows,)` pixels.

    Returns:
        num_photos: photos of individuals with another photo; num_telling: those of them whose size another photo of
        the individual has, and no photo of anybody else.

    Example:
    >>> telling_sizes(np.array(["Mara", "Mara", "Tano", "Tano"]), np.array([9, 9, 7, 8]), np.array([5, 5, 5, 5]))
    {'num_photos': 4, 'num_telling': 2}
    """
    rows = pd.DataFrame({"identity": identity, "width": width, "height": height})
    rows = rows[(rows["identity"] != "") & (rows["width"] > 0)]
    rows = rows[rows.groupby("identity")["width"].transform("size") > 1]
    sizes = rows.groupby(["width", "height"])["identity"]
    telling = (sizes.transform("nunique") == 1) & (sizes.transform("size") > 1)
    return {"num_photos": len(rows), "num_telling": int(telling.sum())}


def date_statistics(dates: Sequence[str] | np.ndarray) -> dict[str, Any]:
    """Tells when the photos were taken.

    Args:
        dates: `(num_rows,)` ISO 8601 text, "" where it is not known.

    Returns:
        num_dated, first and last (text, None without dates), by_month: number of photos by "2019-07".

    Example:
    >>> date_statistics(["2019-07-02", "2019-07-02T10:30:00", ""])
    {'num_dated': 2, 'first': '2019-07-02', 'last': '2019-07-02T10:30:00', 'by_month': {'2019-07': 2}}
    """
    known = pd.Series(np.asarray(dates, dtype=object), dtype=object)
    known = known[known.str.match(r"^\d{4}-\d{2}").fillna(False).astype(bool)].sort_values(kind="stable")
    return {
        "num_dated": len(known),
        "first": None if known.empty else known.iloc[0],
        "last": None if known.empty else known.iloc[-1],
        "by_month": _counts(known.str[:7], most_first=False),
    }


def spread(values: pd.Series) -> dict[str, Any]:
    """Percentiles and a histogram of equal bins.

    Example:
    >>> spread(pd.Series([1.0, 2.0, 3.0]))["percentiles"]["50"]
    2.0
    """
    finite = values.to_numpy(dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return {"num_files": 0, "mean": None, "percentiles": {}, "histogram": {"edges": [], "counts": []}}
    counts, edges = np.histogram(finite, bins=NUM_BINS)
    return {
        "num_files": len(finite),
        "mean": float(finite.mean()),
        "percentiles": {
            str(q): float(value) for q, value in zip(PERCENTILES, np.percentile(finite, PERCENTILES), strict=True)
        },
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def _sizes(readable: pd.DataFrame) -> dict[str, Any]:
    counted = readable.groupby(["width", "height"]).size().sort_values(ascending=False, kind="stable")
    aspect = readable["width"] / readable["height"].where(readable["height"] > 0)
    return {
        "num_different": len(counted),
        "commonest": [
            {"width": int(width), "height": int(height), "num_files": int(count)}
            for (width, height), count in counted.head(NUM_COMMONEST).items()
        ],
        "width": spread(readable["width"]),
        "height": spread(readable["height"]),
        "aspect": spread(aspect),
    }


def _counts(values: pd.Series, *, most_first: bool = True) -> dict[str, int]:
    counts = values[values.notna() & (values != "")].value_counts().sort_index(kind="stable")
    counts = counts.sort_values(ascending=False, kind="stable") if most_first else counts
    return {str(value): int(count) for value, count in counts.items()}


def _share(mask: pd.Series) -> float | None:
    return float(mask.mean()) if len(mask) else None
