"""Random changes of whole batches, inside the compiled training step: geometry, light, sharpness, noise."""

from siamese.augment.geometry import Movement, draw_movement, move_boxes, move_points, source_points
from siamese.augment.layer import Augment
from siamese.augment.turns import turn_images
from siamese.augment.warp import warp

__all__ = [
    "Augment",
    "Movement",
    "draw_movement",
    "move_boxes",
    "move_points",
    "source_points",
    "turn_images",
    "warp",
]
