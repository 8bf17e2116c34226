"""One folder of photos for each individual; read as it lies, and written with a manifest that keeps the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from siamese.errors import DiskError, ManifestError
from siamese.formats.base import Format
from siamese.formats.tables import MANIFEST_NAME, label_file, told_unknown
from siamese.manifest import PHOTO_SUFFIXES, Manifest, from_folder

UNSAFE = frozenset('<>:"/\\|?*')  # Windows refuses these in names
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})
MAX_NAME_BYTES = 120  # most file systems allow 255; the ending and a number come on top


def recognise(source: Path) -> str | None:
    """Takes a folder without a file of labels that holds a photo somewhere."""
    if not source.is_dir() or label_file(source) is not None:
        return None
    if not any(path.suffix.lower() in PHOTO_SUFFIXES for path in source.rglob("*")):
        return None
    return "a folder of photos without a file of labels: the name of each sub-folder is the individual"


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads the photos below `source`; `photos` and `check_files` say nothing here."""
    manifest = from_folder(source)
    return manifest, told_unknown(int((manifest.identity == "").sum()), "directly in the folder")


def write(manifest: Manifest, out: Path) -> None:
    """Writes a folder for each individual, with `manifest.csv` beside them; unknown individuals lie beside it.

    Photos are linked where the disk allows it, else copied. One that shows several animals lies in the folder of the
    first that has a name; only the manifest tells the others.

    Args:
        manifest: the photos.
        out: a new or empty folder.

    Raises:
        ManifestError: a photo is missing, or the folder holds something.
        DiskError: the folder could not be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ManifestError(
            f"{out}: a folder to write must be new or empty. Received: one in use. Choose another name."
        )
    unfinished = out.absolute().with_name(f".unfinished-{out.name}")
    try:
        if unfinished.exists():  # of an earlier attempt that was killed
            shutil.rmtree(unfinished)
        unfinished.mkdir(parents=True)
        places = _places(manifest)
        for photo, place in places.items():
            _link(photo, unfinished / place)
        paths = [(unfinished / places[photo]).as_posix() for photo in manifest.paths]
        Manifest(manifest.table.assign(path=paths), unfinished).write(unfinished / MANIFEST_NAME)
        if out.exists():
            out.rmdir()
        os.replace(unfinished, out)
    except OSError as error:
        raise DiskError(
            f"{out}: the folder must be writable. Received: {error.strerror or error}. "
            "Free space on the disk or choose another folder."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def safe_name(name: str) -> str:
    """Makes a name that every system takes for a file or folder.

    Example:
    >>> safe_name("Mara/left?"), safe_name(".."), safe_name("aux")
    ('Mara_left_', '_', 'aux_')
    """
    text = "".join("_" if letter in UNSAFE or not letter.isprintable() else letter for letter in name)
    text = text.encode()[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(" .")
    text = "_" + text[1:] if text[:1] in ("", ".", " ") else text
    return text + "_" if text.split(".")[0].casefold() in RESERVED else text


def _places(manifest: Manifest) -> dict[Path, Path]:
    """Where each photo goes, in the order of the rows; names that systems take for one another are told apart."""
    folders: dict[str, str] = {}
    taken, taken_in = {MANIFEST_NAME}, dict[str, set[str]]()
    named: dict[Path, str] = {}
    for photo, identity in zip(manifest.paths, manifest.identity, strict=True):
        named[photo] = named.get(photo) or identity
    for identity in dict.fromkeys(named.values()):
        folders[identity] = _free(safe_name(identity), "", taken) if identity else ""
    loose = taken_in.setdefault("", taken)  # photos without a name share their folder with the other folders
    places = {}
    for photo, identity in named.items():
        inside = taken_in.setdefault(identity, set()) if identity else loose
        places[photo] = Path(folders[identity], _free(safe_name(photo.stem), photo.suffix, inside))
    return places


def _free(stem: str, ending: str, taken: set[str]) -> str:
    """Returns the first of name, name-2, name-3, ... that is free, and takes it; case does not tell names apart."""
    number = 1
    while (name := stem + (f"-{number}" if number > 1 else "") + ending).casefold() in taken:
        number += 1
    taken.add(name.casefold())
    return name


def _link(photo: Path, place: Path) -> None:
    if not photo.is_file():
        raise ManifestError(f"{photo}: the photo must exist to be exported. Received: no file. Correct its path.")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(photo.resolve(), place)
    except OSError:  # another disk, or one without links
        shutil.copy2(photo, place)


FORMAT = Format("folder", recognise, read, write)
