"""Divides a collection so that the result means something: whole units, the same on every machine."""

from siamese.splits.photos import fold_photos, has_split, split_photos, with_split
from siamese.splits.trainable import check_trainable
from siamese.splits.units import codes, connected, read_dates

__all__ = [
    "check_trainable",
    "codes",
    "connected",
    "fold_photos",
    "has_split",
    "read_dates",
    "split_photos",
    "with_split",
]
