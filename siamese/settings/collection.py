"""Settings of what happens before the training: photos become checked, divided, stored images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from siamese.settings.base import StageSettings

Contrast = Literal["none", "global", "local", "clahe"]
SplitKind = Literal["open_set", "closed_set", "disjoint", "date", "encounter"]


class PreprocessingSettings(StageSettings):
    """How a photo becomes an array; kept in the image store and in the model folder."""

    height: int = Field(64, ge=8, description="Height of a stored image, pixels.")
    width: int = Field(128, ge=8, description="Width of a stored image, pixels.")
    channels: Literal[1, 3] = Field(1, description="1 stores grey images, 3 colour images.")
    margin: float = Field(0.05, ge=0, le=1, description="Added to each side of a box, as a share of it.")
    anisotropy: float | None = Field(
        None, gt=0, description="Boxes grow until width / height is this; none keeps the box. Humpback kernel: 2.15."
    )
    contrast: Contrast = Field(
        "none",
        description="Contrast normalisation of a stored image: none; global (GCN) and local (LCN) as in the Overview "
        "report of the humpback challenge; clahe.",
    )


class CheckSettings(StageSettings):
    """How `siamese data check` decodes photos and what it calls a copy or a burst."""

    workers: int | None = Field(None, ge=1, description="Processes that decode photos; none takes one for each core.")
    max_seconds: float = Field(20, gt=0, description="Longest time one photo may take to decode, seconds.")
    max_megabytes: float = Field(256, gt=0, description="Largest file that is opened, megabytes.")
    max_megapixels: float = Field(150, gt=0, description="Largest photo that is decoded, millions of pixels.")
    duplicate_bits: int = Field(
        6, ge=0, le=12, description="Largest distance of the perceptual hashes of copies, bits. Humpback kernel: 6."
    )
    duplicate_error: float = Field(
        0.1,
        ge=0,
        description="Largest mean squared difference of copies, each of mean 0 and variance 1. Humpback kernel: 0.1.",
    )
    duplicate_sizes: Literal["same", "any"] = Field(
        "any",
        description="same: copies have one colour mode and size, as in the humpback kernel; any: resized ones too.",
    )
    burst_bits: int = Field(12, ge=0, le=24, description="Largest distance of the hashes of photos of one burst, bits.")
    burst_error: float = Field(
        0.3,
        ge=0,
        description="Largest mean squared difference of two photos of one burst that no time links, at 64 x 64 grey "
        "pixels, each of mean 0 and variance 1.",
    )
    burst_seconds: float = Field(
        60, ge=0, description="Photos of one individual taken within so many seconds are one burst."
    )
    worst_photos: int = Field(12, ge=0, description="Photos on each sheet of the worst ones.")


class SplitSettings(StageSettings):
    """How a collection without a `split` column is divided."""

    kind: SplitKind = Field(
        "open_set",
        description="open_set: known and new individuals among the queries; closed_set: known ones alone; disjoint: no "
        "individual on two sides; date: the latest photos are the queries; encounter: open_set by whole encounters.",
    )
    seed: int = Field(0, ge=0, description="Decides which photos are drawn; the same on every machine.")
    validation_share: float = Field(0.15, gt=0, lt=0.5, description="Share of the photos that choose the thresholds.")
    test_share: float = Field(0.15, gt=0, lt=0.5, description="Share of the photos that are only evaluated.")
    new_share: float = Field(
        0.28,
        ge=0,
        lt=1,
        description="Share of the queries whose individual is not in the catalog (open_set, encounter).",
    )
    single_photos: Literal["new", "train", "leave_out"] = Field(
        "new",
        description="Individuals whose photos all belong together, so that they cannot be asked for: new queries may "
        "be drawn from them first; or they stay in training; or they are left out.",
    )
    keep_together: tuple[str, ...] = Field(
        ("duplicate_group", "burst"), description="Columns whose equal values are never divided, where they are there."
    )
    folds: int | None = Field(None, ge=3, le=50, description="Number of cross-validation folds; none draws one split.")
    fold: int = Field(0, ge=0, description="With folds: the fold that is the test; the next one is the validation.")
    leaks: Literal["tell", "refuse"] = Field(
        "tell", description="What training does when copies or bursts stand on both sides of the split."
    )

    @model_validator(mode="after")
    def _fold_is_one_of_the_folds(self) -> SplitSettings:
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(
                f"`fold` must be under `folds`. Received: fold={self.fold}, folds={self.folds}. Folds count from 0."
            )
        return self
