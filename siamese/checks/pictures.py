"""Photos compared as pictures: small and grey, each brought to mean 0 and variance 1."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from PIL import Image

from siamese.errors import ImageError
from siamese.images import opened, upright

REDUCED_SIZE = (64, 64)
SMALL_IMAGES = 8192  # kept in memory: 32 MB


def image_difference(image: np.ndarray, other: np.ndarray) -> float:
    """Mean squared difference of two images of one shape, each brought to mean 0 and variance 1.

    An image of one value has no variance; it stays 0 everywhere, so two of them are alike and no other is like them.

    Example:
    >>> image_difference(np.array([0, 1]), np.array([50, 250])), image_difference(np.array([0, 1]), np.array([1, 0]))
    (0.0, 4.0)
    """
    return float(((_standardised(image) - _standardised(other)) ** 2).mean())


def small_image(path: str) -> np.ndarray:
    """The photo in grey at 64 x 64 pixels: `(64, 64)` uint8.

    Raises:
        ImageError: the photo cannot be read.
    """
    with opened(path) as image:
        return np.asarray(upright(image, 1).resize(REDUCED_SIZE, Image.Resampling.BOX))


class Pictures:
    """Photo files that are compared when they are asked for; each is decoded about once."""

    def __init__(self, paths: Sequence[str] | np.ndarray) -> None:
        """Takes the files; pairs are places in this list."""
        self._paths = list(paths)
        self._read = lru_cache(SMALL_IMAGES)(small_image)

    def differences(self, pairs: np.ndarray) -> np.ndarray:
        """`image_difference` of small images: `(num_pairs,)` floats, NaN where a photo cannot be read.

        Args:
            pairs: `(num_pairs, 2)` places of files.
        """
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return np.array(list(threads.map(self._difference, pairs.tolist())), dtype=float)

    def _difference(self, pair: Sequence[int]) -> float:
        try:
            return image_difference(*(self._read(self._paths[place]) for place in pair))
        except ImageError:
            return float("nan")


def _standardised(image: np.ndarray) -> np.ndarray:
    centred = image - image.mean(dtype=np.float64)
    deviation = np.sqrt((centred**2).mean())
    return centred / deviation if deviation > 0 else centred
