"""How well new individuals are told from known ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from siamese.decision import scan_thresholds
from siamese.errors import SiameseError
from siamese.ranking import IdentityScores


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
    known, new = np.sort(best_scores[~is_new]), best_scores[is_new]
    if not len(known) or not len(new):
        return float("nan")
    less, less_or_equal = (np.searchsorted(known, new, side=side).sum() for side in ("left", "right"))
    return float(1 - (less + less_or_equal) / (2 * len(known) * len(new)))


def threshold_curve(
    identity_scores: IdentityScores,
    truth: np.ndarray,
    *,
    top_k: int = 5,
    num_points: int = 200,
    mark: float | None = None,
) -> pd.DataFrame:
    """Returns MAP@k for thresholds over the range of scores that matter, for all and for the known queries.

    Args:
        identity_scores: scores of the queries with the catalog's identities.
        truth: `(num_queries,)` right identities; "" or one that the catalog lacks means new.
        top_k: length of the ranking.
        num_points: number of thresholds, evenly spaced.
        mark: a threshold that the range must reach, such as the chosen one.

    Returns:
        Columns threshold, map, map_known; no rows where no score matters.
    """
    everybody = scan_thresholds(identity_scores, truth, top_k=top_k)
    known = identity_scores.ranks_of(truth) > 0
    only_known = scan_thresholds(identity_scores.select(known), np.asarray(truth, dtype=object)[known], top_k=top_k)
    ends = everybody.cuts if mark is None else np.append(everybody.cuts, mark)
    if not len(everybody.cuts):
        return pd.DataFrame({"threshold": [], "map": [], "map_known": []}, dtype=np.float64)
    margin = 0.05 * (ends.max() - ends.min()) or 0.5
    thresholds = np.linspace(ends.min() - margin, ends.max() + margin, num_points)
    return pd.DataFrame(
        {"threshold": thresholds, "map": everybody.at(thresholds), "map_known": only_known.at(thresholds)}
    )
