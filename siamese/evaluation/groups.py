"""Where a model is good and where not: the same number for each group of queries."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd

from siamese.evaluation.bootstrap import NUM_DRAWS, check_codes, draw_individuals, individual_codes, interval, mean_of
from siamese.identity_scores import check_length

# From which number on a group begins, and what it is called.
PHOTO_GROUPS = ((0, "none (new)"), (1, "1"), (2, "2"), (3, "3 to 5"), (6, "6 to 10"), (11, "over 10"))
DAY_GROUPS = (
    (0, "same day"),
    (1, "1 to 7 days"),
    (8, "8 to 30 days"),
    (31, "31 to 365 days"),
    (366, "over a year"),
)
QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


def group_table(
    values: np.ndarray, groups: np.ndarray, identity: np.ndarray, *, num_draws: int = NUM_DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Returns the mean of the values in each group, with its 95 % interval over individuals.

    Args:
        values: `(num_queries,)` numbers; nan leaves a query out.
        groups: `(num_queries,)` names; "" is "unknown". A categorical keeps the order of its categories, other groups
            come by name.
        identity: `(num_queries,)` names of individuals; "" is a further individual each.
        num_draws: draws of the bootstrap.
        seed: of the draws, the same for each group.

    Returns:
        Columns group, n (queries), num_individuals, value, low, high.

    Raises:
        SiameseError: the three differ in length.

    Example:
    >>> table = group_table([1.0, 0.0, 1.0], ["left", "left", "right"], ["ann", "bob", "ann"])
    >>> print(table[["group", "n", "value"]].to_string(index=False))
    group  n  value
     left  2    0.5
    right  1    1.0
    """
    values, code = np.asarray(values, dtype=np.float64), individual_codes(identity)
    check_codes(values, code)
    names = check_length("groups", groups, len(values))
    names = np.where(names == "", "unknown", names)
    order = [name for name in getattr(groups, "categories", sorted(set(names) - {"unknown"})) if name in set(names)]
    rows = []
    for name in order + ["unknown"] * bool((names == "unknown").any() and "unknown" not in order):
        kept = (names == name) & ~np.isnan(values)
        own = np.unique(code[kept], return_inverse=True)[1]
        counts = draw_individuals(own.max(initial=-1) + 1, num_draws=num_draws, rng=np.random.default_rng(seed))
        found = interval(mean_of(values[kept], own), counts)
        rows.append({"group": name, "n": int(kept.sum()), "num_individuals": counts.shape[1], **asdict(found)})
    return pd.DataFrame(rows, columns=["group", "n", "num_individuals", "value", "low", "high"])


def photo_groups(num_photos: np.ndarray) -> pd.Categorical:
    """Groups queries by the number of catalog photos of the right individual that may answer.

    Example:
    >>> list(photo_groups([0, 4, 12]))
    ['none (new)', '3 to 5', 'over 10']
    """
    return _grouped(np.asarray(num_photos, dtype=np.float64), PHOTO_GROUPS)


def day_groups(days: np.ndarray) -> pd.Categorical:
    """Groups queries by the days to the nearest photo of their individual; "" where it is not known.

    Example:
    >>> list(day_groups([0, 400, np.nan]))
    ['same day', 'over a year', '']
    """
    return _grouped(np.asarray(days, dtype=np.float64), DAY_GROUPS)


def quarters(values: np.ndarray) -> pd.Categorical:
    """Groups queries into four of one size by a number such as sharpness; "" where it is nan.

    Example:
    >>> list(quarters([5.0, 1.0, 9.0, 7.0]))
    ['second quarter', 'lowest quarter', 'highest quarter', 'third quarter']
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    cuts = np.quantile(values[known], [0.25, 0.5, 0.75]) if known.any() else np.zeros(3)
    names = np.array(QUARTERS, dtype=object)[np.searchsorted(cuts, values, side="left").clip(max=3)]
    return pd.Categorical(np.where(known, names, ""), categories=[*QUARTERS, ""])


def days_to_nearest(
    identity: np.ndarray,
    dates: np.ndarray,
    catalog_identity: np.ndarray,
    catalog_dates: np.ndarray,
    *,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """Returns `(num_queries,)` float days between a query and the nearest catalog photo of its individual.

    Args:
        identity: `(num_queries,)` names.
        dates: `(num_queries,)` datetime64; NaT is not known.
        catalog_identity: `(num_catalog,)` names; "" is nobody's photo.
        catalog_dates: `(num_catalog,)` datetime64.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.

    Returns:
        Whole days, nan where a date is missing or no photo of the individual may answer.

    Example:
    >>> photos = np.array(["2020-01-01", "2020-03-01"], dtype="datetime64[D]")
    >>> days_to_nearest(["ann"], np.array(["2020-02-27"], dtype="datetime64[D]"), ["ann", "ann"], photos)
    array([3.])
    """
    identity, names = np.asarray(identity, dtype=object), np.asarray(catalog_identity, dtype=object)
    asked, known = (np.asarray(days).astype("datetime64[D]") for days in (dates, catalog_dates))
    rows_of = pd.Series(np.arange(len(names))).groupby(names).indices
    nearest = np.full(len(identity), np.nan)
    for query in np.flatnonzero((identity != "") & ~np.isnat(asked)):
        rows = rows_of.get(identity[query], np.empty(0, dtype=np.int64))
        rows = rows[~np.isnat(known[rows])]
        rows = rows if allowed is None else rows[allowed[query, rows]]
        if len(rows):
            nearest[query] = np.abs((known[rows] - asked[query]).astype(np.int64)).min()
    return nearest


def _grouped(numbers: np.ndarray, groups: tuple[tuple[int, str], ...]) -> pd.Categorical:
    starts, names = zip(*groups, strict=True)
    place = np.searchsorted(starts, numbers, side="right") - 1
    chosen = np.where(np.isfinite(numbers), np.array(names, dtype=object)[place], "")
    return pd.Categorical(chosen, categories=[*names, ""])
