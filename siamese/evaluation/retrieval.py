"""How early the right identity stands in a ranking."""

from __future__ import annotations

import numpy as np

from siamese.ranking import NEW_INDIVIDUAL, IdentityScores, check_length, check_top_k


def average_precision_at(identities: np.ndarray, truth: np.ndarray, k: int = 5) -> np.ndarray:
    """Returns `(num_queries,)` 1 / rank of the one right answer, 0 where it is not among the first k.

    The mean over queries is MAP@k. There is one right answer a query, so precision at its rank is 1 / rank and the
    denominator is 1.

    Args:
        identities: `(num_queries, num_places)` identity names, best first; "" pads a short row.
        truth: `(num_queries,)` right identities; "" means that the new individual is right.
        k: places that count.

    Raises:
        SiameseError: there is not one truth per query, or k is under 1.

    Example:
    >>> average_precision_at(np.array([["ann", "bob"], ["ann", "new_individual"]], dtype=object), ["bob", ""])
    array([0.5, 0.5])
    """
    check_top_k(k)
    truth = check_length("truth", truth, len(identities))
    right = identities[:, :k] == np.where(truth == "", NEW_INDIVIDUAL, truth)[:, None]
    first = 1 / np.arange(1, right.shape[1] + 1)
    return np.max(np.where(right, first, 0.0), axis=1, initial=0.0)


def cmc(identity_scores: IdentityScores, truth: np.ndarray, k: int = 5) -> np.ndarray:
    """Returns `(k,)` share of the known queries whose identity is among the first 1, 2, ... k.

    The new individual is not placed. The denominator counts the queries one of whose own photos may answer; without
    such queries the curve is nan.

    Args:
        identity_scores: scores of the queries with the catalog's identities.
        truth: `(num_queries,)` right identities; "" means new, and such queries do not count.
        k: length of the curve.

    Example:
    >>> from siamese.ranking import identity_scores
    >>> table = identity_scores(np.array([[3.0, 9.0], [3.0, 9.0], [3.0, 9.0]]), np.array(["ann", "bob"], dtype=object))
    >>> cmc(table, ["ann", "bob", ""], k=2)
    array([0.5, 1. ])
    """
    check_top_k(k)
    ranks = identity_scores.ranks_of(truth)
    ranks = ranks[ranks > 0]
    if not len(ranks):
        return np.full(k, np.nan)
    return np.mean(ranks[:, None] <= np.arange(1, k + 1)[None, :], axis=0)
