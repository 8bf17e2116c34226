"""The file of an image store: laid out once as HDF5, then filled in its places by plain writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import h5py
import numpy as np

from siamese.files import write_atomically
from siamese.hdf5 import reserve, write_head
from siamese.settings import PreprocessingSettings

FORMAT_VERSION = 2


@dataclass(frozen=True)
class StoreHead:
    """What stands in a store beside the images, and where the images stand.

    Attributes:
        image_ids: `(num_photos,)` names of the rows, as objects.
        preprocessing: what the photos went through.
        fingerprint: hash of the photos and settings that make the store.
        stored: `(num_photos,)` bools, whether the row holds its image; false is not done yet, or unreadable.
        images_at: byte of the file where the images begin, row by row, `(height, width, channels)` uint8 each.
        stored_at: byte of the file where `stored` begins, one byte a row.
    """

    image_ids: np.ndarray
    preprocessing: PreprocessingSettings
    fingerprint: str
    stored: np.ndarray
    images_at: int
    stored_at: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.preprocessing.height, self.preprocessing.width, self.preprocessing.channels


def read_head(file: BinaryIO) -> StoreHead:
    """Reads all but the images.

    Raises:
        OSError, KeyError, ValueError, RuntimeError: the file is no store of this format, or was cut short.
    """
    with h5py.File(file, "r") as store:
        if store.attrs["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {store.attrs['format_version']}")
        return StoreHead(
            store["image_ids"].asstr()[:].astype(object),
            PreprocessingSettings.model_validate_json(store.attrs["preprocessing"]),
            str(store.attrs["fingerprint"]),
            store["stored"][:].astype(bool),
            store["images"].id.get_offset(),
            store["stored"].id.get_offset(),
        )


def lay_out(place: Path, image_ids: np.ndarray, settings: PreprocessingSettings, fingerprint: str) -> None:
    """Makes the file of a store whose images are all still missing; it takes no room on the disk for them yet.

    Raises:
        DiskError: the file could not be written.
    """
    shape = (len(image_ids), settings.height, settings.width, settings.channels)

    def head(store: h5py.File) -> int:
        store["image_ids"] = np.array(image_ids, dtype=h5py.string_dtype())
        store.attrs["format_version"] = FORMAT_VERSION
        store.attrs["preprocessing"] = settings.model_dump_json()
        store.attrs["fingerprint"] = fingerprint
        reserve(store, "stored", shape[:1], "u1")
        return reserve(store, "images", shape, "u1")  # last, so that all else stands before it

    write_atomically(place, lambda path: write_head(path, head))


class StoreWriter:
    """Fills the rows of a laid-out file. Use it in a `with` statement.

    A kill at any moment leaves a sound file: a row is called stored only after its image is on the disk, and what HDF5
    wrote never changes.

    Attributes:
        stored: `(num_photos,)` bools, the rows that hold their image.
    """

    def __init__(self, place: Path) -> None:
        self._file = place.open("r+b", buffering=0)
        self._head = read_head(self._file)
        self.stored = self._head.stored

    def write(self, images: Mapping[int, np.ndarray]) -> None:
        """Writes images `(height, width, channels)` uint8 by their rows.

        Raises:
            OSError: the system refused to write; the rows are then not called stored.
        """
        if not images:
            return
        for row, image in images.items():
            self._write_at(self._head.images_at + row * image.nbytes, image)
        os.fsync(self._file.fileno())
        self.stored[list(images)] = True
        first, last = min(images), max(images)
        self._write_at(self._head.stored_at + first, self.stored[first : last + 1])

    def _write_at(self, place: int, values: np.ndarray) -> None:
        self._file.seek(place)
        rest = memoryview(values.tobytes())
        while rest:
            rest = rest[self._file.write(rest) :]

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
