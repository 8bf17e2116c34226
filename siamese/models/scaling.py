"""The encoder for images of another size, so that one image store serves several sizes."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from siamese.errors import SettingsError
from siamese.models.encoder import Stripes


class Resize(layers.Layer):
    """Resizes images on the device, antialiased, as the image store does on the CPU (Pillow's bilinear filter)."""

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        """Takes the new size, pixels."""
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, images: Any) -> Any:
        """Takes `(num_images, any height, any width, channels)` of any type, returns float32 of the new size."""
        _, height, width, channels = images.shape
        # Not `ops.image.resize`: antialiased, it has no kernel for accelerators in TensorFlow.
        return ops.image.scale_and_translate(
            ops.cast(images, "float32"),
            (ops.shape(images)[0], self.height, self.width, channels),
            scale=[self.height / height, self.width / width],
            translation=[0.0, 0.0],
            spatial_dims=(1, 2),
            method="linear",
            antialias=True,
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns `(num_images, height, width, channels)`."""
        return (input_shape[0], self.height, self.width, input_shape[-1])


def at_scale(encoder: keras.Model, scale: float) -> keras.Model:
    """Returns an encoder that takes the same images but looks at them resized; it has the same layers and weights.

    Training one trains the other. Batch statistics are shared too, though they differ between scales: after the last
    change of scale, train on, or call `reestimate_batch_norm`.

    Args:
        encoder: made by `build_encoder`. Not changed.
        scale: new height and width over the old ones, rounded to whole pixels.

    Returns:
        A model from the encoder's `(num_images, height, width, channels)` to its `(num_images, embed_dim)`; the encoder
        itself where no size changes.

    Raises:
        SettingsError: the resized images are too small for the encoder's stages or stripes.

    Example:
    >>> from siamese.models.encoder import build_encoder
    >>> half = at_scale(build_encoder((64, 128, 1)), 0.5)
    >>> half.input_shape, half.get_layer("resize").output.shape, half.output_shape
    ((None, 64, 128, 1), (None, 32, 64, 1), (None, 512))
    """
    height, width, channels = encoder.input_shape[1:]
    size = (round(scale * height), round(scale * width))
    if size == (height, width):
        return encoder
    _check_size(encoder, scale, size)
    resize, first = Resize(*size, name="resize"), encoder.get_layer("standardise")

    def call(layer: layers.Layer, *inputs: Any, **options: Any) -> Any:
        return layer(*map(resize, inputs), **options) if layer is first else layer(*inputs, **options)

    images = keras.Input((height, width, channels), name="images")
    return keras.models.clone_model(encoder, images, clone_function=lambda layer: layer, call_function=call)


def _check_size(encoder: keras.Model, scale: float, size: tuple[int, int]) -> None:
    """Asks for what `build_encoder` does: a pixel for the last pooling, a column of the last map for each stripe."""
    sliding = [layer for layer in encoder.layers if isinstance(layer, (layers.Conv2D, layers.MaxPooling2D))]
    shrink = math.prod(layer.strides[0] for layer in sliding)
    stripes = max([1, *(layer.count for layer in encoder.layers if isinstance(layer, Stripes))])
    lowest = shrink // 2
    narrowest = max(lowest, (stripes - 1) * shrink + 1)  # a map's width is rounded up
    if size[0] < lowest or size[1] < narrowest:
        raise SettingsError(
            f"`image_scale` must leave images at least {lowest} pixels high and {narrowest} wide for the encoder's "
            f"stages and stripes. Received: image_scale={scale}, which makes them {size[0]} x {size[1]}. "
            "Take a larger scale, or fewer `encoder.widths` or `encoder.stripes`."
        )
