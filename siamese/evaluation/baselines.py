"""What plain answers reach, so that a model's numbers can be judged."""

from __future__ import annotations

import numpy as np

from siamese.errors import SiameseError
from siamese.evaluation.evaluate import Evaluation

BLOCK_IMAGES = 512  # images that are floats at once, on each side: 16 MB at 64 x 128 pixels
GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow's mode L


def pixel_scores(query_images: np.ndarray, catalog_images: np.ndarray) -> np.ndarray:
    """Compares photos pixel by pixel: the correlation of their grey values, -1 to 1; 0 for a photo of one colour.

    Args:
        query_images: `(num_queries, height, width, channels)` uint8, or anything that is sliced like it. Not changed.
        catalog_images: `(num_catalog, height, width, channels)` uint8 of the same size. Not changed.

    Returns:
        `(num_queries, num_catalog)` float32.

    Raises:
        SiameseError: the images are not of one size.

    Example:
    >>> dark_left = np.array([[[[0], [255]]]], dtype=np.uint8)
    >>> pixel_scores(dark_left, np.concatenate([dark_left, 255 - dark_left])).round(3)
    array([[ 1., -1.]], dtype=float32)
    """
    shapes = np.shape(query_images), np.shape(catalog_images)
    if len(shapes[0]) != 4 or shapes[0][1:] != shapes[1][1:]:
        raise SiameseError(
            "`query_images` and `catalog_images` must be of one size, (number, height, width, channels). "
            f"Received: shapes {shapes[0]} and {shapes[1]}. Read both from the same image store."
        )
    scores = np.empty((shapes[0][0], shapes[1][0]), dtype=np.float32)
    for left in range(0, len(scores), BLOCK_IMAGES):
        queries = _standardised(query_images[left : left + BLOCK_IMAGES])
        for right in range(0, scores.shape[1], BLOCK_IMAGES):
            catalog = _standardised(catalog_images[right : right + BLOCK_IMAGES])
            scores[left : left + BLOCK_IMAGES, right : right + BLOCK_IMAGES] = queries @ catalog.T
    return scores


def chance_map5(num_identities: int, top_k: int = 5) -> float:
    """Returns the exact MAP@k of a random order of the catalog's identities and the new individual.

    The right answer stands at each of the `num_identities + 1` places equally often, be it known or new.

    Example:
    >>> round(chance_map5(num_identities=1), 3), round(chance_map5(num_identities=99), 4)
    (0.75, 0.0228)
    """
    if num_identities < 0:
        raise SiameseError(
            f"`num_identities` must not be negative. Received: {num_identities}. Count the catalog's names."
        )
    places = num_identities + 1
    return float(np.sum(1 / np.arange(1, min(top_k, places) + 1)) / places)


def plain_baselines(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Returns MAP@5 of answers that look at no photo: `chance`, and `always_new` for every query."""
    counts = evaluation.metrics
    candidates = evaluation.num_candidates[evaluation.counted]
    chance = float(np.mean([chance_map5(int(count)) for count in candidates])) if len(candidates) else float("nan")
    queries = counts["num_queries"]
    return {
        "chance": {"map5": chance, "map5_known": chance},
        "always_new": {
            "map5": counts["num_new"] / queries if queries else float("nan"),
            "map5_known": 0.0 if counts["num_known"] else float("nan"),
        },
    }


def _standardised(images: np.ndarray) -> np.ndarray:
    """Returns `(n, height * width)` float32 grey values of mean 0 and length 1; zeros for an image of one colour."""
    pixels = np.asarray(images, dtype=np.float32)
    grey = pixels @ GREY if pixels.shape[-1] == 3 else pixels.mean(axis=-1)
    rows = grey.reshape(len(grey), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-3 * np.sqrt(rows.shape[1]))
