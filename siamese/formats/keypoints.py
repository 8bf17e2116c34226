"""Joins key points to a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from siamese.errors import ManifestError
from siamese.formats.matching import check_some_found, find_rows, told_unmatched
from siamese.formats.sloth import point_names, points_text, read_drawings
from siamese.formats.tables import counted, photo_column, point_text, read_labels, with_values
from siamese.manifest import Manifest


def join_keypoints(manifest: Manifest, path: Path) -> tuple[Manifest, tuple[str, ...]]:
    """Gives photos their key points, in one order for all; a photo without a complete set gets none.

    Args:
        manifest: the photos. Not changed.
        path: a CSV or Sloth's JSON.

    Raises:
        ManifestError: the file holds no points, or names no photo of the manifest.
    """
    if path.suffix.lower() == ".json":
        drawings = read_drawings(path)
        order = point_names(drawings)
        points = {drawing.filename: points_text(drawing, order) for drawing in drawings}
    else:
        order, points = _points_of_csv(path)
    if not order:
        raise ManifestError(f"{path}: the file must hold points. Received: none. Give a file of key points.")
    return set_keypoints(manifest, path, order, points)


def set_keypoints(
    manifest: Manifest, path: Path, order: Sequence[str], points: Mapping[str, str]
) -> tuple[Manifest, tuple[str, ...]]:
    """Sets the column `keypoints` from text by photo name; "" is an incomplete set.

    Args:
        manifest: the photos. Not changed.
        path: the file the points are from.
        order: names of the points.
        points: text "x y;x y" for each photo name.

    Raises:
        ManifestError: no photo is named.
    """
    rows = find_rows(manifest, list(points))
    check_some_found(path, list(points), rows)
    complete = [(at[0], text) for at, text in zip(rows, points.values(), strict=True) if len(at) == 1 and text]
    partial = sum(not text for text in points.values())
    note = (
        f"{path.name}: key points {', '.join(order)} joined to {counted(len(complete), 'photo')}"
        + told_unmatched(path, list(points), rows)
        + f"; {counted(partial, 'photo')} without a complete set got none" * bool(partial)
        + "."
    )
    return with_values(manifest, "keypoints", complete), (note,)


def point_columns(headings: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of points that have both a column `<name>_x` and `<name>_y`, in the order of the columns.

    Example:
    >>> point_columns(["filename", "1_x", "1_y", "tip_x", "tip_y", "sex_x"])
    ('1', 'tip')
    """
    return tuple(name[:-2] for name in headings if name.endswith("_x") and f"{name[:-2]}_y" in headings)


def _points_of_csv(path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    table = read_labels(path, ())
    order = point_columns(list(table.columns))
    numbers = table[[f"{name}_{axis}" for name in order for axis in "xy"]].apply(pd.to_numeric, errors="coerce")
    places = numbers.to_numpy(dtype=float).reshape(len(table), -1, 2)
    texts = ["" if pd.isna(photo).any() else ";".join(point_text(x, y) for x, y in photo) for photo in places]
    return order, dict(zip(table[photo_column(path, table)], texts, strict=True))
