"""COCO and COCO Camera Traps JSON with identities: an annotation for each animal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from siamese.errors import ImageError, ManifestError
from siamese.files import write_atomically
from siamese.formats.base import Format
from siamese.formats.tables import (
    boxes_with_surface,
    counted,
    label_file,
    photo_root,
    read_json,
    text_of,
)
from siamese.images import opened, upright_size
from siamese.manifest import BOX_COLUMNS, Manifest, from_table

IDENTITY_FIELDS = ("identity", "individual_id", "name", "individual_ids")
VIEWPOINT_FIELDS = ("viewpoint", "orientation", "position")
DATE_FIELDS = ("datetime", "date_captured")
UNKNOWN_NAMES = ("unknown", "____")  # the second is Wildbook's
ANIMAL, EMPTY = "animal", "empty"  # categories without a species; the second is that of COCO Camera Traps
COLUMNS_FIELD = "manifest_columns"  # in `info`: marks a file that we wrote
WRITTEN_APART = ("path", "identity", *BOX_COLUMNS)


def recognise(source: Path) -> str | None:
    """Takes a JSON file with images and annotations."""
    file = label_file(source)
    if file is None or file.suffix.lower() != ".json":
        return None
    content = read_json(file)
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        return None
    return f"{file.name} is JSON with images and annotations"


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads a row for each annotation.

    Raises:
        ManifestError: the form is not COCO's, or a photo is missing.
    """
    labels = label_file(source)
    content = read_json(labels or source)
    if not isinstance(content, dict):
        raise ManifestError(f"{source}: COCO must be an object with images and annotations. Received: a list.")
    ours = dict(content.get("info") or {}).get(COLUMNS_FIELD)
    try:
        rows, notes = _rows(content, is_ours=ours is not None)
    except (AttributeError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{source}: images must have id and file_name, annotations id, image_id and category_id, categories id and "
            f"name. Received: {error!r}. Give a file in the COCO format."
        ) from error
    table = _table(rows, ours, source)
    root = photo_root(labels or source, photos, table["path"])
    return from_table(table, root, check_files=check_files, source=str(source)), notes


def write(manifest: Manifest, out: Path) -> None:
    """Writes an annotation for each row; its `attributes` hold the manifest's columns that COCO has no field for.

    Args:
        manifest: the photos.
        out: the JSON file.

    Raises:
        DiskError: the file could not be written.
    """
    table = pd.DataFrame({name: manifest.column(name) for name in manifest.table})
    table["path"] = manifest.paths_from(out.parent)
    species = [name or ANIMAL for name in manifest.column("species")]
    categories = {name: number for number, name in enumerate(dict.fromkeys(species), start=1)}
    photos = dict(zip(table["path"], manifest.paths, strict=True))
    first_rows = _by_path(table.drop_duplicates("path"))
    images = {path: _image(number, row, photos[path]) for number, (path, row) in enumerate(first_rows.items(), start=1)}
    annotations = [
        _annotation(number, row, box, images[row["path"]]["id"], categories[name])
        for number, (row, box, name) in enumerate(
            zip(table.to_dict("records"), manifest.boxes, species, strict=True), start=1
        )
    ]
    content = {
        "info": {"description": "Photos of individual animals", COLUMNS_FIELD: list(table.columns)},
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    write_atomically(out, lambda place: place.write_text(text, encoding="utf-8", newline="\n"))


def _rows(content: Mapping[str, Any], *, is_ours: bool) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    images = {image["id"]: image for image in content["images"]}
    species = {category["id"]: text_of(category["name"]) for category in content.get("categories") or ()}
    marks = content["annotations"]
    empty = [not is_ours and species.get(mark.get("category_id")) == EMPTY for mark in marks]
    animals = [mark for mark, is_empty in zip(marks, empty, strict=True) if not is_empty]
    counts = Counter(mark["image_id"] for mark in animals)
    rows = [
        _row(mark, images[mark["image_id"]], species, counts[mark["image_id"]] > 1, is_ours=is_ours) for mark in animals
    ]
    notes = [f"{counted(sum(empty), 'photo')} of the category {EMPTY} dropped."] if any(empty) else []
    bare = len(set(images) - {mark["image_id"] for mark in marks})
    if bare:
        notes.append(f"{counted(bare, 'photo')} without an annotation dropped.")
    several = sum(count > 1 for count in counts.values())
    if several:
        notes.append(f"{counted(several, 'photo')} with several animals: a row for each.")
    if not any(row["identity"] for row in rows):
        notes.append(f"No annotation names an individual ({', '.join(IDENTITY_FIELDS)}): all are unknown.")
    return rows, tuple(notes)


def _row(
    mark: Mapping[str, Any], image: Mapping[str, Any], species: Mapping[Any, str], several: bool, *, is_ours: bool
) -> dict[str, Any]:
    name = text_of(image["id"])
    kind = species.get(mark.get("category_id"), "")
    row = {
        "image_id": f"{name}#{mark['id']}" if several else name,
        "path": image["file_name"],
        "identity": _identity(mark, is_ours=is_ours),
        **dict(zip(BOX_COLUMNS, mark.get("bbox") or (np.nan,) * 4, strict=True)),
        "viewpoint": _first(mark, VIEWPOINT_FIELDS),
        "encounter": text_of(image.get("seq_id")),
        "date": _first(image, DATE_FIELDS),
        "species": "" if kind == ANIMAL else kind,
        "location": text_of(image.get("location")),
    }
    return row | dict(mark.get("attributes") or {}) if is_ours else row


def _identity(mark: Mapping[str, Any], *, is_ours: bool) -> str:
    """The name of an animal; of `individual_ids` only one that stands alone is a name."""
    fields = {field: mark.get(field) for field in IDENTITY_FIELDS}
    ids = fields["individual_ids"]
    if isinstance(ids, list):
        fields["individual_ids"] = ids[0] if len(ids) == 1 else None
    name = _first(fields, IDENTITY_FIELDS)
    return "" if name in UNKNOWN_NAMES and not is_ours else name


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := text_of(fields.get(name)))), "")


def _table(rows: list[dict[str, Any]], ours: list[str] | None, source: Path) -> pd.DataFrame:
    """Makes the table: the columns that we wrote, or those that hold something."""
    if not rows:
        raise ManifestError(f"{source}: there must be an annotation of an animal. Received: none.")
    table = pd.DataFrame(rows, index=range(1, len(rows) + 1))
    if ours is not None:
        return table.reindex(columns=ours)
    table[list(BOX_COLUMNS)] = boxes_with_surface(table)
    filled = [name for name in table if table[name].replace("", np.nan).notna().any()]
    return table[[name for name in table if name in {*filled, "identity"}]]


def _by_path(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in rows.to_dict("records")}


def _image(number: int, row: Mapping[str, Any], photo: Path) -> dict[str, Any]:
    """The photo of a row, with its size, sequence and time where they are known."""
    known = {**_size(photo), "seq_id": row.get("encounter"), "datetime": row.get("date")}
    return {"id": number, "file_name": row["path"], **{name: value for name, value in known.items() if value}}


def _size(photo: Path) -> dict[str, int]:
    try:
        with opened(photo) as image:
            width, height = upright_size(image)
    except ImageError:  # labels may be written without their photos
        return {}
    return {"width": width, "height": height}


def _annotation(number: int, row: Mapping[str, Any], box: np.ndarray, image: int, category: int) -> dict[str, Any]:
    mark: dict[str, Any] = {"id": number, "image_id": image, "category_id": category, "iscrowd": 0}
    if not np.isnan(box).any():
        mark |= {"bbox": box.tolist(), "area": float(box[2] * box[3])}
    if row["identity"]:
        mark["identity"] = row["identity"]
    if row.get("viewpoint"):
        mark["viewpoint"] = row["viewpoint"]
    return mark | {"attributes": {name: text for name, text in row.items() if name not in WRITTEN_APART}}


FORMAT = Format("coco", recognise, read, write)
