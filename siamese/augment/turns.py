"""Turned and flipped copies, each of which trains as another animal."""

from __future__ import annotations

import numpy as np

from siamese.errors import SettingsError
from siamese.settings import Turn

# How each further identity is made from a stored batch (num_images, height, width, channels).
TURNS = {
    "flip": lambda images: images[:, :, ::-1],
    "turn90": lambda images: np.rot90(images, 1, axes=(1, 2)),
    "turn180": lambda images: np.rot90(images, 2, axes=(1, 2)),
    "turn270": lambda images: np.rot90(images, 3, axes=(1, 2)),
}


def turn_images(images: np.ndarray, turn: Turn) -> np.ndarray:
    """Turns or flips a batch; a turned pattern counts as another animal, not as another view of the same one.

    Args:
        images: `(num_images, height, width, channels)`; quarter turns need square images. Not changed.
        turn: `"flip"`, `"turn90"`, `"turn180"` or `"turn270"` (counter-clockwise).

    Raises:
        SettingsError: a quarter turn was asked for images that are not square.
    """
    if turn in ("turn90", "turn270") and images.shape[1] != images.shape[2]:
        raise SettingsError(
            f"`{turn}` needs square images. Received: shape {images.shape}. "
            "Leave it out of `augmentation.new_identities`, or make `preprocessing` height and width equal."
        )
    return TURNS[turn](images)
