"""Finds the rows of a manifest that the names in a list mean."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path

from siamese.errors import ManifestError
from siamese.formats.tables import counted
from siamese.manifest import PHOTO_SUFFIXES, Manifest


def find_rows(manifest: Manifest, names: Sequence[str]) -> list[list[int]]:
    """Finds the photos that a list names, by image id, by path or its end, with or without the ending.

    Folders that only the list knows are passed over where all file names in it differ. A name that fits several
    photos fits none.

    Args:
        manifest: the photos.
        names: what the list calls them.

    Returns:
        For each name its rows, in order: none where no photo fits, several where one photo shows several animals.

    Example:
    >>> import pandas as pd
    >>> from siamese.manifest import from_table
    >>> table = pd.DataFrame({"image_id": ["7", "8"], "path": ["sea/a.jpg", "sea/b.jpg"], "identity": ["Mara", ""]})
    >>> find_rows(from_table(table, "photos", check_files=False), ["8", "a.jpg", "imgs/b.jpg", "c.jpg"])
    [[1], [0], [1], []]
    """
    by_id = {image_id: [row] for row, image_id in enumerate(manifest.image_ids)}
    photos: dict[str, list[int]] = {}
    for row, path in enumerate(manifest.paths):
        photos.setdefault(_plain(path.as_posix()), []).append(row)
    bare = [_without_ending(path) for path in photos]
    indices = (by_id, _rows_by_end(photos, photos.values()), _rows_by_end(bare, photos.values()))
    plain = [_plain(name.replace("\\", "/")) for name in names]
    file_names = [posixpath.basename(path) for path in plain]
    may_shorten = len(set(file_names)) == len(file_names)
    spellings = [_spellings(name, path, may_shorten) for name, path in zip(names, plain, strict=True)]
    return [next((rows[text] for text in texts for rows in indices if rows.get(text)), []) for texts in spellings]


def check_some_found(source: Path, names: Sequence[str], rows: Sequence[Sequence[int]]) -> None:
    """Checks that a list belongs to the collection.

    Raises:
        ManifestError: not one of its names fits a photo.
    """
    if not any(rows):
        example = f", for instance {names[0]!r}" if names else ""
        raise ManifestError(
            f"{source}: the list must name photos of the collection. Received: {counted(len(names), 'name')}, none of "
            f"which fits a photo{example}. Give the list that belongs to these photos, with their image ids or paths."
        )


def told_unmatched(source: Path, names: Sequence[str], rows: Sequence[Sequence[int]]) -> str:
    """Returns the end of a sentence that counts the names without a photo; "" if all have one."""
    lost = [name for name, found in zip(names, rows, strict=True) if not found]
    if not lost:
        return ""
    return f"; {counted(len(lost), 'name')} in {source.name} fit no photo here, for instance {lost[0]!r}"


def _spellings(name: str, path: str, may_shorten: bool) -> list[str]:
    """What to look for, the surest first: the whole name, then its end, each also without the ending."""
    whole = [name, path, _without_ending(path)]
    return whole + [posixpath.basename(text) for text in whole[1:]] if may_shorten else whole


def _rows_by_end(paths: Iterable[str], rows: Iterable[list[int]]) -> dict[str, list[int]]:
    """Rows for each end of each photo's path; no rows for an end that several photos share."""
    by_end: dict[str, list[int]] = {}
    for path, at in zip(paths, rows, strict=True):
        end, more = path, "/"
        while more:
            by_end[end] = [] if end in by_end else at
            _, more, end = end.partition("/")
    return by_end


def _plain(path: str) -> str:
    return posixpath.normpath(path).lstrip("/")


def _without_ending(path: str) -> str:
    stem, ending = posixpath.splitext(path)
    return stem if ending.lower() in PHOTO_SUFFIXES else path
