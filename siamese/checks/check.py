"""The one call that checks a collection: photos, copies, bursts, labels, leaks, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from siamese.checks.bursts import burst_groups
from siamese.checks.duplicates import Duplicates, find_duplicates, hash_list_duplicates
from siamese.checks.findings import as_rows, list_findings
from siamese.checks.inspection import inspect_photos
from siamese.checks.labels import LabelCheck, check_labels, names_of_files, two_name_suspects
from siamese.checks.leaks import LeakReport, find_leaks
from siamese.checks.statistics import date_statistics, identity_statistics, photo_statistics, telling_sizes
from siamese.errors import ManifestError
from siamese.manifest import Manifest
from siamese.settings import CheckSettings
from siamese.splits import has_split

SIZE = ("width", "height")
OnStage = Callable[[str, int, int], None]
SIDES = ("train", "catalog", "validation", "test")
HASH_COLUMNS = {"image_id": ("image_id", "Image", "path"), "phash": ("phash", "phash_rep")}


@dataclass(frozen=True, eq=False)
class CollectionCheck:
    """What a check found.

    Attributes:
        manifest: all given rows, with the columns duplicate_group, burst and use.
        settings: what the check called a copy and a burst.
        facts: one row for each photo file, in order of first appearance: what `inspect_photos` measured, or, without
            photos, path, reason, phash and as far as they were listed width and height.
        file: `(num_rows,)` row of `facts` for each row of the manifest.
        duplicates: groups of copies.
        labels: what copies tell about names.
        suspects: pairs of names that may be one animal, as `two_name_suspects` lists them.
        leaks: what stands on both sides of the split; None without a split.
        findings: all numbers, as JSON holds them; `findings["findings"]` lists the sentences, worst first.
        unreadable: reason by image id.
    """

    manifest: Manifest
    settings: CheckSettings
    facts: pd.DataFrame
    file: np.ndarray
    duplicates: Duplicates
    labels: LabelCheck
    suspects: pd.DataFrame
    leaks: LeakReport | None
    findings: dict[str, Any]
    unreadable: dict[str, str]

    @property
    def readable(self) -> np.ndarray:
        """`(num_rows,)` bools: the photo can be read, or was not looked at."""
        return (self.facts["reason"] == "").to_numpy(dtype=bool)[self.file]


def check_collection(
    manifest: Manifest,
    settings: CheckSettings,
    *,
    hashes: pd.DataFrame | None = None,
    with_photos: bool = True,
    cache: Path | None = None,
    on_stage: OnStage | None = None,
) -> CollectionCheck:
    """Checks photos and labels of a collection; changes nothing.

    Args:
        manifest: the collection. Its column `use` is kept where no copy says otherwise. Not changed.
        settings: limits of decoding, and what a copy and a burst are.
        hashes: without photos, a list of their perceptual hashes: columns image_id and phash (or Image and phash_rep,
            as published for the humpback challenge), and width and height where they are known. Not changed.
        with_photos: whether the photos are decoded; without, the labels and the hash list are checked alone.
        cache: CSV that keeps what was measured, so that a check that was interrupted goes on where it stood.
        on_stage: told the name of each stage, how much of it is done and how much there is.

    Raises:
        ManifestError: the hash list lacks a column.
    """
    tell = on_stage or (lambda name, done, total: None)
    file, paths = pd.factorize(np.array([os.path.abspath(path) for path in manifest.paths], dtype=object))
    if with_photos:
        facts = inspect_photos(
            [Path(path) for path in paths],
            settings,
            cache=cache,
            on_progress=lambda done, total: tell("photos", done, total),
        )
    else:
        facts = _listed_facts(manifest, file, paths, hashes)
    tell("copies", 0, len(facts))
    duplicates = find_duplicates(facts, settings) if with_photos else hash_list_duplicates(facts, settings)
    tell("labels", 0, len(manifest))
    labels = check_labels(manifest, file, duplicates.group, _areas(facts))
    times = row_times(manifest, facts, file)
    suspects = _suspects(manifest, facts, file, duplicates.group, times, settings)
    tell("bursts", 0, len(manifest))
    burst = burst_groups(
        manifest.identity,
        facts["phash"].to_numpy(dtype=object)[file],
        times,
        settings,
        paths=paths[file] if with_photos else None,
    )
    marked = _marked(manifest, duplicates.group[file], burst, labels.use)
    as_given = marked.with_column("use", manifest.column("use"))  # setting spare copies aside mends some leaks
    leaks = find_leaks(as_given) if has_split(manifest) else None
    numbers = _numbers(marked, facts, file, duplicates, labels, suspects, leaks)
    reason = facts["reason"].to_numpy()[file]
    return CollectionCheck(
        manifest=marked,
        settings=settings,
        facts=facts,
        file=file,
        duplicates=duplicates,
        labels=labels,
        suspects=suspects,
        leaks=leaks,
        findings={"with_photos": with_photos, **numbers, "findings": as_rows(list_findings(numbers))},
        unreadable={manifest.image_ids[row]: reason[row] for row in np.flatnonzero(reason != "")},
    )


def row_times(manifest: Manifest, facts: pd.DataFrame, file: np.ndarray) -> np.ndarray:
    """When each row's photo was taken: the manifest's date if it has a time of day, else the camera's, else the date.

    Args:
        manifest: the rows.
        facts: one row for each photo file; column `taken` where the photos were looked at.
        file: `(num_rows,)` row of `facts` for each row.

    Returns:
        `(num_rows,)` ISO 8601 text, "" where it is not known.
    """
    date = manifest.column("date")
    taken = facts["taken"].to_numpy(dtype=object)[file] if "taken" in facts else np.full(len(file), "", dtype=object)
    timed = np.array([":" in text for text in date], dtype=bool)
    return np.where(~timed & (taken != ""), taken, date)


def _listed_facts(manifest: Manifest, file: np.ndarray, paths: np.ndarray, hashes: pd.DataFrame | None) -> pd.DataFrame:
    """Facts without a look at the photos: their hashes, and sizes, from a list."""
    facts = pd.DataFrame({"path": paths, "reason": "", "phash": ""}, dtype=object)
    if hashes is None:
        return facts
    named = {name: next((there for there in names if there in hashes), None) for name, names in HASH_COLUMNS.items()}
    for name, there in named.items():
        if there is None:
            raise ManifestError(
                f"The hash list must have a column {' or '.join(HASH_COLUMNS[name])}. "
                f"Received: {', '.join(map(str, hashes.columns))}. Add it, or check with the photos."
            )
    listed = hashes.drop_duplicates(named["image_id"]).set_index(named["image_id"])
    first = np.unique(file, return_index=True)[1]
    keys = pd.Index([Path(path).name for path in paths])
    keys = keys.where(keys.isin(listed.index), pd.Index(manifest.image_ids[first]))
    facts["phash"] = listed[named["phash"]].reindex(keys).fillna("").to_numpy()
    for name in ("width", "height"):
        if name in listed:
            facts[name] = listed[name].reindex(keys).fillna(0).astype(int).to_numpy()
    return facts


def _areas(facts: pd.DataFrame) -> np.ndarray:
    if not {"width", "height"} <= set(facts):
        return np.zeros(len(facts), dtype=int)
    return facts["width"].to_numpy(dtype=int) * facts["height"].to_numpy(dtype=int)


def _suspects(
    manifest: Manifest,
    facts: pd.DataFrame,
    file: np.ndarray,
    group: np.ndarray,
    times: np.ndarray,
    settings: CheckSettings,
) -> pd.DataFrame:
    first = np.unique(file, return_index=True)[1]
    names = names_of_files(manifest.identity, file, manifest.column("use") != "nothing", len(facts))
    phash = facts["phash"].to_numpy(dtype=object)
    # Without names, photos are one burst only if they are close in time and alike.
    moment = burst_groups(np.full(len(facts), "", dtype=object), phash, times[first], settings)
    return two_name_suspects(manifest.image_ids[first], names, group, moment, phash)


def _marked(manifest: Manifest, group: np.ndarray, burst: np.ndarray, use: np.ndarray) -> Manifest:
    for name, codes in {"duplicate_group": group, "burst": burst}.items():
        manifest = manifest.with_column(name, np.where(codes >= 0, codes.astype(str), ""))
    return manifest.with_column("use", use)


def _numbers(
    manifest: Manifest,
    facts: pd.DataFrame,
    file: np.ndarray,
    duplicates: Duplicates,
    labels: LabelCheck,
    suspects: pd.DataFrame,
    leaks: LeakReport | None,
) -> dict[str, Any]:
    group, split = duplicates.group, manifest.column("split")
    sides = [*(side for side in SIDES if side in split), *sorted(set(split) - {*SIDES, ""})]
    numbers = {
        "identities": identity_statistics(manifest.identity),
        "photos": photo_statistics(facts),
        "telling_sizes": _telling_sizes(manifest, facts, file),
        "dates": date_statistics(row_times(manifest, facts, file)),
        "has_encounters": bool((manifest.column("encounter") != "").any()),
        "copies": {
            "num_groups": len(np.unique(group[group >= 0])),
            "num_files": int((group >= 0).sum()),
            "num_unconfirmed": len(duplicates.unconfirmed),
        },
        "labels": {
            "num_conflicting": int(labels.conflicting.sum()),
            "num_conflicting_groups": len(np.unique(_units(group, file)[labels.conflicting])),
            "num_spare": int(labels.spare.sum()),
            "num_named_by_copy": len(labels.named_by_copy),
            "num_suspects": len(suspects),
        },
        "bursts": _burst_numbers(manifest),
        "sides": {side: _side_numbers(manifest, facts, file, split == side) for side in sides},
    }
    if leaks is not None:
        told = leaks.to_dict()
        sentences = [leak.sentence() for leak in leaks.leaks]
        rows = [{**row, "sentence": sentence} for row, sentence in zip(told["leaks"], sentences, strict=True)]
        numbers["leaks"] = {**told, "leaks": rows}
    return numbers


def _telling_sizes(manifest: Manifest, facts: pd.DataFrame, file: np.ndarray) -> dict[str, int]:
    """Looks at one file of each group of copies, for copies are of one size by nature."""
    used = manifest.column("use") != "nothing"
    width, height = (facts[name].to_numpy()[file[used]] if name in facts else np.zeros(used.sum()) for name in SIZE)
    return telling_sizes(manifest.identity[used], width, height)


def _units(group: np.ndarray, file: np.ndarray) -> np.ndarray:
    """`(num_rows,)` the group of copies of each row, or else its file."""
    return np.where(group[file] >= 0, group[file], group.max(initial=-1) + 1 + file)


def _side_numbers(manifest: Manifest, facts: pd.DataFrame, file: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    return {
        "identities": identity_statistics(manifest.identity[rows]),
        "photos": photo_statistics(facts.iloc[np.unique(file[rows])]),
    }


def _burst_numbers(manifest: Manifest) -> dict[str, int]:
    """Counts bursts among the photos that are used, and how many photos of known individuals these leave."""
    rows = pd.DataFrame({"identity": manifest.identity, "burst": manifest.column("burst")})
    rows = rows[manifest.column("use") != "nothing"]
    sizes = rows[rows["burst"] != ""].groupby("burst")["burst"].transform("size")
    in_burst = rows.loc[sizes[sizes > 1].index]
    return {
        "num_photos": len(in_burst),
        "num_bursts": int(in_burst["burst"].nunique()),
        "num_named_photos": int((in_burst["identity"] != "").sum()),
        "num_named": int((rows["identity"] != "").sum()),
    }
