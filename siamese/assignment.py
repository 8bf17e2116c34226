"""Solves one linear assignment; the only module that knows the solvers and how they spell "never"."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

try:
    from lapjv import lapjv
except ImportError:  # lapjv has no macOS build
    lapjv = None

DENSE_IMAGES = 1024  # up to here the whole matrix is solved within a second, whatever the costs

Method = Literal["auto", "dense", "sparse", "blocks"]


@dataclass(frozen=True)
class Assignment:
    """One column for each row, each column once.

    Attributes:
        column: `(n,)` integers, the column given to each row.
        allowed: `(n,)` booleans, False where no allowed column was left for the row.
        cost: total cost of the allowed rows.
        method: name of the solver.
        seconds: how long the solver took.
    """

    column: np.ndarray
    allowed: np.ndarray
    cost: float
    method: str
    seconds: float


def choose_method(num_images: int, wanted: Method = "auto") -> Method:
    """Says how the pairs of a round are assigned: the whole matrix, or the best candidates of each image alone.

    Args:
        num_images: images of the round.
        wanted: "auto" takes "dense" for up to 1,024 images and "sparse" above; another method is taken as it is.

    Example:
    >>> choose_method(500), choose_method(50_000), choose_method(50_000, "blocks")
    ('dense', 'sparse', 'blocks')
    """
    if wanted != "auto":
        return wanted
    return "dense" if num_images <= DENSE_IMAGES else "sparse"


def solve_assignment(cost: np.ndarray, forbidden: np.ndarray, *, method: str | None = None) -> Assignment:
    """Finds the permutation of lowest total cost that takes as few forbidden cells as possible.

    A forbidden cell costs more than everything else together, so no saving elsewhere can pay for it. (The 10,000 of the
    humpback kernel could be outweighed once the noise is 1000.)

    Args:
        cost: `(n, n)` finite floats, lower is preferred. Not changed.
        forbidden: `(n, n)` booleans, cells that must not be taken.
        method: `"lapjv"` or `"scipy"`; None takes lapjv where it is installed. `"lapx"` is there for comparison.

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
    start = time.perf_counter()
    full_cost = _with_prohibitive_cells(cost, forbidden)
    # lapjv and lapx refuse an empty matrix
    column = np.asarray(SOLVERS[method](full_cost) if len(cost) else [], dtype=np.intp)
    seconds = time.perf_counter() - start
    _check_permutation(column, len(cost), method)
    rows = np.arange(len(cost))
    allowed = ~forbidden[rows, column]
    total = cost[rows, column][allowed].sum(dtype=np.float64)
    return Assignment(column, allowed, float(total), method, seconds)


def solve_sparse(
    row: np.ndarray,
    column: np.ndarray,
    cost: np.ndarray,
    *,
    fallback: np.ndarray,
    fallback_cost: np.ndarray,
    fallback_allowed: np.ndarray,
) -> Assignment:
    """Finds the cheapest permutation within a list of cells, such as the best candidates of each row.

    A fallback permutation is added to the cells, so that there always is an answer. Where it is not allowed, it costs
    more than everything else together. The solver is SciPy's LAPJVsp (Jonker and Volgenant 1987 for sparse matrices).

    Args:
        row: `(num_cells,)` integers.
        column: `(num_cells,)` integers; no cell stands twice.
        cost: `(num_cells,)` finite floats, lower is preferred.
        fallback: `(n,)` integers, a permutation: one cell more for each row. Where it stands among the cells, its own
            cost counts.
        fallback_cost: `(n,)` finite floats, its true cost.
        fallback_allowed: `(n,)` booleans, False where it may only be taken when there is no other way.

    Returns:
        The `Assignment`; rows left with a fallback that is not allowed are marked.

    Raises:
        ValueError: a cost is not finite.

    Example:
    >>> solve_sparse(np.array([0, 1]), np.array([1, 1]), np.array([1.0, 0.0]), fallback=np.array([1, 0]),
    ...     fallback_cost=np.array([9.0, 2.0]), fallback_allowed=np.array([True, True])).column
    array([1, 0])
    """
    start, num_rows = time.perf_counter(), len(fallback)
    all_costs = np.concatenate([cost, fallback_cost]).astype(np.float64)
    if not np.isfinite(all_costs).all():
        raise ValueError("`cost` must be finite: a score is infinite or not a number. Lower the learning rate.")
    kept = np.append(column != fallback[row], np.ones(num_rows, dtype=bool))
    rows, columns = np.append(row, np.arange(num_rows))[kept], np.append(column, fallback)[kept]
    shifted = all_costs[kept] - all_costs.min(initial=0.0) + 1.0  # SciPy takes a stored zero for no cell
    shifted[-num_rows:][~fallback_allowed] = (num_rows + 1) * shifted.max(initial=1.0)
    chosen = _solve_cells(rows, columns, shifted, num_rows)
    seconds = time.perf_counter() - start
    _check_permutation(chosen, num_rows, "sparse")
    taken = columns == chosen[rows]
    allowed = (chosen != fallback) | fallback_allowed
    total = all_costs[kept][taken][np.argsort(rows[taken])][allowed].sum()
    return Assignment(chosen, allowed, float(total), "sparse", seconds)


def _solve_cells(row: np.ndarray, column: np.ndarray, cost: np.ndarray, num_rows: int) -> np.ndarray:
    if not num_rows:
        return np.empty(0, dtype=np.intp)
    return min_weight_full_bipartite_matching(csr_array((cost, (row, column)), shape=(num_rows, num_rows)))[1].astype(
        np.intp
    )


def _solve_lapjv(cost: np.ndarray) -> np.ndarray:
    return lapjv(cost, force_doubles=True)[0]  # its float32 default loses digits


def _solve_scipy(cost: np.ndarray) -> np.ndarray:
    return linear_sum_assignment(cost)[1]


def _solve_lapx(cost: np.ndarray) -> np.ndarray:
    import lap  # for measurements alone, so it is not required

    return lap.lapjv(cost)[1]


SOLVERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lapjv": _solve_lapjv,
    "scipy": _solve_scipy,
    "lapx": _solve_lapx,
}


def _check_permutation(column: np.ndarray, num_columns: int, method: str) -> None:
    if not np.array_equal(np.sort(column), np.arange(num_columns)):
        raise RuntimeError(f"{method} did not return a permutation of {num_columns} columns.")


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
