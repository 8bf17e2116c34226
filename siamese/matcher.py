"""The public face: a trained model that embeds, scores, verifies and ranks photos."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from siamese.answers import rank_catalog
from siamese.catalog import Catalog, is_catalog, load_catalog
from siamese.decision import Decision
from siamese.errors import ImageError, SiameseError
from siamese.formats import read_collection
from siamese.images import prepare_array, prepare_image
from siamese.manifest import PHOTO_SUFFIXES, Manifest, from_table
from siamese.models.storage import StoredModel, file_hash, load_model
from siamese.ranking import Ranking
from siamese.scoring import Embedder, score_matrix

# A manifest (path or table), a folder or a list of photos, one photo, an array of images, or a saved catalog.
Photos: TypeAlias = Manifest | pd.DataFrame | str | Path | Sequence[str | Path] | np.ndarray | Catalog


@dataclass(frozen=True)
class Verification:
    """Whether two photos show the same animal.

    Attributes:
        score: logit, higher is more alike.
        probability: probability of the same animal, were both answers as likely beforehand.
        verdict: `same`, `different` or `unsure`.
    """

    score: float
    probability: float
    verdict: str


@dataclass
class Matcher:
    """A trained model with all it needs; `siamese.load` makes one.

    Attributes:
        model: encoder, comparator, settings and card.
        fingerprint: hash that names the weights; a saved catalog carries it.
        quarantine: (photo, reason) of the photos that could not be read so far.
    """

    model: StoredModel
    fingerprint: str
    quarantine: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.decision = Decision.from_dict(self.model.decision)
        self._embedder = Embedder(self.model.encoder)

    def embed(self, photos: Photos) -> np.ndarray:
        """Embeds photos.

        Args:
            photos: a manifest (path or table), a folder, one photo or a list of them, or an array of images
                `(num_images, height, width[, channels])`, 0 to 255, cropped as the caller likes.

        Returns:
            `(num_images, embed_dim)` float32.

        Raises:
            ImageError: a photo cannot be read.
        """
        catalog = self._stored_catalog(photos)
        return catalog.embeddings if catalog else self._embed(_as_source(photos), skip_unreadable=False)[0]

    def catalog(self, photos: Photos) -> Catalog:
        """Embeds photos together with their identities; photos that cannot be read go to `quarantine`."""
        if stored := self._stored_catalog(photos):
            return stored
        source = _as_source(photos)
        embeddings, kept = self._embed(source, skip_unreadable=True)
        ids, identity = _names_of(source)
        return Catalog(ids[kept], identity[kept], embeddings, self.fingerprint)

    def score(self, queries: Photos, catalog: Photos) -> np.ndarray:
        """Scores every query against every catalog photo: `(num_queries, num_catalog)` float32 logits."""
        return self._score(self.embed(queries), self.embed(catalog))

    def verify(self, photo_a: str | Path | np.ndarray, photo_b: str | Path | np.ndarray) -> Verification:
        """Says whether two photos (paths or single images) show the same animal; their order does not matter."""
        first, second = (
            self.embed(photo[None] if isinstance(photo, np.ndarray) else photo) for photo in (photo_a, photo_b)
        )
        score = float(self._score(first, second)[0, 0])
        probability = float(self.decision.pair_probability(np.array(score)))
        return Verification(score, probability, self.decision.verdict(score))

    def rank(self, queries: Photos, catalog: Photos, *, top_k: int = 5) -> Ranking:
        """Ranks for each query the identities of the catalog, with the place of the new individual.

        A query that stands in the catalog too (by image id) is not answered by itself. Photos that cannot be read are
        left out and listed in `quarantine`. Large catalogs are searched in two stages, see `rank_catalog`.

        Raises:
            SiameseError: the catalog names no individual.
        """
        known, asked = self.catalog(catalog), self.catalog(queries)
        if not (known.identity != "").any():
            raise SiameseError(
                "The catalog must say who its photos show. Received: no identity. "
                "Give a manifest with an `identity` column, or a folder with one sub-folder for each individual."
            )
        return rank_catalog(self.model.comparator, asked, known, self.decision, top_k=top_k)

    def _stored_catalog(self, photos: Photos) -> Catalog | None:
        """Returns the catalog that is given or stands in the given folder; None where photos must be embedded."""
        catalog = photos if isinstance(photos, Catalog) else None
        if isinstance(photos, str | Path) and is_catalog(Path(photos)):
            catalog = load_catalog(Path(photos))
        if catalog:
            catalog.check_model(self.fingerprint)
        return catalog

    def _score(self, queries: np.ndarray, catalog: np.ndarray) -> np.ndarray:
        return score_matrix(self.model.comparator, queries, catalog)

    def _embed(self, source: Manifest | np.ndarray, *, skip_unreadable: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns embeddings and the rows they belong to."""
        settings = self.model.settings.preprocessing
        images: list[np.ndarray] = []
        kept: list[int] = []

        def prepare(row: int) -> np.ndarray | ImageError:
            try:
                if isinstance(source, np.ndarray):
                    return prepare_array(source[row], settings)
                return prepare_image(source.paths[row], source.boxes[row], settings, source.rotations[row])
            except ImageError as error:
                return error

        with ThreadPoolExecutor() as pool:
            for row, image in enumerate(pool.map(prepare, range(len(source)))):
                if isinstance(image, ImageError):
                    if not skip_unreadable:
                        raise image
                    self.quarantine.append((str(source.paths[row]), str(image)))  # type: ignore[union-attr]
                    continue
                images.append(image)
                kept.append(row)
        if not images:
            raise SiameseError(
                "At least one photo must be readable. Received: none. See the quarantine for the reasons."
            )
        stack = np.stack(images)
        return self._embedder.embed(lambda index: stack[index], len(stack)), np.array(kept)


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


def _photo_list(paths: list[Path]) -> Manifest:
    """Makes a manifest of unknown individuals from a list of photos."""
    names = [str(path) for path in paths]
    return from_table(pd.DataFrame({"image_id": names, "path": names, "identity": ""}), Path.cwd())


def _names_of(source: Manifest | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(source, Manifest):
        return source.image_ids, source.identity
    names = np.array([f"image_{row}" for row in range(len(source))], dtype=object)
    return names, np.full(len(source), "", dtype=object)
