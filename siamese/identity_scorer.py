"""Scores queries with the identities of a catalog as the settings say: views, re-ranking, rule."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from siamese.catalog import Catalog
from siamese.centroids import CENTRES, Centroids
from siamese.identity_scores import BLOCK_CELLS, IdentityScores, identity_scores, join_tables
from siamese.reranking import Neighbourhoods, find_neighbourhoods, rerank
from siamese.scoring import TILE, Allowed, best_of_tiles, mirrored
from siamese.settings import RankingSettings
from siamese.views import mean_of_pairs, mean_scores, mean_tiles


class IdentityScorer:
    """Scores any queries with one catalog; centroids and neighbourhoods, which the catalog decides, are made once."""

    def __init__(self, comparator: keras.layers.Layer, known: Catalog, settings: RankingSettings) -> None:
        """Takes any layer from two embeddings to a logit, the catalog, and how its photos answer."""
        self._comparator, self._known, self._settings = comparator, known, settings
        self._num_views = len(known.views)
        centre = CENTRES.get(settings.identity_score.rule)
        self._centroids = (
            Centroids(known.embeddings, known.identity, centre, num_views=self._num_views) if centre else None
        )
        self._neighbourhoods = self._found_neighbourhoods() if settings.reranking.neighbours else None

    def tables(self, asked: Catalog, allowed: Allowed) -> Iterator[tuple[slice, IdentityScores]]:
        """Scores all pairs, a block of queries after the other; at least one block.

        Args:
            asked: the queries; their identities are not read.
            allowed: function from slices of queries and catalog photos to a bool table: which may answer which.

        Yields:
            Rows of the queries and their scores with all identities.

        Raises:
            SiameseError: queries and catalog hold other views.
        """
        self._known.check_views(asked.views)
        height = max(1, BLOCK_CELLS // max(1, len(self._known)) // TILE) * TILE
        everything = slice(0, len(self._known))
        for start in range(0, max(1, len(asked)), height):
            rows = slice(start, min(start + height, len(asked)))
            yield rows, self._table(asked.embeddings[rows], allowed(rows, everything))

    def _table(self, embeddings: np.ndarray, allowed: np.ndarray) -> IdentityScores:
        if self._centroids:
            made = self._centroids.for_queries(allowed)
            return made.identity_scores(self._scores(embeddings, made.embeddings))
        scores = self._scores(embeddings, self._known.embeddings)
        if self._neighbourhoods:
            scores = rerank(scores, self._neighbourhoods, self._settings.reranking, allowed=allowed)
        rule = self._settings.identity_score
        return identity_scores(scores, self._known.identity, allowed=allowed, settings=rule)

    def _scores(self, embeddings: np.ndarray, catalog: np.ndarray) -> np.ndarray:
        return mean_scores(self._comparator, embeddings, catalog, num_views=self._num_views)

    def _found_neighbourhoods(self) -> Neighbourhoods:
        embeddings, number = self._known.embeddings, np.arange(len(self._known))
        tiles = mirrored(mean_tiles(self._comparator, embeddings, num_views=self._num_views))
        nearest = best_of_tiles(
            tiles,
            len(number),
            self._settings.reranking.neighbours,
            allowed=lambda rows, columns: number[rows, None] != number[columns],
        )
        return find_neighbourhoods(
            nearest.columns,
            nearest.scores,
            lambda left, right: mean_of_pairs(self._comparator, embeddings, left, right, num_views=self._num_views),
            self._settings.reranking,
        )


def score_identities(
    comparator: keras.layers.Layer,
    asked: Catalog,
    known: Catalog,
    settings: RankingSettings,
    *,
    allowed: Allowed | np.ndarray,
) -> IdentityScores:
    """Scores all queries with all identities; the memory holds queries x identities.

    Args:
        comparator: any layer from two embeddings to a logit.
        asked: the queries; their identities are not read.
        known: the catalog; photos of unknown individuals ("") answer nothing.
        settings: views are those that both sides hold; re-ranking and rule are done here.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query, or a function from slices of
            both to a part of it.

    Raises:
        SiameseError: queries and catalog hold other views, or an identity is called like the new individual.
    """
    if isinstance(allowed, np.ndarray):
        table = allowed
        allowed = lambda rows, columns: table[rows, columns]  # noqa: E731
    return join_tables([table for _, table in IdentityScorer(comparator, known, settings).tables(asked, allowed)])
