"""Scores of photos become scores of identities: by the best photo, or by several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit

from siamese.errors import SiameseError
from siamese.settings import IdentityScoreSettings

NEW_INDIVIDUAL = "new_individual"
BLOCK_CELLS = 4_000_000  # cells of a score matrix in work at once: 16 MB of float32, whatever the catalog's size
BEST_PHOTO = IdentityScoreSettings(rule="max")


@dataclass(frozen=True, eq=False)
class IdentityScores:
    """Score of each query with each identity of the catalog.

    Attributes:
        names: `(num_identities,)` identity names, sorted, each once.
        scores: `(num_queries, num_identities)` float32, higher is more alike; -inf where no photo of it may answer.
        best_image: `(num_queries, num_identities)` int, catalog row of its photo most like the query, the first of
            equals; -1 for -inf.
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

        Of equal scores the identity whose name comes first stands first, as in `rank_identities`; see `last_ranks_of`.

        Example:
        >>> table = identity_scores(np.array([[3.0, 9.0, 5.0]]), np.array(["ann", "bob", "cleo"], dtype=object))
        >>> int(table.ranks_of(["cleo"])[0]), int(table.ranks_of(["dora"])[0])
        (2, 0)
        """
        columns, own = self.columns_of(truth), self.scores_of(truth)
        ranks = np.zeros(len(columns), dtype=np.int64)
        for query in np.flatnonzero(own > -np.inf):
            row, score = self.scores[query], self.scores.dtype.type(own[query])
            ranks[query] = 1 + np.count_nonzero(row > score) + np.count_nonzero(row[: columns[query]] == score)
        return ranks

    def last_ranks_of(self, truth: np.ndarray) -> np.ndarray:
        """Returns `(num_queries,)` int rank of each query's own identity behind all of the same score, else `ranks_of`.

        Example:
        >>> table = identity_scores(np.array([[5.0, 9.0, 5.0]]), np.array(["ann", "bob", "cleo"], dtype=object))
        >>> int(table.ranks_of(["ann"])[0]), int(table.last_ranks_of(["ann"])[0])
        (2, 3)
        """
        own = self.scores_of(truth)
        ranks = np.zeros(len(own), dtype=np.int64)
        for query in np.flatnonzero(own > -np.inf):
            ranks[query] = np.count_nonzero(self.scores[query] >= self.scores.dtype.type(own[query]))
        return ranks

    def best(self) -> np.ndarray:
        """Returns `(num_queries,)` float64 score of the most similar identity, -inf where no identity may answer."""
        return self.scores.max(axis=1, initial=-np.inf).astype(np.float64)

    def best_columns(self, k: int) -> np.ndarray:
        """Returns `(num_queries, min(k, num_identities))` columns of the best identities, best first, ties by name."""
        columns = np.empty((len(self.scores), min(k, len(self.names))), dtype=np.int64)
        for rows in row_blocks(self.scores):
            columns[rows] = best_of_rows(self.scores[rows], columns.shape[1])
        return columns

    def select(self, queries: np.ndarray | slice) -> IdentityScores:
        """Returns the rows of some queries; `queries` is a mask, indices or a slice."""
        return IdentityScores(self.names, self.scores[queries], self.best_image[queries])


def identity_scores(
    scores: np.ndarray,
    catalog_identity: np.ndarray,
    *,
    allowed: np.ndarray | None = None,
    settings: IdentityScoreSettings = BEST_PHOTO,
) -> IdentityScores:
    """Gives each identity a score for each query: that of its best photo, or one of several photos.

    Args:
        scores: `(num_queries, num_catalog)` floats, higher is more alike; -inf may not answer. Not changed.
        catalog_identity: `(num_catalog,)` names; photos of unknown individuals ("") answer nothing.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.
        settings: the rule, one of `RULES`, and its numbers. Centroids are made of embeddings, see `Centroids`.

    Returns:
        `IdentityScores` with the identities in the order of their names.

    Raises:
        SiameseError: shapes do not fit, a score is NaN, the rule needs embeddings, or an identity is called like the
            new individual.

    Example:
    >>> scores, names = np.array([[0.25, 0.5, 0.75]]), np.array(["ann", "bob", "ann"], dtype=object)
    >>> table = identity_scores(scores, names)
    >>> table.names.tolist(), table.scores.tolist(), table.best_image.tolist()
    (['ann', 'bob'], [[0.75, 0.5]], [[2, 1]])
    >>> identity_scores(scores, names, settings=IdentityScoreSettings(rule="mean")).scores.tolist()
    [[0.5, 0.5]]
    """
    if settings.rule not in RULES:
        raise SiameseError(
            f"The rule must be one of scores: {', '.join(RULES)}. Received: {settings.rule}, of embeddings. "
            "Make centroids of the catalog first."
        )
    identity = np.asarray(catalog_identity, dtype=object)
    check_scores(scores, len(identity), allowed)
    names, columns, member = columns_by_identity(identity)
    table = IdentityScores(
        names,
        np.full((len(scores), len(names)), -np.inf, dtype=np.float32),
        np.full((len(scores), len(names)), -1, dtype=np.int32),
    )
    if len(names):
        photos = _Photos.of(columns, member)
        for rows in row_blocks(scores):
            block = np.take(scores[rows], photos.columns, axis=1).astype(np.float32, copy=False)
            if allowed is not None:
                block[~np.take(allowed[rows], photos.columns, axis=1)] = -np.inf
            best = photos.highest(block)
            found = RULES[settings.rule](block, best, photos, settings)
            image = np.where(best == -np.inf, -1, photos.columns[photos.first_place(block, best)])
            table.scores[rows] = np.take(found, photos.by_name, axis=1)
            table.best_image[rows] = np.take(image, photos.by_name, axis=1)
    return table


@dataclass(frozen=True, eq=False)
class _Photos:
    """Photos of known individuals in layers: the first photo of each, the second of those that have two, and so on.

    Individuals with more photos stand first, so that each layer is about the first so many of them. What is worked out
    of the photos of each individual is worked out layer by layer, over long rows, whatever their numbers of photos.

    Attributes:
        columns: `(num_photos,)` their catalog rows, layer after layer.
        member: `(num_photos,)` the individual of each, numbered by falling number of photos.
        by_name: `(num_identities,)` the number of each individual, in the order of their names.
    """

    columns: np.ndarray
    member: np.ndarray
    by_name: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray, member: np.ndarray) -> _Photos:
        """Puts photos that are ordered by name, as `columns_by_identity` gives them, into layers."""
        count = np.bincount(member)
        by_name = np.argsort(np.argsort(-count, kind="stable"))
        layer = np.arange(len(member)) - (np.cumsum(count) - count)[member]
        order = np.lexsort((by_name[member], layer))
        return cls(columns[order], by_name[member][order], by_name)

    @cached_property
    def layers(self) -> list[tuple[slice, slice]]:
        """The photos of each layer, and the individuals that they show."""
        starts = np.flatnonzero(self.member == 0)
        stops = np.append(starts[1:], len(self.member))
        return [(slice(start, stop), slice(stop - start)) for start, stop in zip(starts, stops, strict=True)]

    def highest(self, block: np.ndarray) -> np.ndarray:
        """Returns the highest value of each row and individual."""
        best = block[:, self.layers[0][0]].copy()
        for photos, shown in self.layers[1:]:
            np.maximum(best[:, shown], block[:, photos], out=best[:, shown])
        if np.isnan(best).any():
            raise SiameseError("`scores` must be numbers. Received: NaN. Score the photos again; a NaN has no rank.")
        return best

    def total(self, block: np.ndarray) -> np.ndarray:
        """Returns the float64 sum of each row and individual."""
        total = block[:, self.layers[0][0]].astype(np.float64)
        for photos, shown in self.layers[1:]:
            total[:, shown] += block[:, photos]
        return total

    def first_place(self, block: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Returns the place in the block of the first photo that reaches its individual's best."""
        places = np.arange(block.shape[1], dtype=np.int32)
        found = np.zeros(best.shape, dtype=np.int32)
        for photos, shown in reversed(self.layers):
            np.copyto(found[:, shown], places[photos], where=block[:, photos] == best[:, shown])
        return found


def _max(block: np.ndarray, best: np.ndarray, photos: _Photos, settings: IdentityScoreSettings) -> np.ndarray:
    return best


def _mean(block: np.ndarray, best: np.ndarray, photos: _Photos, settings: IdentityScoreSettings) -> np.ndarray:
    may = block > -np.inf
    return _quotient(photos.total(np.where(may, block, 0)), photos.total(may))


def _softmax_mean(block: np.ndarray, best: np.ndarray, photos: _Photos, settings: IdentityScoreSettings) -> np.ndarray:
    """Each photo weighs exp(score / temperature)."""
    may = block > -np.inf
    top = np.take(np.where(best > -np.inf, best, 0), photos.member, axis=1)
    weight = np.exp((block.astype(np.float64) - top) / settings.temperature)
    return _quotient(photos.total(weight * np.where(may, block, 0)), photos.total(weight))


def _k_nearest(block: np.ndarray, best: np.ndarray, photos: _Photos, settings: IdentityScoreSettings) -> np.ndarray:
    """The mean of an identity's k best photos, of all where it has fewer."""
    left = block.copy()
    total, count = np.zeros(best.shape), np.zeros(best.shape)
    for _ in range(settings.nearest):
        best = photos.highest(left)
        row, name = np.nonzero(best > -np.inf)
        if not len(row):
            break
        total[row, name] += best[row, name]
        count[row, name] += 1
        left[row, photos.first_place(left, best)[row, name]] = -np.inf
    return _quotient(total, count)


def _sum_over(block: np.ndarray, best: np.ndarray, photos: _Photos, settings: IdentityScoreSettings) -> np.ndarray:
    """The sum of probabilities over a cut; of identities without any, the best probability, which is lower.

    5th place, humpback 2019: "sum of scores above 0.7, then the new individual, then the best remaining".
    """
    prob = expit(block.astype(np.float64))
    total = photos.total(np.where(prob > settings.sum_over, prob, 0))
    return np.where(best > -np.inf, np.where(total > 0, total, expit(best.astype(np.float64))), -np.inf)


def _quotient(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(total, count, out=np.full(total.shape, -np.inf), where=count > 0)


# From the scores `(num_queries, num_photos)`, -inf where a photo may not answer, and the best of each identity
# `(num_queries, num_identities)` to the scores of the identities.
RULES: dict[str, Callable[[np.ndarray, np.ndarray, _Photos, IdentityScoreSettings], np.ndarray]] = {
    "max": _max,
    "mean": _mean,
    "softmax_mean": _softmax_mean,
    "k_nearest": _k_nearest,
    "sum_over": _sum_over,
}


def join_tables(tables: Sequence[IdentityScores]) -> IdentityScores:
    """Puts the rows of several tables of one catalog together, in their order."""
    return IdentityScores(
        tables[0].names,
        np.concatenate([table.scores for table in tables]),
        np.concatenate([table.best_image for table in tables]),
    )


def best_of_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """Returns the columns of each row's highest scores, highest first, equals by column.

    Sorts k columns of a row, not all of them.

    Args:
        scores: `(num_rows, num_columns)` floats without NaN. Not changed.
        k: columns wanted of each row, at most as many as there are.

    Returns:
        `(num_rows, k)` int64.

    Example:
    >>> best_of_rows(np.array([[1.0, 3.0, 0.0, 3.0]]), 3)
    array([[1, 3, 0]])
    """
    if not k or not len(scores):
        return np.empty((len(scores), k), dtype=np.int64)
    last = np.partition(scores, -k, axis=1)[:, -k, None]
    chosen = scores >= last
    tied = np.flatnonzero(np.count_nonzero(chosen, axis=1) > k)
    if len(tied):
        chosen[tied] = _first_of_equals(scores[tied], last[tied], k)
    columns = (np.flatnonzero(chosen) % scores.shape[1]).reshape(len(scores), k)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _first_of_equals(scores: np.ndarray, last: np.ndarray, k: int) -> np.ndarray:
    """Returns which k columns of each row stand over the last score, or reach it first."""
    above, equal = scores > last, scores == last
    room = k - np.count_nonzero(above, axis=1)[:, None]
    return above | (equal & (np.cumsum(equal, axis=1, dtype=np.int32) <= room))


def columns_by_identity(identity: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the names, the catalog rows of known photos ordered by identity, and the name index of each of them.

    Raises:
        SiameseError: an identity is called like the new individual.
    """
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


def row_blocks(matrix: np.ndarray) -> Iterator[slice]:
    """Gives slices of rows that hold some `BLOCK_CELLS` cells each."""
    rows = max(1, BLOCK_CELLS // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        yield slice(start, start + rows)


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


def check_length(name: str, values: np.ndarray, num_queries: int) -> np.ndarray:
    """Returns the values as an object array `(num_queries,)`, or raises a `SiameseError`."""
    values = np.asarray(values, dtype=object)
    if values.shape != (num_queries,):
        raise SiameseError(
            f"`{name}` must hold one value per query, shape ({num_queries},). Received: shape {values.shape}. "
            "Give queries and scores in the same order."
        )
    return values
