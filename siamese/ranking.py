"""The identities most like a query become a ranking, with a place for the new individual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
import pandas as pd

from siamese.errors import SiameseError
from siamese.identity_scores import NEW_INDIVIDUAL, IdentityScores, check_length, columns_by_identity

_BestKnown: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]  # names, scores and catalog rows, best first
# A score, or what gives one for each query from the names and scores listed, as `Decision.new_threshold` does.
Threshold: TypeAlias = float | Callable[[np.ndarray, np.ndarray], np.ndarray]


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


def rank_identities(
    identity_scores: IdentityScores,
    *,
    query_ids: np.ndarray,
    threshold: Threshold | None,
    top_k: int = 5,
    probability: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Ranking:
    """Lists the best identities of each query, with the new individual before the first score below the threshold.

    Args:
        identity_scores: scores of the queries with the catalog's identities.
        query_ids: `(num_queries,)` image ids.
        threshold: score under which an identity is less likely than a new individual, or what gives one for each query
            from the `(num_queries, k)` names and scores listed; none never lists the new individual.
        top_k: length of a ranking, the new individual included.
        probability: calibration of identity scores, such as `Decision.identity_probability`. The new individual gets
            what the best identity leaves over, 1 where no identity may answer.

    Returns:
        `Ranking` with k = `top_k`.

    Raises:
        SiameseError: `top_k` is under 1, the threshold is NaN, or there is not one id per query.

    Example:
    >>> from siamese.identity_scores import identity_scores
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
    threshold: Threshold | None,
    top_k: int = 5,
    probability: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Ranking:
    """Lists the best identities of each query, like `rank_identities`, out of its best photos alone.

    The memory holds the photos listed, so the whole score matrix is never needed. `Ranking` is that of the whole matrix
    wherever its last score is over that of the last photo listed: what is not listed cannot stand before it. Of photos
    of unknown individuals alone, it cannot know what probability the best identity leaves to the new individual.

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
    _, known, member = columns_by_identity(identity)
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
    threshold: Threshold | None,
    probability: Callable[[np.ndarray], np.ndarray] | None,
) -> Ranking:
    names, scores, rows = best_known
    best, top_k = scores[:, 0], scores.shape[1]
    per_query = _thresholds(names, scores, threshold)
    place = np.sum((scores >= per_query) & (scores > -np.inf), axis=1, keepdims=True)
    column = np.arange(top_k)[None, :]
    is_new, source = column == place, column - (column > place)  # behind its place everybody moves one back
    scores = np.where(is_new, per_query, np.take_along_axis(scores, source, axis=1))
    padding = scores == -np.inf
    probabilities = _probabilities(scores, is_new, best, probability)
    return Ranking(
        query_ids,
        np.where(padding, "", np.where(is_new, NEW_INDIVIDUAL, np.take_along_axis(names, source, axis=1))),
        np.where(padding, np.nan, scores),
        np.where(padding, np.nan, probabilities),
        np.where(padding | is_new, -1, np.take_along_axis(rows, source, axis=1)),
    )


def join_rankings(parts: Sequence[Ranking]) -> Ranking:
    """Puts the rows of several rankings of one length together, in their order."""
    return Ranking(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Ranking)))


def reciprocal_ranks(ranks: np.ndarray, *, k: int) -> np.ndarray:
    """Returns what each rank adds to MAP@k: 1 / rank up to rank k; 0 behind it and for rank 0, which stands nowhere.

    Example:
    >>> reciprocal_ranks(np.array([1, 2, 6, 0]), k=5).tolist()
    [1.0, 0.5, 0.0, 0.0]
    """
    return np.where((ranks > 0) & (ranks <= k), 1 / np.maximum(ranks, 1), 0.0)


def check_top_k(top_k: int) -> None:
    """Raises a `SiameseError` unless a ranking has at least one place."""
    if top_k < 1:
        raise SiameseError(f"`top_k` must be at least 1. Received: top_k={top_k}. Five is usual.")


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


def _thresholds(names: np.ndarray, scores: np.ndarray, threshold: Threshold | None) -> np.ndarray:
    """Returns the `(num_queries, 1)` scores under which the new individual stands."""
    if threshold is None:
        return np.full((len(scores), 1), -np.inf)
    given = threshold(names, scores) if callable(threshold) else np.full(len(scores), float(threshold))
    if np.isnan(given).any():
        raise SiameseError(
            "`threshold` must be a score. Received: NaN. Fit a decision on validation queries, or pass None."
        )
    return given[:, None]


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
