"""Contrast normalisation of one image: global, local, or by adaptive histograms."""

from __future__ import annotations

import numpy as np

from siamese.settings import Contrast

WINDOW = 9  # side of the local mean, pixels: Overview report of the humpback challenge
TINY = 1e-8  # keeps an image of one colour finite: the same report
MIDDLE, LEVELS = 127.5, 51.0  # grey of the mean, and grey levels of one deviation: 2.5 deviations fill 0 to 255


def normalise_contrast(image: np.ndarray, contrast: Contrast) -> np.ndarray:
    """Evens out the contrast of an image, so that photos of fog and of bright sun look alike.

    - `none`: the image as it is.
    - `global` (GCN): minus the mean of all pixels and channels, over the root of their mean square.
    - `local` (LCN): each pixel minus the mean of the 9 x 9 pixels around it in all channels, over
      sqrt(1 + the mean square of these differences there). Pixels count from 0 to 255 in it, so that the 1 is one grey
      level and only flat places are held back. Beyond the edge the image is mirrored.
    - `clahe`: contrast-limited adaptive histogram equalisation, as `skimage.exposure.equalize_adapthist` does it.

    What `global` and `local` give is stored as 127.5 + 51 * value, rounded and clipped to 0 to 255.
    Source of `global` and `local`: the authors' repository of the Overview report of the humpback challenge.

    Args:
        image: `(height, width, channels)` uint8. Not changed.
        contrast: one of the four.

    Returns:
        An image of the same shape and type.

    Example:
    >>> normalise_contrast(np.array([[[90], [100], [110]]], dtype=np.uint8), "global").ravel().tolist()
    [65, 128, 190]
    """
    if contrast == "none":
        return image
    if contrast == "clahe":
        return _clahe(image)
    values = _globally(image) if contrast == "global" else _locally(image)
    return np.clip(np.rint(MIDDLE + LEVELS * values), 0, 255).astype(np.uint8)


def _globally(image: np.ndarray) -> np.ndarray:
    centred = image - image.mean(dtype=np.float64)
    return centred / (np.sqrt(np.mean(np.square(centred))) + TINY)


def _locally(image: np.ndarray) -> np.ndarray:
    centred = image - _local_mean(image.astype(np.float64))
    return centred / np.sqrt(1 + _local_mean(np.square(centred)))


def _local_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the window and all channels around each pixel: `(height, width, 1)`."""
    from scipy.ndimage import uniform_filter  # takes a third of a second, and most collections do without it

    return uniform_filter(values.mean(axis=2), WINDOW)[..., None]


def _clahe(image: np.ndarray) -> np.ndarray:
    from skimage.exposure import equalize_adapthist

    flat = image[..., 0] if image.shape[2] == 1 else image
    return np.rint(255 * equalize_adapthist(flat)).astype(np.uint8).reshape(image.shape)
