"""Joins lists of photos to a manifest: those to leave out and those to turn."""

from __future__ import annotations

from pathlib import Path

from siamese.errors import ManifestError
from siamese.formats.matching import check_some_found, find_rows, told_unmatched
from siamese.formats.tables import counted, photo_column, read_labels, with_values
from siamese.manifest import CHOICES, Manifest

UPSIDE_DOWN = 180  # what a bare name in a rotate list means: the humpback kernel's list


def join_exclude(manifest: Manifest, path: Path) -> tuple[Manifest, tuple[str, ...]]:
    """Marks photos as left out: `use` becomes `nothing`.

    Args:
        manifest: the photos. Not changed.
        path: a text file with one photo a line, or a CSV with a column of photos.

    Raises:
        ManifestError: the list names no photo of the manifest.
    """
    names = _photos_of_csv(path) if path.suffix.lower() == ".csv" else _lines(path)
    rows = find_rows(manifest, names)
    check_some_found(path, names, rows)
    left_out = sorted({row for at in rows for row in at})
    note = f"{path.name}: {counted(len(left_out), 'photo')} left out{told_unmatched(path, names, rows)}."
    return with_values(manifest, "use", [(row, "nothing") for row in left_out]), (note,)


def join_rotate(manifest: Manifest, path: Path) -> tuple[Manifest, tuple[str, ...]]:
    """Sets the column `rotation`: clockwise degrees that turn a photo upright.

    Args:
        manifest: the photos. Not changed.
        path: a text file, one photo a line; degrees may follow the name, else 180 is meant.

    Raises:
        ManifestError: the degrees are not a quarter turn, or the list names no photo of the manifest.
    """
    lines = _lines(path)
    whole = find_rows(manifest, lines)  # a name may hold spaces and digits
    turns = [
        (line, UPSIDE_DOWN) if found else _name_and_turn(path, line) for line, found in zip(lines, whole, strict=True)
    ]
    names = [name for name, _ in turns]
    rows = find_rows(manifest, names)
    check_some_found(path, names, rows)
    values = [(row, str(turn)) for at, (_, turn) in zip(rows, turns, strict=True) for row in at]
    note = f"{path.name}: {counted(len(values), 'photo')} to be turned{told_unmatched(path, names, rows)}."
    return with_values(manifest, "rotation", values), (note,)


def _photos_of_csv(path: Path) -> list[str]:
    table = read_labels(path, ())
    return table[photo_column(path, table)].tolist()


def _lines(path: Path) -> list[str]:
    """Lines that say something; those behind # are remarks."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: the list must be a text file in UTF-8. Received: {error}.") from error
    return [line for line in lines if line and not line.startswith("#")]


def _name_and_turn(path: Path, line: str) -> tuple[str, int]:
    name, _, turn = line.rpartition(" ")
    if not name or not turn.lstrip("-").isdigit():
        return line, UPSIDE_DOWN
    clockwise = int(turn) % 360
    if str(clockwise) not in CHOICES["rotation"]:
        raise ManifestError(
            f"{path}: a photo must be turned by 90, 180 or 270 degrees. Received: {line!r}. Correct the line."
        )
    return name.strip(), clockwise
