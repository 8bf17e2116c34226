"""The table of MiewID and Wildbook: name, viewpoint, species, file_path, x, y, w, h, theta."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from siamese.formats.base import Format
from siamese.formats.tables import (
    boxes_with_surface,
    counted,
    labels_of,
    photo_root,
    read_labels,
    told_by_headings,
    unique_ids,
)
from siamese.manifest import BOX_COLUMNS, Manifest, from_table

SIDES = ("x", "y", "w", "h")
COLUMNS = ("name", "file_path", *SIDES, "theta")
UNKNOWN_NAMES = ("unknown", "____")  # the second is Wildbook's
LEAST_TURN = 0.1  # radians; MiewID cuts out boxes below it as they are


def recognise(source: Path) -> str | None:
    """Takes a CSV with the columns name, file_path, x, y, w, h and theta."""
    return told_by_headings(source, COLUMNS)


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads the table; a box that is turned by theta becomes the upright box around it, theta stays a column.

    Raises:
        ManifestError: a column or a photo is missing.
    """
    labels = labels_of(source)
    table = read_labels(labels, COLUMNS)
    theta = pd.to_numeric(table["theta"], errors="coerce").fillna(0).to_numpy()
    turned = np.abs(theta) >= LEAST_TURN
    boxes = boxes_with_surface(table[list(SIDES)].set_axis(list(BOX_COLUMNS), axis=1))
    rest = table.drop(columns=["name", "file_path", *SIDES])
    named = rest.assign(
        image_id=unique_ids(table["file_path"].tolist()),
        path=table["file_path"],
        identity=table["name"].mask(table["name"].isin(UNKNOWN_NAMES), ""),
        **dict(zip(BOX_COLUMNS, upright_around(boxes.to_numpy(), np.where(turned, theta, 0)).T, strict=True)),
    )
    root = photo_root(labels, photos, table["file_path"])
    manifest = from_table(named, root, check_files=check_files, source=str(labels))
    note = f"{counted(int(turned.sum()), 'box')} turned by theta became the upright box around it."
    return manifest, (note,) if turned.any() else ()


def upright_around(boxes: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Returns the least upright boxes around boxes that are turned about their middle.

    Args:
        boxes: `(num_boxes, 4)` x, y, width, height in pixels. Not changed.
        theta: `(num_boxes,)` radians; the direction does not matter.

    Returns:
        `(num_boxes, 4)` x, y, width, height.

    Example:
    >>> upright_around(np.array([[10.0, 20.0, 40.0, 20.0]]), np.array([np.pi / 2])).round(9)
    array([[20., 10., 20., 40.]])
    """
    sides = boxes[:, 2:]
    cosine, sine = np.abs(np.cos(theta))[:, None], np.abs(np.sin(theta))[:, None]
    turned = sides * cosine + sides[:, ::-1] * sine
    upright = np.hstack([boxes[:, :2] + (sides - turned) / 2, turned])
    return np.where(theta[:, None] == 0, boxes, upright)


FORMAT = Format("miewid", recognise, read)
