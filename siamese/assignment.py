"""Solves one linear assignment; the only module that knows the solver and how it spells "never"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

try:
    from lapjv import lapjv
except ImportError:  # lapjv has no macOS build
    lapjv = None


@dataclass(frozen=True)
class Assignment:
    """One column for each row, each column once.

    Attributes:
        column: `(n,)` integers, the column given to each row.
        allowed: `(n,)` booleans, False where no allowed column was left for the row.
        method: name of the solver.
    """

    column: np.ndarray
    allowed: np.ndarray
    method: str


def solve_assignment(cost: np.ndarray, forbidden: np.ndarray, *, method: str | None = None) -> Assignment:
    """Finds the permutation of lowest total cost that takes as few forbidden cells as possible.

    A forbidden cell costs more than everything else together, so no saving elsewhere can pay for it. (The 10,000 of the
    humpback kernel could be outweighed once the noise is 1000.)

    Args:
        cost: `(n, n)` finite floats, lower is preferred. Not changed.
        forbidden: `(n, n)` booleans, cells that must not be taken.
        method: `"lapjv"` or `"scipy"`; None takes lapjv where it is installed.

    Returns:
        The `Assignment`; rows whose cell is forbidden are marked, they exist only when there is no other way.

    Raises:
        ValueError: `cost` is not square or not finite, or the shapes differ.

    Example:
    >>> solve_assignment(np.array([[0.0, 1.0], [5.0, 9.0]]), np.eye(2, dtype=bool)).column
    array([1, 0])
    """
    _check_cost(cost, forbidden)
    method = method or ("scipy" if lapjv is None else "lapjv")
    full_cost = _with_prohibitive_cells(cost, forbidden)
    if method == "lapjv" and len(cost):  # lapjv refuses an empty matrix
        column = np.asarray(lapjv(full_cost, force_doubles=True)[0], dtype=np.intp)  # its float32 default loses digits
    else:
        column = linear_sum_assignment(full_cost)[1]
    if not np.array_equal(np.sort(column), np.arange(len(cost))):
        raise RuntimeError(f"{method} did not return a permutation of {len(cost)} columns.")
    return Assignment(column, ~forbidden[np.arange(len(cost)), column], method)


def _check_cost(cost: np.ndarray, forbidden: np.ndarray) -> None:
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1] or cost.shape != forbidden.shape:
        raise ValueError(
            "`cost` must be square and `forbidden` of the same shape. "
            f"Received: shapes {cost.shape} and {forbidden.shape}."
        )
    if not np.isfinite(cost).all():
        raise ValueError("`cost` must be finite: a score is infinite or not a number. Lower the learning rate.")


def _with_prohibitive_cells(cost: np.ndarray, forbidden: np.ndarray) -> np.ndarray:
    shifted = cost.astype(np.float64) - (cost.min() if cost.size else 0.0)
    prohibitive = (len(cost) + 1) * (shifted.max(initial=0.0) + 1.0)
    shifted[forbidden] = prohibitive
    return shifted
