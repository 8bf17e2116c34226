"""Hubs: catalog photos that answer for more animals than chance allows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binom

LEVEL = 0.05  # chance that a catalog without any hub shows one


def find_hubs(nearest: np.ndarray, is_wrong: np.ndarray, num_catalog: int, *, level: float = LEVEL) -> pd.DataFrame:
    """Finds the catalog photos that are most similar to far too many photos of other animals.

    Were every catalog photo as likely to be taken for another animal's, the count of each would be binomial. A photo is
    a hub where so high a count is less likely than the level, divided by the number of photos (Bonferroni).

    Args:
        nearest: `(num_queries,)` catalog row of the most similar photo, -1 where none may answer.
        is_wrong: `(num_queries,)` bool: that photo shows another individual.
        num_catalog: photos in the catalog.
        level: chance of a false alarm over the whole catalog.

    Returns:
        Columns row, num_wrong, expected and p_value (of that photo alone), the largest count first, then by row.

    Example:
    >>> nearest, is_wrong = np.array([7, 7, 7, 7, 3, 5]), np.array([True, True, True, True, True, False])
    >>> find_hubs(nearest, is_wrong, 1000)[["row", "num_wrong", "expected"]].values.tolist()
    [[7.0, 4.0, 0.005]]
    """
    wrong = nearest[np.asarray(is_wrong, dtype=bool) & (nearest >= 0)]
    rows, counts = np.unique(wrong, return_counts=True)
    p_values = binom.sf(counts - 1, len(wrong), 1 / max(1, num_catalog))
    table = pd.DataFrame({"row": rows, "num_wrong": counts, "expected": len(wrong) / max(1, num_catalog)})
    table = table.assign(p_value=p_values)[(p_values * num_catalog < level) & (counts > 1)]
    return table.sort_values(["num_wrong", "row"], ascending=[False, True]).reset_index(drop=True)
