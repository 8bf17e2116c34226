"""Image store: every photo decoded, cropped and resized once, in one HDF5 file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
import pandas as pd

from siamese.errors import ImageError, StoreError
from siamese.files import PatientFile, write_atomically
from siamese.images import prepare_image
from siamese.manifest import Manifest
from siamese.settings import PreprocessingSettings

FORMAT_VERSION = 1
QUARANTINE = "quarantine.csv"
BLOCK = 128  # photos decoded between two writes
Progress = Callable[[int, int], None]


class ImageStore:
    """An open store; made by `build_store` or `open_store`. Close it, or use it in a `with` statement.

    Attributes:
        path: the HDF5 file.
        image_ids: `(num_images,)` names in the order of the rows, as objects.
        preprocessing: what the photos went through.
        fingerprint: hash of the photos and settings that made the store.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.image_ids = file["image_ids"].asstr()[:].astype(object)
        self.preprocessing = PreprocessingSettings.model_validate_json(file.attrs["preprocessing"])
        self.fingerprint = str(file.attrs["fingerprint"])
        self._file = file
        self._images = file["images"]

    def __len__(self) -> int:
        return len(self.image_ids)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Images at `indices` `(num,)`, in any order and with repeats: `(num, height, width, channels)` uint8.

        Raises:
            IndexError: an index is negative or beyond the store.
        """
        indices = np.asarray(indices, dtype=np.int64)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(
                f"`indices` must lie between 0 and {len(self) - 1}. Received: {indices.min()} to {indices.max()}."
            )
        images = np.empty((len(indices), *self._images.shape[1:]), dtype=np.uint8)
        for place, index in enumerate(indices):
            # A chunk is an image as it is, so it is read into its place without HDF5's selection machinery.
            self._images.id.read_direct_chunk((int(index), 0, 0, 0), out=images[place].reshape(-1))
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
    on_progress: Progress | None = None,
) -> ImageStore:
    """Decodes all photos into `path`, or opens it when the same photos and settings made it before.

    Photos that cannot be read are not in the store; `quarantine.csv` beside it names them with the reason.

    Args:
        manifest: the photos and their boxes.
        path: the HDF5 file; replaced only when the new one is whole.
        settings: size, channels and crop.
        on_progress: called with the number of photos done and of all photos.

    Raises:
        StoreError: no photo could be read.
        DiskError: the file could not be written; an earlier one is untouched.
    """
    path = Path(path)
    fingerprint = photos_fingerprint(manifest, settings)
    if path.is_file() and (store := _open_if_same(path, fingerprint)):
        return store
    quarantine: list[tuple[str, str, str]] = []
    blocks = _decoded_blocks(manifest, settings, quarantine, on_progress)

    def write(place: Path) -> None:
        _write(place, blocks, len(manifest), settings, fingerprint, quarantine)
        _write_quarantine(path.with_name(QUARANTINE), quarantine)  # before the store moves: a store has its list

    write_atomically(path, write)
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
        store = _open(path)
    except (OSError, KeyError, ValueError) as error:
        raise StoreError(
            f"{path}: the image store must be whole and of format {FORMAT_VERSION}. Received: {error}. "
            "Delete it and build it again."
        ) from error
    if settings is not None and settings != store.preprocessing:
        store.close()
        raise StoreError(_difference(path, store.preprocessing, settings))
    return store


def photos_fingerprint(manifest: Manifest, settings: PreprocessingSettings) -> str:
    """Returns the fingerprint of the store that `build_store` makes of these photos, as a hash in hexadecimal text."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {settings.model_dump_json()}\n".encode())
    rows = zip(manifest.image_ids, manifest.table["path"], manifest.paths, manifest.boxes, strict=True)
    for image_id, written, photo, box in rows:
        digest.update(json.dumps([image_id, written, *_size_and_time(photo), *map(repr, box.tolist())]).encode())
    return digest.hexdigest()


def _open(path: Path) -> ImageStore:
    file = h5py.File(path, "r")
    try:
        if file.attrs["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {file.attrs['format_version']}")
        return ImageStore(path, file)
    except BaseException:
        file.close()
        raise


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


def _num_workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decoded_blocks(
    manifest: Manifest,
    settings: PreprocessingSettings,
    quarantine: list[tuple[str, str, str]],
    on_progress: Progress | None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Gives image ids and `(num, height, width, channels)` images; unreadable ones are added to `quarantine`."""
    paths, boxes, image_ids = manifest.paths, manifest.boxes, manifest.image_ids

    def decode(row: int) -> np.ndarray | ImageError:
        try:
            return prepare_image(paths[row], boxes[row], settings)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(_num_workers()) as pool:  # Pillow decodes and resizes outside of Python's lock
        for start in range(0, len(manifest), BLOCK):
            rows = range(start, min(start + BLOCK, len(manifest)))
            decoded = dict(zip(rows, pool.map(decode, rows), strict=True))
            images = {row: image for row, image in decoded.items() if not isinstance(image, ImageError)}
            quarantine += [
                (image_ids[row], str(paths[row]), str(decoded[row]).removeprefix(f"{paths[row]}: "))
                for row in rows
                if row not in images
            ]
            if images:
                yield [image_ids[row] for row in images], np.stack(list(images.values()))
            if on_progress:
                on_progress(rows.stop, len(manifest))


def _write(
    place: Path,
    blocks: Iterator[tuple[list[str], np.ndarray]],
    num_photos: int,
    settings: PreprocessingSettings,
    fingerprint: str,
    quarantine: list[tuple[str, str, str]],
) -> None:
    shape = (settings.height, settings.width, settings.channels)
    image_ids: list[str] = []
    with PatientFile(place, "w+") as disk:
        with h5py.File(disk, "w") as file:
            images = file.create_dataset(
                "images", (num_photos, *shape), np.uint8, chunks=(1, *shape), maxshape=(None, *shape)
            )
            for names, block in blocks:
                images[len(image_ids) : len(image_ids) + len(names)] = block
                image_ids += names
                disk.check()
            if not image_ids:
                raise StoreError(_nothing_readable(quarantine))
            images.resize(len(image_ids), axis=0)
            file["image_ids"] = np.array(image_ids, dtype=h5py.string_dtype())
            file.attrs["format_version"] = FORMAT_VERSION
            file.attrs["preprocessing"] = settings.model_dump_json()
            file.attrs["fingerprint"] = fingerprint
        disk.check()


def _nothing_readable(quarantine: list[tuple[str, str, str]]) -> str:
    if not quarantine:
        return "An image store must be made of at least one photo. Received: an empty manifest."
    return (
        "At least one photo must be readable. "
        f"Received: {len(quarantine)} photos, none of them readable; the first: {quarantine[0][2]}"
    )


def _write_quarantine(path: Path, quarantine: list[tuple[str, str, str]]) -> None:
    """Writes the list, or takes an earlier one away where every photo could be read."""
    if not quarantine:
        path.unlink(missing_ok=True)
        return
    table = pd.DataFrame(quarantine, columns=["image_id", "path", "reason"])
    write_atomically(path, lambda place: table.to_csv(place, index=False, lineterminator="\n"))
