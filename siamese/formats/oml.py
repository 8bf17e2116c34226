"""The table of open-metric-learning: label, path, split, is_query, is_gallery, category, a box by its corners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from siamese.formats.base import Format
from siamese.formats.tables import (
    boxes_from_corners,
    counted,
    labels_of,
    photo_root,
    read_labels,
    told_by_headings,
    unique_ids,
)
from siamese.manifest import BOX_COLUMNS, Manifest, from_table

COLUMNS = ("label", "path", "split", "is_query", "is_gallery")
CORNERS = ("x_1", "y_1", "x_2", "y_2")
TRUE = ("true", "1", "1.0")


def recognise(source: Path) -> str | None:
    """Takes a CSV with the columns label, path, split, is_query and is_gallery."""
    return told_by_headings(source, COLUMNS)


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads the table; validation photos are `test` where they are queries, else `catalog`.

    Raises:
        ManifestError: a column or a photo is missing.
    """
    labels = labels_of(source)
    table = read_labels(labels, COLUMNS)
    query, gallery = (table[name].str.lower().isin(TRUE) for name in ("is_query", "is_gallery"))
    training = table["split"] == "train"
    rest = table.drop(columns=[*COLUMNS, *(name for name in CORNERS if name in table)])
    named = rest.assign(
        image_id=unique_ids(table["path"].tolist()),
        path=table["path"],
        identity=table["label"],
        split=np.select([training, query, gallery], ["train", "test", "catalog"], ""),
    )
    if set(CORNERS) <= set(table):
        named[list(BOX_COLUMNS)] = boxes_from_corners(*(table[corner] for corner in CORNERS))
    root = photo_root(labels, photos, table["path"])
    return from_table(named, root, check_files=check_files, source=str(labels)), _notes(training, query, gallery)


def _notes(training: pd.Series, query: pd.Series, gallery: pd.Series) -> tuple[str, ...]:
    notes = [
        f"{counted(int((query & ~training).sum()), 'query photo')} became the test, "
        f"{counted(int((gallery & ~query & ~training).sum()), 'photo')} of the gallery alone the catalog."
    ]
    if (query & gallery & ~training).any():
        notes.append("Some test photos also stand in the gallery: evaluate with evaluation.catalog=leave_one_out.")
    return tuple(notes)


FORMAT = Format("oml", recognise, read)
