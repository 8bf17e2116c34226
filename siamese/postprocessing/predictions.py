"""What a ranking answers on the whole: who is named how often, who never, and how many are called new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from siamese.formats.tables import counted
from siamese.identity_scores import NEW_INDIVIDUAL
from siamese.ranking import Ranking


@dataclass(frozen=True, eq=False)
class Predictions:
    """How the answers are spread over the identities.

    Attributes:
        identities: columns identity, num_first (queries whose first answer it is) and num_listed (that list it), a row
            for each identity of the catalog, the most frequent first answer first, then by num_listed and name.
        num_queries: queries with an answer.
        num_new: queries whose first answer is the new individual.
    """

    identities: pd.DataFrame
    num_queries: int
    num_new: int

    @property
    def num_first(self) -> int:
        """How many identities are somebody's first answer."""
        return int((self.identities["num_first"] > 0).sum())

    @property
    def share_new(self) -> float:
        """Share of the queries that are called new; nan without queries."""
        return self.num_new / self.num_queries if self.num_queries else float("nan")

    @property
    def sentence(self) -> str:
        """The counts in words."""
        told = f"{counted(self.num_queries, 'photo')}: {self.num_new} called new ({self.share_new:.0%})"
        if not self.num_first:
            return f"{told}."
        most = self.identities.iloc[0]
        return (
            f"{told}; {self.num_first} of {len(self.identities)} individuals stand first, "
            f"{most.identity} most often ({most.num_first})."
        )

    @property
    def never_first(self) -> list[str]:
        """The identities that are nobody's first answer, by name."""
        return self._without("num_first")

    @property
    def never_listed(self) -> list[str]:
        """The identities that nobody's list holds, by name."""
        return self._without("num_listed")

    def _without(self, column: str) -> list[str]:
        return sorted(self.identities.loc[self.identities[column] == 0, "identity"])


def count_predictions(ranking: Ranking, names: np.ndarray) -> Predictions:
    """Counts how often each identity is answered.

    The winners of the humpback challenge read these counts against what they knew of the test photos: a share of new
    individuals far from the expected one, or few identities with many queries, told of a wrong threshold or of hubs.

    Args:
        ranking: the answers; its length decides what `num_listed` counts.
        names: `(num_identities,)` of the catalog.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> from siamese.ranking import rank_identities
    >>> names = np.array(["ann", "bob", "cleo"], dtype=object)
    >>> table = identity_scores(np.array([[9.0, 6.0, 1.0], [3.0, 2.0, 1.0]]), names)
    >>> found = count_predictions(rank_identities(table, query_ids=["q1", "q2"], threshold=5.0, top_k=2), names)
    >>> print(found.identities.to_string(index=False))
    identity  num_first  num_listed
         ann          1           2
         bob          0           1
        cleo          0           0
    >>> found.share_new, found.never_listed
    (0.5, ['cleo'])
    """
    first = ranking.identities[:, 0]
    table = pd.DataFrame(
        {
            "identity": names,
            "num_first": _counts(first, names),
            "num_listed": _counts(ranking.identities.ravel(), names),
        }
    )
    table = table.sort_values(["num_first", "num_listed", "identity"], ascending=[False, False, True])
    return Predictions(table.reset_index(drop=True), int(np.sum(first != "")), int(np.sum(first == NEW_INDIVIDUAL)))


def _counts(answers: np.ndarray, names: np.ndarray) -> np.ndarray:
    return pd.Series(answers, dtype=object).value_counts().reindex(names, fill_value=0).to_numpy(dtype=np.int64)
