"""The public face: a trained model that embeds, scores, verifies and ranks photos."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from siamese.ahead import map_ahead
from siamese.answers import rank_catalog
from siamese.catalog import Catalog, is_catalog, load_catalog
from siamese.decision import Decision, Verification
from siamese.drift import Drift, DriftSketch, measure_images
from siamese.encounters import Encounters, gather
from siamese.errors import ImageError, SiameseError
from siamese.formats import read_collection
from siamese.identity_scorer import score_identities
from siamese.identity_scores import IdentityScores
from siamese.images import prepare_array, prepare_image
from siamese.manifest import PHOTO_SUFFIXES, Manifest, from_table
from siamese.models.storage import StoredModel, file_hash, load_model
from siamese.open_scores import OpenScores, open_scores
from siamese.ranking import Ranking
from siamese.scoring import Embedder
from siamese.settings import PreprocessingSettings
from siamese.views import PhotoViews, crop_settings, mean_scores

# A manifest (path or table), a folder or a list of photos, one photo, an array of images, or a saved catalog.
Photos: TypeAlias = Manifest | pd.DataFrame | str | Path | Sequence[str | Path] | np.ndarray | Catalog
OnImages: TypeAlias = Callable[[np.ndarray], None]


@dataclass
class Matcher:
    """A trained model with all it needs; `siamese.load` makes one.

    Attributes:
        model: encoder, comparator, settings and card.
        fingerprint: hash that names the weights; a saved catalog carries it.
        quarantine: (photo, reason) of the photos that could not be read so far.
        drift: how the queries ranked last differ from the photos of the calibration; None before, and where the model
            keeps nothing to compare with.
    """

    model: StoredModel
    fingerprint: str
    quarantine: list[tuple[str, str]] = field(default_factory=list)
    drift: Drift | None = None

    def __post_init__(self) -> None:
        self.decision = Decision.from_dict(self.model.decision)
        self.decision.check_preprocessing(preprocessing_fingerprint(self.model.settings.preprocessing))
        self._sketch = DriftSketch.from_dict(self.model.drift) if self.model.drift else None
        self._embedder = Embedder(self.model.encoder)
        self.views = PhotoViews(self.model.settings.ranking.views, self.model.settings.augmentation)

    def embed(self, photos: Photos) -> np.ndarray:
        """Embeds photos.

        Args:
            photos: a manifest (path or table), a folder, one photo or a list of them, or an array of images
                `(num_images, height, width[, channels])`, 0 to 255, cropped as the caller likes.

        Returns:
            `(num_images, embed_dim)` float32; with further views (`ranking.views`) those of all views side by side.

        Raises:
            ImageError: a photo cannot be read.
        """
        stored = self._stored_catalog(photos)
        return self._embed(_as_source(photos), skip_unreadable=False)[0] if stored is None else stored.embeddings

    def catalog(self, photos: Photos) -> Catalog:
        """Embeds photos together with their identities; photos that cannot be read go to `quarantine`."""
        return self._seen(photos)

    def score(self, queries: Photos, catalog: Photos) -> np.ndarray:
        """Scores every query against every catalog photo: `(num_queries, num_catalog)` float32 logits."""
        return self._score(self.embed(queries), self.embed(catalog))

    def score_identities(self, queries: Catalog, catalog: Catalog, allowed: np.ndarray) -> IdentityScores | None:
        """Scores queries with identities by the model's rule; None where that is the best photo's score.

        Args:
            queries: of `catalog`.
            catalog: of `catalog`.
            allowed: `(num_queries, num_catalog)` bool, which photo may answer which query.
        """
        settings = self.model.settings.ranking
        if settings.best_photo_decides:
            return None
        return score_identities(self.model.comparator, queries, catalog, settings, allowed=allowed)

    def verify(
        self,
        photo_a: str | Path | np.ndarray,
        photo_b: str | Path | np.ndarray,
        *,
        false_match_rate: float | None = None,
        prior: float | None = None,
    ) -> Verification:
        """Says whether two photos show the same animal; their order does not matter.

        Args:
            photo_a: a path or one image.
            photo_b: another.
            false_match_rate: share of pairs of different animals that may be called the same, one of those that the
                model was calibrated for; None takes that of the training.
            prior: share of pairs of one animal among those that are asked about; None takes that of the training.

        Raises:
            ImageError: a photo cannot be read.
            SiameseError: no cut was fitted for this rate, or the prior lies outside of 0 to 1.
        """
        first, second = (
            self.embed(photo[None] if isinstance(photo, np.ndarray) else photo) for photo in (photo_a, photo_b)
        )
        score = float(self._score(first, second)[0, 0])
        probability = float(self.decision.pair_probability(np.array(score), prior=prior))
        verdict = self.decision.verdict(score, false_match_rate=false_match_rate)
        cut = self.decision.match_cut(false_match_rate)
        return Verification(
            score,
            probability,
            self.decision.prior if prior is None else prior,
            verdict,
            cut.reached,
            cut.low,
            cut.high,
            self.decision.false_non_match_rate,
        )

    def rank(
        self,
        queries: Photos,
        catalog: Photos,
        *,
        top_k: int = 5,
        together: str | None = None,
        after: Callable[[OpenScores, np.ndarray], OpenScores] | None = None,
    ) -> Ranking:
        """Ranks for each query the identities of the catalog, with the place of the new individual.

        A query that stands in the catalog too (by image id) is not answered by itself. Photos that cannot be read are
        left out and listed in `quarantine`. Large catalogs are searched in two stages, see `rank_catalog`. `drift`
        says afterwards whether the queries look like the photos of the calibration.

        Args:
            queries: photos to name.
            catalog: known photos.
            top_k: answers for each query, the new individual included.
            together: column of the queries, such as `encounter`; photos that share a value show one animal, get one
                answer under that name, and do not answer each other. None asks about each photo alone.
            after: function from the scores and the image ids of the queries to other scores, such as
                `postprocessing.put_known_first`; the memory then holds queries x photos.

        Raises:
            SiameseError: the catalog names no individual, the queries have no such column, or both `together` and
                `after` are given.
        """
        if together is not None and after is not None:
            raise SiameseError(
                f"`after` must work on photos asked about alone. Received: together={together}. Leave one of them out."
            )
        queries = queries if together is None or isinstance(queries, Catalog) else _as_source(queries)
        known, looks = self.catalog(catalog), []
        asked = self._seen(queries, (lambda images: looks.append(measure_images(images))) if self._sketch else None)
        if not (known.identity != "").any():
            raise SiameseError(
                "The catalog must say who its photos show. Received: no identity. "
                "Give a manifest with an `identity` column, or a folder with one sub-folder for each individual."
            )
        if self._sketch:
            self.drift = self._sketch.compare(asked.embeddings, np.concatenate(looks) if looks else None)
        if after is not None:
            scores = after(self.open_scores(asked, known), asked.image_ids)
            return scores.rank(asked.image_ids, top_k=top_k, probability=self.decision.identity_probability)
        return rank_catalog(
            self.model.comparator,
            asked,
            known,
            self.decision,
            top_k=top_k,
            settings=self.model.settings.ranking,
            together=None if together is None else _encounters(queries, asked.image_ids, together),
        )

    def open_scores(self, queries: Catalog, catalog: Catalog) -> OpenScores:
        """Scores queries with all identities and with being a new individual, for steps before the ranking.

        A query that stands in the catalog too (by image id) is not answered by itself. The memory holds queries x
        photos.

        Args:
            queries: of `catalog`; their identities are not read.
            catalog: of `catalog`, or loaded.

        Raises:
            SiameseError: queries and catalog hold other views.
        """
        allowed = queries.image_ids[:, None] != catalog.image_ids[None, :]
        ranking, comparator = self.model.settings.ranking, self.model.comparator
        table = score_identities(comparator, queries, catalog, ranking, allowed=allowed)
        return open_scores(table, self.decision.new_threshold(catalog.identity))

    def _seen(self, photos: Photos, on_images: OnImages | None = None) -> Catalog:
        """Returns photos as a catalog; `on_images` sees them prepared, block by block, unless they were stored."""
        stored = self._stored_catalog(photos)
        if stored is not None:
            return stored
        source = _as_source(photos)
        embeddings, kept = self._embed(source, skip_unreadable=True, on_images=on_images)
        ids, identity = _names_of(source)
        return Catalog(ids[kept], identity[kept], embeddings, self.fingerprint, self.views.names)

    def _stored_catalog(self, photos: Photos) -> Catalog | None:
        """Returns the catalog that is given or stands in the given folder; None where photos must be embedded."""
        catalog = photos if isinstance(photos, Catalog) else None
        if isinstance(photos, str | Path) and is_catalog(Path(photos)):
            catalog = load_catalog(Path(photos))
        if catalog is not None:
            catalog.check_model(self.fingerprint)
            catalog.check_views(self.views.names)
        return catalog

    def _score(self, queries: np.ndarray, catalog: np.ndarray) -> np.ndarray:
        return mean_scores(self.model.comparator, queries, catalog, num_views=len(self.views.groups))

    def _embed(
        self, source: Manifest | np.ndarray, *, skip_unreadable: bool, on_images: OnImages | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns embeddings and the rows they belong to; the images of one batch at a time are in memory."""
        parts: list[np.ndarray] = []
        kept: list[int] = []
        for rows, images in _in_batches(self._readable(source, skip_unreadable), self._embedder.batch_size):
            parts.append(self.views.embed(self._embedder, images.__getitem__, len(images)))
            kept += rows
            if on_images:
                on_images(images[:, 0])
        if not parts:
            raise SiameseError(
                "At least one photo must be readable. Received: none. See the quarantine for the reasons."
            )
        return np.concatenate(parts), np.array(kept)

    def _readable(self, source: Manifest | np.ndarray, skip_unreadable: bool) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the row and the prepared crops of each photo; those that cannot be read go to the quarantine."""
        crops = crop_settings(self.model.settings.preprocessing, self.model.settings.ranking.views)
        one_crop = _one_crop(source)

        def prepare(row: int) -> np.ndarray | ImageError:
            try:
                return np.stack([one_crop(row, crop) for crop in crops])
            except ImageError as error:
                return error

        for row, image in enumerate(map_ahead(prepare, range(len(source)))):
            if not isinstance(image, ImageError):
                yield row, image
            elif skip_unreadable and isinstance(source, Manifest):
                self.quarantine.append((str(source.select(np.array([row])).paths[0]), str(image)))
            else:
                raise image


def load(folder: str | Path) -> Matcher:
    """Loads a trained model; what loads gives the same numbers that were saved.

    Args:
        folder: a model folder, such as `runs/flukes/model`.

    Raises:
        ModelFolderError: a part is missing or was changed.
    """
    folder = Path(folder)
    model = load_model(folder)
    return Matcher(model, model_fingerprint(folder))


def model_fingerprint(folder: Path) -> str:
    """Returns a hash of the weights in a model folder."""
    return "-".join(file_hash(folder / name)[:16] for name in ("encoder.keras", "comparator.keras"))


def preprocessing_fingerprint(settings: PreprocessingSettings) -> str:
    """Returns a hash of how photos are prepared."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]


def _as_source(photos: Photos) -> Manifest | np.ndarray:
    if isinstance(photos, Catalog):
        raise TypeError("A catalog is embedded already. Use its `embeddings`.")
    if isinstance(photos, Manifest | np.ndarray):
        return photos
    if isinstance(photos, pd.DataFrame):
        return from_table(photos, Path.cwd())
    if isinstance(photos, str | Path):
        place = Path(photos)
        return _photo_list([place]) if place.suffix.lower() in PHOTO_SUFFIXES else read_collection(place).manifest
    return _photo_list([Path(photo) for photo in photos])


def _one_crop(source: Manifest | np.ndarray) -> Callable[[int, PreprocessingSettings], np.ndarray]:
    """Returns what prepares a row of the source."""
    if isinstance(source, np.ndarray):
        return lambda row, crop: prepare_array(source[row], crop)
    paths, boxes, rotations = source.paths, source.boxes, source.rotations  # once: each call makes them anew
    return lambda row, crop: prepare_image(paths[row], boxes[row], crop, rotations[row])


def _in_batches(photos: Iterator[tuple[int, np.ndarray]], size: int) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Gathers so many rows and images at a time."""
    while batch := list(islice(photos, size)):
        rows, images = zip(*batch, strict=True)
        yield rows, np.stack(images)


def _photo_list(paths: list[Path]) -> Manifest:
    """Makes a manifest of unknown individuals from a list of photos."""
    names = [str(path) for path in paths]
    return from_table(pd.DataFrame({"image_id": names, "path": names, "identity": ""}), Path.cwd())


def _names_of(source: Manifest | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(source, Manifest):
        return source.image_ids, source.identity
    names = np.array([f"image_{row}" for row in range(len(source))], dtype=object)
    return names, np.full(len(source), "", dtype=object)


def _encounters(queries: Photos, image_ids: np.ndarray, column: str) -> Encounters:
    """Finds which of the queries that were read are asked about together."""
    if not isinstance(queries, Manifest) or column not in queries.table.columns:
        there = ", ".join(queries.table.columns) if isinstance(queries, Manifest) else "photos without a table"
        raise SiameseError(
            f"The queries must have the column `{column}` to be asked about together. Received: {there}. "
            "Give a manifest with it, or ask about each photo alone."
        )
    rows = pd.Index(queries.image_ids).get_indexer(image_ids)
    return gather(image_ids, queries.column(column)[rows])
