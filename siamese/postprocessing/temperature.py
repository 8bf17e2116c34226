"""Scores become probabilities of all answers together: a softmax whose sharpness the validation queries choose."""

from __future__ import annotations

import numpy as np

from siamese.errors import SiameseError
from siamese.open_scores import OpenScores
from siamese.postprocessing.places import from_columns, open_columns, rounded

SEARCHED = (0.1, 3.0)  # factors of the 7th place, humpback 2019, who found 2.2
WIDEST = (1e-3, 1e3)  # probabilities count as scores too, and want factors of some 10
BISECTIONS = 60


def with_temperature(scores: OpenScores, factor: float) -> OpenScores:
    """Turns scores into probabilities: the softmax of `factor` times the score over all answers of a query.

    The order of the answers stays, the new individual among them: even where float32 cannot tell two probabilities
    apart, they are kept apart. What may not answer stays at minus infinity. (7th place, humpback 2019.) The memory
    holds some copies of the scores in float64.

    Args:
        scores: of identities and the new individual. Not changed.
        factor: the reciprocal of a temperature: over 1 sharpens, under 1 flattens.

    Raises:
        SiameseError: the factor is not above 0.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.log([[0.5, 0.25]]), np.array(["ann", "bob"], dtype=object))
    >>> found = with_temperature(OpenScores(table, np.log([0.25])), 2.0)  # their squares, divided by the sum
    >>> found.table.scores.round(3).tolist(), found.new.round(3).tolist()
    ([[0.6669999957084656, 0.16699999570846558]], [0.167])
    """
    if not factor > 0:
        raise SiameseError(f"`factor` must be above 0. Received: factor={factor}. 1 leaves the softmax as it is.")
    columns = open_columns(scores)
    made = np.where(columns > -np.inf, _softmax(columns, factor), -np.inf)
    return from_columns(scores, rounded(made, columns))


def fit_temperature(scores: OpenScores, truth: np.ndarray) -> float:
    """Returns the factor with the least log loss on validation queries.

    The log loss is convex in the factor, so that its slope is followed: within the range that the source searched, and
    beyond where the loss still falls at its end. Where it falls for ever, because every query is answered rightly, the
    search ends where the loss is 0 in float64, or at `WIDEST`.

    Args:
        scores: of validation queries. Not changed.
        truth: `(num_queries,)` identities; "" or one that the catalog lacks means new.

    Raises:
        SiameseError: no query can be answered rightly.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.array([[1.0, 0.0]] * 4), np.array(["ann", "bob"], dtype=object))
    >>> scores = OpenScores(table, np.full(4, -np.inf))
    >>> round(fit_temperature(scores, ["ann", "ann", "ann", "bob"]), 4)  # three of four: log(0.75 / 0.25)
    1.0986
    """
    columns = open_columns(scores)
    own = scores.table.columns_of(truth)  # -1, the last column, for new ones
    counted = columns[np.arange(len(own)), own] > -np.inf
    if not counted.any():
        raise SiameseError(
            "A temperature must be fitted on queries whose right answer may be given. Received: none. "
            "Give validation queries whose individuals are in the catalog, or are new."
        )
    columns, own = columns[counted], own[counted]
    low, high = SEARCHED
    while low > WIDEST[0] and _slope(columns, own, low) > 0:
        low /= 2
    while high < WIDEST[1] and _slope(columns, own, high) < 0:
        high *= 2
    for _ in range(BISECTIONS):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if _slope(columns, own, middle) < 0 else (low, middle)
    return float(np.clip(high, *WIDEST))


def _slope(columns: np.ndarray, own: np.ndarray, factor: float) -> float:
    """Returns by how much the log loss rises with the factor: the expected score minus the score of what is right."""
    expected = np.sum(_softmax(columns, factor) * np.where(columns > -np.inf, columns, 0), axis=1)
    return float(np.mean(expected - columns[np.arange(len(own)), own]))


def _softmax(columns: np.ndarray, factor: float) -> np.ndarray:
    best = columns.max(axis=1, keepdims=True)
    weights = np.exp(factor * (columns - np.where(best > -np.inf, best, 0)))
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
