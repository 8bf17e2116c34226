"""What stands on both sides of a split and may answer for the animal: copies, bursts, encounters, days, individuals."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd

from siamese.errors import LeakError, ManifestError
from siamese.manifest import Manifest
from siamese.splits import codes, connected, read_dates

Kind = Literal["copies", "bursts", "encounters", "days", "identities"]

SIDES = {"train": "train", "catalog": "train", "validation": "validation", "test": "test"}
PLACES = {"train": "training", "validation": "the validation"}
SAYINGS: dict[Kind, tuple[str, str]] = {
    "copies": ("a copy", "they can be answered by heart"),
    "bursts": ("a photo of the same burst", "nearly the same picture answers for the animal"),
    "encounters": ("a photo of the same encounter", "the background may answer for the animal"),
    "days": (
        "a photo of the same individual and day (another encounter or none)",
        "light and background may help",
    ),
    "identities": ("a photo of the same individual", "the individuals are not apart as the split claims"),
}
COLUMNS: dict[Kind, str] = {
    "copies": "duplicate_group",
    "bursts": "burst",
    "encounters": "encounter",
    "days": "date",
    "identities": "identity",
}
MARKED_BY_CHECK: tuple[Kind, ...] = ("copies", "bursts")  # an empty column says that none were found
NUM_EXAMPLES = 10


@dataclass(frozen=True)
class Leak:
    """Photos of one side with something of their own on an earlier side.

    Attributes:
        kind: what they share.
        side: validation or test, where the photos are.
        other: train (with the catalog) or validation, where the others are.
        num_photos: photos of `side` concerned.
        num_side: all photos of `side`.
        num_other: photos of `other` concerned.
        num_allowed: photos of `side` for which the protocol allows such an answer.
        examples: image ids, the one on `side` first; at most ten.
    """

    kind: Kind
    side: str
    other: str
    num_photos: int
    num_side: int
    num_other: int
    num_allowed: int
    examples: tuple[tuple[str, str], ...]

    @property
    def share(self) -> float:
        """Share of the photos of `side`, 0 to 1."""
        return self.num_photos / self.num_side

    @property
    def forbidden(self) -> bool:
        """Whether the protocol forbids all of these answers."""
        return self.num_allowed == 0

    @property
    def serious(self) -> bool:
        """Whether no number can be trusted with it.

        Copies and bursts are serious under every protocol, because training has seen the picture; encounters unless the
        protocol forbids their answers; days never.
        """
        return self.kind in ("copies", "bursts", "identities") or (self.kind == "encounters" and not self.forbidden)

    def sentence(self) -> str:
        """Tells the leak in plain words."""
        what, why = SAYINGS[self.kind]
        photos, have = "photo" if self.num_side == 1 else "photos", "has" if self.num_photos == 1 else "have"
        found = (
            f"{self.num_photos} of {self.num_side} {self.side} {photos} ({_percent(self.share)}) {have} {what} in "
            f"{PLACES[self.other]}: {why}."
        )
        if self.forbidden:
            return f"{found} The protocol forbids these answers."
        if self.num_allowed < self.num_photos:
            return f"{found} The protocol allows such an answer for {self.num_allowed} of them."
        return found


@dataclass(frozen=True)
class LeakReport:
    """What stands on two sides of a split.

    Attributes:
        leaks: those that were found, worst kind first, the test before the validation.
        unchecked: kinds that could not be looked for, because the manifest does not tell of them; then
            copies are equal files alone.
    """

    leaks: tuple[Leak, ...]
    unchecked: tuple[Kind, ...]

    @property
    def serious(self) -> bool:
        """Whether the split must not be trusted."""
        return any(leak.serious for leak in self.leaks)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain values for JSON."""
        leaks = [
            {**asdict(leak), "share": leak.share, "forbidden": leak.forbidden, "serious": leak.serious}
            | {"examples": [list(pair) for pair in leak.examples]}
            for leak in self.leaks
        ]
        return {"serious": self.serious, "leaks": leaks, "unchecked": list(self.unchecked)}

    def sentences(self) -> list[str]:
        """Tells the report in plain words: the leaks, then what could not be checked; one sentence if all is well."""
        lines = [leak.sentence() for leak in self.leaks]
        if not lines:
            lines.append("Nothing that was looked for stands on two sides of the split.")
        if self.unchecked:
            columns = ", ".join(f"`{COLUMNS[kind]}`" for kind in self.unchecked)
            lines.append(f"Not looked for: {', '.join(self.unchecked)}, because the manifest has no {columns}.")
        return lines

    def check(self) -> None:
        """Refuses a split that must not be trusted.

        Raises:
            LeakError: copies, bursts, encounters or individuals stand on two sides that must not.
        """
        for leak in self.leaks:
            if leak.serious:
                pairs = ", ".join(f"{ours!r} and {theirs!r}" for ours, theirs in leak.examples[:2])
                raise LeakError(
                    f"`split` must keep {leak.kind} on one side. Received: {leak.sentence()} For instance {pairs}. "
                    "Leave the `split` column out to have one drawn that nothing crosses, or set `split.leaks` to tell."
                )


@dataclass(frozen=True)
class _Shared:
    """What makes two photos a leak: an equal code in `key`, and in none of `differ`; -1 is like no other photo."""

    kind: Kind
    key: np.ndarray
    differ: tuple[np.ndarray, ...] = ()

    def num_answers(self, rows: np.ndarray, others: np.ndarray, differ: Sequence[np.ndarray] = ()) -> np.ndarray:
        """Counts for each of `rows` the `others` that it leaks to and that differ in all of `differ` as well.

        Counted by groups, for there may be n² pairs: those with an equal key, minus those with one more column in
        common, plus those with two more, and so on (inclusion and exclusion).
        """
        differ = (*self.differ, *differ)
        counts = np.zeros(len(rows), dtype=np.int64)
        for length in range(len(differ) + 1):
            for columns in combinations(differ, length):
                counts += (-1) ** length * _num_equal((self.key, *columns), rows, others)
        return counts

    def partner(self, row: int, others: np.ndarray) -> int:
        """Returns the first of `others` that `row` leaks to."""
        leaks = self.key[others] == self.key[row]
        for column in self.differ:
            leaks &= (column[others] != column[row]) | (column[row] < 0)
        return int(others[leaks.argmax()])


def _percent(share: float) -> str:
    """Whole per cent; what is not nothing and not everything does not look like it."""
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


def find_leaks(manifest: Manifest, *, disjoint: bool = False, must_differ: Collection[str] = ()) -> LeakReport:
    """Looks for what stands on two sides of a split.

    The catalog counts as training, for it was there before the queries. Looked for are copies (one file, or one
    `duplicate_group`), bursts, encounters, and photos of one individual on one day that are not of one encounter.

    Args:
        manifest: the collection with its `split`; photos without one, or with `use` nothing, stand on no side. Not
            changed.
        disjoint: whether the split claims that no individual stands on two sides.
        must_differ: columns in which the protocol wants an answer to differ from its query.

    Returns:
        The report; `check()` refuses what is serious.

    Raises:
        ManifestError: there is no split, no such column, or a date that is not one.

    Example:
    >>> from pathlib import Path
    >>> photos = pd.DataFrame({"image_id": list("abc"), "path": list("abc"), "identity": "Mara"})
    >>> photos = photos.assign(encounter=["1", "1", "2"], split=["train", "test", "test"])
    >>> leak = find_leaks(Manifest(photos, root=Path("photos"))).leaks[0]
    >>> (leak.kind, leak.num_photos, leak.num_side, leak.examples)
    ('encounters', 1, 2, (('b', 'a'),))
    """
    side = np.array([SIDES.get(name, "") for name in manifest.column("split")], dtype=object)
    side[manifest.column("use") == "nothing"] = ""
    if not (side != "").any():
        raise ManifestError(
            "manifest: `split` must be train, catalog, validation or test for some photo. Received: none of them. "
            "Divide the collection first."
        )
    differ = [_all_codes(manifest, name) for name in must_differ]
    leaks = [
        leak
        for shared in _kinds(manifest, disjoint)
        for ours, theirs in (("test", "train"), ("test", "validation"), ("validation", "train"))
        if (leak := _leak(shared, manifest.image_ids, side, ours, theirs, differ)) is not None
    ]
    columns: list[Kind] = ["copies", "bursts", "encounters", "days"]
    unchecked = [kind for kind in columns if not can_tell(manifest, kind)]
    return LeakReport(tuple(leaks), tuple(unchecked))


def can_tell(manifest: Manifest, kind: Kind) -> bool:
    """Whether a manifest says which photos share something of this kind, be it that none do."""
    column = COLUMNS[kind]
    return (kind in MARKED_BY_CHECK and column in manifest.table.columns) or bool((manifest.column(column) != "").any())


def _kinds(manifest: Manifest, disjoint: bool) -> Iterator[_Shared]:
    """What two sides may share, worst first."""
    identity, encounter = codes(manifest.identity), codes(manifest.column("encounter"))
    paths = np.array([str(path) for path in manifest.paths], dtype=object)
    yield _Shared("copies", connected([codes(paths), codes(manifest.column("duplicate_group"))]))
    yield _Shared("bursts", codes(manifest.column("burst")))
    if disjoint:
        yield _Shared("identities", identity)
    yield _Shared("encounters", encounter)
    day = read_dates(manifest).astype("datetime64[D]")
    number = pd.factorize(day)[0]  # -1 without a date
    known = (identity >= 0) & (number >= 0)
    yield _Shared("days", np.where(known, number * (identity.max(initial=0) + 1) + identity, -1), (encounter,))


def _all_codes(manifest: Manifest, column: str) -> np.ndarray:
    """Codes of a column whose empty values equal each other, as the protocol has it."""
    if column not in manifest.table:
        raise ManifestError(
            f"`must_differ` must name columns of the manifest. Received: {column!r}. Add the column, or leave it out."
        )
    return pd.factorize(manifest.column(column))[0]


def _leak(
    shared: _Shared, image_ids: np.ndarray, side: np.ndarray, ours: str, theirs: str, differ: Sequence[np.ndarray]
) -> Leak | None:
    rows, others = np.flatnonzero(side == ours), np.flatnonzero(side == theirs)
    concerned = rows[shared.num_answers(rows, others) > 0]
    if not len(concerned):
        return None
    examples = [(image_ids[row], image_ids[shared.partner(row, others)]) for row in concerned[:NUM_EXAMPLES]]
    return Leak(
        kind=shared.kind,
        side=ours,
        other=theirs,
        num_photos=len(concerned),
        num_side=len(rows),
        num_other=int((shared.num_answers(others, rows) > 0).sum()),
        num_allowed=int((shared.num_answers(rows, others, differ) > 0).sum()),
        examples=tuple((str(ours), str(theirs)) for ours, theirs in examples),
    )


def _num_equal(columns: Sequence[np.ndarray], rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`(num_rows,)` counts of the others that have the row's code, none of them -1, in all columns."""
    table = pd.DataFrame(dict(enumerate(columns)))
    group = table.groupby(list(table), sort=False).ngroup().to_numpy()
    usable = (table >= 0).all(axis=1).to_numpy()
    counts = np.bincount(group[others], minlength=group.max(initial=-1) + 1)
    return np.where(usable[rows], counts[group[rows]], 0)
