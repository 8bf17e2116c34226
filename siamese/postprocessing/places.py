"""Places in the rows of open scores: who leads, who stands where, and how to put another one first."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from siamese.errors import SiameseError
from siamese.identity_scores import best_of_rows
from siamese.open_scores import OpenScores
from siamese.ranking import reciprocal_ranks

LISTED = 5  # places that MAP@5 counts
ALL = slice(None)
SIGN = 0x80000000  # of a float32


def open_columns(scores: OpenScores, queries: np.ndarray | slice = ALL) -> np.ndarray:
    """Returns `(num_queries, num_identities + 1)` float64 scores, the new individual in the last column.

    Sorted from high to low, equals by column, a row is the ranking: an identity stands before a new individual of the
    same score.

    Args:
        scores: of identities and the new individual. Not changed.
        queries: rows that are wanted.
    """
    return np.column_stack([scores.table.scores[queries], scores.new[queries]])


def from_columns(scores: OpenScores, columns: np.ndarray) -> OpenScores:
    """Returns the queries and identities of some scores with other values, as `open_columns` gives them."""
    return scores.with_scores(columns[:, :-1], columns[:, -1])


def check_probabilities(scores: OpenScores) -> np.ndarray:
    """Returns the `open_columns`.

    Raises:
        SiameseError: a score is no probability.
    """
    columns = open_columns(scores)
    if not np.all((columns == -np.inf) | ((columns >= 0) & (columns <= 1))):
        raise SiameseError(
            "`scores` must be probabilities, or minus infinity where an identity may not answer. Received: scores "
            f"from {columns.min(initial=np.inf, where=columns > -np.inf):.3g} to {columns.max():.3g}. "
            "Take `with_temperature` first."
        )
    return columns


def columns_named(scores: OpenScores, identities: Iterable[str]) -> np.ndarray:
    """Returns the column of each name, -1 for one that has none."""
    column = {name: index for index, name in enumerate(scores.table.names)}
    return np.array([column.get(name, -1) for name in identities], dtype=np.int64)


def leaders(scores: OpenScores, k: int) -> np.ndarray:
    """Returns `(num_queries, k)` the columns at the first k places, best first; -1 where fewer may answer.

    Args:
        scores: of identities and the new individual.
        k: places.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.array([[0.2, 0.9, 0.4]]), np.array(["ann", "bob", "cleo"], dtype=object))
    >>> leaders(OpenScores(table, np.array([0.5])), 3)  # bob, the new individual, cleo
    array([[1, 3, 2]])
    """
    best = scores.table.best_columns(k)
    num_queries, num_names = scores.table.scores.shape
    columns = np.column_stack([best, np.full(num_queries, num_names)])
    values = np.column_stack([np.take_along_axis(scores.table.scores, best, axis=1), scores.new])
    order = best_of_rows(values, min(k, num_names + 1))
    found = np.where(_taken(values, order) > -np.inf, _taken(columns, order), -1)
    return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=-1)


def open_ranks(scores: OpenScores, truth: np.ndarray) -> np.ndarray:
    """Returns `(num_queries,)` int rank of the right answer, from 1; 0 where it may not be given.

    Args:
        scores: of identities and the new individual.
        truth: `(num_queries,)` identities; "" or one that the catalog lacks means new.

    Raises:
        SiameseError: there is not one truth per query.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.array([[0.2, 0.9], [0.2, 0.9]]), np.array(["ann", "bob"], dtype=object))
    >>> open_ranks(OpenScores(table, np.array([0.5, 0.5])), ["ann", ""])
    array([3, 2])
    """
    own, is_new = scores.table.scores_of(truth), scores.table.columns_of(truth) < 0
    as_known = scores.table.ranks_of(truth) + (scores.new > own)
    as_new = 1 + np.sum(scores.table.scores >= scores.new[:, None], axis=1)
    may = np.where(is_new, scores.new, own) > -np.inf
    return np.where(may, np.where(is_new, as_new, as_known), 0)


def precisions(scores: OpenScores, truth: np.ndarray) -> np.ndarray:
    """Returns `(num_queries,)` what each query adds to MAP@5, 0 where its right answer may not be given."""
    return reciprocal_ranks(open_ranks(scores, truth), k=LISTED)


def put_first(scores: OpenScores, queries: np.ndarray, columns: np.ndarray) -> OpenScores:
    """Puts an identity, or the new individual, first; whoever stood before it moves one place back.

    Args:
        scores: of identities and the new individual. Not changed.
        queries: rows, each once.
        columns: whom to put first in each; nothing happens where it may not answer.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.array([[0.25, 0.75]]), np.array(["ann", "bob"], dtype=object))
    >>> changed = put_first(OpenScores(table, np.array([0.5])), np.array([0]), np.array([0]))
    >>> changed.table.scores.tolist(), changed.new.tolist()
    ([[0.75, 0.5]], [0.25])
    """
    order = places(scores, queries)
    others = order[order != columns[:, None]].reshape(len(order), order.shape[1] - 1)
    return reordered(scores, queries, np.column_stack([columns, others]))


def places(scores: OpenScores, queries: np.ndarray) -> np.ndarray:
    """Returns `(len(queries), num_identities + 1)` the columns of some rows, best first."""
    return np.argsort(-open_columns(scores, queries), axis=1, kind="stable")


def reordered(scores: OpenScores, queries: np.ndarray, order: np.ndarray) -> OpenScores:
    """Gives some queries another order: the first takes the highest score, the second the next one, and so on.

    Where equal scores would fall back to the order of names, the one in front gets the next float32 above. A row whose
    order would let someone answer who may not, or does not change, stays as it is.

    Args:
        scores: of identities and the new individual. Not changed.
        queries: rows, each once.
        order: `(len(queries), num_identities + 1)` columns, the new individual's the last one.
    """
    columns, before = open_columns(scores), places(scores, queries)
    rows = columns[queries]
    values = _taken(rows, before)
    kept_out = np.any((_taken(rows, order) > -np.inf) != (values > -np.inf), axis=1)
    changed = ~kept_out & np.any(order != before, axis=1)
    values, order = values[changed], order[changed]
    apart = _falls(values) | ((order[:, :-1] > order[:, 1:]) & (values[:, 1:] > -np.inf))
    columns[queries[changed]] = _placed(values, order, apart)
    return from_columns(scores, columns)


def rounded(columns: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Rounds values to float32, in which scores are kept, but keeps apart what was apart.

    Values that are equal, or become so, stay in the order of `before`, equals there by column: far behind the best,
    probabilities are 0, and even there the order must not be that of names.

    Args:
        columns: `(num_queries, n)` float64. Not changed.
        before: `(num_queries, n)` floats. Not changed.

    Example:
    >>> made = rounded(np.array([[0.0, 1.0, 0.0]]), np.array([[-200.0, 90.0, -300.0]]))
    >>> made.argsort().tolist()
    [[2, 0, 1]]
    """
    order = np.lexsort((-before, -columns), axis=1)
    values = _taken(columns, order)
    return _placed(values, order, _falls(values) | _falls(_taken(before, order)))


def _placed(values: np.ndarray, order: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Writes falling values to the columns of `order`, as float32 numbers that fall strictly where `apart` says so.

    A value is lifted as little as possible above what stands behind it.
    """
    keys = _numbered(values.astype(np.float32))
    steps = np.zeros_like(keys)
    steps[:, :-1] = np.cumsum(apart[:, ::-1], axis=1)[:, ::-1]  # strict falls behind each place
    lifted = np.maximum.accumulate((keys - steps)[:, ::-1], axis=1)[:, ::-1] + steps
    placed = np.empty(values.shape)
    np.put_along_axis(placed, order, _unnumbered(lifted), axis=1)
    return placed


def _numbered(values: np.ndarray) -> np.ndarray:
    """Returns whole numbers in which neighbours among the float32 numbers differ by 1."""
    bits = (values + np.float32(0)).view(np.uint32).astype(np.int64)  # of two zeros it leaves the positive one
    return np.where(bits >= SIGN, SIGN - bits, bits)


def _unnumbered(keys: np.ndarray) -> np.ndarray:
    return np.where(keys < 0, SIGN - keys, keys).astype(np.uint32).view(np.float32)


def _falls(values: np.ndarray) -> np.ndarray:
    falls: np.ndarray = values[:, :-1] > values[:, 1:]
    return falls


def _taken(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, order, axis=1)
