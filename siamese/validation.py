"""How well a model ranks held-out queries between two rounds of its training."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from siamese.identity_scores import identity_scores
from siamese.models.pair_model import PairModel
from siamese.ranking import reciprocal_ranks
from siamese.scoring import Embedder, Read, score_matrix


@dataclass
class Validation:
    """Ranks queries of known individuals, the new individual not placed; call it after a round.

    Attributes:
        model: the pair model that is trained.
        read: function from `(count,)` indices to `(count, height, width, channels)` `uint8` images.
        queries: `(num_queries,)` indices of the images that ask.
        catalog: `(num_catalog,)` indices of the images that answer.
        identity: names by image index.
        allowed: `(num_queries, num_catalog)` bool: which photo may answer which query.
    """

    model: PairModel
    read: Read
    queries: np.ndarray
    catalog: np.ndarray
    identity: np.ndarray
    allowed: np.ndarray
    _embedder: Embedder = field(init=False)

    def __post_init__(self) -> None:
        self._embedder = Embedder(self.model.encoder)

    def __call__(self) -> dict[str, float]:
        """Returns `validation_map5` and `validation_top1`, nan where no query can be answered rightly."""
        rows = np.concatenate([self.queries, self.catalog])
        embeddings = self._embedder.embed(lambda index: self.read(rows[index]), len(rows))
        asked, known = np.split(embeddings, [len(self.queries)])
        scores = score_matrix(self.model.comparator, asked, known)
        table = identity_scores(scores, self.identity[self.catalog], allowed=self.allowed)
        ranks = table.ranks_of(self.identity[self.queries])
        ranks = ranks[ranks > 0]
        if not len(ranks):
            return {"validation_map5": np.nan, "validation_top1": np.nan}
        map5 = float(np.mean(reciprocal_ranks(ranks, k=5)))
        return {"validation_map5": map5, "validation_top1": float(np.mean(ranks == 1))}
