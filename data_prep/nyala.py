"""Makes a manifest of the nyala collection: both flanks of antelopes, sighting by sighting.

    python -m data_prep.nyala --labels DIR/labels.csv --out data/nyala/published.csv --split published
    python -m data_prep.nyala --labels DIR/labels.csv --out data/nyala/disjoint.csv --split disjoint

The photos stay where they are. `published` divides the photos of every animal; `disjoint` keeps whole animals apart,
and its test animals answer each other (`evaluation.catalog: leave_one_out`). A fair answer comes from the same flank in
another sighting: photos of one sighting share their background. Dlamini and van Zyl 2020.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from data_prep.program import program_parser, run_program, settings_from
from siamese.errors import ManifestError
from siamese.formats.tables import read_labels
from siamese.manifest import Manifest, from_table
from siamese.settings import StageSettings

COLUMNS = ("image_id", "path", "identity", "viewpoint", "encounter")
SIDES = ("train", "validation", "test")  # a photo that is there twice stays on the later side


class NyalaSettings(StageSettings):
    """How the collection is divided."""

    split: Literal["published", "disjoint"] = Field("published", description="Which split, published or disjoint.")
    validation_share: float = Field(
        0.12, gt=0, lt=0.5, description="Share of the training photos that choose thresholds."
    )
    seed: int = Field(0, ge=0, description="Decides which sightings or animals these are.")


@dataclass(frozen=True)
class NyalaCollection:
    """A manifest and what was left out of it.

    Attributes:
        manifest: columns image_id, path, identity, viewpoint, encounter, split.
        dropped: `(num_dropped,)` image ids of photos whose exact copy stands on a later side of the split.
    """

    manifest: Manifest
    dropped: np.ndarray


def make_manifest(labels: Path, settings: NyalaSettings) -> NyalaCollection:
    """Divides the photos of a label table.

    Args:
        labels: CSV with the columns image_id, path, identity, viewpoint, encounter, published_split, disjoint_split;
            paths start from its folder.
        settings: which split, and the share of the validation.

    Returns:
        The manifest. No sighting is in both train and validation, with the disjoint split no animal is, and no photo
        stands on two sides as an exact copy.

    Raises:
        ManifestError: a column, a photo or a side is missing.
    """
    column = f"{settings.split}_split"
    table = read_labels(labels, (*COLUMNS, column))
    _check_sides(table, column, labels)
    kept = table[list(COLUMNS)].assign(split=table[column])
    everything = from_table(kept, labels.parent, source=str(labels))
    rng = np.random.default_rng(settings.seed)
    divided = everything.with_column("split", _with_validation(everything, settings, rng))
    spare = crossing_copies(_content(divided.paths), divided.column("split"))
    return NyalaCollection(divided.select(~spare), divided.image_ids[spare])


def crossing_copies(content: np.ndarray, split: np.ndarray) -> np.ndarray:
    """Marks each photo whose exact copy stands on a later side of the split.

    Args:
        content: `(num_images,)` hashes of the files.
        split: `(num_images,)` train, validation or test.

    Returns:
        `(num_images,)` bool.

    Example:
    >>> crossing_copies(np.array(["a", "b", "a", "b"]), np.array(["train", "train", "test", "train"]))
    array([ True, False, False, False])
    """
    side = pd.Series([SIDES.index(name) for name in split])
    return (side < side.groupby(np.asarray(content)).transform("max")).to_numpy()


def _with_validation(manifest: Manifest, settings: NyalaSettings, rng: np.random.Generator) -> np.ndarray:
    split = manifest.column("split")
    train = np.flatnonzero(split == "train")
    wanted = round(settings.validation_share * len(train))
    identity, sighting = manifest.identity[train], manifest.column("encounter")[train]
    if settings.split == "disjoint":
        drawn = _draw_units(identity, np.unique(identity.astype(str)), wanted, rng)
    else:
        drawn = _draw_units(sighting, _spare_sightings(sighting, identity, rng), wanted, rng)
    split[train[drawn]] = "validation"
    return split


def _spare_sightings(sighting: np.ndarray, identity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Names the sightings that are free to leave the training: of each animal all but one, drawn by chance."""
    spare, seen = [], set[str]()
    for name in rng.permutation(np.unique(sighting.astype(str))):
        animals = set(identity[sighting == name])
        if animals <= seen:
            spare.append(name)
        seen |= animals
    return np.array(spare, dtype=object)


def _draw_units(unit: np.ndarray, free: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Marks the photos of whole units, drawn among the free ones while they fit into `wanted` photos."""
    drawn = np.zeros(len(unit), dtype=bool)
    for name in rng.permutation(free):
        photos = unit == name
        if drawn.sum() + photos.sum() <= wanted:
            drawn |= photos
    return drawn


def _content(paths: Sequence[Path]) -> np.ndarray:
    return np.array([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths], dtype=object)


def _check_sides(table: pd.DataFrame, column: str, labels: Path) -> None:
    wrong = table.index[~table[column].isin(["train", "test"])]
    if len(wrong):
        raise ManifestError(
            f"{labels}, row {wrong[0]}: {column} must be train or test. Received: {table.at[wrong[0], column]!r}. "
            "Correct the row."
        )


def _run(arguments: argparse.Namespace) -> list[str]:
    collection = make_manifest(arguments.labels, settings_from(arguments, NyalaSettings))
    manifest = collection.manifest
    manifest.write(arguments.out)
    split = manifest.column("split")
    photos, animals = Counter(split.tolist()), {side: len(set(manifest.identity[split == side])) for side in SIDES}
    return [
        f"manifest: {arguments.out}",
        *(f"{side}: {photos[side]} photos of {animals[side]} animals" for side in SIDES),
        f"left out, because an exact copy stands on another side: {len(collection.dropped)}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 for wrong input."""
    parser = program_parser("nyala", "Makes a manifest of the nyala collection.", NyalaSettings)
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="The collection's labels.csv.")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="Manifest to write.")
    arguments = parser.parse_args(argv)
    return run_program(lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
