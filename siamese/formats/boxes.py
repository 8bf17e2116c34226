"""Joins boxes to a manifest, from whichever file they stand in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from siamese.errors import ManifestError
from siamese.formats.matching import check_some_found, find_rows, told_unmatched
from siamese.formats.megadetector import is_megadetector, join_detections
from siamese.formats.sloth import read_drawings
from siamese.formats.tables import (
    CORNERS,
    boxes_from_corners,
    boxes_with_surface,
    counted,
    photo_column,
    read_json,
    read_labels,
)
from siamese.manifest import BOX_COLUMNS, Manifest


def join_boxes(manifest: Manifest, path: Path) -> tuple[Manifest, tuple[str, ...]]:
    """Gives photos the boxes of a list; a box of a hand-made list takes the place of an earlier one.

    Args:
        manifest: the photos. Not changed.
        path: a CSV, MegaDetector's JSON (see `join_detections`), or Sloth's JSON with one rectangle for each photo.

    Raises:
        ManifestError: the file holds no boxes, or names no photo of the manifest.
    """
    if path.suffix.lower() != ".json":
        names, boxes = _boxes_of_csv(path)
    elif is_megadetector(read_json(path)):
        return join_detections(manifest, path)
    else:
        names, boxes = _boxes_of_drawings(path)
    rows = find_rows(manifest, names)
    check_some_found(path, names, rows)
    joined = manifest.boxes.copy()
    surface = ~np.isnan(boxes).any(axis=1)
    single = np.array([len(at) == 1 for at in rows])  # a photo with several animals: whose box would it be?
    again = pd.Series([at[0] if at else -1 for at in rows])[single & surface].duplicated()
    for number in again.index[~again]:
        joined[rows[number][0]] = boxes[number]
    note = (
        f"{path.name}: {counted(int((~again).sum()), 'box')} joined"
        + told_unmatched(path, names, rows)
        + _told(int((single & ~surface).sum()), "photo", "without a box")
        + _told(int(again.sum()), "box", "of photos that had one from this list: the first counts")
        + _told(sum(len(at) > 1 for at in rows), "photo", "with several animals passed over")
        + "."
    )
    for name, values in zip(BOX_COLUMNS, joined.T, strict=True):
        manifest = manifest.with_column(name, values)
    return manifest, (note,)


def _told(number: int, thing: str, what: str) -> str:
    return f"; {counted(number, thing)} {what}" if number else ""


def _boxes_of_csv(path: Path) -> tuple[list[str], np.ndarray]:
    table = read_labels(path, ())
    if set(CORNERS) <= set(table):
        boxes = boxes_from_corners(*(table[name] for name in CORNERS))
    elif set(BOX_COLUMNS) <= set(table):
        boxes = boxes_with_surface(table)
    else:
        raise ManifestError(
            f"{path}: boxes need the columns {', '.join(CORNERS)} or {', '.join(BOX_COLUMNS)}. "
            f"Received: {', '.join(table.columns)}. Rename the columns, or give the file of the boxes."
        )
    return table[photo_column(path, table)].tolist(), boxes.to_numpy()


def _boxes_of_drawings(path: Path) -> tuple[list[str], np.ndarray]:
    drawings = read_drawings(path)
    boxes = [drawing.boxes[0][1] if len(drawing.boxes) == 1 else (np.nan,) * 4 for drawing in drawings]
    table = pd.DataFrame(boxes, columns=list(BOX_COLUMNS))
    return [drawing.filename for drawing in drawings], boxes_with_surface(table).to_numpy()
