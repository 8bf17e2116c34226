"""The folder of a check: the page, its numbers, and the tables a person or the next command goes on with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from siamese.checks.check import CollectionCheck
from siamese.checks.page import page_html
from siamese.files import write_atomically


def write_check(check: CollectionCheck, folder: Path) -> None:
    """Writes index.html, check.json, photos.csv, duplicates.csv, suspects.csv, named_by_copy.csv, quarantine.csv and
    manifest.csv.

    The manifest, written last, holds the rows whose photo can be read, with the columns duplicate_group, burst and use;
    training and splits take it from there.

    Args:
        check: what was found.
        folder: made if missing; files of the same name are replaced, each in one move.

    Raises:
        DiskError: a file cannot be written.
    """
    folder = Path(folder)
    _write_text(folder / "index.html", page_html(check))
    _write_text(folder / "check.json", json.dumps(check.findings, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    _write_table(folder / "photos.csv", check.facts)
    _write_table(folder / "duplicates.csv", _copies(check))
    _write_table(folder / "suspects.csv", check.suspects)
    _write_table(folder / "named_by_copy.csv", check.labels.named_by_copy)
    _write_table(folder / "quarantine.csv", _quarantine(check))
    check.manifest.select(check.readable).write(folder / "manifest.csv")


def _copies(check: CollectionCheck) -> pd.DataFrame:
    group = check.duplicates.group[check.file]
    rows = np.flatnonzero(group >= 0)
    rows = rows[np.argsort(group[rows], kind="stable")]
    kept = np.where(check.labels.kept[check.file[rows]], "true", "false")
    return pd.DataFrame({"group": group[rows], "image_id": check.manifest.image_ids[rows], "preferred": kept})


def _quarantine(check: CollectionCheck) -> pd.DataFrame:
    path = dict(zip(check.manifest.image_ids, check.manifest.paths, strict=True))
    rows = [(image_id, path[image_id], reason) for image_id, reason in check.unreadable.items()]
    return pd.DataFrame(rows, columns=["image_id", "path", "reason"])


def _write_text(path: Path, text: str) -> None:
    # A name that is no proper Unicode, as a file system may hold one, must not stop the page.
    write_atomically(path, lambda place: place.write_bytes(text.encode("utf-8", "replace")))


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_atomically(path, lambda place: table.to_csv(place, index=False, lineterminator="\n"))
