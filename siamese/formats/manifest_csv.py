"""The manifest: the CSV that everything else starts from."""

from __future__ import annotations

from pathlib import Path

from siamese.errors import ManifestError
from siamese.formats import wildlife_datasets
from siamese.formats.base import Format
from siamese.formats.tables import headings, labels_of
from siamese.manifest import REQUIRED_COLUMNS, Manifest, from_table, read_manifest


def recognise(source: Path) -> str | None:
    """Takes a CSV with image_id and path that wildlife-datasets did not write; reading it asks for identity as well."""
    there = [name for name in REQUIRED_COLUMNS if name in headings(source)]
    if not {"image_id", "path"} <= set(there) or wildlife_datasets.recognise(source):
        return None
    return f"{labels_of(source).name} has the columns {', '.join(there)}"


def read(source: Path, photos: Path | None, check_files: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Reads the manifest; with `photos`, relative paths start there."""
    labels = labels_of(source)
    if photos is None:
        return read_manifest(labels, check_files=check_files), ()
    table = read_manifest(labels, check_files=False).table
    return from_table(table.set_axis(range(2, len(table) + 2)), photos, check_files=check_files, source=str(labels)), ()


def write(manifest: Manifest, out: Path) -> None:
    """Writes the manifest.

    Args:
        manifest: the photos.
        out: the CSV.

    Raises:
        ManifestError: `out` is not a CSV by name.
        DiskError: the file could not be written.
    """
    if out.suffix.lower() != ".csv":
        raise ManifestError(f"{out}: a manifest must end with .csv. Received: {out.name!r}. Choose another name.")
    manifest.write(out)


FORMAT = Format("manifest", recognise, read, write)
