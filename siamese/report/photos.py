"""Photos for the page: cropped as the model sees them, but in colour and sharper, while their files are there."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from siamese.checks.thumbnails import SIDE, jpeg_address
from siamese.errors import ImageError
from siamese.images import prepare_image
from siamese.manifest import Manifest
from siamese.settings import PreprocessingSettings
from siamese.store import ImageStore


class Photos:
    """Reads photos for people; one whose file went away, or was changed into no photo, comes from the store."""

    def __init__(self, store: ImageStore, preprocessing: PreprocessingSettings) -> None:
        """Takes the store, which stays open as long as photos are read, and the model's preprocessing."""
        self._store, self._places = store, pd.Index(store.image_ids)
        enlarged = max(1.0, SIDE / max(preprocessing.height, preprocessing.width))
        size = {name: round(enlarged * getattr(preprocessing, name)) for name in ("height", "width")}
        self._settings = preprocessing.model_copy(update={**size, "channels": 3, "contrast": "none"})

    def read(self, photos: Manifest, row: int) -> np.ndarray:
        """Returns one photo, `(height, width, 1 or 3)` uint8, for people to look at.

        Args:
            photos: whose photos are in the store.
            row: which of them.
        """
        try:
            return prepare_image(photos.paths[row], photos.boxes[row], self._settings, photos.rotations[row])
        except (ImageError, OSError):
            return self.stored(photos, row)

    def stored(self, photos: Manifest, row: int) -> np.ndarray:
        """Returns one photo as the model sees it.

        Args:
            photos: whose photos are in the store.
            row: which of them.
        """
        return self._store.read(self._places.get_indexer([photos.image_ids[row]]))[0]

    def address(self, photos: Manifest, row: int) -> str:
        """Returns the data address of one photo.

        Args:
            photos: whose photos are in the store.
            row: which of them.
        """
        return picture_address(self.read(photos, row))


def picture_address(image: np.ndarray) -> str:
    """Returns the data address of an image, enlarged or shrunk to the size of pictures on the page.

    Args:
        image: `(height, width, 1 or 3)` uint8. Not changed.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    scale = SIDE / max(picture.size)
    size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    return jpeg_address(picture.resize(size, Image.Resampling.BICUBIC) if size != picture.size else picture)
