"""Half precision where it pays: in the encoder's convolutions. All that adds up many values stays in float32."""

from __future__ import annotations

import keras
from keras import layers

# From the first convolution to the last map. A photo's pixels need more bits than half precision has, the pooling's
# powers leave the range of float16, and whoever takes the embeddings expects float32.
HALF = (layers.Conv2D, layers.BatchNormalization, layers.MaxPooling2D, layers.ReLU, layers.Add)


def set_precision(encoder: keras.Model, precision: str) -> None:
    """Sets what the convolutions of an encoder compute in; weights, embeddings and batch statistics stay float32.

    A saved encoder keeps its precision.

    Args:
        encoder: made by `build_encoder`; not compiled into a step yet. Changed in place.
        precision: `"float32"`, `"mixed_float16"` or `"mixed_bfloat16"`.

    Example:
    >>> from siamese.models.encoder import build_encoder
    >>> encoder = build_encoder((32, 32, 1))
    >>> set_precision(encoder, "mixed_bfloat16")
    >>> encoder.get_layer("stem_pool").compute_dtype, encoder.get_layer("embedding").compute_dtype
    ('bfloat16', 'float32')
    """
    for layer in encoder.layers:
        if isinstance(layer, HALF):
            layer.dtype_policy = precision


def needs_loss_scale(encoder: keras.Model) -> bool:
    """Tells whether gradients may be too small for the encoder's numbers: those of float16 end at 6e-8."""
    return any(layer.compute_dtype == "float16" for layer in encoder.layers)
