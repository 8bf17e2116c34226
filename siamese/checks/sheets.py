"""Sheets: which photos a person should look at, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from siamese.checks.check import CollectionCheck
from siamese.checks.findings import counted
from siamese.checks.labels import SAME_PHOTO

MOST_ROWS = 10  # groups on a sheet
MOST_TILES = 5  # photos of one group
MOST_WORST = 24  # so that the page stays small whatever the settings say


@dataclass(frozen=True)
class Tile:
    """One photo on a sheet.

    Attributes:
        path: the photo file.
        image_id: its id.
        identity: names of the individuals in it; "" is an unknown individual.
        note: a few words below it, such as a measure; "" without.
        kept: whether it is marked as the kept one of its copies.
    """

    path: str
    image_id: str
    identity: str
    note: str = ""
    kept: bool = False


@dataclass(frozen=True)
class Strip:
    """Photos that belong together, with a heading of their own.

    Attributes:
        heading: what connects them; "" without.
        tiles: the photos.
        num_more: photos that belong to them and are not shown.
    """

    heading: str
    tiles: tuple[Tile, ...]
    num_more: int = 0


@dataclass(frozen=True)
class Sheet:
    """Photos with one thing in common.

    Attributes:
        title: what they have in common.
        explanation: what to look for.
        strips: the photos; a sheet of single photos is one strip without a heading.
        more: what is not shown, in words; "" where all is.
        grouped: whether each strip is a group of its own.
    """

    title: str
    explanation: str
    strips: tuple[Strip, ...]
    more: str = ""
    grouped: bool = True


def choose_sheets(check: CollectionCheck) -> list[Sheet]:
    """Chooses the photos worth a look: copies, names in doubt, bursts, and the worst of each measure.

    Args:
        check: what was found.

    Returns:
        Sheets that have photos, in the order of the page.
    """
    sheets = [_conflicts(check), _suspects(check), _copies(check), _bursts(check), *_worst(check)]
    return [sheet for sheet in sheets if sheet.strips]


def _conflicts(check: CollectionCheck) -> Sheet:
    files = np.unique(check.file[check.labels.conflicting])
    group = check.duplicates.group[files]
    unit = np.where(group >= 0, group, group.max(initial=-1) + 1 + np.arange(len(files)))
    strips, more = _strips(check, [files[unit == place] for place in pd.unique(unit)], "group")
    explanation = "The same photo under different names. One name is wrong, or both mean one animal."
    return Sheet("Copies with different names", explanation, strips, more)


def _copies(check: CollectionCheck) -> Sheet:
    group = check.duplicates.group.copy()
    group[check.file[check.labels.conflicting]] = -1  # shown on the sheet above
    groups = _largest_first(group)
    strips, more = _strips(check, groups, "group", mark=True)
    explanation = (
        "Each block is one photo that is there several times. The framed one is kept, the others are set aside."
    )
    return Sheet("Copies", explanation, strips, more)


def _bursts(check: CollectionCheck) -> Sheet:
    codes = pd.factorize(check.manifest.column("burst"))[0]
    used = (check.manifest.column("use") != "nothing") & (check.manifest.column("burst") != "") & check.readable
    burst = np.full(len(check.facts), -1)
    burst[check.file[used]] = codes[used]
    strips, more = _strips(check, _largest_first(burst), "burst")
    explanation = "Photos of one individual that are almost the same picture or moment; the largest bursts first."
    return Sheet("Bursts", explanation, strips, more)


def _suspects(check: CollectionCheck) -> Sheet:
    place = {image_id: row for row, image_id in enumerate(check.manifest.image_ids)}
    alike = check.suspects[check.suspects["evidence"] != SAME_PHOTO]  # those stand on the sheet of conflicting copies
    strips = []
    for suspect in alike.head(MOST_ROWS).itertuples():
        heading = f"{suspect.identity_a} and {suspect.identity_b}: {suspect.evidence}"
        files = check.file[[place[suspect.photo_a], place[suspect.photo_b]]]
        strips.append(Strip(heading, _tiles(check, files)))
    more = _more(len(alike) - len(strips), "pair", "suspects.csv")
    explanation = "Two names whose photos look almost alike. Is it one animal?"
    return Sheet("Two names, one animal?", explanation, tuple(strips), more)


def _worst(check: CollectionCheck) -> Iterator[Sheet]:
    facts = check.facts
    if "contrast" not in facts:
        return
    sides = facts[["width", "height"]].astype(float)
    aspect = sides["width"] / sides["height"].where(sides["height"] > 0)
    oddness = -np.abs(np.log(aspect / aspect[facts["reason"] == ""].median()))
    size = facts["width"].astype(str) + " x " + facts["height"].astype(str)
    measured = {name: facts[name].map("{:.1f}".format) for name in ("brightness", "contrast", "sharpness")}
    asks = (
        ("Darkest", "Can the animal be made out?", facts["brightness"], "brightness " + measured["brightness"]),
        ("Least contrast", "Haze, fog or spray?", facts["contrast"], "contrast " + measured["contrast"]),
        ("Least sharp", "Blurred, or enlarged?", facts["sharpness"], "sharpness " + measured["sharpness"]),
        ("Odd shapes", "A strip, a screenshot, two photos in one?", oddness, size),
        ("Smallest", "Enough pixels to see marks?", sides["width"] * sides["height"], size),
    )
    for title, explanation, order, note in asks:
        files = _lowest(order, facts["reason"] == "", min(check.settings.worst_photos, MOST_WORST))
        tiles = tuple(_tile(check, file, note=note.iloc[file]) for file in files)
        yield Sheet(title, explanation, (Strip("", tiles),) if tiles else (), grouped=False)


def _lowest(order: pd.Series, readable: pd.Series, count: int) -> np.ndarray:
    return order.where(readable).dropna().sort_values(kind="stable").index.to_numpy()[:count]


def _largest_first(codes: np.ndarray) -> list[np.ndarray]:
    """Groups of at least two members, the largest first."""
    members = np.flatnonzero(codes >= 0)
    members = members[np.argsort(codes[members], kind="stable")]
    groups = np.split(members, np.flatnonzero(np.diff(codes[members])) + 1)
    return sorted((group for group in groups if len(group) > 1), key=len, reverse=True)


def _strips(
    check: CollectionCheck, groups: list[np.ndarray], unit: str, *, mark: bool = False
) -> tuple[tuple[Strip, ...], str]:
    strips = tuple(_strip(check, group, mark=mark) for group in groups[:MOST_ROWS])
    return strips, _more(len(groups) - len(strips), unit, "manifest.csv" if unit == "burst" else "duplicates.csv")


def _strip(check: CollectionCheck, files: np.ndarray, *, mark: bool) -> Strip:
    """The first photos of a group, the kept one before the others."""
    files = files[np.argsort(~check.labels.kept[files], kind="stable")]
    return Strip("", _tiles(check, files[:MOST_TILES], mark=mark), max(0, len(files) - MOST_TILES))


def _more(count: int, unit: str, file: str) -> str:
    return f"{counted(count, f'more {unit}')} in {file}." if count > 0 else ""


def _tiles(check: CollectionCheck, files: np.ndarray, *, mark: bool = False) -> tuple[Tile, ...]:
    return tuple(_tile(check, file, kept=mark and bool(check.labels.kept[file])) for file in files)


def _tile(check: CollectionCheck, file: int, *, note: str = "", kept: bool = False) -> Tile:
    rows = np.flatnonzero(check.file == file)
    names = dict.fromkeys(check.manifest.identity[row] or "unknown" for row in rows)
    if not note and "width" in check.facts and check.facts["width"].iloc[file]:
        note = f"{check.facts['width'].iloc[file]} x {check.facts['height'].iloc[file]}"
    path, image_id = str(check.facts["path"].iloc[file]), str(check.manifest.image_ids[rows[0]])
    return Tile(path, image_id, ", ".join(names), note, kept)
