"""The lists that come beside labels, joined to any manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from siamese.errors import ManifestError
from siamese.formats.boxes import join_boxes
from siamese.formats.duplicate_names import join_duplicate_identities
from siamese.formats.keypoints import join_keypoints, point_columns
from siamese.formats.photo_lists import join_exclude, join_rotate
from siamese.formats.tables import CORNERS, csv_headings
from siamese.manifest import Manifest


@dataclass(frozen=True)
class Lists:
    """Files to join; none where there is none.

    Attributes:
        boxes: CSV of corners or of x, y, width, height; MegaDetector JSON; Sloth JSON with rectangles.
        keypoints: CSV with columns `<name>_x` and `<name>_y`; Sloth JSON with points.
        exclude: photos to leave out, one a line, or a CSV.
        rotate: photos to turn, one a line, with clockwise degrees behind the name or 180.
        duplicate_identities: CSV with Id and SubId; SubId holds the names of one animal, with spaces between.
    """

    boxes: Path | None = None
    keypoints: Path | None = None
    exclude: Path | None = None
    rotate: Path | None = None
    duplicate_identities: Path | None = None

    def without(self, other: Lists) -> Lists:
        """Returns these lists, but none of a kind that `other` has."""
        return replace(self, **dict.fromkeys((kind for kind, path in vars(other).items() if path is not None)))


def join_lists(manifest: Manifest, lists: Lists) -> tuple[Manifest, tuple[str, ...]]:
    """Joins every list that is given.

    Args:
        manifest: the photos. Not changed.
        lists: the files.

    Returns:
        The manifest with more columns, and sentences that count what was matched and what was not.

    Raises:
        ManifestError: a file cannot be read, or names no photo of the manifest.
    """
    notes: tuple[str, ...] = ()
    steps = (
        (lists.boxes, join_boxes),
        (lists.keypoints, join_keypoints),
        (lists.exclude, join_exclude),
        (lists.rotate, join_rotate),
        (lists.duplicate_identities, join_duplicate_identities),
    )
    for path, join in steps:
        if path is not None:
            manifest, told = join(manifest, path)
            notes += told
    return manifest, notes


def join_beside(manifest: Manifest, lists: Lists) -> tuple[Manifest, tuple[str, ...]]:
    """Joins lists that were found and not asked for: one that does not fit is told and left out.

    Args:
        manifest: the photos. Not changed.
        lists: the files.

    Returns:
        The manifest and sentences, as of `join_lists`.
    """
    notes: tuple[str, ...] = ()
    for kind, path in vars(lists).items():
        try:
            manifest, told = join_lists(manifest, replace(Lists(), **{kind: path}))
        except ManifestError as error:
            told = (f"{path.name} lies beside the labels and was not joined. {error}",)
        notes += told
    return manifest, notes


def lists_beside(folder: Path) -> Lists:
    """Finds the lists that lie in a folder, by their headings or names.

    Names of individuals are never merged unasked, so a list of these is not looked for.
    """
    headed = [(file, csv_headings(file)) for file in sorted(folder.glob("*.csv"))]
    boxes = [file for file, head in headed if set(CORNERS) <= set(head) and "Id" not in head]
    points = [file for file, head in headed if point_columns(head)]
    return Lists(
        boxes=next(iter(boxes), None),
        keypoints=next(iter(points), None),
        exclude=_first_file(folder, ("exclude.txt", "exclude.csv")),
        rotate=_first_file(folder, ("rotate.txt",)),
    )


def _first_file(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)
