"""What the formats share: label files, their headings, where the photos lie, names that stay unique."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from siamese.errors import ManifestError
from siamese.manifest import BOX_COLUMNS, Manifest

# Label files of a folder, by what the collections call them; a manifest counts more than what it was made from.
MANIFEST_NAME = "manifest.csv"
PHOTO_HEADINGS = ("image_id", "image", "filename", "file_name", "file", "path", "photo")  # of lists
CORNERS = ("x0", "y0", "x1", "y1")
LABEL_NAMES = ("train.csv", "metadata.csv", "labels.csv", "annotations.json")


def read_labels(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Reads a table of labels as text; its index counts rows as a spreadsheet does, the header being row 1.

    Args:
        path: a CSV in UTF-8.
        needed: columns that must be there.

    Raises:
        ManifestError: the file cannot be read, or a column is missing.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # pandas' errors of form are ValueErrors
        raise ManifestError(f"{path}: the labels must be a CSV in UTF-8. Received: {error}.") from error
    missing = [name for name in needed if name not in table]
    if missing:
        raise ManifestError(
            f"{path}: the columns {', '.join(needed)} must be there. Received: {', '.join(table.columns)}. "
            f"Add {', '.join(missing)}, or give the file that holds them."
        )
    return table.set_axis(range(2, len(table) + 2))


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        ManifestError: the file cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: the file must be JSON in UTF-8. Received: {error}.") from error


def label_file(source: Path) -> Path | None:
    """Returns the file that holds the labels: `source` itself, or what a folder holds under a usual name.

    Raises:
        ManifestError: a folder holds several of them.
    """
    if source.is_file():
        return source
    if (source / MANIFEST_NAME).is_file():
        return source / MANIFEST_NAME
    found = [source / name for name in LABEL_NAMES if (source / name).is_file()]
    if len(found) > 1:
        raise ManifestError(
            f"{source}: a folder must hold one file of labels. Received: {', '.join(file.name for file in found)}. "
            f"Give the one that counts, for instance {found[0]}."
        )
    return found[0] if found else None


def headings(source: Path) -> tuple[str, ...]:
    """Returns the column names of the labels at `source`; none if these are not a CSV."""
    file = label_file(source)
    return () if file is None else csv_headings(file)


def told_by_headings(source: Path, columns: Sequence[str]) -> str | None:
    """Says by which columns a collection is recognised; none where its labels lack one of them."""
    return (
        f"{labels_of(source).name} has the columns {', '.join(columns)}"
        if set(columns) <= set(headings(source))
        else None
    )


def csv_headings(file: Path) -> tuple[str, ...]:
    """Returns the first row of a CSV; nothing if the file is not one."""
    if file.suffix.lower() != ".csv":
        return ()
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return tuple(next(csv.reader(lines), ()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def labels_of(source: Path) -> Path:
    """Returns the file that holds the labels.

    Raises:
        ManifestError: the folder holds none.
    """
    file = label_file(source)
    if file is None:
        raise ManifestError(
            f"{source}: the folder must hold a file of labels ({', '.join((MANIFEST_NAME, *LABEL_NAMES))}). "
            "Received: none of them. Give the file itself."
        )
    return file


def photo_root(labels: Path, photos: Path | None, paths: Iterable[str]) -> Path:
    """Finds the folder that the paths of a label file start from.

    Args:
        labels: the label file.
        photos: the folder, where the user gave it; it is taken as it is.
        paths: of the photos; the first one decides.

    Returns:
        `photos`, else the label file's folder or the first folder in it that holds the first photo.
    """
    if photos is not None:
        return photos
    folder, first = labels.parent, next(iter(paths), "")
    inside = sorted(place for place in folder.iterdir() if place.is_dir())
    return next((place for place in (folder, *inside) if first and os.path.isfile(place / first)), folder)


def photo_column(path: Path, table: pd.DataFrame) -> str:
    """Returns the column of a list that names the photos.

    Raises:
        ManifestError: there is none.
    """
    found = [name for usual in PHOTO_HEADINGS for name in table if str(name).lower() == usual]
    if not found:
        raise ManifestError(
            f"{path}: a column must name the photos ({', '.join(PHOTO_HEADINGS)}). "
            f"Received: {', '.join(table.columns)}. Rename the column."
        )
    return found[0]


def with_values(manifest: Manifest, name: str, values: Iterable[tuple[int, str]]) -> Manifest:
    """Returns the manifest with the text of some rows of a column set; the other rows keep theirs."""
    column = manifest.column(name).copy()
    for row, value in values:
        column[row] = value
    return manifest.with_column(name, column)


def unique_ids(names: Sequence[str]) -> list[str]:
    """Makes names unique: one that stands several times gets #1, #2, ...; the others stay.

    Example:
    >>> unique_ids(["a.jpg", "b.jpg", "a.jpg"])
    ['a.jpg#1', 'b.jpg', 'a.jpg#2']
    """
    counts, seen = Counter(names), Counter[str]()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if counts[name] == 1 else f"{name}#{seen[name]}")
    return result


def boxes_with_surface(boxes: pd.DataFrame) -> pd.DataFrame:
    """Turns the text or numbers of x, y, width, height into floats; a box without a surface becomes NaN.

    Args:
        boxes: columns x, y, width, height. Not changed.
    """
    numbers = boxes[list(BOX_COLUMNS)].apply(pd.to_numeric, errors="coerce").astype(float)
    return numbers.where((numbers["width"] > 0) & (numbers["height"] > 0))


def boxes_from_corners(left: pd.Series, top: pd.Series, right: pd.Series, bottom: pd.Series) -> pd.DataFrame:
    """Turns the corners of boxes, text or numbers, into x, y, width, height; a box without a surface becomes NaN."""
    x0, y0, x1, y1 = (pd.to_numeric(side, errors="coerce") for side in (left, top, right, bottom))
    return boxes_with_surface(pd.DataFrame(dict(zip(BOX_COLUMNS, (x0, y0, x1 - x0, y1 - y0), strict=True))))


def point_text(x: float, y: float) -> str:
    """Returns a point as the column `keypoints` wants it.

    Example:
    >>> point_text(253.0, 236.25)
    '253 236.25'
    """
    return " ".join(str(int(value)) if float(value).is_integer() else str(float(value)) for value in (x, y))


def text_of(value: Any) -> str:
    """Returns the text of a value of a JSON file; nothing is ""."""
    return "" if value is None else str(value)


def told_unknown(number: int, called: str) -> tuple[str, ...]:
    """Returns a sentence that counts photos of unknown individuals; none without any.

    Example:
    >>> told_unknown(9664, "new_whale")
    ('Individual unknown (new_whale): 9,664 photos.',)
    """
    return (f"Individual unknown ({called}): {counted(number, 'photo')}.",) if number else ()


def counted(number: int, thing: str) -> str:
    """Returns a number with its noun.

    Example:
    >>> counted(1, "photo"), counted(25361, "photo")
    ('1 photo', '25,361 photos')
    """
    ending = "" if number == 1 else "es" if thing.endswith("x") else "s"
    return f"{number:,} {thing}{ending}"
