"""The ways collections are stored: each is recognised, read to a manifest, and some are written."""

from __future__ import annotations

from pathlib import Path

from siamese.errors import ManifestError
from siamese.formats import (
    coco,
    folder,
    happywhale,
    humpback,
    manifest_csv,
    miewid,
    oml,
    plain,
    right_whale,
    wildlife_datasets,
)
from siamese.formats.base import Collection, Format
from siamese.formats.join import join_collections
from siamese.formats.lists import Lists, join_beside, join_lists
from siamese.formats.megadetector import is_megadetector
from siamese.formats.sloth import is_sloth
from siamese.formats.tables import LABEL_NAMES, MANIFEST_NAME, csv_headings, label_file, labels_of, read_json
from siamese.manifest import Manifest

__all__ = [
    "FORMATS",
    "Collection",
    "Format",
    "Lists",
    "join_collections",
    "join_lists",
    "read_collection",
    "write_collection",
]

AUTO = "auto"
NO_LISTS = Lists()
# In order of recognition; no two take the same source, which a test holds them to.
MODULES = (manifest_csv, humpback, happywhale, right_whale, wildlife_datasets, coco, miewid, oml, plain, folder)
FORMATS: dict[str, Format] = {module.FORMAT.name: module.FORMAT for module in MODULES}


def read_collection(
    source: Path | str,
    *,
    format: str = AUTO,
    photos: Path | None = None,
    check_files: bool = True,
    lists: Lists = NO_LISTS,
) -> Collection:
    r"""Reads a collection of any format, with the lists that belong to it.

    Args:
        source: a file of labels or a folder.
        format: a name in `FORMATS`, or `auto` to find out which it is.
        photos: folder that the photos' paths start from; none looks beside the labels.
        check_files: whether every photo must exist.
        lists: boxes, key points and more; they take the place of lists that lie beside the labels.

    Raises:
        ManifestError: the source is of no known format, or not what its format asks for.

    Example:
    >>> import tempfile
    >>> labels = Path(tempfile.mkdtemp()) / "sightings.csv"
    >>> _ = labels.write_text("Photo,Whale\n1.jpg,Mara\n2.jpg,unknown\n")
    >>> collection = read_collection(labels, check_files=False)
    >>> collection.format, collection.why
    ('plain', 'sightings.csv has a column of photos, Photo, and one of individuals, Whale')
    >>> collection.manifest.identity
    array(['Mara', ''], dtype=object)
    """
    source = Path(source)
    chosen, why = _choose(source, format)
    manifest, notes = chosen.read(source, photos, check_files)
    found = chosen.beside(source) if chosen.beside else NO_LISTS
    manifest, joined_beside = join_beside(manifest, found.without(lists))
    manifest, joined = join_lists(manifest, lists)
    return Collection(manifest, chosen.name, why, (*notes, *joined_beside, *joined))


def write_collection(manifest: Manifest, out: Path | str, *, format: str) -> None:
    """Writes a manifest in another format; `read_collection` reads the same from it.

    Args:
        manifest: the photos.
        out: the file to write, or for `folder` the folder.
        format: a name in `FORMATS` that can be written.

    Raises:
        ManifestError: the format cannot be written, or cannot hold this manifest.
        DiskError: the file could not be written.
    """
    writers = {name: known.write for name, known in FORMATS.items() if known.write is not None}
    if format not in writers:
        raise ManifestError(f"`format` must be one of {', '.join(writers)}. Received: {format!r}. Choose one of them.")
    writers[format](manifest, Path(out))


def _choose(source: Path, name: str) -> tuple[Format, str]:
    if name not in (AUTO, *FORMATS):
        raise ManifestError(f"`format` must be {AUTO} or one of {', '.join(FORMATS)}. Received: {name!r}.")
    if not source.exists():
        raise ManifestError(
            f"{source}: there must be a file of labels or a folder. Received: nothing of this name. "
            "Check the spelling; a relative path starts from the folder the command runs in."
        )
    if name != AUTO:
        return FORMATS[name], "the format was given"
    found = [(known, why) for known in FORMATS.values() if (why := known.recognise(source)) is not None]
    if len(found) != 1:
        received = " and ".join(f"{known.name} ({why})" for known, why in found) or _what_it_is(source)
        raise ManifestError(
            f"{source}: the collection must be of one known format. Received: {received}. Choose with --format "
            f"from {', '.join(FORMATS)}; docs/formats.md tells what each is recognised by."
        )
    return found[0]


def _what_it_is(source: Path) -> str:
    """Says what was looked at in vain."""
    if source.is_dir() and label_file(source) is None:
        return f"a folder without photos and without a file of labels ({', '.join((MANIFEST_NAME, *LABEL_NAMES))})"
    file = labels_of(source)
    if file.suffix.lower() == ".csv":
        return f"a CSV with the columns {', '.join(csv_headings(file)) or '(none)'}"
    if file.suffix.lower() != ".json":
        return f"a file that ends with {file.suffix or 'nothing'}; labels end with .csv or .json"
    if is_megadetector(content := read_json(file)):
        return "boxes of MegaDetector, which have no individuals; give them as --boxes beside the labels"
    return "a Sloth list, to be given as --boxes or --keypoints" if is_sloth(content) else "JSON without annotations"
