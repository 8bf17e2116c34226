"""Plans a collection of fluke photos before a pixel is drawn: animals, their photos, split, duplicates, odd files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from siamese.settings import StageSettings

PLAN, PHOTO, ANIMAL, COMPANION, CONFLICT = range(5)  # streams of chance under one seed

# Photos per identity and how many identities of the challenge have so many; the tail from 10 to 73 thins out.
CHALLENGE_COUNTS = {
    1: 2073, 2: 1285, 3: 568, 4: 273, 5: 172, 6: 136, 7: 86, 8: 76, 9: 62, 10: 46, 11: 39, 12: 26, 13: 14, 14: 16,
    15: 19, 16: 16, 17: 17, 20: 40, 26: 22, 35: 12, 50: 5, 73: 1,
}  # fmt: skip
UNKNOWN_COUNTS = {1: 75, 2: 19, 3: 6}  # groups inside the challenge's unknown photos are small


class FlukeSettings(StageSettings):
    """What decides a collection. Shares are of all photos unless said otherwise."""

    photos: int = Field(4000, ge=20, le=100_000, description="Number of photos.")
    seed: int = Field(0, ge=0, description="Decides every animal and every photo.")
    width: int = Field(
        512, ge=64, le=2100, description="Width of the commonest photos, pixels; the others are in proportion."
    )
    difficulty: float = Field(0.6, ge=0, le=2, description="Scales the ranges of pose, light and water.")
    unknown_share: float = Field(0.38, ge=0, le=0.9, description="Photos of unknown individuals.")
    validation_share: float = Field(0.135, ge=0, le=0.3, description="Queries that choose thresholds.")
    test_share: float = Field(0.15, ge=0, le=0.3, description="Queries that are only evaluated.")
    new_share: float = Field(0.28, ge=0, lt=1, description="Queries of each side whose animal is not in the catalog.")
    grey_share: float = Field(0.30, ge=0, le=1, description="Photos without colour.")
    duplicate_share: float = Field(0.03, ge=0, le=0.3, description="Photos that are resized, recompressed copies.")
    conflict_share: float = Field(
        0,
        ge=0,
        le=0.1,
        description="Photos that are copies under another individual's name; no more than there are copies in train.",
    )
    upside_down_share: float = Field(0.015, ge=0, le=1, description="Photos turned by 180 degrees.")
    two_animals_share: float = Field(0.015, ge=0, le=1, description="Photos with a second fluke.")
    caption_share: float = Field(0.05, ge=0, le=1, description="Photos with a strip of text.")
    unreadable_share: float = Field(0.003, ge=0, le=0.5, description="Files cut short or empty, at least two.")
    box_jitter: float = Field(
        0.04, ge=0, le=0.2, description="Error of each side of a box, as a share of its width or height."
    )

    @property
    def texture_width(self) -> int:
        """Width of an animal's texture, pixels: a little finer than it appears in most photos."""
        return round(1.1 * self.width)


@dataclass(frozen=True)
class PhotoPlan:
    """One photo before it is drawn: whose it is, on which side of the split, and what is odd about it."""

    index: int
    animal: int
    image_id: str
    identity: str
    true_identity: str
    split: str = "train"
    original: int | None = None
    grey: bool = False
    upside_down: bool = False
    two_animals: bool = False
    caption: bool = False
    unreadable: str = ""
    conflict: bool = False


def plan_collection(settings: FlukeSettings) -> list[PhotoPlan]:
    """Decides everything but the pixels: animals, split, duplicates, odd photos.

    Example:
    >>> plans = plan_collection(FlukeSettings(photos=100))
    >>> len(plans), sum(plan.identity == "" for plan in plans)
    (100, 38)
    """
    rng = np.random.default_rng([settings.seed, PLAN])
    num_unknown = round(settings.photos * settings.unknown_share)
    known = _draw_counts(rng, CHALLENGE_COUNTS, settings.photos - num_unknown)
    unknown = _draw_counts(rng, UNKNOWN_COUNTS, num_unknown)
    animal = np.repeat(np.arange(len(known) + len(unknown)), known + unknown)
    original = _choose_duplicates(rng, animal, round(settings.photos * settings.duplicate_share))
    split = _split(rng, settings, animal, original, len(known))
    names = _draw_names(rng, len(known) + len(unknown), 7)
    image_ids = _draw_names(rng, settings.photos, 9)
    plans = [
        PhotoPlan(
            index=photo, animal=owner, image_id=image_ids[photo], true_identity=f"w_{names[owner]}",
            identity=f"w_{names[owner]}" if owner < len(known) else "",
            split=split[photo], original=original.get(photo),
        )
        for photo, owner in enumerate(animal.tolist())
    ]  # fmt: skip
    return _add_conflicts(settings, _add_oddities(rng, settings, plans))


def _draw_counts(rng: np.random.Generator, table: dict[int, int], total: int) -> list[int]:
    """Photos per animal, drawn from `table` until they sum to `total`; the last one is cut to fit."""
    weights = np.array(list(table.values()), float)
    counts: list[int] = []
    while (left := total - sum(counts)) > 0:
        counts.append(min(left, int(rng.choice(list(table), p=weights / weights.sum()))))
    return counts


def _draw_names(rng: np.random.Generator, count: int, digits: int) -> list[str]:
    return [f"{number:0{digits}x}" for number in rng.choice(16**digits, count, replace=False)]


def _choose_duplicates(rng: np.random.Generator, animal: np.ndarray, count: int) -> dict[int, int]:
    """Photo -> the photo of the same animal it copies; an original is never a copy itself."""
    first = np.r_[True, animal[1:] != animal[:-1]]
    candidates = rng.permutation(np.flatnonzero(~first))[:count]
    starts = np.maximum.accumulate(np.where(first, np.arange(len(animal)), 0))
    copies = set(candidates.tolist())
    return {
        int(photo): int(rng.choice([i for i in range(starts[photo], photo) if i not in copies]))
        for photo in sorted(copies)
    }


def _split(
    rng: np.random.Generator, settings: FlukeSettings, animal: np.ndarray, original: dict[int, int], num_known: int
) -> list[str]:
    """Side of each photo: known queries leave a photo of their animal in train; new ones take all photos of theirs."""
    split = ["train"] * len(animal)
    unit = np.array([original.get(i, i) for i in range(len(animal))])  # an original and its copies stay together
    known_units = _units(rng, unit, animal < num_known, animal)
    new_units = _units(rng, animal, animal >= num_known, None)
    for side, share in (("validation", settings.validation_share), ("test", settings.test_share)):
        queries = round(settings.photos * share)
        new = round(queries * settings.new_share)
        for units, wanted in ((known_units, queries - new), (new_units, new)):
            for photo in _take(units, wanted):
                split[photo] = side
    return split


def _units(
    rng: np.random.Generator, unit: np.ndarray, allowed: np.ndarray, animal: np.ndarray | None
) -> list[list[int]]:
    """Photos that move together, in random order; with `animal`, one unit of each animal stays behind."""
    members: dict[int, list[int]] = {}
    for photo in np.flatnonzero(allowed):
        members.setdefault(int(unit[photo]), []).append(int(photo))
    kept: set[int] = set()
    free = []
    for key in rng.permutation(list(members)) if members else []:
        if animal is not None and animal[key] not in kept:
            kept.add(animal[key])
        else:
            free.append(members[int(key)])
    return free


def _take(units: list[list[int]], wanted: int) -> list[int]:
    """Removes whole units until `wanted` photos are taken, or none fits."""
    taken: list[int] = []
    for photos in list(units):
        if len(taken) + len(photos) <= wanted:
            taken += photos
            units.remove(photos)
    return taken


def _add_oddities(rng: np.random.Generator, settings: FlukeSettings, plans: list[PhotoPlan]) -> list[PhotoPlan]:
    shares = {name: getattr(settings, f"{name}_share") for name in ("grey", "upside_down", "two_animals", "caption")}
    chosen = {name: rng.permutation(len(plans)) < round(share * len(plans)) for name, share in shares.items()}
    odd = [replace(plan, **_flags(chosen, plan.index if plan.original is None else plan.original)) for plan in plans]
    wanted = max(2, round(settings.unreadable_share * len(plans))) if settings.unreadable_share > 0 else 0
    for turn, index in enumerate(rng.permutation(_spare_photos(plans))[:wanted]):
        odd[index] = replace(odd[index], unreadable=("truncated", "empty")[turn % 2])
    return odd


def _add_conflicts(settings: FlukeSettings, plans: list[PhotoPlan]) -> list[PhotoPlan]:
    """Gives copies in train another name; its own stream of chance leaves everything else as it is without them."""
    rng = np.random.default_rng([settings.seed, CONFLICT])
    names = sorted({plan.identity for plan in plans if plan.identity and plan.split == "train"})
    copies = [p.index for p in plans if p.original is not None and p.identity in names and p.split == "train"]
    renamed = list(plans)
    for index in rng.permutation(copies)[: round(settings.conflict_share * len(plans))]:
        others = [name for name in names if name != plans[index].identity]
        renamed[index] = replace(plans[index], identity=str(rng.choice(others)), conflict=True)
    return renamed


def _flags(chosen: dict[str, np.ndarray], photo: int) -> dict[str, Any]:
    return {name: bool(flags[photo]) for name, flags in chosen.items()}


def _spare_photos(plans: list[PhotoPlan]) -> list[int]:
    """Photos that may be lost: no originals of copies, and never an animal's first photo in train."""
    first: dict[int, int] = {}
    for plan in plans:
        if plan.split == "train":
            first.setdefault(plan.animal, plan.index)
    originals = {plan.original for plan in plans}
    return [p.index for p in plans if p.index not in originals and (not p.identity or first.get(p.animal) != p.index)]
