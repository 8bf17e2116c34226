"""Random geometry and light for whole batches, inside the compiled training step."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops, random

from siamese.errors import SettingsError
from siamese.settings import AugmentationSettings, Turn

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


class Augment(keras.layers.Layer):
    """Changes each image of a batch at random: one affine or perspective map with one interpolation, then light.

    The geometry is the humpback kernel's (rotation, shear, zoom of each axis, shift; outside filled with the image's
    mean); gamma, light gradient, noise and erased boxes follow. Only with `training=True`; else the images pass.
    """

    def __init__(self, settings: AugmentationSettings, *, seed: int = 0, **kwargs: Any) -> None:
        """Takes the ranges of the changes and the seed of their generator."""
        super().__init__(**kwargs)
        self.settings = settings
        self.generator = random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Takes `(num_images, height, width, channels)` on a 0 to 255 scale, returns float32 of the same shape."""
        images = ops.cast(images, "float32")
        if not training:
            return images
        mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        images = self._warp(images - mean) + mean
        for change in (self._light, self._noise, self._erase):
            images = change(images)
        return images

    def _uniform(self, images: Any, low: float, high: float, *extra: int) -> Any:
        return random.uniform((ops.shape(images)[0], *extra), low, high, seed=self.generator)

    def _warp(self, images: Any) -> Any:
        maps = self._maps(images)
        return ops.image.affine_transform(images, maps, interpolation="bilinear", fill_mode="constant", fill_value=0.0)

    def _maps(self, images: Any) -> Any:
        """Returns `(num_images, 8)` maps from the place of an output pixel to a place in the input."""
        settings, (height, width) = self.settings, images.shape[1:3]
        angle = self._uniform(images, -1, 1) * math.radians(settings.rotation)
        shear = self._uniform(images, -1, 1) * math.radians(settings.shear)
        zoom_y, zoom_x = (1 / self._uniform(images, *settings.zoom) for _ in range(2))
        shift_y, shift_x = (self._uniform(images, -settings.shift, settings.shift) for _ in range(2))
        tilt_y, tilt_x = (self._uniform(images, -settings.perspective, settings.perspective) for _ in range(2))
        # Rotation and shear act on pixels, so a rotation stays one when height and width differ.
        a, b = zoom_x * ops.cos(angle), -zoom_y * ops.sin(angle + shear)
        c, d = zoom_x * ops.sin(angle), zoom_y * ops.cos(angle + shear)
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        # Around the centre: (x, y) -> (a x + b y, c x + d y) / (1 + g x + h y), then the shift.
        g, h = 2 * tilt_x / width, 2 * tilt_y / height
        to_x, to_y = centre_x + shift_x * width, centre_y + shift_y * height
        rows = [a + to_x * g, b + to_x * h, to_x, c + to_y * g, d + to_y * h, to_y, g, h]
        return _about_corner(rows, centre_x, centre_y)

    def _light(self, images: Any) -> Any:
        settings = self.settings
        if settings.gamma:
            exponent = ops.exp(self._uniform(images, -1, 1, 1, 1, 1) * -math.log(1 - settings.gamma))
            images = 255 * ops.power(ops.clip(images / 255, 1e-3, 1.0), exponent)
        if settings.gradient:
            height, width = images.shape[1:3]
            slope_y, slope_x = (self._uniform(images, -1, 1, 1, 1, 1) for _ in range(2))
            rows = ops.reshape(ops.linspace(-1.0, 1.0, height), (1, height, 1, 1))
            columns = ops.reshape(ops.linspace(-1.0, 1.0, width), (1, 1, width, 1))
            images = images + 127.5 * settings.gradient * (slope_y * rows + slope_x * columns)
        return images

    def _noise(self, images: Any) -> Any:
        if not self.settings.noise:
            return images
        return images + random.normal(ops.shape(images), stddev=255 * self.settings.noise, seed=self.generator)

    def _erase(self, images: Any) -> Any:
        """Paints one box an image with the image's mean."""
        if not self.settings.erase:
            return images
        inside = 1.0
        for axis, size in ((1, images.shape[1]), (2, images.shape[2])):
            place = ops.reshape(
                ops.arange(size, dtype="float32") / size, (1, size, 1, 1) if axis == 1 else (1, 1, size, 1)
            )
            half = self._uniform(images, 0, self.settings.erase / 2, 1, 1, 1)
            middle = self._uniform(images, 0, 1, 1, 1, 1)
            inside = inside * ops.cast(ops.abs(place - middle) < half, "float32")
        return images + inside * (ops.mean(images, axis=(1, 2, 3), keepdims=True) - images)


def _about_corner(rows: list[Any], centre_x: float, centre_y: float) -> Any:
    """Moves the origin of the output pixels from the centre to the corner, and scales so that the last entry is 1."""
    a, b, c, d, e, f, g, h = rows
    last = 1 - g * centre_x - h * centre_y
    moved = [
        a, b, c - a * centre_x - b * centre_y,
        d, e, f - d * centre_x - e * centre_y,
        g, h,
    ]  # fmt: skip
    return ops.stack([entry / last for entry in moved], axis=1)
