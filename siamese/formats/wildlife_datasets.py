"""The table of the wildlife-datasets package: image_id, identity, path, bbox, date, orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from siamese.errors import ManifestError
from siamese.files import write_atomically
from siamese.formats.base import Format
from siamese.formats.tables import (
    boxes_with_surface,
    headings,
    labels_of,
    photo_root,
    read_labels,
    told_unknown,
)
from siamese.manifest import BOX_COLUMNS, Manifest, from_table

UNKNOWN = "unknown"
INDEX_HEADINGS = ("", "Unnamed: 0")  # pandas numbers the rows in a column without a name
OWN_HEADINGS = {"bbox", "orientation", "position", "segmentation"}
MANIFEST_HEADINGS = {*BOX_COLUMNS, "viewpoint", "encounter", "rotation", "use"}
SIDES = {"val": "validation", "database": "catalog", "query": "test"}  # AnimalCLEF 2025 has the last two


def recognise(source: Path) -> str | None:
    """Takes a CSV with identity and path that a manifest would not be: numbered rows, own columns, or its name."""
    found = headings(source)
    if not {"identity", "path"} <= set(found):
        return None
    name = labels_of(source).name
    if found[0] in INDEX_HEADINGS:
        return f"{name} has the columns identity and path, and rows numbered as pandas does"
    if set(found) & MANIFEST_HEADINGS:
        return None
    if set(found) & OWN_HEADINGS:
        return f"{name} has the columns identity and path, and {', '.join(sorted(set(found) & OWN_HEADINGS))}"
    return f"it is called {name} and has the columns identity and path" if name == "metadata.csv" else None


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads the table; `unknown` is an unknown individual, `orientation` or else `position` the viewpoint.

    Raises:
        ManifestError: a column or a photo is missing, or a box is not four numbers.
    """
    labels = labels_of(source)
    table = read_labels(labels, ("identity", "path"))
    table = table.drop(columns=[name for name in table.columns[:1] if name in INDEX_HEADINGS])
    unknown = table["identity"] == UNKNOWN
    table["identity"] = table["identity"].mask(unknown, "")
    if "image_id" not in table:
        table["image_id"] = table["path"]
    if "bbox" in table:
        table[list(BOX_COLUMNS)] = _boxes(table.pop("bbox"), labels)
    view = next((name for name in ("orientation", "position") if name in table and "viewpoint" not in table), None)
    table = table.rename(columns={view: "viewpoint"} if view else {})
    if "split" in table:
        table["split"] = table["split"].replace(SIDES)
    root = photo_root(labels, photos, table["path"])
    manifest = from_table(table, root, check_files=check_files, source=str(labels))
    return manifest, told_unknown(int(unknown.sum()), UNKNOWN)


def write(manifest: Manifest, out: Path) -> None:
    """Writes the table, with all further columns of the manifest as they are.

    Args:
        manifest: the photos.
        out: the CSV.

    Raises:
        ManifestError: the format cannot tell the manifest's names from its own.
        DiskError: the file could not be written.
    """
    _check_names(manifest, out)
    table = manifest.table.assign(path=manifest.paths_from(out.parent))
    table["identity"] = table["identity"].mask(table["identity"] == "", UNKNOWN)
    if set(BOX_COLUMNS) <= set(table):
        table["bbox"] = [_box_text(box) for box in manifest.boxes]
        table = table.drop(columns=list(BOX_COLUMNS))
    table = table.rename(columns={"viewpoint": "orientation"})
    # With \r in the line ending Python puts quotes around text that holds one.
    write_atomically(out, lambda place: table.to_csv(place, lineterminator="\r\n"))


def _boxes(texts: pd.Series, labels: Path) -> pd.DataFrame:
    boxes = np.full((len(texts), 4), np.nan)
    for place, (row, text) in enumerate(texts.items()):
        if text.strip() in ("", "nan", "None"):
            continue
        try:
            boxes[place] = [float(number) for number in text.strip(" []()").replace(",", " ").split()]
        except ValueError as error:
            raise ManifestError(
                f"{labels}, row {row}: bbox must be four numbers, [x, y, width, height]. Received: {text!r}. "
                "Correct the row."
            ) from error
    return boxes_with_surface(pd.DataFrame(boxes, columns=list(BOX_COLUMNS), index=texts.index))


def _box_text(box: np.ndarray) -> str:
    return "" if np.isnan(box).any() else str([float(side) for side in box])


def _check_names(manifest: Manifest, out: Path) -> None:
    taken = {*OWN_HEADINGS, *INDEX_HEADINGS} - {"segmentation"}
    if "viewpoint" in manifest.table:
        taken.remove("position")  # stays as it is beside an orientation
    clash = [name for name in manifest.table if name in taken]
    sides = set(manifest.column("split")) & set(SIDES)
    for name, received in (
        ("identity", [UNKNOWN] if UNKNOWN in set(manifest.identity) else []),
        ("split", sorted(sides)),
        ("the columns", clash),
    ):
        if received:
            raise ManifestError(
                f"{out}: {name} must not use names that mean something else in wildlife-datasets. "
                f"Received: {', '.join(map(repr, received))}. Rename them in the manifest, or export as coco."
            )


FORMAT = Format("wildlife_datasets", recognise, read, write)
