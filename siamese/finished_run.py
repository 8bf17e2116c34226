"""A finished run is opened again: its model, its photos, and what they score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from siamese.catalog import Catalog, load_catalog
from siamese.collection import Collection, Side, embed_photos
from siamese.identity_scorer import score_identities
from siamese.identity_scores import IdentityScores
from siamese.manifest import read_manifest
from siamese.matcher import Matcher, load
from siamese.scoring import Embedder
from siamese.settings import RankingSettings, Settings, ViewSettings
from siamese.store import open_store
from siamese.views import PhotoViews


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run whose training is done, and whose photos are at hand.

    Attributes:
        folder: of the run.
        matcher: its model.
        collection: its photos.
    """

    folder: Path
    matcher: Matcher
    collection: Collection
    _embedded: dict[ViewSettings, np.ndarray] = field(default_factory=dict)

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(self.matcher.model.encoder)

    @property
    def settings(self) -> Settings:
        """Settings of the training."""
        return self.matcher.model.settings

    def side(self, split: str) -> Side:
        """Returns the queries of `validation` or `test` with the catalog that may answer them."""
        return self.collection.side(split, self.settings)

    def allowed(self, side: Side) -> np.ndarray:
        """Returns `(num_queries, num_catalog)` booleans: which photo may answer which query."""
        return self.collection.allowed(side, self.settings.evaluation)

    def table(self, side: Side, ranking: RankingSettings | None = None) -> IdentityScores:
        """Scores the queries of a side with its identities.

        Args:
            side: of `side`.
            ranking: how photos answer; None takes the settings of the training.
        """
        ranking, allowed = ranking or self.settings.ranking, self.allowed(side)
        asked, known = (self.catalog(rows, ranking.views) for rows in (side.queries, side.catalog))
        comparator = self.matcher.model.comparator
        return score_identities(comparator, asked, known, ranking, allowed=allowed)

    def catalog(
        self,
        rows: np.ndarray,
        views: ViewSettings | None = None,
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Catalog:
        """Returns some photos with their embeddings; each photo is embedded once, those of the saved catalog never.

        Args:
            rows: `(num_rows,)` places in the collection.
            views: what is embedded; None takes the settings of the training.
            on_progress: called with the number of images embedded and in all.
        """
        views = views or self.settings.ranking.views
        if views not in self._embedded:
            self._embedded[views] = self._saved(views)
        known, names = self._embedded[views], PhotoViews(views, self.settings.augmentation).names
        missing = rows[np.isnan(known[rows, 0])]
        known[missing] = embed_photos(
            self._embedder, self.collection, self.settings, missing, views=views, on_progress=on_progress
        )
        return self.collection.catalog(rows, known[rows], views=names, model=self.matcher.fingerprint)

    def _saved(self, views: ViewSettings) -> np.ndarray:
        """Returns `(num_images, num_views * embed_dim)` embeddings, nan for photos that the run did not save so."""
        num_views = len(PhotoViews(views, self.settings.augmentation).groups)
        width = num_views * self.matcher.model.encoder.output_shape[-1]
        embeddings = np.full((len(self.collection.manifest), width), np.nan, np.float32)
        if views == self.settings.ranking.views:
            saved = load_catalog(self.folder / "catalog")
            saved.check_model(self.matcher.fingerprint)
            saved.check_views(self.matcher.views.names)
            rows = pd.Index(self.collection.manifest.image_ids).get_indexer(saved.image_ids)
            embeddings[rows[rows >= 0]] = saved.embeddings[rows >= 0]
        return embeddings


@contextmanager
def open_run(folder: Path) -> Iterator[FinishedRun]:
    """Opens a finished run.

    Args:
        folder: of the run.

    Raises:
        SiameseError: a part of the run is missing or was changed.
    """
    matcher = load(folder / "model")
    manifest = read_manifest(folder / "manifest.csv", check_files=False)
    with open_store(folder / "store.h5", matcher.model.settings.preprocessing) as store:
        yield FinishedRun(
            folder, matcher, Collection(manifest.select(np.isin(manifest.image_ids, store.image_ids)), store)
        )
