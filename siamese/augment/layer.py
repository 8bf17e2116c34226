"""The layer that changes each image of a batch at random while a model trains."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops, random

from siamese.augment.channels import on_mask, on_pixels
from siamese.augment.draws import Draw
from siamese.augment.geometry import Movement, draw_movement, moves
from siamese.augment.policies import all_changes, apply_change
from siamese.augment.warp import warp
from siamese.settings import AugmentationSettings


class Augment(keras.layers.Layer):
    """Changes each image of a batch at random: one map with one interpolation, then light, sharpness and noise.

    A mask, the last of two or four channels, moves with its image and is not changed otherwise. Only with
    `training=True`; else the images pass. It works in float32 whatever the precision of the model around it.
    """

    def __init__(self, settings: AugmentationSettings, *, seed: int = 0, **kwargs: Any) -> None:
        """Takes the ranges of the changes and the seed of their generator."""
        super().__init__(**{"dtype": "float32", **kwargs})
        self.settings = settings
        self.generator = random.SeedGenerator(seed)
        self.supports_jit = keras.backend.backend() != "tensorflow"  # XLA lacks TensorFlow's kernel for maps of images

    def call(self, images: Any, training: bool = False) -> Any:
        """Takes `(num_images, height, width, channels)` on a 0 to 255 scale, returns float32 of the same shape."""
        return self.change(images)[0] if training else ops.cast(images, "float32")

    def change(self, images: Any) -> tuple[Any, Movement]:
        """Changes images and tells how they moved, for the points, boxes and masks that belong to them.

        Args:
            images: `(num_images, height, width, channels)`, 0 to 255. Not changed.

        Returns:
            The changed images as float32, and the movement that `move_points`, `move_boxes` and `warp` take.
        """
        images = ops.cast(images, "float32")
        draw = Draw(ops.shape(images)[0], self.generator)
        movement = draw_movement(self.settings, draw, *images.shape[1:3])
        if moves(self.settings):
            images = self._warp(images, movement)
        for change in all_changes(self.settings):
            images = apply_change(images, draw, change)
        return images, movement

    def _warp(self, images: Any, movement: Movement) -> Any:
        moved = on_pixels(lambda pixels: warp(pixels, movement, fill=self.settings.fill), images)
        return on_mask(lambda mask: warp(mask, movement, fill="zero"), moved)
