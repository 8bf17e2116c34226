"""The transposed view: each catalog photo is asked which query is most like it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.errors import SiameseError
from siamese.identity_scores import check_scores
from siamese.open_scores import OpenScores
from siamese.postprocessing.moves import Moves, one_a_query
from siamese.postprocessing.places import columns_named, leaders

NEAR = 0.46  # probability, fifth place, humpback 2019 (published code)
DOUBTFUL = 0.6  # probability, the same
DOUBTED = 3  # the same: so many queries have the identity at rank 2


@dataclass(frozen=True, eq=False)
class NearestQueries:
    """The query that each catalog photo is most like.

    Attributes:
        identity: `(num_catalog,)` whom the photo shows; "" is nobody known.
        query: `(num_catalog,)` row of its nearest query, the first of equals; -1 where it may answer none.
        score: `(num_catalog,)` float64 score of the two; -inf for -1.
    """

    identity: np.ndarray
    query: np.ndarray
    score: np.ndarray


def nearest_queries(
    photo_scores: np.ndarray, catalog_identity: np.ndarray, *, allowed: np.ndarray | None = None
) -> NearestQueries:
    """Finds the nearest query of each catalog photo.

    Args:
        photo_scores: `(num_queries, num_catalog)` floats, higher is more alike. Not changed.
        catalog_identity: `(num_catalog,)` names; "" is nobody known.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.

    Raises:
        SiameseError: shapes do not fit.

    Example:
    >>> found = nearest_queries(np.array([[0.2, 0.9], [0.5, 0.4]]), np.array(["ann", "bob"], dtype=object))
    >>> found.query.tolist(), found.score.tolist()
    ([1, 0], [0.5, 0.9])
    """
    check_scores(photo_scores, len(catalog_identity), allowed)
    scores = photo_scores if allowed is None else np.where(allowed, photo_scores, -np.inf)
    best = scores.max(axis=0, initial=-np.inf).astype(np.float64)
    nearest = scores.argmax(axis=0) if len(scores) else np.zeros(len(best), dtype=np.int64)
    return NearestQueries(np.asarray(catalog_identity, dtype=object), np.where(best > -np.inf, nearest, -1), best)


def swap_transposed(
    scores: OpenScores, nearest: NearestQueries, *, near: float = NEAR, doubtful: float = DOUBTFUL
) -> OpenScores:
    """Swaps ranks 1 and 2 where a catalog photo of rank 2 has this query as its nearest one.

    The swap of the fifth place, humpback 2019, after its code. Of the photos that reach `near` and have the query as
    nearest, the most similar one speaks. Where its identity is the query's rank 2, ranks 1 and 2 are swapped. Where
    rank 1 is the new individual, they are not if the identity is anybody's rank 1, nor if it is rank 2 of exactly three
    queries and the photo's score is under `doubtful`. The counts are those before any swap.

    It needs all queries at once: answers to a query depend on the others.

    Args:
        scores: of identities and the new individual, on any scale. Not changed.
        nearest: of the same queries, see `nearest_queries`.
        near: the score that a photo must reach, on the scale of `nearest`; the source's number is of probabilities.
        doubtful: the same, where rank 1 is the new individual.

    Raises:
        SiameseError: `nearest` names a query that is not there.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> photos, names = np.array([[0.9, 0.8], [0.95, 0.3]]), np.array(["ann", "bob"], dtype=object)
    >>> scores = OpenScores(identity_scores(photos, names), np.zeros(2))
    >>> swap_transposed(scores, nearest_queries(photos, names)).rank(["q1", "q2"], top_k=1).identities.tolist()
    [['bob'], ['ann']]
    """
    return _swaps(scores, nearest, doubtful).made(scores, near)


def fit_transposed(
    scores: OpenScores, nearest: NearestQueries, truth: np.ndarray, *, doubtful: float = DOUBTFUL
) -> float:
    """Returns the `near` of `swap_transposed` with the highest MAP@5 on validation queries; inf if no swap helps.

    Args:
        scores: of validation queries. Not changed.
        nearest: of the same queries.
        truth: `(num_queries,)` identities; "" or one that the catalog lacks means new.
        doubtful: as for `swap_transposed`.
    """
    return _swaps(scores, nearest, doubtful).fit_cut(scores, truth)


def put_singletons_first(scores: OpenScores, num_photos: np.ndarray, *, near: float) -> OpenScores:
    """Puts each identity that has one photo first for the query that is nearest to it, if the two are near enough.

    Few photos rarely win a query, because the photos of others are many (Austin, fourth place, humpback 2019; his code
    was not published). It goes before the new individual too. Of several such identities of a query the nearest wins.

    It needs all queries at once: answers to a query depend on the others.

    Args:
        scores: of identities and the new individual, on any scale. Not changed.
        num_photos: `(num_identities,)` catalog photos of each identity.
        near: the score that the two must reach, chosen on validation queries: the source gives none.

    Raises:
        SiameseError: there is not one number per identity.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.array([[9.0, 6.0], [8.0, 1.0]]), np.array(["ann", "bob"], dtype=object))
    >>> moved = put_singletons_first(OpenScores(table, np.array([7.0, 7.0])), np.array([4, 1]), near=5.0)
    >>> moved.rank(["q1", "q2"], top_k=3).identities.tolist()
    [['bob', 'ann', 'new_individual'], ['ann', 'new_individual', 'bob']]
    """
    return _singletons(scores, num_photos).made(scores, near)


def fit_singletons(scores: OpenScores, num_photos: np.ndarray, truth: np.ndarray) -> float:
    """Returns the `near` of `put_singletons_first` with the highest MAP@5 on validation queries; inf if none helps.

    Args:
        scores: of validation queries. Not changed.
        num_photos: `(num_identities,)` catalog photos of each identity.
        truth: `(num_queries,)` identities; "" or one that the catalog lacks means new.
    """
    return _singletons(scores, num_photos).fit_cut(scores, truth)


def _swaps(scores: OpenScores, nearest: NearestQueries, doubtful: float) -> Moves:
    num_queries, new = scores.table.scores.shape
    if len(nearest.query) and nearest.query.max() >= num_queries:
        raise SiameseError(
            f"`nearest` must be of the same {num_queries} queries. Received: query {nearest.query.max()}. "
            "Find the nearest queries of the same photos."
        )
    first, second = leaders(scores, 2).T
    column = columns_named(scores, nearest.identity)
    speaks = (nearest.query >= 0) & (column >= 0)
    best = one_a_query(nearest.query[speaks], column[speaks], nearest.score[speaks])
    num_first, num_second = (np.bincount(place[place >= 0], minlength=new + 1) for place in (first, second))
    doubted = (num_second[best.columns] == DOUBTED) & (best.strength < doubtful)
    is_left = (first[best.queries] == new) & ((num_first[best.columns] > 0) | doubted)
    swapped = (second[best.queries] == best.columns) & ~is_left
    return Moves(best.queries[swapped], best.columns[swapped], best.strength[swapped])


def _singletons(scores: OpenScores, num_photos: np.ndarray) -> Moves:
    if np.shape(num_photos) != (len(scores.table.names),):
        raise SiameseError(
            f"`num_photos` must hold one number per identity, shape ({len(scores.table.names)},). Received: shape "
            f"{np.shape(num_photos)}. Count the photos of the catalog that was asked."
        )
    single = np.flatnonzero(np.asarray(num_photos) == 1)
    if not len(scores.table.scores):
        return Moves(single[:0], single[:0], np.empty(0))
    table = scores.table.scores[:, single]
    best = table.max(axis=0).astype(np.float64)
    found = best > -np.inf
    return one_a_query(table.argmax(axis=0)[found], single[found], best[found])
