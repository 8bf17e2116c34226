"""Files that are whole or not there: written beside their place, then moved."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.errors import DiskError

if TYPE_CHECKING:
    from typing_extensions import Buffer  # in `collections.abc` from Python 3.12 on


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` make a file beside `path`, then moves it there in one step.

    A kill or a full disk at any moment leaves the earlier file as it was. The folder is made where it is missing.

    Args:
        path: where the file shall stand.
        write: makes the file at the path it is given, which ends like `path`, so that formats told by the ending work.

    Raises:
        DiskError: the system refused to write, for instance because the disk is full.

    Example:
    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "report" / "note.txt"
    >>> write_atomically(place, lambda path: path.write_text("whole"))
    >>> place.read_text()
    'whole'
    """
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(unfinished)
        _flush_to_disk(unfinished)
        os.replace(unfinished, path)
    except OSError as error:
        raise _disk_error(path, error) from error
    finally:
        _remove_if_there(unfinished)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes files that belong together: all are on the disk before the first one moves to its place.

    Args:
        folder: made if missing; other files in it stay.
        contents: bytes of each file by its name, moved in this order, so what names the others comes last.

    Raises:
        DiskError: the system refused to write one of them; the earlier files are all untouched.
    """
    unfinished = {folder / name: folder / f".unfinished-{name}" for name in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, content in zip(unfinished.values(), contents.values(), strict=True):
            place.write_bytes(content)
            _flush_to_disk(place)
        for path, place in unfinished.items():
            os.replace(place, path)
    except OSError as error:
        raise _disk_error(folder, error) from error
    finally:
        for place in unfinished.values():
            _remove_if_there(place)


class PatientFile(io.FileIO):
    """A file that keeps the first failure to write for `check` and carries on.

    HDF5 cannot close a file it failed to write: the process then ends with a segmentation fault (h5py issue 914).
    Written through this file it closes in peace, and the failure is raised afterwards.

    Attributes:
        failure: the first failure to write, none so far.
    """

    failure: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        """Writes all of `data`, or keeps the failure; returns its number of bytes in either case."""
        rest = memoryview(data).cast("B")
        num_bytes = len(rest)
        while rest and self.failure is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.failure = error
        return num_bytes

    def truncate(self, size: int | None = None, /) -> int:
        """Sets the length of the file, or keeps the failure."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return self.tell() if size is None else size

    def check(self) -> None:
        """Raises the failure, if there was one."""
        if self.failure is not None:
            raise self.failure


def _disk_error(path: Path, error: OSError) -> DiskError:
    return DiskError(
        f"{path}: the file must be writable. Received: {error.strerror or error}. "
        "Free space on the disk or choose another folder; what stood there before is untouched."
    )


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove_if_there(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is missing or closed to us, so nothing was left there
        return
