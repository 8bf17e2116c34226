"""Groups made of links: what is linked, directly or over others, is one group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

PAIRS_AT_ONCE = 1024  # compared before their groups are joined; what is joined then needs no comparing


def join_linked(label: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Joins groups that a link connects; called again and again, it needs each block of links only once.

    Args:
        label: `(num_items,)` integers from 0 to num_items - 1, equal within a group; `np.arange` to begin with.
        links: `(num_links, 2)` indices of linked items.

    Returns:
        `(num_items,)` the new labels.

    Example:
    >>> join_linked(np.arange(4), np.array([[0, 2], [2, 3]]))
    array([0, 1, 0, 0], dtype=int32)
    """
    ends = label[links]
    graph = coo_array((np.ones(len(links), dtype=bool), (ends[:, 0], ends[:, 1])), shape=(len(label), len(label)))
    return connected_components(graph, directed=False)[1][label]


def join_confirmed(label: np.ndarray, pairs: np.ndarray, confirm: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Joins the groups of pairs that a costly comparison confirms; pairs that are one group already are not compared.

    Args:
        label: `(num_items,)` as for `join_linked`.
        pairs: `(num_pairs, 2)` indices of items that may be linked.
        confirm: function from `(num, 2)` such pairs to `(num,)` bools.

    Returns:
        `(num_items,)` the new labels.

    Example:
    >>> join_confirmed(np.arange(4), np.array([[0, 2], [1, 3]]), lambda pairs: pairs[:, 0] == 0)
    array([0, 1, 0, 2], dtype=int32)
    """
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        block = pairs[start : start + PAIRS_AT_ONCE]
        apart = block[label[block[:, 0]] != label[block[:, 1]]]
        if len(apart):
            label = join_linked(label, apart[confirm(apart)])
    return label


def group_codes(label: np.ndarray) -> np.ndarray:
    """Numbers groups of two and more by their first items; an item alone gets -1.

    Example:
    >>> group_codes(np.array([7, 3, 7, 5]))
    array([ 0, -1,  0, -1])
    """
    codes, names = pd.factorize(label)
    several = np.bincount(codes, minlength=len(names)) > 1
    return np.where(several[codes], (np.cumsum(several) - 1)[codes], -1)
