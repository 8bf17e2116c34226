"""The humpback challenge of 2018 and 2019: Image, Id, with lists of boxes, points and photos beside them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from siamese.errors import ManifestError
from siamese.formats.base import Format
from siamese.formats.duplicate_names import HEADINGS as DUPLICATE_HEADINGS
from siamese.formats.lists import lists_beside
from siamese.formats.tables import (
    CORNERS,
    boxes_from_corners,
    csv_headings,
    headings,
    labels_of,
    photo_root,
    read_labels,
    told_unknown,
)
from siamese.manifest import BOX_COLUMNS, Manifest, from_table

COLUMNS = ("Image", "Id")
NEW_WHALE = "new_whale"


def recognise(source: Path) -> str | None:
    """Takes a CSV with the columns Image and Id."""
    return f"{labels_of(source).name} has the columns Image and Id" if set(COLUMNS) <= set(headings(source)) else None


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads the labels, and boxes that stand in the same file; the image id is the file name, as submissions want it.

    Raises:
        ManifestError: a column or a photo is missing, or the file is a submission.
    """
    labels = labels_of(source)
    table = read_labels(labels, COLUMNS)
    _check_not_submission(table, labels)
    unknown = table["Id"] == NEW_WHALE
    named = pd.DataFrame(
        {"image_id": table["Image"], "path": table["Image"], "identity": table["Id"].mask(unknown, "")}
    )
    if set(CORNERS) <= set(table):
        named[list(BOX_COLUMNS)] = boxes_from_corners(*(table[corner] for corner in CORNERS))
    root = photo_root(labels, photos, table["Image"])
    manifest = from_table(named, root, check_files=check_files, source=str(labels))
    return manifest, (*told_unknown(int(unknown.sum()), NEW_WHALE), *_told_duplicates(labels.parent))


def _check_not_submission(table: pd.DataFrame, labels: Path) -> None:
    several = table.index[table["Id"].str.strip().str.contains(" ")]
    if len(several):
        raise ManifestError(
            f"{labels}, row {several[0]}: Id must be one individual. Received: {table.at[several[0], 'Id']!r}, as in a "
            "submission. Give the file of the labels, train.csv."
        )


def _told_duplicates(folder: Path) -> list[str]:
    """Tells of a list that would merge individuals, which is never done unasked."""
    return [
        f"{file.name} lists several names of one animal; only --duplicate-identities merges them."
        for file in sorted(folder.glob("*.csv"))
        if set(DUPLICATE_HEADINGS) <= set(csv_headings(file))
    ]


FORMAT = Format("humpback", recognise, read, beside=lambda source: lists_beside(labels_of(source).parent))
