"""Image store: every photo decoded, cropped and resized once, in one HDF5 file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd

from siamese.ahead import map_ahead
from siamese.errors import DiskError, ImageError, StoreError
from siamese.files import disk_errors, move_into_place, unfinished_path, write_atomically
from siamese.images import prepare_image
from siamese.manifest import Manifest
from siamese.settings import PreprocessingSettings
from siamese.store_file import FORMAT_VERSION, StoreWriter, lay_out, read_head

QUARANTINE = "quarantine.csv"
BLOCK = 128  # photos decoded between two writes
Progress = Callable[[int, int], None]
Decoded = tuple[int, np.ndarray | ImageError]


class ImageStore:
    """An open store; made by `build_store` or `open_store`. Close it, or use it in a `with` statement.

    Attributes:
        path: the HDF5 file.
        image_ids: `(num_images,)` names in the order of the rows, as objects.
        preprocessing: what the photos went through.
        fingerprint: hash of the photos and settings that made the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        try:
            head = read_head(self._file)
        except BaseException:
            self._file.close()
            raise
        self._rows = np.flatnonzero(head.stored)  # the rows between are photos that could not be read
        self.image_ids = head.image_ids[self._rows]
        self.preprocessing = head.preprocessing
        self.fingerprint = head.fingerprint
        self._shape = head.image_shape
        self._images_at = head.images_at

    def __len__(self) -> int:
        return len(self.image_ids)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Images at `indices` `(num,)`, in any order and with repeats: `(num, height, width, channels)` uint8.

        Several threads may read at once.

        Raises:
            IndexError: an index is negative or beyond the store.
            StoreError: the file was cut short since the store was opened.
        """
        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(
                f"`indices` must lie between 0 and {len(self) - 1}. Received: {indices.min()} to {indices.max()}."
            )
        images = np.empty((len(indices), *self._shape), dtype=np.uint8)
        # Against a memory map: as fast within 2 ms a batch, six times as fast where the disk must be read.
        for row, image in zip(self._rows[indices].tolist(), images, strict=True):
            if os.preadv(self._file.fileno(), [image.data], self._images_at + row * image.nbytes) < image.nbytes:
                raise StoreError(f"{self.path}: the image store must be whole. Received: a file that ends early.")
        return images

    def close(self) -> None:
        """Closes the file; reading is over then."""
        self._file.close()

    def __enter__(self) -> ImageStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def build_store(
    manifest: Manifest,
    path: Path | str,
    settings: PreprocessingSettings,
    *,
    unreadable: Mapping[str, str] = {},
    on_progress: Progress | None = None,
) -> ImageStore:
    """Decodes all photos into `path`, or opens it when the same photos and settings made it before.

    Photos that cannot be read are not in the store; `quarantine.csv` beside it names them with the reason.
    A build that was interrupted, by a kill or a full disk, goes on where it stood; it tries unreadable photos again.

    Args:
        manifest: the photos, their boxes and rotations.
        path: the HDF5 file; replaced only when the new one is whole.
        settings: size, channels, crop and contrast.
        unreadable: image ids of photos that are known to be unreadable, with the reason; they are not tried.
        on_progress: called with the number of photos done and of all photos.

    Raises:
        StoreError: no photo could be read.
        DiskError: the file has no room or could not be written; an earlier one is untouched.
    """
    path = Path(path)
    if not len(manifest):
        raise StoreError("An image store must be made of at least one photo. Received: an empty manifest.")
    fingerprint = photos_fingerprint(manifest, settings, unreadable)
    if path.is_file() and (store := _open_if_same(path, fingerprint)):
        return store
    unfinished = unfinished_path(path)
    with disk_errors(path):
        begun = _is_begun(unfinished, fingerprint)
        if not begun:
            unfinished.unlink(missing_ok=True)
        _check_room(path, _missing_bytes(unfinished) if begun else len(manifest) * image_bytes(settings))
    if not begun:
        lay_out(unfinished, manifest.image_ids, settings, fingerprint)
    reasons = _fill(unfinished, manifest, settings, unreadable, on_progress)
    _write_quarantine(path.with_name(QUARANTINE), manifest, reasons)  # before the store moves: a store has its list
    with disk_errors(path):
        move_into_place(unfinished, path)
    return open_store(path, settings)


def open_store(path: Path | str, settings: PreprocessingSettings | None = None) -> ImageStore:
    """Opens a store.

    Args:
        path: the HDF5 file.
        settings: the preprocessing the caller needs; none takes what the store has.

    Raises:
        StoreError: the store is missing or damaged, of another format version, or of another preprocessing.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(
            f"{path}: there must be an image store. Received: no file of this name. Build the store first."
        )
    try:
        store = ImageStore(path)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise StoreError(
            f"{path}: the image store must be whole and of format {FORMAT_VERSION}. Received: {error}. "
            "Delete it and build it again."
        ) from error
    if settings is not None and settings != store.preprocessing:
        store.close()
        raise StoreError(_difference(path, store.preprocessing, settings))
    return store


def photos_fingerprint(manifest: Manifest, settings: PreprocessingSettings, unreadable: Mapping[str, str] = {}) -> str:
    """Returns the fingerprint of the store that `build_store` makes of these photos, as a hash in hexadecimal text."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {settings.model_dump_json()}\n".encode())
    columns = (manifest.image_ids, manifest.table["path"], manifest.paths, manifest.rotations, manifest.boxes)
    for image_id, written, photo, rotation, box in zip(*columns, strict=True):
        row = [image_id, written, *_size_and_time(photo), int(rotation), *map(repr, box.tolist())]
        digest.update(json.dumps([*row, image_id in unreadable]).encode())
    return digest.hexdigest()


def nothing_readable(num_photos: int, reason: str) -> str:
    """Says that a collection has no photo to work with; `reason` is that of the first one."""
    received = f"{num_photos} photos, none of them readable; the first: {reason}"
    return f"At least one photo must be readable. Received: {received}"


def decoded_photos(manifest: Manifest, settings: PreprocessingSettings, rows: Iterable[int]) -> Iterator[Decoded]:
    """Prepares the photos of some rows on all cores, and few at a time, so that memory stays flat.

    Args:
        manifest: the photos, their boxes and rotations.
        settings: size, channels, crop and contrast.
        rows: which rows, in the order wanted.

    Returns:
        An iterator over each row with its image `(height, width, channels)` uint8 or why it could not be read.
    """
    paths, boxes, rotations = manifest.paths, manifest.boxes, manifest.rotations.tolist()

    def decode(row: int) -> Decoded:
        try:
            return row, prepare_image(paths[row], boxes[row], settings, rotations[row])
        except ImageError as error:
            return row, error

    return map_ahead(decode, rows, most=BLOCK)  # Pillow decodes and resizes outside of Python's lock


def image_bytes(settings: PreprocessingSettings) -> int:
    """Returns the size of one stored image."""
    return settings.height * settings.width * settings.channels


def free_bytes(path: Path) -> int:
    """Returns the free space of the disk where `path` stands or will stand."""
    there = next(folder for folder in path.absolute().parents if folder.exists())
    return shutil.disk_usage(there).free


def _open_if_same(path: Path, fingerprint: str) -> ImageStore | None:
    try:
        store = open_store(path)
    except StoreError:  # damaged or of an old format: it is built anew
        return None
    if store.fingerprint == fingerprint:
        return store
    store.close()
    return None


def _difference(path: Path, stored: PreprocessingSettings, wanted: PreprocessingSettings) -> str:
    fields = [name for name in PreprocessingSettings.model_fields if getattr(stored, name) != getattr(wanted, name)]
    wants = ", ".join(f"{name}={getattr(wanted, name)}" for name in fields)
    has = ", ".join(f"{name}={getattr(stored, name)}" for name in fields)
    return (
        f"{path}: the image store must be made with {wants}. Received: a store with {has}. "
        "Build another store, or take the preprocessing of this one."
    )


def _size_and_time(photo: Path) -> tuple[int, int]:
    try:
        status = photo.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _is_begun(unfinished: Path, fingerprint: str) -> bool:
    """Tells whether an interrupted build of the same photos and settings left its file."""
    try:
        with unfinished.open("rb", buffering=0) as file:
            return read_head(file).fingerprint == fingerprint
    except (OSError, KeyError, ValueError, RuntimeError):
        return False


def _missing_bytes(unfinished: Path) -> int:
    status = unfinished.stat()
    return status.st_size - status.st_blocks * 512  # POSIX counts blocks of 512 bytes


def _check_room(path: Path, missing: int) -> None:
    free = free_bytes(path)
    if missing > free:
        raise DiskError(
            f"{path}: the disk must have room for the image store, {missing / 1e9:.2f} GB more. "
            f"Received: {free / 1e9:.2f} GB free. Free space on the disk, choose another folder or smaller images "
            "(`preprocessing.height`, `preprocessing.width`); what stood there before is untouched."
        )


def _fill(
    unfinished: Path,
    manifest: Manifest,
    settings: PreprocessingSettings,
    unreadable: Mapping[str, str],
    on_progress: Progress | None,
) -> dict[int, str]:
    """Stores what is not stored yet; returns why the other rows cannot be read."""
    reasons = {row: unreadable[name] for row, name in enumerate(manifest.image_ids) if name in unreadable}
    with StoreWriter(unfinished) as writer:
        rows = [row for row in np.flatnonzero(~writer.stored).tolist() if row not in reasons]
        done = len(manifest) - len(rows)
        for block in _blocks(decoded_photos(manifest, settings, rows)):
            reasons |= {row: _reason(manifest, row, image) for row, image in block if isinstance(image, ImageError)}
            with disk_errors(unfinished):
                writer.write({row: image for row, image in block if isinstance(image, np.ndarray)})
            done += len(block)
            if on_progress:
                on_progress(done, len(manifest))
        num_stored = writer.stored.sum()
    if num_stored == 0:
        unfinished.unlink()
        raise StoreError(nothing_readable(len(manifest), reasons[0]))
    return reasons


def _blocks(decoded: Iterator[Decoded]) -> Iterator[list[Decoded]]:
    while block := list(itertools.islice(decoded, BLOCK)):
        yield block


def _reason(manifest: Manifest, row: int, error: ImageError) -> str:
    return str(error).removeprefix(f"{manifest.paths[row]}: ")


def _write_quarantine(path: Path, manifest: Manifest, reasons: Mapping[int, str]) -> None:
    """Writes the list, or takes an earlier one away where every photo could be read."""
    if not reasons:
        path.unlink(missing_ok=True)
        return
    rows, paths = sorted(reasons), manifest.paths
    columns = {
        "image_id": manifest.image_ids[rows],
        "path": [str(paths[row]) for row in rows],
        "reason": [reasons[row] for row in rows],
    }
    table = pd.DataFrame(columns)
    write_atomically(path, lambda place: table.to_csv(place, index=False, lineterminator="\n"))
