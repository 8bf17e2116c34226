"""Heat maps over photos."""

from __future__ import annotations

import numpy as np
from PIL import Image

from siamese.errors import SiameseError

FOR, AGAINST = (213, 94, 0), (0, 114, 178)  # the orange and the blue of the palette, told apart by colour-blind eyes
STRONGEST = 0.8  # share of colour where the map is furthest from 0
DIMMED = 0.75  # light of the photo under the map, so that colours stand out


def heat_overlay(photo: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lays a map over a grey photo: orange where it is over 0, blue where it is under.

    Args:
        photo: `(height, width, 1 or 3)` uint8. Not changed.
        values: `(rows, columns)` floats, stretched over the photo.

    Returns:
        `(height, width, 3)` uint8.

    Raises:
        SiameseError: the map is no table of finite numbers.

    Example:
    >>> heat_overlay(np.full((1, 2, 1), 100, np.uint8), np.array([[0.0, 2.0]]))[0].tolist()
    [[75, 75, 75], [185, 90, 15]]
    """
    if np.ndim(values) != 2 or not np.isfinite(values).all():
        raise SiameseError(
            f"`values` must be a table of finite numbers. Received: shape {np.shape(values)}. Compute the map again."
        )
    height, width = photo.shape[:2]
    grey = DIMMED * photo.mean(axis=-1, keepdims=True)
    stretched = Image.fromarray(np.asarray(values, np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    heat = np.asarray(stretched)[..., None] / max(float(np.abs(values).max()), 1e-12)
    colour = np.where(heat > 0, np.array(FOR), np.array(AGAINST))
    share = STRONGEST * np.abs(heat)
    return np.rint((1 - share) * grey + share * colour).astype(np.uint8)
