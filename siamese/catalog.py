"""The catalog: embeddings and identities of the known photos."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from siamese.errors import ModelFolderError, SiameseError
from siamese.files import write_together

FORMAT_VERSION = 1
INDEX = "catalog.json"
PARTS = ("embeddings.npy", "images.csv")
PLAIN = ("plain",)  # each photo as it is, and nothing else


@dataclass(frozen=True, eq=False)
class Catalog:
    """Known photos as a model sees them.

    Attributes:
        image_ids: `(num_images,)` names.
        identity: `(num_images,)` identities; "" is an unknown individual, which never answers a query.
        embeddings: `(num_images, embed_dim)` float32; those of several views stand side by side.
        model: fingerprint of the weights that made the embeddings; another model cannot use them.
        views: what was embedded of each photo, see `siamese.views`; queries must be seen alike.
    """

    image_ids: np.ndarray
    identity: np.ndarray
    embeddings: np.ndarray
    model: str
    views: tuple[str, ...] = PLAIN

    def __post_init__(self) -> None:
        if not len(self.image_ids) == len(self.identity) == len(self.embeddings):
            raise SiameseError(
                "A catalog needs one identity and one embedding for each image. Received: "
                f"{len(self.image_ids)} images, {len(self.identity)} identities, {len(self.embeddings)} embeddings."
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def names(self) -> np.ndarray:
        """`(num_identities,)` its individuals, sorted."""
        return np.unique(self.identity[self.identity != ""].astype(str)).astype(object)

    def add(self, other: Catalog) -> Catalog:
        """Returns a catalog with the photos of both; the network is not trained again.

        Raises:
            SiameseError: the two were made by different models, of different views, or share an image id.
        """
        self.check_model(other.model)
        self.check_views(other.views)
        shared = np.intersect1d(self.image_ids.astype(str), other.image_ids.astype(str))
        if len(shared):
            raise SiameseError(f"An image may stand in a catalog once. Received: {shared[0]} in both. Leave it out.")
        return Catalog(
            np.concatenate([self.image_ids, other.image_ids]),
            np.concatenate([self.identity, other.identity]),
            np.concatenate([self.embeddings, other.embeddings]),
            self.model,
            self.views,
        )

    def select(self, rows: np.ndarray | slice) -> Catalog:
        """Returns some of the photos; `rows` is a mask, indices or a slice."""
        return Catalog(self.image_ids[rows], self.identity[rows], self.embeddings[rows], self.model, self.views)

    def check_model(self, model: str) -> None:
        """Refuses a model that did not make these embeddings."""
        if model != self.model:
            raise SiameseError(
                "The catalog must be made by the model that reads it. "
                f"Received: a catalog of {self.model[:12]}, a model {model[:12]}. Embed the catalog's photos again."
            )

    def check_views(self, views: tuple[str, ...]) -> None:
        """Refuses other views than those that were embedded."""
        if views != self.views:
            raise SiameseError(
                f"The catalog must hold the views that are asked for: {'; '.join(views)}. "
                f"Received: {'; '.join(self.views)}. Embed the catalog's photos again, or change `ranking.views`."
            )

    def save(self, folder: Path) -> None:
        """Writes `embeddings.npy`, `images.csv` and, last, `catalog.json` with their hashes.

        Raises:
            DiskError: a file could not be written; an earlier catalog is untouched.
        """
        array = io.BytesIO()  # given a file, np.save does not tell of a full disk
        np.save(array, self.embeddings, allow_pickle=False)
        table = pd.DataFrame({"image_id": self.image_ids, "identity": self.identity})
        files = {"embeddings.npy": array.getvalue(), "images.csv": table.to_csv(index=False).encode()}
        index = {"format": FORMAT_VERSION, "model": self.model, "views": self.views, "files": _hashes(files)}
        write_together(folder, {**files, INDEX: json.dumps(index, indent=2).encode()})


def load_catalog(folder: Path) -> Catalog:
    """Reads a saved catalog.

    Raises:
        ModelFolderError: a part is missing or was changed after saving.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        made_by, model, hashes = (index[name] for name in ("format", "model", "files"))
        views = tuple(index.get("views", PLAIN))  # earlier catalogs knew no other
        found = _hashes({name: (folder / name).read_bytes() for name in PARTS})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(f"{folder}: a catalog must hold {INDEX} and its files. Received: {error}.") from error
    if made_by != FORMAT_VERSION:
        raise ModelFolderError(f"{folder}: the format must be {FORMAT_VERSION}. Received: {made_by}. Update siamese.")
    if found != hashes:
        raise ModelFolderError(f"{folder}: the catalog was changed after it was saved. Embed its photos again.")
    table = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False)
    embeddings = np.load(folder / "embeddings.npy", allow_pickle=False)
    image_ids, identity = (table[name].to_numpy(dtype=object) for name in ("image_id", "identity"))
    return Catalog(image_ids, identity, embeddings, model, views)


def is_catalog(folder: Path) -> bool:
    """Tells whether a folder holds a saved catalog."""
    return (folder / INDEX).is_file()


def _hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
