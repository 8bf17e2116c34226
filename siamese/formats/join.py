"""Joins collections, so that a check finds what they share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from siamese.formats.tables import unique_ids
from siamese.manifest import Manifest, from_table


def join_collections(manifests: Sequence[Manifest]) -> Manifest:
    """Puts the photos of several collections into one manifest, in order.

    Copies across them are what a check finds then: names of unknown photos come back from another release that has
    them (10th place of the humpback challenge, whose validation was recovered so).

    Args:
        manifests: at least one. Not changed.

    Returns:
        All rows, with the columns of all; a column that one lacks is empty there. Paths are absolute. Image ids that
        stand in several collections get a number.

    Example:
    >>> rows = pd.DataFrame({"image_id": ["a"], "path": ["a.jpg"], "identity": ["Mara"]})
    >>> one, other = (from_table(rows, folder, check_files=False) for folder in ("2018", "2019"))
    >>> join_collections([one, other]).image_ids
    array(['a#1', 'a#2'], dtype=object)
    """
    tables = [manifest.table.assign(path=[str(path) for path in manifest.paths]) for manifest in manifests]
    joined = pd.concat(tables, ignore_index=True)
    joined["image_id"] = unique_ids(joined["image_id"].tolist())
    return from_table(joined, Path("/"), check_files=False)
