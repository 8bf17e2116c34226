"""How early right answers stand in a ranking.

One rule for equal scores, in every metric of scores: they enter together, as one threshold takes them. A right answer
among equals therefore stands last among them, as in scikit-learn's `average_precision_score`. A list of answers has no
equals: `average_precision_at` judges the order that is shown.
"""

from __future__ import annotations

import numpy as np

from siamese.errors import SiameseError
from siamese.identity_scores import NEW_INDIVIDUAL, check_length
from siamese.ranking import check_top_k


def average_precision_at(y_true: np.ndarray, y_pred: np.ndarray, *, k: int = 5) -> np.ndarray:
    """Returns `(num_queries,)` 1 / rank of the one right answer, 0 where it is not among the first k.

    The mean over queries is MAP@k as the humpback challenges count it: the new individual is an answer like any other,
    and there is one right answer a query, so precision at its rank is 1 / rank and the denominator is 1.

    Args:
        y_true: `(num_queries,)` right identities; "" means that the new individual is right.
        y_pred: `(num_queries, num_places)` identity names, best first; "" pads a short row.
        k: places that count.

    Raises:
        SiameseError: there is not one truth per query, or k is under 1.

    Example:
    >>> average_precision_at(["ann", ""], np.array([["bob", "ann"], ["new_individual", "ann"]], dtype=object))
    array([0.5, 1. ])
    """
    check_top_k(k)
    truth = check_length("y_true", y_true, len(y_pred))
    right = y_pred[:, :k] == np.where(truth == "", NEW_INDIVIDUAL, truth)[:, None]
    first = 1 / np.arange(1, right.shape[1] + 1)
    return np.max(np.where(right, first, 0.0), axis=1, initial=0.0)


def average_precision(y_true: np.ndarray, y_score: np.ndarray) -> np.ndarray:
    """Returns `(num_queries,)` average precision of each query over all its right entries.

    The mean over right entries of the share of right ones among the entries that score as high or higher. The
    denominator is the number of right entries, so nothing is cut off; the mean over queries is mAP. A query without a
    right entry has nan.

    Args:
        y_true: `(num_queries, num_catalog)` bool, which entry of the catalog is right.
        y_score: `(num_queries, num_catalog)` floats, higher is more alike; -inf is an entry that may not answer.

    Raises:
        SiameseError: the shapes differ.

    Example:
    >>> average_precision(np.array([[True, False, True]]), np.array([[0.9, 0.8, 0.7]])).round(3)
    array([0.833])
    """
    right, scores = _checked(y_true, y_score)
    rows = zip(right, scores, strict=True)
    return np.array([precision_of_row(np.sort(row[own & (row > -np.inf)]), np.sort(row)) for own, row in rows])


def precision_of_row(own: np.ndarray, everything: np.ndarray) -> float:
    """Returns the average precision of one query from sorted scores: those of its right entries and of all entries."""
    if not len(own):
        return float("nan")
    right, listed = (len(scores) - np.searchsorted(scores, own, side="left") for scores in (own, everything))
    return float(np.mean(right / listed))


def first_ranks(y_true: np.ndarray, y_score: np.ndarray) -> np.ndarray:
    """Returns `(num_queries,)` int rank of the best right entry, from 1; 0 where none may answer.

    It is the number of entries that score as high or higher.

    Args:
        y_true: `(num_queries, num_catalog)` bool, which entry of the catalog is right.
        y_score: `(num_queries, num_catalog)` floats, higher is more alike; -inf is an entry that may not answer.

    Raises:
        SiameseError: the shapes differ.

    Example:
    >>> first_ranks(np.array([[False, True, False], [False, False, True]]), np.array([[9, 5, 1], [2, 2, 2.0]]))
    array([2, 3])
    """
    right, scores = _checked(y_true, y_score)
    best = np.max(np.where(right, scores, -np.inf), axis=1, initial=-np.inf)
    return np.where(best > -np.inf, np.sum(scores >= best[:, None], axis=1), 0)


def cmc(y_true: np.ndarray, y_score: np.ndarray, *, k: int = 5) -> np.ndarray:
    """Returns `(k,)` share of the queries with a right entry among the first 1, 2, ... k.

    The denominator counts the queries one of whose right entries may answer; without such queries the curve is nan.

    Args:
        y_true: `(num_queries, num_catalog)` bool, which entry of the catalog is right.
        y_score: `(num_queries, num_catalog)` floats, higher is more alike; -inf is an entry that may not answer.
        k: length of the curve.

    Raises:
        SiameseError: the shapes differ, or k is under 1.

    Example:
    >>> cmc(np.array([[True, False], [False, True]]), np.array([[3.0, 9.0], [3.0, 9.0]]), k=2)
    array([0.5, 1. ])
    """
    return share_found(first_ranks(y_true, y_score), k=k)


def share_found(ranks: np.ndarray, *, k: int = 5) -> np.ndarray:
    """Returns `(k,)` share of the ranks that are at most 1, 2, ... k; a rank of 0 does not count.

    Args:
        ranks: `(num_queries,)` int, as `first_ranks` gives them.
        k: length of the curve.
    """
    check_top_k(k)
    ranks = ranks[ranks > 0]
    if not len(ranks):
        return np.full(k, np.nan)
    return np.mean(ranks[:, None] <= np.arange(1, k + 1)[None, :], axis=0)


def _checked(y_true: np.ndarray, y_score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    right, scores = np.asarray(y_true, dtype=bool), np.asarray(y_score)
    if right.shape != scores.shape or scores.ndim != 2:
        raise SiameseError(
            "`y_true` and `y_score` must be of one shape, (num_queries, num_catalog). "
            f"Received: shapes {right.shape} and {scores.shape}. Say of every score whether its entry is right."
        )
    return right, scores
