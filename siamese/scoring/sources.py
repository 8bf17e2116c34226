"""Where a round of mining gets its scores from: the exact comparator, or its factorised form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from siamese.scoring.factorised import FactorisedComparator, product_tiles
from siamese.scoring.tiles import Tile, score_matrix, score_pairs, score_tiles

PAIRS_AT_ONCE = 8192  # whose vectors are gathered together: 50 MB


@dataclass(frozen=True, eq=False)
class ExactScores:
    """Exact logits of images among each other; see `siamese.candidates.PairScores`.

    Attributes:
        comparator: any layer from two embeddings to a logit. Weights that change later change the scores.
        embeddings: `(num_images, embed_dim)` floats.
    """

    comparator: keras.layers.Layer
    embeddings: np.ndarray

    def tiles(self) -> Iterator[Tile]:
        """Returns tiles that cover the upper triangle of the score matrix."""
        return score_tiles(self.comparator, self.embeddings)

    def within(self, index: np.ndarray) -> np.ndarray:
        """Returns the `(count, count)` scores of some images among each other."""
        return score_matrix(self.comparator, self.embeddings[index])

    def pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Returns the `(num_pairs,)` scores of given pairs."""
        return score_pairs(self.comparator, self.embeddings, self.embeddings, left, right)


class FactorisedScores:
    """Factorised logits of images among each other; see `siamese.candidates.PairScores`.

    The vectors of all images are made once and kept, a few kilobytes each.
    """

    def __init__(self, comparator: FactorisedComparator, embeddings: np.ndarray) -> None:
        """Takes the factorised comparator and `(num_images, embed_dim)` embeddings."""
        self._queries, self._catalog = comparator.query_vectors(embeddings), comparator.catalog_vectors(embeddings)

    def tiles(self) -> Iterator[Tile]:
        """Returns tiles that cover the upper triangle of the score matrix."""
        return product_tiles([self._queries], [self._catalog], symmetric=True)

    def within(self, index: np.ndarray) -> np.ndarray:
        """Returns the `(count, count)` scores of some images among each other."""
        return self._queries[index] @ self._catalog[index].T

    def pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Returns the `(num_pairs,)` scores of given pairs."""
        scores = np.empty(len(left), np.float32)
        for start in range(0, len(left), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            scores[part] = np.einsum("ij,ij->i", self._queries[left[part]], self._catalog[right[part]])
        return scores
