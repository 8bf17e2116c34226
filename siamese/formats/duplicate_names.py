"""Merges the names of individuals that a list calls one animal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from siamese.errors import ManifestError
from siamese.formats.tables import counted, read_labels, with_values
from siamese.manifest import Manifest

HEADINGS = ("Id", "SubId")  # Park 2019, third place of the humpback challenge


def join_duplicate_identities(manifest: Manifest, path: Path) -> tuple[Manifest, tuple[str, ...]]:
    """Merges names of one animal into the first of them, sorted; `original_identity` keeps a name that changed.

    Args:
        manifest: the photos. Not changed.
        path: a CSV with Id and SubId.

    Raises:
        ManifestError: the list names no individual of the manifest.
    """
    groups = read_duplicate_groups(path)
    renamed = merged_names(groups)
    known = set(manifest.identity) - {""}
    listed = sorted({name for group in groups for name in group})
    if not known & set(listed):
        raise ManifestError(
            f"{path}: the list must name individuals of the collection. Received: {counted(len(listed), 'name')}, none "
            "of which is there. Give the list that belongs to these labels."
        )
    before = manifest.identity
    after = np.array([renamed.get(name, name) for name in before], dtype=object)
    changed = [(int(row), before[row]) for row in np.flatnonzero(before != after)]
    lost = len(listed) - len(known & set(listed))
    note = (
        f"{path.name}: {counted(len(known), 'individual')} became {len(set(after) - {''}):,}; "
        f"{counted(len(changed), 'photo')} got another name, the old one stands in original_identity"
        + f"; {counted(lost, 'name')} in the list stand for no individual here" * bool(lost)
        + "."
    )
    return with_values(manifest.with_column("identity", after), "original_identity", changed), (note,)


def read_duplicate_groups(path: Path) -> list[list[str]]:
    """Reads which names stand for one animal.

    Args:
        path: a CSV with Id and SubId; SubId holds the names of one animal, with spaces between.

    Raises:
        ManifestError: the file cannot be read, or a column is missing.
    """
    return [names.split() for names in read_labels(path, HEADINGS)["SubId"]]


def merged_names(groups: Iterable[Sequence[str]]) -> dict[str, str]:
    """Returns for each name the first, sorted, of all that are the same animal, over chains of groups.

    Example:
    >>> merged_names([["b", "c"], ["c", "a"], ["x", "y"]])
    {'a': 'a', 'b': 'a', 'c': 'a', 'x': 'x', 'y': 'x'}
    """
    members: dict[str, set[str]] = {}
    for group in groups:
        joined = set(group).union(*(members.get(name, ()) for name in group))
        members.update(dict.fromkeys(joined, joined))
    return {name: min(members[name]) for name in sorted(members)}
