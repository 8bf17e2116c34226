"""What every format offers, and what reading a collection gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from siamese.formats.lists import Lists
from siamese.manifest import Manifest

Reader = Callable[[Path, Path | None, bool], tuple[Manifest, tuple[str, ...]]]


@dataclass(frozen=True)
class Format:
    """One way to store a collection; each module of `siamese.formats` has one, named `FORMAT`.

    Attributes:
        name: what `--format` calls it.
        recognise: returns the reason why a file or folder is of this format, or none.
        read: makes the manifest, given the source, the folder of the photos (none looks for them beside the labels)
            and whether every photo must exist; returns it with sentences about what was dropped, joined or merged.
        write: writes a manifest to a file or folder; none where the format is only read.
        beside: finds the lists that lie beside the labels; none where a format has none.
    """

    name: str
    recognise: Callable[[Path], str | None]
    read: Reader
    write: Callable[[Manifest, Path], None] | None = None
    beside: Callable[[Path], Lists] | None = None


@dataclass(frozen=True)
class Collection:
    """A collection that was read.

    Attributes:
        manifest: the photos.
        format: name of the format.
        why: one sentence, how it was recognised.
        notes: sentences about what was dropped, joined or merged, with counts.
    """

    manifest: Manifest
    format: str
    why: str
    notes: tuple[str, ...]
