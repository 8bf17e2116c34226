"""Re-ranking by shared neighbours: photos of one animal are near to the same photos (k-reciprocal encoding)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit

from siamese.identity_scores import best_of_rows
from siamese.settings import RerankingSettings

SHARED = 2 / 3  # of a neighbour's own neighbours, for these to join (Zhong 2017, equation 5)
ScorePairs = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """What re-ranking knows of a catalog; it grows with photos x neighbours, not with pairs of photos.

    Attributes:
        last_score: `(num_catalog,)` score of the k-th neighbour, -inf where there are fewer.
        near: `(num_catalog, num_catalog)` sparse bool, mutual neighbours among the first k / 2, itself included.
        encodings: `(num_catalog, num_catalog)` sparse floats, how much each photo belongs to a neighbourhood.
    """

    last_score: np.ndarray
    near: sparse.csr_array
    encodings: sparse.csr_array


def find_neighbourhoods(
    columns: np.ndarray, scores: np.ndarray, score_pairs: ScorePairs, settings: RerankingSettings
) -> Neighbourhoods:
    """Encodes each photo of a catalog by the neighbours that it has mutually (Zhong et al. 2017, sections 3.2 to 3.4).

    Args:
        columns: `(num_catalog, k)` the nearest other photos of each, nearest first; -1 where there are fewer.
        scores: `(num_catalog, k)` their scores; -inf where there are fewer.
        score_pairs: from `(num_pairs,)` catalog rows and columns to scores, for neighbours of neighbours.
        settings: k is the number of columns, `averaged` that of the neighbourhoods averaged.
    """
    k = columns.shape[1]
    mutual, near = _mutual(columns), _mutual(columns[:, : round(k / 2)])
    row, column = _expanded(mutual, near).nonzero()
    weight = expit(score_pairs(row, column).astype(np.float64))
    weight[row == column] = 1.0
    encodings = _shares(sparse.csr_array((weight, (row, column)), shape=mutual.shape))
    nearest = _with_itself(columns[:, : settings.averaged - 1]).astype(np.float64)
    return Neighbourhoods(scores[:, -1], near, sparse.csr_array(_shares(nearest) @ encodings))


def rerank(
    scores: np.ndarray, catalog: Neighbourhoods, settings: RerankingSettings, *, allowed: np.ndarray | None = None
) -> np.ndarray:
    """Adds to the score of a query and a photo what their neighbourhoods have in common.

    Neighbours of catalog photos are sought in the catalog alone, so that an answer does not depend on who else is
    asked. With d = -score / r for a range r of the scores, Zhong's final distance lambda d + (1 - lambda) d_Jaccard
    orders the photos as `weight` = r (1 - lambda) / lambda does here; the score stays one of logits.

    Args:
        scores: `(num_queries, num_catalog)` floats, higher is more alike. Not changed.
        catalog: of `find_neighbourhoods`.
        settings: `neighbours`, `averaged` and `weight`.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.

    Returns:
        `(num_queries, num_catalog)` float32.
    """
    may = np.isfinite(scores) if allowed is None else np.isfinite(scores) & allowed
    seen = np.where(may, scores, -np.inf)
    columns = best_of_rows(seen, min(settings.neighbours, scores.shape[1]))
    columns = np.where(np.take_along_axis(may, columns, axis=1), columns, -1)
    is_mutual = np.take_along_axis(seen, columns, axis=1) >= catalog.last_score[columns]
    mutual = _table(np.where(is_mutual, columns, -1), scores.shape[1])
    row, column = _expanded(mutual, catalog.near).nonzero()
    weight = np.where(may[row, column], expit(scores[row, column].astype(np.float64)), 0)
    # A query belongs to its own neighbourhood, with weight 1, and no photo of the catalog shares that part.
    own = 1 / (1 + np.bincount(row, weights=weight, minlength=len(scores)))
    encodings = sparse.csr_array((weight * own[row], (row, column)), shape=mutual.shape)
    others = columns[:, : settings.averaged - 1]
    averaged = encodings + _table(others, scores.shape[1]).astype(np.float64) @ catalog.encodings
    count = 1 + (others >= 0).sum(axis=1)
    shared = _overlap(sparse.csr_array(averaged / count[:, None]), catalog.encodings)
    return (scores + settings.weight * shared).astype(np.float32)


def _table(columns: np.ndarray, width: int) -> sparse.csr_array:
    """Returns a sparse bool matrix of the listed columns of each row; -1 is none."""
    row, place = np.nonzero(columns >= 0)
    return sparse.csr_array(
        (np.ones(len(row), bool), (row, columns[row, place])), shape=(len(columns), width), dtype=bool
    )


def _with_itself(columns: np.ndarray) -> sparse.csr_array:
    return _table(np.column_stack([np.arange(len(columns)), columns]), len(columns))


def _mutual(columns: np.ndarray) -> sparse.csr_array:
    """Returns which photos list each other, each photo itself included."""
    listed = _with_itself(columns)
    return sparse.csr_array(listed.multiply(listed.T))


def _expanded(mutual: sparse.csr_array, near: sparse.csr_array) -> sparse.csr_array:
    """Adds the near neighbours of a mutual neighbour whose near ones are mutual neighbours for the most part."""
    shared = (mutual.astype(np.int32) @ near.T.astype(np.int32)).multiply(mutual).tocoo()
    enough = shared.data > SHARED * near.sum(axis=1)[shared.coords[1]]
    row, column = (coords[enough] for coords in shared.coords)
    joining = sparse.csr_array((np.ones(len(row), np.int32), (row, column)), shape=mutual.shape)
    return sparse.csr_array((mutual.astype(np.int32) + joining @ near.astype(np.int32)) > 0)


def _shares(matrix: sparse.csr_array) -> sparse.csr_array:
    """Returns the matrix with rows that sum to 1."""
    return sparse.csr_array(matrix / matrix.sum(axis=1)[:, None])


def _overlap(queries: sparse.csr_array, catalog: sparse.csr_array) -> np.ndarray:
    """Returns the Jaccard index of each query's and each photo's encoding: sum of minima / sum of maxima."""
    lists = catalog.tocsc()  # for each neighbour, the photos in whose encoding it stands
    overlap = np.zeros((queries.shape[0], catalog.shape[0]))
    for query in range(queries.shape[0]):
        part = slice(queries.indptr[query], queries.indptr[query + 1])
        start, length = lists.indptr[queries.indices[part]], np.diff(lists.indptr)[queries.indices[part]]
        place = np.repeat(start - np.cumsum(length) + length, length) + np.arange(length.sum())
        least = np.minimum(lists.data[place], np.repeat(queries.data[part], length))
        minima = np.bincount(lists.indices[place], weights=least, minlength=catalog.shape[0])
        overlap[query] = minima / (2 - minima)  # both encodings sum to 1
    return overlap
