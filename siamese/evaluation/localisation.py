"""How well boxes and landmarks are found: intersection over union, and distances against the size of the animal."""

from __future__ import annotations

import numpy as np

from siamese.errors import SiameseError


def box_iou(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Returns `(n,)` intersection over union of each box with the one found for it (Jaccard 1912).

    Args:
        y_true: `(n, 4)` right boxes, the columns `x, y, width, height` of a manifest, in pixels. Not changed.
        y_pred: `(n, 4)` boxes found, in the same order. Not changed.

    Returns:
        0 where they do not meet to 1 where they are the same; nan where a box is not known (nan).

    Raises:
        SiameseError: the shapes differ, or a width or height is not above 0.

    Example:
    >>> box_iou([[0, 0, 2, 2], [0, 0, 2, 2]], [[1, 1, 2, 2], [0, 0, 2, 2]]).round(3)
    array([0.143, 1.   ])
    """
    right, found = (_checked_boxes(name, boxes) for name, boxes in (("y_true", y_true), ("y_pred", y_pred)))
    if len(right) != len(found):
        raise SiameseError(
            "`y_true` and `y_pred` must hold one box each for the same photos. "
            f"Received: {len(right)} and {len(found)}. Give a row of nan where no box was found."
        )
    start = np.maximum(right[:, :2], found[:, :2])
    end = np.minimum(right[:, :2] + right[:, 2:], found[:, :2] + found[:, 2:])
    shared = np.prod(np.maximum(end - start, 0.0), axis=1)
    return shared / (np.prod(right[:, 2:], axis=1) + np.prod(found[:, 2:], axis=1) - shared)


def landmark_distances(y_true: np.ndarray, y_pred: np.ndarray, size: np.ndarray | None = None) -> np.ndarray:
    """Returns `(n, num_landmarks)` distance of each landmark from where it was found.

    Args:
        y_true: `(n, num_landmarks, 2)` right places as x, y in pixels; nan is not marked. Not changed.
        y_pred: `(n, num_landmarks, 2)` places found, in the same order; nan is not found. Not changed.
        size: `(n,)` pixels that distances are divided by, such as `box_diagonals`, so that photos taken near and far
            count alike; none leaves pixels.

    Returns:
        Distances, nan where a landmark is not marked or not found.

    Raises:
        SiameseError: the shapes differ, or a size is not above 0.

    Example:
    >>> landmark_distances([[[0, 0], [9, 9]]], [[[3, 4], [9, 9]]], size=[10.0])
    array([[0.5, 0. ]])
    """
    right, found = (np.asarray(places, dtype=np.float64) for places in (y_true, y_pred))
    if right.shape != found.shape or right.ndim != 3 or right.shape[2] != 2:
        raise SiameseError(
            "`y_true` and `y_pred` must be of one shape, (number, num_landmarks, 2). "
            f"Received: shapes {right.shape} and {found.shape}. Give nan for a landmark that is not there."
        )
    distances = np.hypot(*np.moveaxis(right - found, -1, 0))
    if size is None:
        return distances
    size = np.asarray(size, dtype=np.float64)
    if size.shape != distances.shape[:1] or not (size > 0).all():
        raise SiameseError(
            f"`size` must hold a number above 0 for each photo, shape ({len(distances)},). "
            f"Received: shape {size.shape}, least {size.min(initial=np.inf):g}. Pass `box_diagonals(boxes)`."
        )
    return distances / size[:, None]


def box_diagonals(boxes: np.ndarray) -> np.ndarray:
    """Returns `(n,)` length of each box's diagonal, in pixels.

    Args:
        boxes: `(n, 4)` as `x, y, width, height`.

    Raises:
        SiameseError: another shape, or a width or height is not above 0.

    Example:
    >>> box_diagonals([[10, 10, 3, 4]])
    array([5.])
    """
    return np.hypot(*_checked_boxes("boxes", boxes)[:, 2:].T)


def share_within(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Returns `(num_limits,)` share of the values at or under each limit, such as distances or 1 - IoU.

    Nan, such as a landmark that was not found, is under no limit but counts. Leave out what is not marked.

    Args:
        values: floats of any shape. Not changed.
        limits: `(num_limits,)` floats.

    Returns:
        The shares, nan of no value at all.

    Example:
    >>> share_within([0.02, 0.2, np.nan, 0.05], [0.05, 0.5]).tolist()
    [0.5, 0.75]
    """
    values, limits = np.asarray(values, dtype=np.float64).ravel(), np.asarray(limits, dtype=np.float64)
    if not len(values):
        return np.full(limits.shape, np.nan)
    return np.mean(values[:, None] <= limits, axis=0)


def _checked_boxes(name: str, boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or (boxes[:, 2:] <= 0).any():
        raise SiameseError(
            f"`{name}` must be boxes (x, y, width, height) of a width and height above 0, shape (number, 4). "
            f"Received: shape {boxes.shape}{_first_flat(boxes)}. Pass nan where there is no box."
        )
    return boxes


def _first_flat(boxes: np.ndarray) -> str:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        return ""
    row = int(np.argmax((boxes[:, 2:] <= 0).any(axis=1)))
    return f", row {row} is {boxes[row].tolist()}"
