"""Manifest: the checked table of photos that everything else starts from."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from siamese.errors import ManifestError
from siamese.files import write_atomically

REQUIRED_COLUMNS = ("image_id", "path", "identity")
BOX_COLUMNS = ("x", "y", "width", "height")
CHOICES: dict[str, tuple[str, ...]] = {
    "rotation": ("", "0", "90", "180", "270"),  # clockwise degrees that turn the photo upright
    "use": ("", "catalog", "nothing"),  # everything; known but not trained on; left out
}
# HEIC is not read by Pillow alone; it is listed so that such photos reach the quarantine and are not silently missed.
PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".jp2"}
    | {".heic", ".heif"}
)


@dataclass(frozen=True)
class Manifest:
    """Photos of a collection, one row each; made by `read_manifest`, `from_folder` or `from_table`.

    Attributes:
        table: one row for each photo, index 0, 1, ... Text columns, among them `image_id` (unique), `path` and
            `identity` ("" is an unknown individual), and float columns `x`, `y`, `width`, `height`
            (box in pixels of the upright photo, NaN without a box) where the collection has boxes.
        root: folder that relative paths start from.
    """

    table: pd.DataFrame
    root: Path

    def __len__(self) -> int:
        return len(self.table)

    @property
    def image_ids(self) -> np.ndarray:
        """`(num_images,)` unique names, as objects."""
        return self.column("image_id")

    @property
    def identity(self) -> np.ndarray:
        """`(num_images,)` names of individuals, as objects; "" is an unknown individual."""
        return self.column("identity")

    @property
    def paths(self) -> list[Path]:
        """Absolute path of each photo."""
        root = self.root.absolute()
        return [root / path for path in self.table["path"]]

    def paths_from(self, folder: Path) -> list[str]:
        """Path of each photo as text, from `folder` where it lies in it, else absolute."""
        folder = folder.absolute()
        return [
            path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path) for path in self.paths
        ]

    @property
    def boxes(self) -> np.ndarray:
        """`(num_images, 4)` floats x, y, width, height in pixels; a photo without a box has a row of NaN."""
        return self.table.reindex(columns=list(BOX_COLUMNS)).to_numpy(dtype=float)

    @property
    def rotations(self) -> np.ndarray:
        """`(num_images,)` integers 0, 90, 180 or 270: clockwise degrees that turn the photo, box and all, upright."""
        return np.array([int(turn or 0) for turn in self.column("rotation")], dtype=int)

    def column(self, name: str) -> np.ndarray:
        """`(num_images,)` text of one column, as objects; "" where it is missing or the column does not exist."""
        if name not in self.table:
            return np.full(len(self), "", dtype=object)
        column = self.table[name]
        return column.astype(object).where(column.notna(), "").map(str).to_numpy(dtype=object)

    def select(self, rows: np.ndarray) -> Manifest:
        """The photos under a mask `(num_images,)` of bools, or at the given indices and in their order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(int)
        return Manifest(self.table.iloc[rows].reset_index(drop=True), self.root)

    def with_column(self, name: str, values: np.ndarray) -> Manifest:
        """The same photos with one more, or one other, column of `(num_images,)` values."""
        if len(values) != len(self):
            raise ManifestError(
                f"`values` must hold one value for each of {len(self)} photos. Received: {len(values)} for {name!r}."
            )
        dtype = float if name in BOX_COLUMNS else object
        return Manifest(self.table.assign(**{name: np.asarray(values, dtype=dtype)}), self.root)

    def write(self, path: Path) -> None:
        """Writes the CSV; paths stay valid also when it stands in another folder than the photos.

        Raises:
            DiskError: the file could not be written.
        """
        table = self.table.assign(path=self.paths_from(Path(path).parent))
        text = table.select_dtypes(exclude="number")
        # A bare carriage return would end a row, and Python does not put quotes around it by itself.
        returns = any("\r" in name or text[name].str.contains("\r", regex=False).any() for name in text)
        quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
        write_atomically(
            Path(path), lambda place: table.to_csv(place, index=False, lineterminator="\n", quoting=quoting)
        )


def read_manifest(path: Path | str, *, check_files: bool = True) -> Manifest:
    """Reads and checks a CSV. Rows are counted as a spreadsheet shows them: the header is row 1.

    Args:
        path: a CSV in UTF-8 with the columns image_id, path and identity; relative paths start from its folder.
        check_files: whether every photo must exist.

    Raises:
        ManifestError: names the file, and the row where there is one.
    """
    path = Path(path)
    return from_table(_read_rows(path), path.parent, check_files=check_files, source=str(path))


def from_folder(folder: Path | str) -> Manifest:
    """Photos in one folder for each individual; photos directly in `folder` show unknown individuals.

    The identity is the name of the folder that a photo lies in, the image id its path within `folder` without the
    ending. Hidden files are passed over.

    Raises:
        ManifestError: there is no such folder, or no photo in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ManifestError(f"{folder}: there must be a folder of photos. Received: no folder of this name.")
    photos = sorted(photo.relative_to(folder) for photo in _photos_under(folder))
    if not photos:
        raise ManifestError(
            f"{folder}: the folder must hold photos. Received: none with a usual ending (.jpg, .png, .tif, ...). "
            "Give a folder with one sub-folder of photos for each individual, or a manifest CSV."
        )
    identity = [photo.parent.name for photo in photos]
    columns = {"image_id": _image_ids(photos), "path": [photo.as_posix() for photo in photos], "identity": identity}
    return from_table(pd.DataFrame(columns), folder, check_files=False, source=str(folder))


def from_table(table: pd.DataFrame, root: Path | str, *, check_files: bool = True, source: str = "table") -> Manifest:
    """Checks a table and makes a manifest of it.

    Args:
        table: columns image_id, path and identity, and any of the optional ones; its index numbers the rows in error
            sentences. Not changed.
        root: folder that relative paths start from.
        check_files: whether every photo must exist.
        source: what error sentences call the table.

    Raises:
        ManifestError: names `source`, and the row where there is one.

    Example:
    >>> photos = pd.DataFrame({"image_id": ["a", "b"], "path": ["a.jpg", "b.jpg"], "identity": ["Mara", None]})
    >>> from_table(photos, "photos", check_files=False).identity
    array(['Mara', ''], dtype=object)
    """
    _check_columns(table, source)
    text = table.astype(object).where(table.notna(), "").map(str)
    for name in ("image_id", "identity"):
        text[name] = text[name].str.strip()
    _check_names(text, source)
    _check_choices(text, source)
    checked = text.assign(**_checked_boxes(text, source))
    manifest = Manifest(checked.reset_index(drop=True), Path(root))
    if check_files:
        _check_files(manifest, text.index, source)
    return manifest


def _read_rows(path: Path) -> pd.DataFrame:
    """Text of a CSV; the index holds the number of each row, so that errors can name it."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark first
            lines = [(number, fields) for number, fields in enumerate(csv.reader(file, strict=True), start=1) if fields]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: the manifest must be a CSV in UTF-8. Received: {error}.") from error
    if not lines:
        raise ManifestError(f"{path}: the manifest must have a header and rows. Received: an empty file.")
    (_, header), *rows = lines
    for number, fields in rows:
        if len(fields) != len(header):
            raise ManifestError(
                f"{path}, row {number}: a row must have the {len(header)} fields of the header. "
                f"Received: {len(fields)}. Put quotes around text that holds a comma."
            )
    return pd.DataFrame([fields for _, fields in rows], columns=header, index=[number for number, _ in rows])


def _photos_under(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in PHOTO_SUFFIXES:
                yield Path(place, name)


def _image_ids(photos: list[Path]) -> list[str]:
    """Paths without the ending; photos that differ by the ending alone keep it."""
    stems = [photo.with_suffix("").as_posix() for photo in photos]
    counts = pd.Series(stems).value_counts()
    return [stem if counts[stem] == 1 else photo.as_posix() for stem, photo in zip(stems, photos, strict=True)]


def _check_columns(table: pd.DataFrame, source: str) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in table]
    if missing:
        raise ManifestError(
            f"{source}: the columns image_id, path and identity must be there. "
            f"Received: {', '.join(map(str, table.columns))}. Add {', '.join(missing)}, with commas between columns."
        )
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise ManifestError(f"{source}: a column must stand once. Received: {twice!r} twice. Rename one of them.")
    if table.empty:
        raise ManifestError(f"{source}: there must be at least one photo. Received: a header without rows.")


def _check_names(text: pd.DataFrame, source: str) -> None:
    for name in ("image_id", "path"):
        empty = text.index[text[name] == ""]
        if len(empty):
            raise ManifestError(f"{source}, row {empty[0]}: {name} must not be empty. Fill it in or remove the row.")
    again = text.index[text["image_id"].duplicated()]
    if len(again):
        image_id = text.at[again[0], "image_id"]
        first = text.index[text["image_id"] == image_id][0]
        raise ManifestError(
            f"{source}, row {again[0]}: image_id must be unique. Received: {image_id!r}, which row {first} has too. "
            "Give each photo a name of its own."
        )


def _check_choices(text: pd.DataFrame, source: str) -> None:
    for name, choices in CHOICES.items():
        wrong = text.index[~text[name].isin(choices)] if name in text else text.index[:0]
        if len(wrong):
            raise ManifestError(
                f"{source}, row {wrong[0]}: {name} must be {', '.join(choices[1:])} or empty. "
                f"Received: {text.at[wrong[0], name]!r}. Correct the row."
            )


def _checked_boxes(text: pd.DataFrame, source: str) -> dict[str, np.ndarray]:
    """Float columns of the box, for the columns that are there."""
    there = [name for name in BOX_COLUMNS if name in text]
    if not there:
        return {}
    if len(there) < len(BOX_COLUMNS):
        raise ManifestError(
            f"{source}: a box needs the columns x, y, width and height. Received: only {', '.join(there)}. "
            "Add the others or remove these."
        )
    boxes = text[there].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    given = (text[there] != "").to_numpy()
    finite = np.isfinite(boxes).all(axis=1)
    right = ~given.any(axis=1) | (finite & (boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    if not right.all():
        row = text.index[~right][0]
        raise ManifestError(
            f"{source}, row {row}: a box must be four numbers in pixels, width and height above 0, or be left empty. "
            f"Received: {', '.join(f'{name}={text.at[row, name]!r}' for name in there)}."
        )
    return dict(zip(there, boxes.T, strict=True))


def _check_files(manifest: Manifest, rows: pd.Index, source: str) -> None:
    for row, photo in zip(rows, manifest.paths, strict=True):
        if not photo.is_file():
            raise ManifestError(
                f"{source}, row {row}: the photo must exist. Received: {photo}, which is not there. "
                f"Paths start from {manifest.root.absolute()}; correct the path or remove the row."
            )
