"""Files that are whole or not there: written beside their place, then moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from siamese.errors import DiskError


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
    unfinished = unfinished_path(path)
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(unfinished)
            move_into_place(unfinished, path)
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
    unfinished = {folder / name: unfinished_path(folder / name) for name in contents}
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for place, content in zip(unfinished.values(), contents.values(), strict=True):
                place.write_bytes(content)
                _flush_to_disk(place)
            for path, place in unfinished.items():
                os.replace(place, path)
    finally:
        for place in unfinished.values():
            _remove_if_there(place)


def unfinished_path(path: Path) -> Path:
    """Returns where a file is made before it moves to `path`: a hidden name beside it with the same ending."""
    return path.with_name(f".unfinished-{path.name}")


def move_into_place(unfinished: Path, path: Path) -> None:
    """Moves a finished file to `path` in one step, once all of it is on the disk."""
    _flush_to_disk(unfinished)
    os.replace(unfinished, path)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Gives what the system says against writing within the `with` statement as a sentence about `path`.

    Raises:
        DiskError: the system refused to write, for instance because the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{path}: the file must be writable. Received: {error.strerror or error}. "
            "Free space on the disk or choose another folder; what stood there before is untouched."
        ) from error


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove_if_there(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is missing or closed to us, so nothing was left there
        return
