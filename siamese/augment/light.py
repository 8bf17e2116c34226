"""Changes of light and colour; each takes images of 0 to 255 without a mask, and ranges to draw from.

Images are `(num_images, height, width, channels)`; colour has three channels. Results may leave 0 to 255.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from siamese.augment.draws import Draw, Range

DARKEST = 1e-3  # keeps the power's slope finite; a quarter of a grey level
# Brightness and two axes of colour: the YIQ of NTSC; its first row is the luminance of Rec. ITU-R BT.601.
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
TINY = 1e-3  # grey levels; keeps a place of one colour finite


def brightness(images: Any, draw: Draw, *, size: Range, per_channel: float) -> Any:
    """Adds one number to all pixels."""
    return images + 255 * draw.each_channel(size, images.shape[-1], per_channel)


def multiply(images: Any, draw: Draw, *, factor: Range, per_channel: float) -> Any:
    """Multiplies all pixels by one number."""
    return images * draw.each_channel(factor, images.shape[-1], per_channel)


def contrast(images: Any, draw: Draw, *, factor: Range) -> Any:
    """Stretches the pixels around the image's mean."""
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * draw.each(factor)


def gamma(images: Any, draw: Draw, *, exponent: Range) -> Any:
    """Raises the light to a power whose logarithm is drawn evenly, so that it brightens as often as it darkens."""
    low, high = np.log(exponent)
    return 255 * ops.power(ops.clip(images / 255, DARKEST, 1.0), ops.exp(draw.each((low, high))))


def gradient(images: Any, draw: Draw, *, size: float) -> Any:
    """Makes one side lighter and the opposite one darker."""
    height, width = images.shape[1:3]
    rows = ops.reshape(ops.linspace(-1.0, 1.0, height), (1, height, 1, 1))
    columns = ops.reshape(ops.linspace(-1.0, 1.0, width), (1, 1, width, 1))
    slope_y, slope_x = draw.each((-1, 1)), draw.each((-1, 1))
    return images + 127.5 * size * (slope_y * rows + slope_x * columns)


def hue_saturation(images: Any, draw: Draw, *, hue: Range, saturation: Range) -> Any:
    """Turns and stretches the colours around grey, brightness unchanged; grey images stay.

    The turn is one of the plane of the two YIQ colour axes: one product for each pixel, close to a turn of the hue.
    """
    if images.shape[-1] != 3:
        return images
    angle, factor = draw.uniform(*hue) * (np.pi / 180), draw.uniform(*saturation)
    cos, sin = factor * ops.cos(angle), factor * ops.sin(angle)
    one, zero = ops.ones_like(cos), ops.zeros_like(cos)
    turn = ops.reshape(ops.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], axis=-1), (-1, 3, 3))
    matrices = ops.matmul(np.linalg.inv(YIQ).astype("float32"), ops.matmul(turn, YIQ.astype("float32")))
    return ops.einsum("nhwc,ndc->nhwd", images, matrices)


def grey(images: Any, draw: Draw, *, share: Range) -> Any:
    """Takes a share of the colour away; grey images stay."""
    if images.shape[-1] != 3:
        return images
    luminance = ops.sum(images * YIQ[0].astype("float32"), axis=-1, keepdims=True)
    return images + draw.each(share) * (luminance - images)


def pca_colour(images: Any, draw: Draw, *, size: float) -> Any:
    """Adds to each image one colour, drawn along the principal directions of the colours of the batch.

    The colour is U (e . N(0, size)) with the eigenvectors U and eigenvalues e of the covariance of the pixels, counted
    from 0 to 1 (Krizhevsky et al. 2012, section 4.1). That is the covariance times a normal vector, because a turned
    normal vector is a normal vector, so no eigenvector is needed.
    """
    channels = images.shape[-1]
    pixels = ops.reshape(images / 255, (-1, channels))
    pixels = pixels - ops.mean(pixels, axis=0)
    covariance = ops.matmul(ops.transpose(pixels), pixels) / ops.cast(ops.shape(pixels)[0], "float32")
    colour = 255 * size * ops.matmul(draw.normal(channels), covariance)
    return images + ops.reshape(colour, (-1, 1, 1, channels))


def local_contrast(images: Any, draw: Draw, *, share: Range, window: int, limit: float) -> Any:
    """Gives each place the deviation of the whole image, up to a limit: in spirit CLAHE, without its histograms.

    CLAHE clips the histogram of each tile; here the factor that stretches a flat place is clipped, which sums over
    windows can tell at once.
    """
    mean = _local_mean(images, window)
    deviation = ops.sqrt(ops.maximum(_local_mean(ops.square(images), window) - ops.square(mean), 0.0))
    whole = ops.std(images, axis=(1, 2, 3), keepdims=True)
    evened = mean + (images - mean) * ops.minimum(whole / (deviation + TINY), limit)
    return images + draw.each(share) * (evened - images)


def _local_mean(images: Any, window: int) -> Any:
    down = ops.average_pool(images, (window, 1), strides=1, padding="same", data_format="channels_last")
    return ops.average_pool(down, (1, window), strides=1, padding="same", data_format="channels_last")
