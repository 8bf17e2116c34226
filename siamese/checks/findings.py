"""Findings: what a check means for a person who knows the animals, in sentences, worst first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from siamese.checks.photo_facts import PLACE_NOTE

Level = Literal["serious", "look", "know"]
LEVELS: tuple[Level, ...] = ("serious", "look", "know")
TELLING_SHARE = 0.1  # from here on sizes could lift a result by more than its usual error
MIXED = (0.02, 0.98)  # a grey share between these is a mixture worth telling


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: name of the finding, for programs.
        level: `serious` spoils results, `look` asks for a person's eye, `know` is good to know.
        count: of the photos, names or groups concerned; what is counted stands in `found`.
        found: what was found.
        why: why it matters.
        advice: what to do.
    """

    kind: str
    level: Level
    count: int
    found: str
    why: str
    advice: str

    def sentence(self) -> str:
        """The finding as running text."""
        return " ".join(part for part in (self.found, self.why, self.advice) if part)


def list_findings(numbers: Mapping[str, Any]) -> list[Finding]:
    """Says in plain words what the numbers of a check mean.

    Args:
        numbers: what `check_collection` counted: the sections identities, photos, dates, copies, labels, bursts and,
            with a split, leaks.

    Returns:
        Findings, `serious` ones first, then `look`, then `know`; nothing found is an empty list.
    """
    found = [finding for tell in KINDS for finding in tell(numbers)]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def as_rows(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings as JSON holds them, each with its whole `sentence`."""
    return [{**asdict(finding), "sentence": finding.sentence()} for finding in findings]


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun, and commas between thousands.

    >>> counted(1, "photo"), counted(2073, "photo"), counted(2, "copy", "copies")
    ('1 photo', '2,073 photos', '2 copies')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(part: float, whole: float) -> str:
    """A share in words, never a false "0 %" or "100 %".

    >>> percent(1, 3), percent(1, 1000), percent(999, 1000), percent(0, 7)
    ('33 %', 'under 1 %', 'over 99 %', '0 %')
    """
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 1:
        return "under 1 %"
    return "over 99 %" if 99 < share < 100 else f"{share:.0f} %"


def _broken(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    broken, total = numbers["photos"]["num_unreadable"], numbers["photos"]["num_files"]
    if broken:
        yield Finding(
            "unreadable",
            "serious",
            broken,
            f"{broken:,} of {counted(total, 'photo file')} cannot be read.",
            "Nothing can be learned from them, and they can never be found.",
            "quarantine.csv gives the reason for each: fetch the files again, or remove their rows. "
            "manifest.csv leaves them out.",
        )


def _conflicts(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    found = numbers["labels"]
    if found["num_conflicting"]:
        yield Finding(
            "conflicting_names",
            "serious",
            found["num_conflicting"],
            f"{counted(found['num_conflicting'], 'photo')} in {counted(found['num_conflicting_groups'], 'group')} "
            "of copies carry different names.",
            "One of the names is wrong, or both mean one animal; training on them teaches that a picture differs "
            "from itself.",
            "Decide which name is right. Until then they stay in the catalog and are not trained on.",
        )


def _leaks(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    leaks = numbers.get("leaks", {"leaks": []})["leaks"]
    for kind in dict.fromkeys(leak["kind"] for leak in leaks):
        of_kind = [leak for leak in leaks if leak["kind"] == kind]
        yield Finding(
            f"leak_{kind}",
            "serious" if any(leak["serious"] for leak in of_kind) else "look",
            sum(leak["num_photos"] for leak in of_kind),
            " ".join(leak["sentence"] for leak in of_kind),
            "",
            "Draw the split anew with such photos kept together, or let only photos of other occasions answer.",
        )


def _names(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    identities = numbers["identities"]
    num_known = identities["num_rows"] - identities["num_unknown"]
    if identities["num_identities"] < 2:
        yield Finding(
            "too_few_individuals",
            "serious",
            identities["num_identities"],
            f"The collection names {counted(identities['num_identities'], 'individual')}.",
            "Telling individuals apart is learned from photos of at least two.",
            "Add names: the column identity of the manifest, or one folder for each individual.",
        )
    elif identities["largest"]["num_photos"] > num_known / 2:
        largest = identities["largest"]
        yield Finding(
            "one_individual_prevails",
            "serious",
            largest["num_photos"],
            f"{largest['identity']} holds {counted(largest['num_photos'], 'photo')}, "
            f"{percent(largest['num_photos'], num_known)} of all photos with a name.",
            "Training pairs every photo with one of another individual, so no individual may hold more than half.",
            "Leave out photos of it, best those of one burst or sighting.",
        )


def _mostly_bursts(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    bursts = numbers["bursts"]
    photos, share = (
        counted(bursts["num_named_photos"], "photo"),
        percent(bursts["num_named_photos"], bursts["num_named"]),
    )
    if bursts["num_named_photos"] > bursts["num_named"] / 2:
        yield Finding(
            "mostly_bursts",
            "serious",
            bursts["num_named_photos"],
            f"{photos} ({share} of those with a name) belong to {counted(bursts['num_bursts'], 'burst')}: same "
            "individual, almost the same picture or moment.",
            "A query is then answered by the frame next to it, whatever the animal looks like: results will look "
            "excellent and mean little.",
            "Splits keep bursts together, but cannot know whether two bursts are one occasion. Add photos from other "
            "days, or a column encounter: without them no honest test is possible.",
        )


def _suspects(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    count = numbers["labels"]["num_suspects"]
    if count:
        yield Finding(
            "two_names",
            "look",
            count,
            f"{counted(count, 'pair')} of names may be one animal each: copies, photos of one moment or photos "
            "almost alike carry both.",
            "An animal under two names is counted as a mistake wherever it is found.",
            "suspects.csv lists them with their photos: merge the names that mean one animal.",
        )


def _named_by_copy(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    count = numbers["labels"]["num_named_by_copy"]
    if count:
        yield Finding(
            "named_by_copy",
            "look",
            count,
            f"{counted(count, 'photo')} without a name {'is a copy' if count == 1 else 'are copies'} of a photo that "
            "has one.",
            "The animal is known after all.",
            "named_by_copy.csv tells the names; nothing was changed.",
        )


def _copies(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    copies, spare = numbers["copies"], numbers["labels"]["num_spare"]
    if copies["num_groups"]:
        yield Finding(
            "copies",
            "look",
            copies["num_files"],
            f"{counted(copies['num_files'], 'file')} are copies of one another, in "
            f"{counted(copies['num_groups'], 'group')}; "
            f"{counted(spare, 'spare copy is', 'spare copies are')} set aside.",
            "A copy on the other side of a split gives the answer away.",
            "The largest file of each group is kept; manifest.csv marks the others with use = nothing.",
        )


def _unconfirmed(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    count = numbers["copies"]["num_unconfirmed"]
    if count:
        yield Finding(
            "unconfirmed_copies",
            "look",
            count,
            f"{counted(count, 'pair')} of photos have nearly equal hashes and may be copies.",
            "Without the photos they could not be compared.",
            "Run the check again where the photos are.",
        )


def _single(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    identities = numbers["identities"]
    if 1 < identities["num_identities"] == identities["single"]:
        yield Finding(
            "no_pairs",
            "serious",
            identities["single"],
            f"Each of {counted(identities['num_identities'], 'individual')} has a single photo.",
            "Two photos of one animal are what a model learns from and is tested with.",
            "Add photos of the same animals, or use a model trained on others.",
        )
    elif identities["single"]:
        yield Finding(
            "single_photos",
            "know",
            identities["single"],
            f"{identities['single']:,} of {counted(identities['num_identities'], 'individual')} "
            f"({percent(identities['single'], identities['num_identities'])}) have a single photo.",
            "They can be found in the catalog, but neither train as a pair nor be asked for.",
            "More photos of them help most.",
        )


def _bursts(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    bursts = numbers["bursts"]
    if bursts["num_photos"] and not list(_mostly_bursts(numbers)):
        yield Finding(
            "bursts",
            "know",
            bursts["num_photos"],
            f"{counted(bursts['num_photos'], 'photo')} belong to {counted(bursts['num_bursts'], 'burst')}: "
            "same individual, almost the same picture or moment.",
            "A burst counts as little more than one photo.",
            "Splits keep bursts together.",
        )


def _grey(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    share, files = numbers["photos"].get("grey_share"), numbers["photos"]
    if share is not None and MIXED[0] < share < MIXED[1]:
        count = round(share * (files["num_files"] - files["num_unreadable"]))
        yield Finding(
            "grey",
            "know",
            count,
            f"{counted(count, 'photo')} ({percent(share, 1)}) are grey, the others in colour.",
            "A model may learn to tell grey photos from coloured ones instead of animals.",
            "Train on grey images (preprocessing.channels: 1) unless colour tells your animals apart.",
        )


def _places(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    count = numbers["photos"].get("notes", {}).get(PLACE_NOTE, 0)
    if count:
        yield Finding(
            "places",
            "look",
            count,
            f"{counted(count, 'photo file')} {'tells' if count == 1 else 'tell'} the place where it was taken.",
            "Whoever gets the files learns where the animals live. No image store, model or table of labels holds it.",
            "Remove the position from the files before you pass photos of rare animals on.",
        )


def _telling(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    photos, telling = numbers["telling_sizes"]["num_photos"], numbers["telling_sizes"]["num_telling"]
    if telling and telling >= TELLING_SHARE * photos:
        yield Finding(
            "telling_sizes",
            "know",
            telling,
            f"{counted(telling, 'photo')} ({percent(telling, photos)} of those of individuals with several) have a "
            "size in pixels that only their own individual has.",
            "The size, or the shape that is left of it after cropping, may give the animal away.",
            "Give boxes, or set preprocessing.anisotropy, so that every photo is stored in its own proportions.",
        )


def _odd_files(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    notes = {name: count for name, count in numbers["photos"].get("notes", {}).items() if name != PLACE_NOTE}
    if notes:
        told = ", ".join(f"{name} ({count:,})" for name, count in notes.items())
        yield Finding(
            "odd_files",
            "know",
            sum(notes.values()),
            f"Files out of the ordinary: {told}.",
            "They are read as they should be.",
            "",
        )


def _no_occasion(numbers: Mapping[str, Any]) -> Iterator[Finding]:
    if not numbers["dates"]["num_dated"] and not numbers["has_encounters"]:
        yield Finding(
            "no_occasion",
            "know",
            numbers["identities"]["num_rows"],
            "No photo tells its date or its encounter.",
            "Photos of one sighting share background and light; on both sides of a split they go unnoticed.",
            "Add a column date or encounter to the manifest if you can.",
        )


KINDS = (
    *(_broken, _conflicts, _leaks, _names, _mostly_bursts, _suspects, _named_by_copy, _copies, _unconfirmed, _places),
    *(_single, _bursts, _grey, _telling, _odd_files, _no_occasion),
)
