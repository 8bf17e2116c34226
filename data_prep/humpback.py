"""Makes a manifest of humpback photos labelled as in the 2019 challenge.

    python -m data_prep.humpback --labels train.csv --boxes bounding_boxes.csv --photos train --out data/humpback.csv

Labels have the columns Image and Id, where `new_whale` is an unknown individual. Boxes have Image, x0, y0, x1, y1 in
pixels, in their own file or beside the labels. The image id is the file name, as the challenge's submission wants it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from data_prep.program import program_parser, read_labels, run_program
from siamese.manifest import BOX_COLUMNS, Manifest, from_table

NEW_WHALE = "new_whale"
CORNERS = ("x0", "y0", "x1", "y1")


def make_manifest(labels: Path, photos: Path, boxes: Path | None = None) -> Manifest:
    """Joins labels and boxes.

    Args:
        labels: CSV with Image and Id, and with x0, y0, x1, y1 if the boxes stand in it.
        photos: folder of the photos; they stay there.
        boxes: CSV with Image, x0, y0, x1, y1; photos without a row, or with an empty box, get no box.

    Raises:
        ManifestError: a column or a photo is missing.
    """
    table = read_labels(labels, ("Image", "Id"))
    named = pd.DataFrame(
        {"image_id": table["Image"], "path": table["Image"], "identity": table["Id"].replace(NEW_WHALE, "")}
    )
    source = table if boxes is None else read_labels(boxes, ("Image", *CORNERS))
    if set(CORNERS) <= set(source):
        found = _boxes(source.drop_duplicates("Image").set_index("Image"))
        named[list(BOX_COLUMNS)] = found.reindex(table["Image"]).to_numpy()
    return from_table(named, photos, source=str(labels))


def _boxes(table: pd.DataFrame) -> pd.DataFrame:
    """Turns corners into x, y, width, height; a row without a surface becomes NaN."""
    corners = table[list(CORNERS)].apply(pd.to_numeric, errors="coerce")
    sides = [corners["x0"], corners["y0"], corners["x1"] - corners["x0"], corners["y1"] - corners["y0"]]
    boxes = pd.concat(sides, axis=1, keys=list(BOX_COLUMNS))
    return boxes.where((boxes["width"] > 0) & (boxes["height"] > 0))


def _run(arguments: argparse.Namespace) -> list[str]:
    manifest = make_manifest(arguments.labels, arguments.photos, arguments.boxes)
    manifest.write(arguments.out)
    known = manifest.identity[manifest.identity != ""]
    return [
        f"manifest: {arguments.out}",
        f"photos: {len(manifest)}, of which {len(manifest) - len(known)} show unknown individuals",
        f"individuals: {len(set(known))}",
        f"photos without a box: {int(pd.isna(manifest.boxes).any(axis=1).sum())}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 for wrong input."""
    parser = program_parser("humpback", "Makes a manifest of humpback photos.")
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="CSV with Image and Id.")
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="Folder of the photos.")
    parser.add_argument("--boxes", type=Path, metavar="FILE", help="CSV with Image, x0, y0, x1, y1.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="Manifest to write.")
    arguments = parser.parse_args(argv)
    return run_program(lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
