"""Occlusion: which part of a photo must not be hidden for the match to hold."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from siamese.errors import SiameseError
from siamese.scoring import Embedder, score_matrix

BOX_SHARE = 0.25  # of the shorter side: small enough to point at a mark, large enough to hide one


@dataclass(frozen=True, eq=False)
class OcclusionMap:
    """How much of a score each place of a photo carries.

    Attributes:
        fall: `(height, width)` float32, mean fall of the score over the boxes that hid a pixel, in score units; below 0
            where hiding the pixel made the photos more alike.
        score: of the photo with nothing hidden.
    """

    fall: np.ndarray
    score: float


def box_places(height: int, width: int, box_share: float = BOX_SHARE) -> tuple[np.ndarray, int]:
    """Returns where boxes stand that cover an image, each half over its neighbours.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        box_share: side of the box as a share of the shorter side of the image, over 0 and at most 1.

    Returns:
        `(num_boxes, 2)` top and left of each box, and the side of a box, pixels.

    Raises:
        SiameseError: the share is out of range.

    Example:
    >>> places, side = box_places(4, 8, 0.5)
    >>> side, len(places), places[-1].tolist()
    (2, 21, [2, 6])
    """
    if not 0 < box_share <= 1:
        raise SiameseError(
            f"`box_share` must be over 0 and at most 1. Received: box_share={box_share}. A quarter is usual."
        )
    side = max(1, round(box_share * min(height, width)))
    step = max(1, side // 2)
    tops, lefts = (np.append(np.arange(0, length - side, step), length - side) for length in (height, width))
    return np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2), side


def occluded(image: np.ndarray, places: np.ndarray, side: int) -> np.ndarray:
    """Hides one box of an image at a time under the image's own mean, so that its light stays the same.

    Args:
        image: `(height, width, channels)` uint8. Not changed.
        places: `(num_boxes, 2)` top and left, pixels.
        side: of the boxes, pixels.

    Returns:
        `(num_boxes, height, width, channels)` uint8.
    """
    images = np.repeat(image[None], len(places), axis=0)
    mean = np.rint(image.mean(axis=(0, 1))).astype(np.uint8)
    for hidden, (top, left) in zip(images, places, strict=True):
        hidden[top : top + side, left : left + side] = mean
    return images


def occlusion_map(
    embedder: Embedder,
    comparator: keras.layers.Layer,
    image: np.ndarray,
    match: np.ndarray,
    *,
    box_share: float = BOX_SHARE,
) -> OcclusionMap:
    """Slides a grey box over a photo and records the fall of its score with a matched photo (Zeiler & Fergus 2014).

    It tells what the model looked at: the animal, or the water behind it.

    Args:
        embedder: of the model's encoder.
        comparator: the model's.
        image: `(height, width, channels)` uint8, as the encoder takes it. Not changed.
        match: `(embed_dim,)` embedding of the matched photo.
        box_share: side of the box as a share of the shorter side of the image.

    Raises:
        SiameseError: the share is out of range.
    """
    places, side = box_places(image.shape[0], image.shape[1], box_share)
    images = np.concatenate([image[None], occluded(image, places, side)])
    embeddings = embedder.embed(lambda index: images[index], len(images))
    scores = score_matrix(comparator, embeddings, match[None])[:, 0]
    return OcclusionMap(_mean_over_boxes(scores[0] - scores[1:], places, side, image.shape[:2]), float(scores[0]))


def _mean_over_boxes(falls: np.ndarray, places: np.ndarray, side: int, shape: tuple[int, ...]) -> np.ndarray:
    total, count = np.zeros(shape), np.zeros(shape)
    for fall, (top, left) in zip(falls, places, strict=True):
        total[top : top + side, left : left + side] += fall
        count[top : top + side, left : left + side] += 1
    return (total / count).astype(np.float32)
