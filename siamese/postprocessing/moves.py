"""What a rule moves to the first place, from how strong a reason on, and what reason is strong enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.decision.cuts import between
from siamese.open_scores import OpenScores
from siamese.postprocessing.places import precisions, put_first


@dataclass(frozen=True, eq=False)
class Moves:
    """Identities that a rule may put first, at most one for each query.

    Attributes:
        queries: `(num_moves,)` rows, rising.
        columns: `(num_moves,)` the identity that goes first there.
        strength: `(num_moves,)` floats, higher is a stronger reason.
    """

    queries: np.ndarray
    columns: np.ndarray
    strength: np.ndarray

    def made(self, scores: OpenScores, cut: float) -> OpenScores:
        """Makes the moves whose strength reaches a cut."""
        strong = self.strength >= cut
        return put_first(scores, self.queries[strong], self.columns[strong])

    def fit_cut(self, scores: OpenScores, truth: np.ndarray) -> float:
        """Returns the cut with the highest MAP@5; inf where no moves raise it.

        A move changes the precision of its own query alone, so that all cuts are tried at once: the gains are added up
        from the strongest move on. Of equal sums that of fewest moves wins.

        Args:
            scores: that the moves were made for, of validation queries. Not changed.
            truth: `(num_queries,)` identities; "" or one that the catalog lacks means new.

        Example:
        >>> from siamese.identity_scores import identity_scores
        >>> table = identity_scores(np.array([[0.4, 0.6], [0.6, 0.4]]), np.array(["ann", "bob"], dtype=object))
        >>> moves = Moves(np.array([0, 1]), np.array([0, 1]), np.array([3.0, 2.0]))
        >>> moves.fit_cut(OpenScores(table, np.zeros(2)), ["ann", "ann"])  # the first is right, the second wrong
        2.5
        """
        after = put_first(scores, self.queries, self.columns)
        gains = (precisions(after, truth) - precisions(scores, truth))[self.queries]
        strengths, at = np.unique(-self.strength, return_inverse=True)
        sums = np.round(np.cumsum(np.bincount(at, weights=gains, minlength=len(strengths))), 12)
        if not len(sums) or sums.max() <= 0:
            return np.inf
        last = int(np.argmax(sums))
        lowest = -float(strengths[last])
        if last + 1 == len(strengths):
            return float(np.nextafter(lowest, -np.inf))
        return between(-float(strengths[last + 1]), lowest)


def one_a_query(queries: np.ndarray, columns: np.ndarray, strength: np.ndarray) -> Moves:
    """Keeps of each query the strongest move, the first of equals."""
    order = np.lexsort((-strength, queries))
    kept = order[np.unique(queries[order], return_index=True)[1]]
    return Moves(queries[kept], columns[kept], strength[kept])
