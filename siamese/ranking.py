"""Scores of photos become scores of identities, and those become a ranking with a place for the new individual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
import pandas as pd

from siamese.errors import SiameseError

NEW_INDIVIDUAL = "new_individual"
_BestKnown: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]  # names, scores and catalog rows, best first
BLOCK_CELLS = 4_000_000  # cells of a score matrix in work at once: 16 MB of float32, whatever the catalog's size


@dataclass(frozen=True, eq=False)
class IdentityScores:
    """Best score of each query with each identity of the catalog.

    Attributes:
        names: `(num_identities,)` identity names, sorted, each once.
        scores: `(num_queries, num_identities)` float32, higher is more alike; -inf where no photo of it may answer.
        best_image: `(num_queries, num_identities)` int, catalog row that gave the score, the first of equals;
            -1 for -inf.
    """

    names: np.ndarray
    scores: np.ndarray
    best_image: np.ndarray

    def columns_of(self, truth: np.ndarray) -> np.ndarray:
        """Returns `(num_queries,)` column of each query's identity, -1 for one that the catalog does not hold."""
        truth = check_length("truth", truth, len(self.scores))
        column = {name: index for index, name in enumerate(self.names)}
        return np.array([column.get(name, -1) for name in truth], dtype=np.int64)

    def scores_of(self, truth: np.ndarray) -> np.ndarray:
        """Returns `(num_queries,)` float64 score of each query with its own identity, -inf where it has none."""
        columns = self.columns_of(truth)
        scores = np.full(len(columns), -np.inf)
        known = np.flatnonzero(columns >= 0)
        scores[known] = self.scores[known, columns[known]]
        return scores

    def ranks_of(self, truth: np.ndarray) -> np.ndarray:
        """Returns `(num_queries,)` int rank of each query's own identity, from 1; 0 where it cannot be found.

        Of equal scores the identity whose name comes first stands first, as in `rank_identities`.

        Example:
        >>> table = identity_scores(np.array([[3.0, 9.0, 5.0]]), np.array(["ann", "bob", "cleo"], dtype=object))
        >>> int(table.ranks_of(["cleo"])[0]), int(table.ranks_of(["dora"])[0])
        (2, 0)
        """
        columns, own = self.columns_of(truth), self.scores_of(truth)
        ranks = np.zeros(len(columns), dtype=np.int64)
        for query in np.flatnonzero(own > -np.inf):
            row = self.scores[query]
            ranks[query] = 1 + np.sum(row > own[query]) + np.sum(row[: columns[query]] == own[query])
        return ranks

    def best(self) -> np.ndarray:
        """Returns `(num_queries,)` float64 score of the most similar identity, -inf where no identity may answer."""
        return self.scores.max(axis=1, initial=-np.inf).astype(np.float64)

    def best_columns(self, k: int) -> np.ndarray:
        """Returns `(num_queries, min(k, num_identities))` columns of the best identities, best first, ties by name."""
        columns = np.empty((len(self.scores), min(k, len(self.names))), dtype=np.int64)
        for rows in _row_blocks(self.scores):
            order = np.argsort(-self.scores[rows], axis=1, kind="stable")
            columns[rows] = order[:, :k]
        return columns

    def select(self, queries: np.ndarray) -> IdentityScores:
        """Returns the rows of some queries; `queries` is a mask or indices."""
        return IdentityScores(self.names, self.scores[queries], self.best_image[queries])


@dataclass(frozen=True, eq=False)
class Ranking:
    """Best identities per query, best first. A row with fewer than k answers ends in "", nan and -1.

    Attributes:
        query_ids: `(num_queries,)` image ids.
        identities: `(num_queries, k)` identity names; `NEW_INDIVIDUAL` stands among them as a name like any other.
        scores: `(num_queries, k)` float64, higher is more alike; the score of the new individual is the threshold.
        probabilities: `(num_queries, k)` float64, nan where no calibration was given.
        catalog_rows: `(num_queries, k)` int, the catalog photo that gave the score; -1 for the new individual.
    """

    query_ids: np.ndarray
    identities: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray
    catalog_rows: np.ndarray

    def __len__(self) -> int:
        return len(self.query_ids)

    def first(self, k: int) -> Ranking:
        """Returns the ranking cut after the first k answers."""
        columns = (self.identities, self.scores, self.probabilities, self.catalog_rows)
        return Ranking(self.query_ids, *(values[:, :k] for values in columns))

    def select(self, queries: np.ndarray) -> Ranking:
        """Returns the rows of some queries; `queries` is a mask or indices."""
        return Ranking(*(getattr(self, column.name)[queries] for column in fields(self)))

    def to_frame(self, catalog_ids: np.ndarray | None = None) -> pd.DataFrame:
        """Returns one row per query and answer: image_id, rank, identity, score, probability.

        Args:
            catalog_ids: `(num_catalog,)` image ids; given, a column `match` names the catalog photo ("" for new).
        """
        query, column = np.nonzero(self.identities != "")
        columns = {
            "image_id": self.query_ids[query],
            "rank": column + 1,
            "identity": self.identities[query, column],
            "score": self.scores[query, column],
            "probability": self.probabilities[query, column],
        }
        if catalog_ids is not None:
            matches = np.append(np.asarray(catalog_ids, dtype=object), "")  # row -1, the new individual, reads the ""
            columns["match"] = matches[self.catalog_rows[query, column]]
        return pd.DataFrame(columns)

    def to_submission(self, new_individual: str = "new_whale") -> pd.DataFrame:
        """Returns the challenge's table: Image, and Id with the identities of a query separated by spaces.

        A space inside an identity becomes an underscore, since the format has no other way to tell them apart.

        Args:
            new_individual: the name under which the receiver knows the new individual.
        """
        names = {NEW_INDIVIDUAL: new_individual}
        rows = [" ".join(names.get(name, name).replace(" ", "_") for name in row if name) for row in self.identities]
        return pd.DataFrame({"Image": self.query_ids, "Id": np.array(rows, dtype=object)})


def identity_scores(
    scores: np.ndarray, catalog_identity: np.ndarray, *, allowed: np.ndarray | None = None
) -> IdentityScores:
    """Gives each identity the best score that one of its photos reaches with a query.

    Args:
        scores: `(num_queries, num_catalog)` floats, higher is more alike. Not changed.
        catalog_identity: `(num_catalog,)` names; photos of unknown individuals ("") answer nothing.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.

    Returns:
        `IdentityScores` with the identities in the order of their names.

    Raises:
        SiameseError: shapes do not fit, a score is NaN, or an identity is called like the new individual.

    Example:
    >>> table = identity_scores(np.array([[0.2, 0.9, 0.5]]), np.array(["ann", "bob", "ann"], dtype=object))
    >>> table.names.tolist(), table.scores.round(1).tolist(), table.best_image.tolist()
    (['ann', 'bob'], [[0.5, 0.8999999761581421]], [[2, 1]])
    """
    identity = np.asarray(catalog_identity, dtype=object)
    check_scores(scores, len(identity), allowed)
    names, columns, member = _columns_by_identity(identity)
    table = IdentityScores(
        names,
        np.full((len(scores), len(names)), -np.inf, dtype=np.float32),
        np.full((len(scores), len(names)), -1, dtype=np.int32),
    )
    if len(names):
        for rows in _row_blocks(scores):
            block = np.take(scores[rows], columns, axis=1).astype(np.float32, copy=False)
            if allowed is not None:
                block[~np.take(allowed[rows], columns, axis=1)] = -np.inf
            table.scores[rows], table.best_image[rows] = _best_of_each(block, columns, member)
    return table


def rank_identities(
    identity_scores: IdentityScores,
    *,
    query_ids: np.ndarray,
    threshold: float | None,
    top_k: int = 5,
    probability: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Ranking:
    """Lists the best identities of each query, with the new individual before the first score below the threshold.

    Args:
        identity_scores: scores of the queries with the catalog's identities.
        query_ids: `(num_queries,)` image ids.
        threshold: score under which an identity is less likely than a new individual; none never lists the latter.
        top_k: length of a ranking, the new individual included.
        probability: calibration of identity scores, such as `Decision.identity_probability`. The new individual gets
            what the best identity leaves over, 1 where no identity may answer.

    Returns:
        `Ranking` with k = `top_k`.

    Raises:
        SiameseError: `top_k` is under 1, the threshold is NaN, or there is not one id per query.

    Example:
    >>> table = identity_scores(np.array([[0.2, 0.9]]), np.array(["ann", "bob"], dtype=object))
    >>> rank_identities(table, query_ids=["q1"], threshold=0.5, top_k=3).identities.tolist()
    [['bob', 'new_individual', 'ann']]
    """
    query_ids = check_length("query_ids", query_ids, len(identity_scores.scores))
    check_top_k(top_k)
    return _with_new_individual(query_ids, _best_known(identity_scores, top_k), threshold, probability)


def rank_photos(
    columns: np.ndarray,
    scores: np.ndarray,
    catalog_identity: np.ndarray,
    *,
    query_ids: np.ndarray,
    threshold: float | None,
    top_k: int = 5,
    probability: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Ranking:
    """Lists the best identities of each query, like `rank_identities`, out of its best photos alone.

    The memory holds the photos listed, so the whole score matrix is never needed. `Ranking` is that of the whole matrix
    wherever its last score is over that of the last photo listed: what is not listed cannot stand before it.

    Args:
        columns: `(num_queries, k)` catalog rows, each once in a row; -1 where fewer may answer.
        scores: `(num_queries, k)` floats, minus infinity where fewer may answer.
        catalog_identity: `(num_catalog,)` names; photos of unknown individuals ("") answer nothing.
        query_ids: `(num_queries,)` image ids.
        threshold: as for `rank_identities`.
        top_k: as for `rank_identities`.
        probability: as for `rank_identities`.

    Returns:
        `Ranking` with k = `top_k`.

    Raises:
        SiameseError: as `rank_identities`, or an identity is called like the new individual.

    Example:
    >>> names = np.array(["ann", "bob", "ann"], dtype=object)
    >>> photos, scores = np.array([[2, 0, 1]]), np.array([[0.9, 0.7, 0.2]])
    >>> rank_photos(photos, scores, names, query_ids=["q1"], threshold=0.5, top_k=3).identities.tolist()
    [['ann', 'new_individual', 'bob']]
    """
    query_ids = check_length("query_ids", query_ids, len(columns))
    check_top_k(top_k)
    identity = np.asarray(catalog_identity, dtype=object)
    _, known, member = _columns_by_identity(identity)
    code = np.full(len(identity), -1)
    code[known] = member
    query, place = np.nonzero((columns >= 0) & (scores > -np.inf))
    photo, score = columns[query, place], scores[query, place].astype(np.float64)
    has_name = code[photo] >= 0
    best = _best_identities(query[has_name], photo[has_name], score[has_name], code)
    return _with_new_individual(query_ids, _in_rows(*best, identity, len(columns), top_k), threshold, probability)


def _best_identities(
    query: np.ndarray, photo: np.ndarray, score: np.ndarray, code: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keeps of each query and identity the best photo, the first of equals; sorts by query, score and name."""
    order = np.lexsort((photo, -score, code[photo], query))
    query, photo, score = query[order], photo[order], score[order]
    first = (np.diff(query, prepend=-1) != 0) | (np.diff(code[photo], prepend=-1) != 0)
    query, photo, score = query[first], photo[first], score[first]
    order = np.lexsort((code[photo], -score, query))
    return query[order], photo[order], score[order]


def _in_rows(
    query: np.ndarray, photo: np.ndarray, score: np.ndarray, identity: np.ndarray, num_queries: int, top_k: int
) -> _BestKnown:
    """Writes a sorted list of queries and photos as a table, a row for each query."""
    place = np.arange(len(query)) - np.searchsorted(query, query)
    kept = place < top_k
    query, photo, score, place = query[kept], photo[kept], score[kept], place[kept]
    names = np.full((num_queries, top_k), "", dtype=object)
    scores, rows = np.full(names.shape, -np.inf), np.full(names.shape, -1, np.int32)
    names[query, place], scores[query, place], rows[query, place] = identity[photo], score, photo
    return names, scores, rows


def _with_new_individual(
    query_ids: np.ndarray,
    best_known: _BestKnown,
    threshold: float | None,
    probability: Callable[[np.ndarray], np.ndarray] | None,
) -> Ranking:
    names, scores, rows = best_known
    best, top_k = scores[:, 0], scores.shape[1]
    place = _place_of_new(scores, threshold)[:, None]
    column = np.arange(top_k)[None, :]
    is_new, source = column == place, column - (column > place)  # behind its place everybody moves one back
    scores = np.where(is_new, np.nan if threshold is None else threshold, np.take_along_axis(scores, source, axis=1))
    padding = scores == -np.inf
    probabilities = _probabilities(scores, is_new, best, probability)
    return Ranking(
        query_ids,
        np.where(padding, "", np.where(is_new, NEW_INDIVIDUAL, np.take_along_axis(names, source, axis=1))),
        np.where(padding, np.nan, scores),
        np.where(padding, np.nan, probabilities),
        np.where(padding | is_new, -1, np.take_along_axis(rows, source, axis=1)),
    )


def check_scores(scores: np.ndarray, num_catalog: int, allowed: np.ndarray | None = None) -> None:
    """Raises a `SiameseError` unless scores and mask are matrices with one column per catalog photo."""
    if np.ndim(scores) != 2 or np.shape(scores)[1] != num_catalog:
        raise SiameseError(
            "`scores` must have one row per query and one column per catalog photo, "
            f"shape (num_queries, {num_catalog}). Received: shape {np.shape(scores)}. "
            "Pass `scores.T` if the axes are swapped."
        )
    if allowed is not None and (np.shape(allowed) != np.shape(scores) or np.asarray(allowed).dtype != bool):
        raise SiameseError(
            f"`allowed` must be a bool matrix of the shape of `scores`, {np.shape(scores)}. "
            f"Received: {np.asarray(allowed).dtype} of shape {np.shape(allowed)}. Pass None to allow every photo."
        )


def reciprocal_ranks(ranks: np.ndarray, *, k: int) -> np.ndarray:
    """Returns what each rank, from 1 on, adds to MAP@k: 1 / rank up to rank k, 0 behind it.

    Example:
    >>> reciprocal_ranks(np.array([1, 2, 6]), k=5).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.where(ranks <= k, 1 / ranks, 0.0)


def check_length(name: str, values: np.ndarray, num_queries: int) -> np.ndarray:
    """Returns the values as an object array `(num_queries,)`, or raises a `SiameseError`."""
    values = np.asarray(values, dtype=object)
    if values.shape != (num_queries,):
        raise SiameseError(
            f"`{name}` must hold one value per query, shape ({num_queries},). Received: shape {values.shape}. "
            "Give queries and scores in the same order."
        )
    return values


def check_top_k(top_k: int) -> None:
    """Raises a `SiameseError` unless a ranking has at least one place."""
    if top_k < 1:
        raise SiameseError(f"`top_k` must be at least 1. Received: top_k={top_k}. Five is usual.")


def _columns_by_identity(identity: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the names, the catalog rows of known photos ordered by identity, and the name index of each of them."""
    known = np.flatnonzero(identity != "")
    names, member = np.unique(identity[known], return_inverse=True)
    if NEW_INDIVIDUAL in names:
        count = int(np.sum(identity == NEW_INDIVIDUAL))
        raise SiameseError(
            f"No identity of the catalog may be called {NEW_INDIVIDUAL!r}, the answer for an unknown individual. "
            f"Received: {count} photos of it. Leave the identity of such photos empty."
        )
    order = np.argsort(member, kind="stable")
    return names, known[order], member[order]


def _best_of_each(block: np.ndarray, columns: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best score per identity and the catalog row that gave it; `block` lies in the order of `columns`."""
    starts = np.flatnonzero(np.diff(member, prepend=-1))
    best = np.maximum.reduceat(block, starts, axis=1)
    if np.isnan(best).any():
        raise SiameseError("`scores` must be numbers. Received: NaN. Score the photos again; a NaN has no rank.")
    nobody = np.int32(np.iinfo(np.int32).max)
    rows = np.where(block == np.take(best, member, axis=1), columns.astype(np.int32), nobody)
    first = np.minimum.reduceat(rows, starts, axis=1)
    return best, np.where(best == -np.inf, np.int32(-1), first)


def _row_blocks(matrix: np.ndarray) -> Iterator[slice]:
    rows = max(1, BLOCK_CELLS // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        yield slice(start, start + rows)


def _best_known(table: IdentityScores, top_k: int) -> _BestKnown:
    """Returns names, float64 scores and catalog rows of the best k, filled up with "", -inf and -1."""
    columns = table.best_columns(top_k)
    missing = ((0, 0), (0, top_k - columns.shape[1]))
    scores = np.take_along_axis(table.scores, columns, axis=1).astype(np.float64)
    rows = np.take_along_axis(table.best_image, columns, axis=1)
    return (
        np.pad(table.names[columns], missing, constant_values=""),
        np.pad(scores, missing, constant_values=-np.inf),
        np.pad(rows, missing, constant_values=-1),
    )


def _place_of_new(scores: np.ndarray, threshold: float | None) -> np.ndarray:
    """Returns the column of the new individual in each row; behind the last one where it is not listed."""
    if threshold is None:
        return np.full(len(scores), scores.shape[1])
    if np.isnan(threshold):
        raise SiameseError(
            "`threshold` must be a score. Received: NaN. Fit a decision on validation queries, or pass None."
        )
    return np.sum((scores >= threshold) & (scores > -np.inf), axis=1)


def _probabilities(
    scores: np.ndarray, is_new: np.ndarray, best: np.ndarray, probability: Callable[[np.ndarray], np.ndarray] | None
) -> np.ndarray:
    answers = np.full(scores.shape, np.nan)
    if probability is not None:
        known = ~is_new & (scores > -np.inf)
        answers[known] = probability(scores[known])
        left_over = np.ones(len(best))
        left_over[best > -np.inf] -= probability(best[best > -np.inf])
        answers = np.where(is_new, left_over[:, None], answers)
    return answers
