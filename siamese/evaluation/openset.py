"""How well new individuals are told from known ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from siamese.errors import SiameseError
from siamese.evaluation.verification import roc_auc

LISTED = 5  # places of the challenge's list
CURVE_COLUMNS = ("threshold", "map", "map_known", "first_right", "new_found", "known_called_new")


def auc_new(best_scores: np.ndarray, is_new: np.ndarray) -> float:
    """Returns the chance that a new query's best score lies under a known query's, an equal one counting half.

    1.0 means that every new query scores under every known one, 0.5 that scores tell nothing; nan where one side is
    empty. It is the area under the ROC curve of "new" by minus the best score.

    Args:
        best_scores: `(num_queries,)` score of the most similar identity, whether right or not.
        is_new: `(num_queries,)` bool.

    Raises:
        SiameseError: the two differ in length.

    Example:
    >>> auc_new(np.array([4.0, 1.0, 2.0]), np.array([False, True, False]))
    1.0
    """
    best_scores, is_new = np.asarray(best_scores, dtype=np.float64), np.asarray(is_new, dtype=bool)
    if best_scores.shape != is_new.shape or best_scores.ndim != 1:
        raise SiameseError(
            "`best_scores` and `is_new` must hold one value per query. "
            f"Received: shapes {best_scores.shape} and {is_new.shape}. Give both for the same queries."
        )
    return roc_auc(~is_new, best_scores)


def threshold_curve(queries: pd.DataFrame, *, num_points: int = 200, mark: float | None = None) -> pd.DataFrame:
    """Returns what each threshold of the new individual would give, over the range of scores that matter.

    Args:
        queries: one row a query, as `Evaluation.queries`.
        num_points: number of thresholds, evenly spaced.
        mark: a threshold that the range must reach, such as the chosen one.

    Returns:
        Columns threshold; map, map_known: MAP@5 over all and over known queries; first_right: share of all queries
        whose first answer is right; new_found, known_called_new: share of the new and of the known queries that are
        called new. Nan where there is no such query; no rows where no score matters.
    """
    queries = queries[queries["kind"] != "unanswerable"]
    known = (queries["kind"] == "known").to_numpy()
    place, own, best = (queries[name].to_numpy(dtype=np.float64) for name in ("place", "own_score", "best_score"))
    five = queries[[f"score_{rank}" for rank in range(1, LISTED + 1)]].to_numpy(dtype=np.float64)
    ends = np.concatenate([own[known & (place <= LISTED)], five[~known].ravel()])
    ends = ends[np.isfinite(ends)]
    if not len(ends):
        return pd.DataFrame(columns=list(CURVE_COLUMNS), dtype=np.float64)
    ends = np.append(ends, mark) if mark is not None and np.isfinite(mark) else ends
    margin = 0.05 * (ends.max() - ends.min()) or 0.5
    thresholds = np.linspace(ends.min() - margin, ends.max() + margin, num_points)
    under = own < thresholds[:, None]  # (num_points, num_queries): one place behind the new individual
    before = np.sum([five[:, rank] >= thresholds[:, None] for rank in range(LISTED)], axis=0)
    rank = np.where(known, place + under, 1 + before)
    gain, called_new = np.where(rank <= LISTED, 1 / rank, 0.0), best < thresholds[:, None]
    shares = (gain, gain[:, known], rank == 1, called_new[:, ~known], called_new[:, known])
    return pd.DataFrame(dict(zip(CURVE_COLUMNS, (thresholds, *map(_mean_of_rows, shares)), strict=True)))


def _mean_of_rows(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=1) if values.shape[1] else np.full(len(values), np.nan)
