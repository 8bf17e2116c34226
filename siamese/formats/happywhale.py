"""The Happywhale challenge of 2022: image, species, individual_id."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from siamese.formats.base import Format
from siamese.formats.lists import lists_beside
from siamese.formats.tables import labels_of, photo_root, read_labels, told_by_headings, told_unknown
from siamese.manifest import Manifest, from_table

COLUMNS = ("image", "species", "individual_id")
NEW_INDIVIDUAL = "new_individual"


def recognise(source: Path) -> str | None:
    """Takes a CSV with the columns image, species and individual_id."""
    return told_by_headings(source, COLUMNS)


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads the labels; the image id is the file name, as submissions want it.

    Raises:
        ManifestError: a column or a photo is missing.
    """
    labels = labels_of(source)
    table = read_labels(labels, COLUMNS)
    unknown = table["individual_id"] == NEW_INDIVIDUAL
    named = pd.DataFrame(
        {
            "image_id": table["image"],
            "path": table["image"],
            "identity": table["individual_id"].mask(unknown, ""),
            "species": table["species"],
        }
    )
    root = photo_root(labels, photos, table["image"])
    manifest = from_table(named, root, check_files=check_files, source=str(labels))
    return manifest, told_unknown(int(unknown.sum()), NEW_INDIVIDUAL)


FORMAT = Format("happywhale", recognise, read, beside=lambda source: lists_beside(labels_of(source).parent))
