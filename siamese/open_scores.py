"""Scores of identities together with that of the new individual: what blends and post-processing work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from siamese.errors import SiameseError
from siamese.identity_scores import IdentityScores
from siamese.ranking import Ranking, Threshold, rank_identities


@dataclass(frozen=True, eq=False)
class OpenScores:
    """What each query scores with each identity, and with being a new individual.

    Attributes:
        table: scores of the identities; probabilities count as scores too.
        new: `(num_queries,)` float64 score of the new individual, on the same scale; -inf leaves it out.
    """

    table: IdentityScores
    new: np.ndarray

    def __post_init__(self) -> None:
        if np.shape(self.new) != (len(self.table.scores),):
            raise SiameseError(
                f"`new` must hold one score per query, shape ({len(self.table.scores)},). Received: shape "
                f"{np.shape(self.new)}. Give the threshold once for each query."
            )

    def with_scores(self, scores: np.ndarray, new: np.ndarray) -> OpenScores:
        """Returns other scores of the same queries with the same identities."""
        return OpenScores(IdentityScores(self.table.names, scores.astype(np.float32), self.table.best_image), new)

    def rank(
        self,
        query_ids: np.ndarray,
        *,
        top_k: int = 5,
        probability: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Ranking:
        """Ranks the identities, with the new individual at its place.

        Args:
            query_ids: `(num_queries,)` image ids.
            top_k: answers for each query.
            probability: from the score of an identity to its probability; None gives none.

        Example:
        >>> names, images = np.array(["ann", "bob"], dtype=object), np.array([[3, 8]])
        >>> scores = OpenScores(IdentityScores(names, np.array([[2.0, 0.5]], np.float32), images), np.array([1.0]))
        >>> scores.rank(np.array(["q"]), top_k=3).identities.tolist()
        [['ann', 'new_individual', 'bob']]
        """
        return rank_identities(
            self.table, query_ids=query_ids, threshold=self.threshold, top_k=top_k, probability=probability
        )

    @property
    def threshold(self) -> Threshold:
        """The scores of the new individual as `rank_identities` takes them."""
        return lambda names, scores: self.new


def open_scores(table: IdentityScores, threshold: Threshold) -> OpenScores:
    """Puts the new individual beside the identities.

    Args:
        table: scores of the identities.
        threshold: as for `rank_identities`: a score, or a function of the names and scores listed for each query.
    """
    if not callable(threshold):
        return OpenScores(table, np.full(len(table.scores), float(threshold)))
    columns = table.best_columns(5)  # as many as a decision's rules read
    best = np.take_along_axis(table.scores, columns, axis=1).astype(np.float64)
    return OpenScores(table, threshold(table.names[columns], best))
