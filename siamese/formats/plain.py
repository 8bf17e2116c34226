"""A CSV of one's own, with headings that say what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from siamese.errors import ManifestError
from siamese.formats import happywhale, humpback, manifest_csv, miewid, oml, right_whale, wildlife_datasets
from siamese.formats.base import Format
from siamese.formats.tables import (
    boxes_with_surface,
    headings,
    labels_of,
    photo_root,
    read_labels,
    told_unknown,
    unique_ids,
)
from siamese.manifest import BOX_COLUMNS, Manifest, from_table

OTHERS = (manifest_csv, humpback, happywhale, right_whale, wildlife_datasets, miewid, oml)
# What headings are taken for, in lower case and without blanks, lines and dots; the first that is there counts.
HEADINGS = {
    "path": (
        "path",
        "filepath",
        "imagepath",
        "filename",
        "file",
        "image",
        "img",
        "photo",
        "picture",
        "imagename",
        "imageid",
        "photoid",
    ),
    "identity": (
        "identity",
        "individualid",
        "individual",
        "animalid",
        "animal",
        "whaleid",
        "whale",
        "label",
        "name",
        "id",
    ),
    "image_id": ("imageid", "photoid"),
    "viewpoint": ("viewpoint", "side", "flank", "orientation"),
    "encounter": ("encounter", "encounterid", "sighting", "sightingid", "seqid", "sequence", "burst"),
    "date": ("date", "datetime", "timestamp"),
    "species": ("species",),
    "x": ("x",),
    "y": ("y",),
    "width": ("width", "w"),
    "height": ("height", "h"),
}
UNKNOWN_NAMES = ("unknown", "new_whale", "new_individual")


def recognise(source: Path) -> str | None:
    """Takes a CSV in which a column names the photo and another the individual, and that no other format takes."""
    taken = matching_columns(headings(source))
    if not {"path", "identity"} <= set(taken) or any(other.recognise(source) for other in OTHERS):
        return None
    return (
        f"{labels_of(source).name} has a column of photos, {taken['path']}, and one of individuals, {taken['identity']}"
    )


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads the table; columns without a meaning here stay as they are.

    Raises:
        ManifestError: a column or a photo is missing.
    """
    labels = labels_of(source)
    table = read_labels(labels, ())
    taken = matching_columns(list(table.columns))
    _check_taken(taken, table, labels)
    meaning = {heading: name for name, heading in taken.items()}
    # Sides of a box that is not complete are the photo's size; what is called like a column that was taken would clash.
    dropped = [heading for heading in table if heading not in meaning and heading in {*taken, *BOX_COLUMNS}]
    table = table.drop(columns=dropped).rename(columns=meaning)
    unknown = table["identity"].str.strip().str.lower().isin(UNKNOWN_NAMES)
    table["identity"] = table["identity"].mask(unknown, "")
    if "image_id" not in table or not table["image_id"].is_unique:
        table["image_id"] = unique_ids(table["path"].tolist())
    if "x" in table:
        table[list(BOX_COLUMNS)] = boxes_with_surface(table)
    root = photo_root(labels, photos, table["path"])
    manifest = from_table(table, root, check_files=check_files, source=str(labels))
    notes = ["Taken: " + ", ".join(f"{heading} as {name}" for name, heading in taken.items()) + "."]
    if dropped:
        notes.append(f"Left out: {', '.join(dropped)}.")
    return manifest, (*notes, *told_unknown(int(unknown.sum()), ", ".join(UNKNOWN_NAMES)))


def matching_columns(found: Sequence[str]) -> dict[str, str]:
    """Returns the heading that is taken for each column of a manifest; boxes only where all four sides are there.

    Example:
    >>> matching_columns(["id", "Photo", "Whale ID", "sex"])
    {'path': 'Photo', 'identity': 'Whale ID'}
    """
    plain = {"".join(letter for letter in heading.lower() if letter.isalnum()): heading for heading in reversed(found)}
    taken = {
        name: heading
        for name, usual in HEADINGS.items()
        if (heading := next((plain[text] for text in usual if text in plain), None)) is not None
    }
    if not set(BOX_COLUMNS) <= set(taken):
        taken = {name: heading for name, heading in taken.items() if name not in BOX_COLUMNS}
    if taken.get("image_id") == taken.get("path"):
        taken.pop("image_id", None)
    return taken


def _check_taken(taken: Mapping[str, str], table: pd.DataFrame, labels: Path) -> None:
    missing = [thing for name, thing in (("path", "photo"), ("identity", "individual")) if name not in taken]
    if missing:
        raise ManifestError(
            f"{labels}: a column must name the photo (image, file, path, ...) and one the individual (identity, "
            f"individual, label, name, ...). Received: {', '.join(table.columns)}. "
            f"Rename the column of the {' and the '.join(missing)}."
        )


FORMAT = Format("plain", recognise, read)
