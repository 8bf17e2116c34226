"""Changes that hide or disturb: noise, erased boxes, another photo shining through, a dropped mask."""

from __future__ import annotations

from typing import Any

from keras import ops

from siamese.augment.draws import Draw, Range


def noise(images: Any, draw: Draw, *, size: Range, per_channel: float) -> Any:
    """Adds a normal number to each pixel; its channels share it but where `per_channel` says otherwise."""
    return images + 255 * draw.each(size) * _grain(images, draw, per_channel)


def speckle(images: Any, draw: Draw, *, size: Range, per_channel: float) -> Any:
    """Multiplies each pixel by one and a normal number."""
    return images * (1 + draw.each(size) * _grain(images, draw, per_channel))


def erase(images: Any, draw: Draw, *, size: Range, paint: str) -> Any:
    """Paints one box of each image with the image's mean, or black; it may reach over the edge."""
    inside = 1.0
    for axis in (1, 2):
        shape = [-1 if axis == place else 1 for place in range(4)]
        places = ops.reshape(ops.arange(images.shape[axis], dtype="float32") / images.shape[axis], shape)
        half, middle = draw.each(size) / 2, draw.each((0, 1))
        inside = inside * ops.cast(ops.abs(places - middle) < half, "float32")
    paper = ops.mean(images, axis=(1, 2, 3), keepdims=True) if paint == "mean" else 0.0
    return images + inside * (paper - images)


def mixup(images: Any, draw: Draw, *, share: Range) -> Any:
    """Lets the next of these images shine through each one.

    The mixup of Zhang et al. 2018 without its mixed targets: the share stays under one half, so an image still shows
    the animal it is named after.
    """
    return images + draw.each(share) * (ops.roll(images, 1, axis=0) - images)


def drop_mask(mask: Any, draw: Draw) -> Any:
    """Zeroes the masks, so that the model learns to do without (Qiao et al.)."""
    return ops.zeros_like(mask)


def _grain(images: Any, draw: Draw, per_channel: float) -> Any:
    """Normal numbers, one for each pixel, or in this share of the images one for each of its channels."""
    height, width, channels = images.shape[1:]
    if channels == 1 or per_channel == 1:
        return draw.normal(height, width, channels)
    shared = draw.normal(height, width, 1)
    if not per_channel:
        return shared
    return shared + draw.share(per_channel, 1, 1, 1) * (draw.normal(height, width, channels) - shared)
