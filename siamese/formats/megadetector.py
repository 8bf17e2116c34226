"""Joins the boxes that MegaDetector found to a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import ImageError, ManifestError
from siamese.formats.matching import check_some_found, find_rows, told_unmatched
from siamese.formats.tables import counted, read_json
from siamese.images import opened, upright_size
from siamese.manifest import BOX_COLUMNS, Manifest, from_table

MIN_CONFIDENCE = 0.2  # MegaDetector user guide: the usual threshold of version 5
ANIMAL = "animal"


@dataclass(frozen=True)
class Detections:
    """What was found on one photo.

    Attributes:
        file: the photo, as the detector's file calls it.
        boxes: `(num_animals, 4)` x, y, width, height as shares of the upright photo, the surest first.
    """

    file: str
    boxes: np.ndarray


def is_megadetector(content: Any) -> bool:
    """Tells whether the content of a JSON file is MegaDetector's."""
    return isinstance(content, dict) and "images" in content and "detection_categories" in content


def read_detections(path: Path, *, min_confidence: float = MIN_CONFIDENCE) -> list[Detections]:
    """Reads the animals of a MegaDetector file.

    Args:
        path: the JSON file, MegaDetector's batch format.
        min_confidence: least confidence of a box.

    Raises:
        ManifestError: the file is not MegaDetector's.
    """
    content = read_json(path)
    if not is_megadetector(content):
        raise ManifestError(
            f"{path}: the file must have `images` and `detection_categories`, as MegaDetector writes it. "
            "Received: JSON of another form. Give the file of MegaDetector's batch run."
        )
    animal = {key for key, name in content["detection_categories"].items() if name == ANIMAL}
    try:
        return [_detections(image, animal, min_confidence) for image in content["images"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ManifestError(
            f"{path}: an image must have `file` and `detections`, each with category, conf and bbox (four numbers). "
            f"Received: {error!r}. Give the file as MegaDetector wrote it."
        ) from error


def join_detections(
    manifest: Manifest, path: Path, *, min_confidence: float = MIN_CONFIDENCE
) -> tuple[Manifest, tuple[str, ...]]:
    """Gives photos the boxes that MegaDetector found.

    An unknown photo with several animals becomes several rows. A named one keeps one row and the surest box, because
    nobody knows which animal the name means. The column `num_animals` tells how many were found. Only the header of
    each photo is read, for its size.

    Args:
        manifest: the photos. Not changed.
        path: MegaDetector's JSON file.
        min_confidence: least confidence of a box.

    Returns:
        The manifest with boxes, and sentences with counts.

    Raises:
        ManifestError: the file is not MegaDetector's, or none of its photos is in the manifest.
    """
    found = read_detections(path, min_confidence=min_confidence)
    names = [detections.file for detections in found]
    rows = find_rows(manifest, names)
    check_some_found(path, names, rows)
    sizes = _sizes(manifest, rows)
    animals = {
        at[0]: detections.boxes * np.tile(sizes[at[0]], 2)
        for at, detections in zip(rows, found, strict=True)
        if len(at) == 1 and at[0] in sizes
    }
    joined = _with_animals(manifest, animals, str(path))
    return joined, _notes(manifest, animals, path, min_confidence, told_unmatched(path, names, rows))


def _detections(image: dict[str, Any], animal: set[str], min_confidence: float) -> Detections:
    marks = [
        mark
        for mark in image.get("detections") or ()
        if mark["category"] in animal and float(mark["conf"]) >= min_confidence
    ]
    marks.sort(key=lambda mark: -float(mark["conf"]))  # stable: ties keep the detector's order
    boxes = np.array([mark["bbox"] for mark in marks], dtype=float).reshape(-1, 4)
    return Detections(str(image["file"]), boxes[(boxes[:, 2:] > 0).all(axis=1)])


def _sizes(manifest: Manifest, rows: Sequence[Sequence[int]]) -> dict[int, tuple[int, int]]:
    """Width and height of the photos of these rows, upright; a photo that cannot be read has none."""
    sizes, paths = {}, manifest.paths
    for row in (at[0] for at in rows if at):
        with suppress(ImageError), opened(paths[row]) as image:
            sizes[row] = upright_size(image)
    return sizes


def _with_animals(manifest: Manifest, animals: Mapping[int, np.ndarray], source: str) -> Manifest:
    """Sets boxes and `num_animals`, with a row for each animal of an unknown photo; boxes that are there stay."""
    everyone = np.arange(len(manifest))
    numbers = np.array([len(animals[row]) if row in animals else 0 for row in range(len(manifest))])
    bare, unknown = np.isnan(manifest.boxes).any(axis=1), manifest.identity == ""
    repeats = np.where(bare & unknown, np.maximum(numbers, 1), 1)
    rows = np.repeat(everyone, repeats)
    nth = np.concatenate([np.arange(repeat) for repeat in repeats])
    boxes = manifest.boxes[rows]
    for place in np.flatnonzero(bare[rows] & (numbers[rows] > 0)):
        boxes[place] = animals[rows[place]][nth[place]]
    image_ids = [
        f"{name}#{number + 1}" if repeats[row] > 1 else name
        for name, row, number in zip(manifest.image_ids[rows], rows, nth, strict=True)
    ]
    num_animals = [str(numbers[row]) if row in animals else "" for row in rows]
    table = manifest.table.iloc[rows].assign(image_id=image_ids, num_animals=num_animals)
    table[list(BOX_COLUMNS)] = boxes
    return from_table(table.reset_index(drop=True), manifest.root, check_files=False, source=source)


def _notes(
    manifest: Manifest, animals: Mapping[int, np.ndarray], path: Path, min_confidence: float, unmatched: str
) -> tuple[str, ...]:
    with_animal = [row for row, boxes in animals.items() if len(boxes)]
    several = [row for row in with_animal if len(animals[row]) > 1]
    named = sum(manifest.identity[row] != "" for row in several)
    kept = sum(not np.isnan(manifest.boxes[row]).any() for row in with_animal)
    notes = [
        f"{path.name}: an animal of confidence {min_confidence:g} or more on {len(with_animal):,} of "
        f"{counted(len(manifest), 'row')}{unmatched}."
    ]
    if kept:
        notes.append(f"{path.name}: {counted(kept, 'row')} kept the box that was there.")
    if several:
        notes.append(
            f"{path.name}: {counted(len(several), 'photo')} with several animals. The {len(several) - named:,} unknown "
            f"became a row for each animal; the {named:,} named keep one row and the surest box, because nobody knows "
            "which animal the name means (column num_animals)."
        )
    return tuple(notes)
