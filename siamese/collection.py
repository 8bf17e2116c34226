"""Photos whose images are all in the store: who asks, who answers, and who trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from siamese.catalog import Catalog
from siamese.errors import ManifestError
from siamese.manifest import Manifest
from siamese.pseudo_labels import PSEUDO_LABEL
from siamese.scoring import Embedder
from siamese.settings import ProtocolSettings, Settings, ViewSettings
from siamese.store import ImageStore
from siamese.training_images import TrainingImages, with_turns
from siamese.views import PhotoViews, read_views

INSPECTION = "photos.csv"  # facts of a run's photos, so that a run that goes on does not decode them again
CATALOG_SPLITS = ("train", "catalog", "validation")


@dataclass(frozen=True)
class Side:
    """The queries of one evaluation and the catalog that answers them, as rows of the collection."""

    queries: np.ndarray
    catalog: np.ndarray


@dataclass
class Collection:
    """A manifest whose photos are all in the store, row by row.

    Attributes:
        manifest: readable photos only, with a `split` column.
        store: their images.
        is_known: photos of known individuals that may answer: a pseudo-label trains, but answers nothing.
    """

    manifest: Manifest
    store: ImageStore
    identity: np.ndarray = field(init=False)
    split: np.ndarray = field(init=False)
    is_known: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.identity, self.split = self.manifest.identity, self.manifest.column("split")
        self.is_known = (self.identity != "") & (self.manifest.column(PSEUDO_LABEL) != "true")

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *error: object) -> None:
        self.store.close()

    def side(self, split: str, settings: Settings) -> Side:
        """Returns the queries of `validation` or `test` with the catalog that may answer them."""
        queries = np.flatnonzero(self.split == split)
        if settings.evaluation.catalog == "leave_one_out":
            return Side(queries, queries[self.identity[queries] != ""])
        before = [name for name in CATALOG_SPLITS if name != split]
        return Side(queries, np.flatnonzero(np.isin(self.split, before) & self.is_known))

    def truth(self, side: Side) -> np.ndarray:
        """Returns the right answers: an identity, "" where the catalog does not hold it."""
        identity = self.identity[side.queries]
        return np.where(np.isin(identity, self.identity[side.catalog]), identity, "").astype(object)

    def allowed(self, side: Side, protocol: ProtocolSettings) -> np.ndarray:
        """Returns `(num_queries, num_catalog)` booleans: which photo may answer which query."""
        allowed = side.queries[:, None] != side.catalog[None, :]
        for column, shared in [(c, True) for c in protocol.must_share] + [(c, False) for c in protocol.must_differ]:
            values = existing_column(self.manifest, column)
            allowed &= (values[side.queries][:, None] == values[side.catalog][None, :]) == shared
        return allowed

    def catalog(self, rows: np.ndarray, embeddings: np.ndarray, *, views: tuple[str, ...], model: str = "") -> Catalog:
        """Returns some photos as a catalog.

        Args:
            rows: `(num_rows,)` places in the collection.
            embeddings: `(num_rows, num_views * embed_dim)` of these photos.
            views: what was embedded of each, as `PhotoViews.names`.
            model: fingerprint of the model that embedded them, for a catalog that is saved or asked by one that is.
        """
        return Catalog(self.manifest.image_ids[rows], self.identity[rows], embeddings, model, views)


def embed_photos(
    embedder: Embedder,
    collection: Collection,
    settings: Settings,
    rows: np.ndarray,
    *,
    views: ViewSettings | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Embeds some photos of a collection: `(num_rows, embed_dim)` float32, further views side by side.

    Args:
        embedder: of the model.
        collection: photos with their images.
        settings: preprocessing, and the random changes of the training.
        rows: `(num_rows,)` places in the collection.
        views: what is embedded; None takes those of the settings.
        on_progress: called with the number of images embedded and in all.
    """
    views = views or settings.ranking.views
    read = read_views(collection.store, collection.manifest, settings.preprocessing, views)
    photos = PhotoViews(views, settings.augmentation)
    return photos.embed(embedder, lambda index: read(rows[index]), len(rows), on_progress)


def existing_column(manifest: Manifest, column: str) -> np.ndarray:
    """Returns a column that the settings ask for, or raises a `ManifestError`."""
    if column not in manifest.table.columns:
        raise ManifestError(
            f"The settings ask for the column `{column}`. Received: a manifest with the columns "
            f"{', '.join(manifest.table.columns)}. Add it, or choose another recipe."
        )
    return manifest.column(column)


def training_images_of(collection: Collection, settings: Settings, sides: Sequence[str] = ("train",)) -> TrainingImages:
    """Returns what trains: the named photos of these sides of the split, and their turned copies.

    With `training.unknown_negatives` photos without a name are there, too, each under the code -1.
    """
    names, there = collection.identity, np.isin(collection.split, sides)
    rows = np.flatnonzero(there & (names != ""))
    counts = pd.Series(names[rows]).map(pd.Series(names[rows]).value_counts()).to_numpy()
    rows = rows[counts >= settings.training.min_photos]
    keys = [names[rows], *(collection.manifest.column(column)[rows] for column in settings.training.positives_share)]
    identity, group = (_codes(parts) for parts in (keys[:1], keys))
    if np.bincount(group).max() < 2:
        raise ManifestError(
            "Some photos of one individual must agree in "
            f"{', '.join(settings.training.positives_share)} to be positive pairs. Received: no two that do. "
            "Correct the column, or leave it out of `training.positives_share`."
        )
    if settings.training.unknown_negatives:
        unknown = np.flatnonzero(there & (names == ""))
        rows = np.append(rows, unknown)
        identity, group = (np.append(codes, np.full(len(unknown), -1)) for codes in (identity, group))
    image_ids = collection.manifest.image_ids[rows]
    images = TrainingImages(lambda index: collection.store.read(rows[index]), identity, group, image_ids)
    return with_turns(images, settings.augmentation.new_identities)


def _codes(columns: list[np.ndarray]) -> np.ndarray:
    return pd.DataFrame(dict(enumerate(columns))).groupby(list(range(len(columns))), sort=True).ngroup().to_numpy()
