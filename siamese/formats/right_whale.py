"""The right-whale challenge of 2015: Image, whaleID, with heads and points drawn in Sloth beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from siamese.formats.base import Format
from siamese.formats.boxes import join_boxes
from siamese.formats.keypoints import set_keypoints
from siamese.formats.sloth import Drawing, is_sloth, point_names, points_text, read_drawings
from siamese.formats.tables import labels_of, photo_root, read_json, read_labels, told_by_headings
from siamese.manifest import Manifest, from_table

COLUMNS = ("Image", "whaleID")
UNNAMED = "point"  # Thomas 2015 draws the bonnet in one file and the blowhead in another, both called point


def recognise(source: Path) -> str | None:
    """Takes a CSV with the columns Image and whaleID."""
    return told_by_headings(source, COLUMNS)


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads the labels, head boxes and points of the Sloth files beside them.

    Raises:
        ManifestError: a column or a photo is missing, or a Sloth file names none of the photos.
    """
    labels = labels_of(source)
    table = read_labels(labels, COLUMNS)
    named = pd.DataFrame({"image_id": table["Image"], "path": table["Image"], "identity": table["whaleID"]})
    root = photo_root(labels, photos, table["Image"])
    manifest = from_table(named, root, check_files=check_files, source=str(labels))
    files = [file for file in sorted(labels.parent.glob("*.json")) if is_sloth(read_json(file))]
    drawn = {file: read_drawings(file) for file in files}
    notes: tuple[str, ...] = ()
    for file, drawings in drawn.items():
        names = sorted({name for drawing in drawings for name, _ in drawing.boxes})
        if names:
            manifest, told = join_boxes(manifest, file)
            notes += (*told, f"{file.name}: the box is that of {', '.join(names)}.")
    with_points = [file for file, drawings in drawn.items() if any(drawing.points for drawing in drawings)]
    if with_points:
        order, points = gathered_points(with_points, [drawn[file] for file in with_points])
        files_told = labels.parent / ", ".join(file.name for file in with_points)
        manifest, told = set_keypoints(manifest, files_told, order, points)
        notes += told
    return manifest, notes


def gathered_points(
    files: Sequence[Path], drawn: Sequence[Sequence[Drawing]]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Puts the points of several files together, in the order of the files.

    Args:
        files: Sloth files; the name of a file is the name of its points where these have none.
        drawn: what each file holds.

    Returns:
        Names of the points, and for each photo the text "x y;x y", or "" where one is missing.

    Example:
    >>> bonnet, blow = [Drawing("a.jpg", (), (("point", float(x), 2.0),)) for x in (1, 5)]
    >>> gathered_points([Path("bonnet.json"), Path("blowhead.json")], [[bonnet], [blow]])
    (('bonnet', 'blowhead'), {'a.jpg': '1 2;5 2'})
    """
    together: dict[str, Drawing] = {}
    for file, drawings in zip(files, drawn, strict=True):
        for drawing in drawings:
            points = tuple((file.stem if name == UNNAMED else name, x, y) for name, x, y in drawing.points)
            photo = Path(drawing.filename).name
            before = together.get(photo, Drawing(photo, (), ()))
            together[photo] = Drawing(photo, (), before.points + points)
    order = point_names(list(together.values()))
    return order, {name: points_text(drawing, order) for name, drawing in together.items()}


FORMAT = Format("right_whale", recognise, read)
