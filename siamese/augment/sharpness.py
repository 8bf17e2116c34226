"""Changes of sharpness: blurs, sharpening, compression; images are `(num_images, height, width, channels)`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from siamese.augment.draws import Draw, Range

# Quantisation of the luminance at quality 50: ITU-T T.81, table K.1.
QUANTISATION = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype="float32",
)
BLOCK = 8  # side of a block that JPEG transforms


def blur(images: Any, draw: Draw, *, size: Range) -> Any:
    """Gaussian blur of a drawn standard deviation, pixels, cut off at 2.5 of them."""
    distance = _distances(math.ceil(2.5 * size[1]), images)
    deviation = ops.maximum(draw.uniform(*size), 1e-3)[:, None]  # 0 leaves the middle weight alone
    return _blurred_both_ways(images, ops.exp(-0.5 * ops.square(distance / deviation)))


def average_blur(images: Any, draw: Draw, *, size: Range) -> Any:
    """Mean of the square of a drawn side, pixels; between odd sides the outermost pixels count in part."""
    distance = _distances(math.ceil((size[1] - 1) / 2), images)
    return _blurred_both_ways(images, ops.clip((draw.uniform(*size)[:, None] + 1) / 2 - ops.abs(distance), 0, 1))


def motion_blur(images: Any, draw: Draw, *, size: Range) -> Any:
    """Mean along a line of a drawn length, pixels, in a drawn direction."""
    distance = _distances(math.ceil((size[1] - 1) / 2), images)
    angle, length = draw.uniform(0, math.pi)[:, None, None], draw.uniform(*size)[:, None, None]
    across, down = distance[None, :], distance[:, None]
    along = ops.abs(across * ops.cos(angle) + down * ops.sin(angle))
    beside = ops.abs(down * ops.cos(angle) - across * ops.sin(angle))
    return _filtered(images, [ops.clip((length + 1) / 2 - along, 0, 1) * ops.clip(1 - beside, 0, 1)])


def sharpen(images: Any, draw: Draw, *, share: Range) -> Any:
    """Adds a share of what a blur of one pixel takes away."""
    return images + draw.each(share) * (images - blur(images, draw, size=(1, 1)))


def jpeg(images: Any, draw: Draw, *, quality: Range) -> Any:
    """Rounds each block of 8 x 8 as JPEG does; the table of the luminance serves every channel."""
    height, width, channels = images.shape[1:]
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    beyond = ((0, 0), (0, rows * BLOCK - height), (0, columns * BLOCK - width), (0, 0))
    padded = ops.pad(images, beyond, mode="symmetric") - 128
    blocks = ops.reshape(padded, (-1, rows, BLOCK, columns, BLOCK, channels))
    frequencies = ops.einsum("ui,vj,nyixjc->nyxcuv", _cosines(), _cosines(), blocks)
    steps = _steps(draw.uniform(*quality))[:, None]
    rounded = ops.round(ops.reshape(frequencies, (-1, rows * columns * channels, BLOCK, BLOCK)) / steps) * steps
    rounded = ops.reshape(rounded, (-1, rows, columns, channels, BLOCK, BLOCK))
    decoded = ops.einsum("ui,vj,nyxcuv->nyixjc", _cosines(), _cosines(), rounded)
    pixels = ops.reshape(decoded, (-1, rows * BLOCK, columns * BLOCK, channels))[:, :height, :width] + 128
    return ops.clip(pixels, 0, 255)


def _steps(quality: Any) -> Any:
    """Quantisation `(num_images, 8, 8)` for a quality from 1 to 100, as the Independent JPEG Group scales it."""
    percent = ops.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None]
    return ops.clip(ops.floor((QUANTISATION * percent + 50) / 100), 1, 255)


def _cosines() -> np.ndarray:
    """The orthogonal cosine transform of 8 numbers, `(frequency, place)`."""
    frequency, place = np.mgrid[:BLOCK, :BLOCK]
    cosines = np.cos((2 * place + 1) * frequency * np.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    cosines[0] /= math.sqrt(2)
    return cosines.astype("float32")


def _distances(radius: int, images: Any) -> Any:
    """Distance from the middle for each weight of a kernel that is no larger than a small image allows."""
    radius = min(radius, *images.shape[1:3])
    return ops.arange(-radius, radius + 1, dtype="float32")


def _blurred_both_ways(images: Any, weights: Any) -> Any:
    return _filtered(images, [weights[:, :, None], weights[:, None, :]])


def _filtered(images: Any, kernels: list[Any]) -> Any:
    """Filters each image with kernels of its own, `(num_images, rows, columns)` of any sum, one after the other.

    The images become channels of one, so a single depthwise convolution filters them all: on CPU a fifth to a tenth
    of the time of adding up shifted images. Beyond the edge the image is mirrored.
    """
    (height, width, channels), num_images = images.shape[1:], ops.shape(images)[0]
    rows, columns = (sum(kernel.shape[axis] // 2 for kernel in kernels) for axis in (1, 2))
    padded = ops.pad(images, ((0, 0), (rows, rows), (columns, columns), (0, 0)), mode="symmetric")
    layers = ops.reshape(ops.transpose(padded, (1, 2, 0, 3)), (1, height + 2 * rows, width + 2 * columns, -1))
    for kernel in kernels:
        shares = kernel / ops.sum(kernel, axis=(1, 2), keepdims=True)
        weights = ops.repeat(ops.transpose(shares, (1, 2, 0)), channels, axis=-1)[..., None]
        layers = ops.depthwise_conv(layers, weights, padding="valid", data_format="channels_last")
    return ops.transpose(ops.reshape(layers, (height, width, num_images, channels)), (2, 0, 1, 3))
