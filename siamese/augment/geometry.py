"""Where images move: one map an image, composed of all parts of the geometry, for pixels, points and boxes alike.

Places are `(x, y)` in pixels; whole numbers are centres of pixels, so an image reaches from -0.5 to its width - 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from keras import ops

from siamese.augment.draws import Draw
from siamese.settings import AugmentationSettings
from siamese.settings.augmentation import Motion

# How the corners of a box or an image move inward: top left, top right, bottom right, bottom left.
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype="float32")
# The places of a box whose hull is the moved box: corners, and mid-points, which a bend may push out.
OUTLINE = np.array([[x, y] for y in (0, 0.5, 1) for x in (0, 0.5, 1) if (x, y) != (0.5, 0.5)], dtype="float32")
# Each step shrinks the error by what the settings allow a bend to differ between neighbours, 0.72 for 3 % on 4 x 4.
UNBEND_STEPS = 24


@dataclass(frozen=True)
class Movement:
    """How each image of a batch moved: the place p of the new image shows `matrix (p + bend(p))` of the old one.

    Attributes:
        matrices: `(num_images, 3, 3)` maps of `(x, y, 1)`, affine or perspective.
        bends: `(num_images, grid, grid, 2)` pixels `(x, y)` at the nodes of a grid over the image (rows, columns),
            straight lines between them; None where nothing bends.
        height: of the images, pixels.
        width: of the images, pixels.
    """

    matrices: Any
    bends: Any
    height: int
    width: int


def moves(settings: AugmentationSettings) -> bool:
    """Tells whether any part of the geometry is switched on."""
    limits = (settings.rotation, settings.shear, settings.perspective, *settings.corners, settings.elastic[1])
    flips = (settings.flip, settings.flip_vertical)
    return any((*limits, *flips, *_shifts(settings))) or settings.zoom != (1, 1)


def draw_movement(settings: AugmentationSettings, draw: Draw, height: int, width: int) -> Movement:
    """Draws one map for each image; rotation, shear, zoom and shift are those of Piotte's kernel of 2018.

    Args:
        settings: the ranges.
        draw: gives the random numbers.
        height: of the images, pixels.
        width: of the images, pixels.
    """
    gates = _gates(settings, draw)
    matrices = _composed(settings, draw, gates, height, width)
    if any(settings.corners):
        matrices = ops.matmul(matrices, _corners(settings, draw, gates, height, width))
    return Movement(matrices, _bends(settings, draw, gates, height, width), height, width)


def source_points(points: Any, movement: Movement) -> Any:
    """Tells which places of the old images are seen at places of the new ones.

    Args:
        points: `(num_images, num_points, 2)` places `(x, y)` of the new images, pixels. Not changed.
        movement: how the images moved.

    Returns:
        `(num_images, num_points, 2)` places of the old images; they may lie outside.
    """
    points = ops.convert_to_tensor(points, "float32")
    return _projected(points + _bend(points, movement), movement.matrices)


def move_points(points: Any, movement: Movement) -> Any:
    """Tells where places of the old images are in the new ones, so that key points move with their image.

    Args:
        points: `(num_images, num_points, 2)` places `(x, y)` of the old images, pixels; NaN stays NaN. Not changed.
        movement: how the images moved.

    Returns:
        `(num_images, num_points, 2)` places of the new images; they may lie outside.

    Example: a shift of two pixels to the right
    >>> movement = Movement(np.array([[[1.0, 0, -2], [0, 1, 0], [0, 0, 1]]], "float32"), None, height=8, width=8)
    >>> np.asarray(move_points([[[3.0, 4.0]]], movement)).tolist()
    [[[5.0, 4.0]]]
    """
    bent = _projected(ops.convert_to_tensor(points, "float32"), ops.linalg.inv(movement.matrices))
    if movement.bends is None:
        return bent
    places = bent
    for _ in range(UNBEND_STEPS):
        places = bent - _bend(places, movement)
    return places


def move_boxes(boxes: Any, movement: Movement) -> Any:
    """Tells the upright boxes around what boxes of the old images have become.

    Args:
        boxes: `(num_images, num_boxes, 4)` x, y, width, height in pixels, where x = 0 is the left edge of the image,
            as in a manifest. Not changed.
        movement: how the images moved.

    Returns:
        `(num_images, num_boxes, 4)` hulls of the moved corners and mid-points of the edges; they may lie outside.

    Example: a flip of an image eight pixels wide
    >>> movement = Movement(np.array([[[-1.0, 0, 7], [0, 1, 0], [0, 0, 1]]], "float32"), None, height=8, width=8)
    >>> np.asarray(move_boxes([[[1.0, 2.0, 3.0, 4.0]]], movement)).tolist()
    [[[4.0, 2.0, 3.0, 4.0]]]
    """
    boxes = ops.convert_to_tensor(boxes, "float32")
    outline = boxes[:, :, None, :2] + boxes[:, :, None, 2:] * OUTLINE - 0.5  # to centres of pixels
    moved = move_points(ops.reshape(outline, (-1, boxes.shape[1] * len(OUTLINE), 2)), movement)
    moved = ops.reshape(moved, (-1, boxes.shape[1], len(OUTLINE), 2)) + 0.5
    low, high = ops.min(moved, axis=2), ops.max(moved, axis=2)
    return ops.concatenate([low, high - low], axis=-1)


def source_grid(movement: Movement) -> Any:
    """Returns `(num_images, height, width, 2)`: the place of the old image that each pixel of the new one shows."""
    height, width = movement.height, movement.width
    columns, rows = np.meshgrid(np.arange(width, dtype="float32"), np.arange(height, dtype="float32"))
    places = ops.convert_to_tensor(np.stack([columns, rows], axis=-1))[None]
    if movement.bends is not None:
        nodes = movement.bends.shape[1]
        along_rows = ops.einsum("hi,nijc->nhjc", _tents(ops.arange(height), height, nodes), movement.bends)
        places = places + ops.einsum("wj,nhjc->nhwc", _tents(ops.arange(width), width, nodes), along_rows)
    pixels = ops.reshape(places, (-1, height * width, 2))
    return ops.reshape(_projected(pixels, movement.matrices), (-1, height, width, 2))


def _shifts(settings: AugmentationSettings) -> tuple[float, float]:
    """Largest shift of height and of width, as shares."""
    shift = settings.shift
    return shift if isinstance(shift, tuple) else (shift, shift)


def _gates(settings: AugmentationSettings, draw: Draw) -> dict[str, Any]:
    """For each part of the geometry ones for the images that it moves, and zeros for the others."""
    shares = settings.geometry_probability
    every = draw.share(shares["all"]) if "all" in shares else 1.0
    return {part: every * draw.share(shares[part]) if part in shares else every for part in get_args(Motion)}


def _composed(settings: AugmentationSettings, draw: Draw, gates: dict[str, Any], height: int, width: int) -> Any:
    """Rotation, shear, zoom, flips and perspective around the centre, then the shift: `(num_images, 3, 3)`."""
    angle = draw.uniform(-1, 1) * math.radians(settings.rotation) * gates["rotation"]
    shear = draw.uniform(-1, 1) * math.radians(settings.shear) * gates["shear"]
    zoom_y, zoom_x = (1 / (1 + gates["zoom"] * (zoom - 1)) for zoom in _zooms(settings, draw))
    shift_y, shift_x = (draw.uniform(-shift, shift) * gates["shift"] for shift in _shifts(settings))
    tilt_y, tilt_x = (draw.uniform(-1, 1) * settings.perspective * gates["perspective"] for _ in range(2))
    mirror_x, mirror_y = (_signs(share, draw) for share in (settings.flip, settings.flip_vertical))
    # Rotation and shear act on pixels, so a rotation stays one when height and width differ.
    a, b = mirror_x * zoom_x * ops.cos(angle), -mirror_y * zoom_y * ops.sin(angle + shear)
    c, d = mirror_x * zoom_x * ops.sin(angle), mirror_y * zoom_y * ops.cos(angle + shear)
    g, h = mirror_x * 2 * tilt_x / width, mirror_y * 2 * tilt_y / height
    zero = ops.zeros_like(a)
    central = _matrices([a, b, zero, c, d, zero, g, h, zero + 1])
    return _about_centre(central, shift_x * width, shift_y * height, height, width)


def _about_centre(central: Any, shift_x: Any, shift_y: Any, height: int, width: int) -> Any:
    """Moves the origin of a map from the centre of the image to its first pixel, and shifts by pixels."""
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    one, zero = ops.ones_like(shift_x), ops.zeros_like(shift_x)
    there = _matrices([one, zero, centre_x + shift_x, zero, one, centre_y + shift_y, zero, zero, one])
    back = np.array([[1, 0, -centre_x], [0, 1, -centre_y], [0, 0, 1]], dtype="float32")
    return ops.matmul(there, ops.matmul(central, back))


def _zooms(settings: AugmentationSettings, draw: Draw) -> tuple[Any, Any]:
    first = draw.uniform(*settings.zoom)
    return first, (draw.uniform(*settings.zoom) if settings.zoom_axes == "each" else first)


def _signs(share: float, draw: Draw) -> Any:
    """-1 for this share of the images, which are mirrored, else 1."""
    return 1 - 2 * draw.share(share) if share else 1.0


def _corners(settings: AugmentationSettings, draw: Draw, gates: dict[str, Any], height: int, width: int) -> Any:
    """The perspective map that takes the image's corners to four drawn places (Heckbert 1989, section 2.2.3)."""
    gate = ops.reshape(gates["corners"], (-1, 1, 1))
    inset = draw.uniform(*settings.corners, 4, 2) * gate
    places = CORNERS + inset * (1 - 2 * CORNERS)
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = ((places[:, k, 0], places[:, k, 1]) for k in range(4))
    right_x, right_y, below_x, below_y = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    area = right_x * below_y - below_x * right_y
    g, h = (sum_x * below_y - below_x * sum_y) / area, (right_x * sum_y - sum_x * right_y) / area
    unit = _matrices(
        [x1 - x0 + g * x1, x3 - x0 + h * x3, x0, y1 - y0 + g * y1, y3 - y0 + h * y3, y0, g, h, ops.ones_like(g)]
    )
    sides = np.array([width - 1, height - 1, 1], dtype="float32")
    return unit * (sides[:, None] / sides[None, :])


def _bends(settings: AugmentationSettings, draw: Draw, gates: dict[str, Any], height: int, width: int) -> Any:
    if not settings.elastic[1]:
        return None
    size = draw.each(settings.elastic) * ops.reshape(gates["elastic"], (-1, 1, 1, 1))
    return (
        size * draw.cut_normal(settings.elastic_grid, settings.elastic_grid, 2) * np.array([width, height], "float32")
    )


def _bend(points: Any, movement: Movement) -> Any:
    """Displacement `(num_images, num_points, 2)` at places; beyond the edge it is the edge's."""
    if movement.bends is None:
        return 0.0
    nodes = movement.bends.shape[1]
    columns = _tents(points[..., 0], movement.width, nodes)
    rows = _tents(points[..., 1], movement.height, nodes)
    return ops.einsum("nki,nkj,nijc->nkc", rows, columns, movement.bends)


def _tents(places: Any, side: int, nodes: int) -> Any:
    """Weights `(..., nodes)` of the nodes of a line for places on it, as linear interpolation takes them."""
    steps = ops.clip(ops.cast(places, "float32") / (side - 1), 0, 1) * (nodes - 1)
    return ops.maximum(0.0, 1 - ops.abs(steps[..., None] - ops.arange(nodes, dtype="float32")))


def _projected(points: Any, matrices: Any) -> Any:
    """Applies `(num_images, 3, 3)` maps to `(num_images, num_points, 2)` places; one row of places serves all."""
    x, y = points[..., :1], points[..., 1:]
    column = matrices[:, None]
    moved = x * column[..., 0] + y * column[..., 1] + column[..., 2]
    return moved[..., :2] / moved[..., 2:]


def _matrices(entries: list[Any]) -> Any:
    """Stacks nine numbers of each image, row by row, into `(num_images, 3, 3)`."""
    return ops.reshape(ops.stack(entries, axis=-1), (-1, 3, 3))
