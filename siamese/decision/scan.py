"""MAP@k for every threshold of the new individual at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.decision.cuts import between
from siamese.identity_scores import IdentityScores
from siamese.ranking import check_top_k


@dataclass(frozen=True, eq=False)
class ThresholdScan:
    """MAP@k for every threshold there is: it changes at the cuts alone.

    Attributes:
        cuts: `(n,)` ascending scores.
        values: `(n + 1,)` MAP@k; `values[i]` holds for thresholds above `cuts[i - 1]` and up to `cuts[i]`.
    """

    cuts: np.ndarray
    values: np.ndarray

    def at(self, thresholds: np.ndarray) -> np.ndarray:
        """Returns MAP@k for each threshold."""
        return self.values[np.searchsorted(self.cuts, thresholds, side="left")]

    def best_threshold(self) -> float:
        """Returns a threshold with the highest MAP@k: the middle of the widest stretch that reaches it.

        The stretches without end, "nobody is new" and "everybody is new", win only where they alone are best.
        """
        if not len(self.cuts):
            return 0.0
        beyond = max(1.0, float(self.cuts[-1] - self.cuts[0]))
        edges = np.concatenate([[self.cuts[0] - beyond], self.cuts, [self.cuts[-1] + beyond]])
        width = np.diff(edges)
        width[[0, -1]] = 0
        best = self.values.max()
        stretch = int(np.argmax(np.where(self.values == best, width, -1)))
        return between(edges[stretch], edges[stretch + 1])


def scan_thresholds(identity_scores: IdentityScores, truth: np.ndarray, *, top_k: int = 5) -> ThresholdScan:
    """Computes MAP@k for all thresholds at once, exactly.

    A known query at rank r gains 1/r while its own score reaches the threshold, and 1/(r + 1) when not; a new query
    gains 1/(1 + number of scores that reach it). So the sum changes only at those scores, by steps that are added up.

    Args:
        identity_scores: scores of the queries with the catalog's identities.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new. A known query
            none of whose own photos may answer is left out.
        top_k: length of the ranking.

    Raises:
        SiameseError: shapes do not fit.
    """
    check_top_k(top_k)
    gain = np.append(np.append(0.0, 1 / np.arange(1, top_k + 1)), 0.0)  # gain[rank]; behind the ranking nothing
    new = identity_scores.columns_of(truth) < 0
    known_cuts, known_steps, start = _known_steps(identity_scores, truth, gain)
    new_cuts, new_steps, new_start = _new_steps(identity_scores.select(new), gain)
    num_queries = int(new.sum() + (identity_scores.ranks_of(truth) > 0).sum())
    cuts, at = np.unique(np.concatenate([known_cuts, new_cuts]), return_inverse=True)
    steps = np.bincount(at, weights=np.concatenate([known_steps, new_steps]), minlength=len(cuts))
    values = (start + new_start + np.append(0.0, np.cumsum(steps))) / max(1, num_queries)
    return ThresholdScan(cuts, np.round(values, 12))  # equal sums that were added in another order stay equal


def choose_threshold(identity_scores: IdentityScores, truth: np.ndarray, *, top_k: int = 5) -> float:
    """Returns the score under which to answer "new individual", by the highest MAP@k over all queries.

    Args:
        identity_scores: scores of the validation queries with the catalog's identities.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new.
        top_k: length of the ranking.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.array([[8.0], [2.0]]), np.array(["ann"], dtype=object))
    >>> choose_threshold(table, ["ann", ""])
    5.0
    """
    return scan_thresholds(identity_scores, truth, top_k=top_k).best_threshold()


def _known_steps(table: IdentityScores, truth: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns where a known query loses a rank to the new individual, what that changes, and the sum before."""
    ranks = table.ranks_of(truth)
    listed = (ranks > 0) & (ranks < len(gain) - 1)
    ranks = ranks[listed]
    return table.scores_of(truth)[listed], gain[ranks + 1] - gain[ranks], float(gain[ranks].sum())


def _new_steps(table: IdentityScores, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns where the new individual overtakes an identity, what that changes for new queries, and the sum before."""
    top_k = len(gain) - 2
    best = np.take_along_axis(table.scores, table.best_columns(top_k), axis=1).astype(np.float64)
    query, column = np.nonzero(best > -np.inf)
    start = gain[np.sum(best > -np.inf, axis=1) + 1].sum()
    return best[query, column], gain[column + 1] - gain[column + 2], float(start)
