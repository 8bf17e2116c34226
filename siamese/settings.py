"""Settings of every stage: one frozen model a stage. A default stands here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from siamese.errors import SettingsError

Pooling = Literal["max", "average", "gem"]
Turn = Literal["flip", "turn90", "turn180", "turn270"]
Contrast = Literal["none", "global", "local", "clahe"]
Normalisation = Literal["image", "collection", "imagenet", "unit"]
SplitKind = Literal["open_set", "closed_set", "disjoint", "date", "encounter"]


class StageSettings(BaseModel):
    """What all stages share: fields cannot change after checking, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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


class AugmentationSettings(StageSettings):
    """Random geometry and light for whole batches; 0 switches a change off. Geometry: the humpback kernel's."""

    rotation: float = Field(5, ge=0, le=180, description="Largest rotation, degrees.")
    shear: float = Field(5, ge=0, le=60, description="Largest shear, degrees.")
    zoom: tuple[float, float] = Field((0.8, 1.0), description="Range of the zoom of each axis; under 1 shows more.")
    shift: float = Field(0.05, ge=0, le=0.5, description="Largest shift, as a share of height or width.")
    perspective: float = Field(0.0, ge=0, le=0.5, description="Largest change of scale from one side to the other.")
    gamma: float = Field(0.0, ge=0, lt=1, description="Largest relative change of gamma, up or down.")
    gradient: float = Field(
        0.0, ge=0, le=1, description="Largest change of light across the image, as a share of the range."
    )
    noise: float = Field(0.0, ge=0, le=1, description="Standard deviation of pixel noise, as a share of the range.")
    erase: float = Field(0.0, ge=0, lt=1, description="Largest side of an erased box, as a share of height and width.")
    new_identities: tuple[Turn, ...] = Field(
        (), description="Turned or flipped copies that train as further identities (none of them is the same animal)."
    )


class EncoderSettings(StageSettings):
    """Size of the residual encoder; the defaults are the humpback kernel's branch of 55 convolutions."""

    stem_filters: int = Field(64, ge=1, description="Filters of the first convolution and of the first block.")
    stem_kernel: int = Field(9, ge=1, description="Side of the first kernel, pixels.")
    stem_stride: int = Field(2, ge=1, description="Stride of the first convolution.")
    stem_pool: bool = Field(True, description="Whether a max-pooling by 2 follows the first convolution.")
    stem_convolutions: int = Field(2, ge=0, description="3 x 3 convolutions before the first residual stage.")
    widths: tuple[int, ...] = Field((128, 256, 384, 512), description="Channels of each residual stage.")
    bottlenecks: tuple[int, ...] = Field((64, 64, 96, 128), description="Narrow channels of each stage's sub-blocks.")
    depth: int = Field(4, ge=1, description="Sub-blocks of each residual stage.")
    pooling: Pooling = Field("max", description="Global pooling that makes the embedding.")
    stripes: int = Field(1, ge=1, description="Upright stripes of the last map that are pooled apart.")
    batch_norm_momentum: float = Field(0.99, gt=0, lt=1, description="Momentum of the batch statistics.")
    normalisation: Normalisation = Field(
        "image",
        description="What the pixels go through first: image: mean 0, variance 1 for each image; collection: mean and "
        "deviation of the training photos; imagenet: ImageNet's; unit: divided by 255.",
    )

    @model_validator(mode="after")
    def _one_bottleneck_for_each_width(self) -> EncoderSettings:
        if len(self.widths) != len(self.bottlenecks) or not self.widths:
            raise ValueError(
                "`widths` and `bottlenecks` must name the same number of stages, at least one. "
                f"Received: widths={self.widths}, bottlenecks={self.bottlenecks}."
            )
        return self


class ComparatorSettings(StageSettings):
    """Size of the learned head that compares two embeddings."""

    hidden_units: int = Field(32, ge=1, description="Hidden units of the network shared by all features.")


class PhaseSettings(StageSettings):
    """One row of the schedule; a value with a `final_` twin runs from one to the other in equal ratios."""

    rounds: int = Field(1, ge=1, description="Rounds of score, assign and fit.")
    epochs_per_round: int = Field(1, ge=1, description="Epochs fitted under one score matrix.")
    learning_rate: float = Field(64e-5, gt=0, description="Learning rate of Adam.")
    final_learning_rate: float | None = Field(None, gt=0, description="Learning rate of the last round.")
    noise: float = Field(1.0, ge=0, description="K: width of the uniform noise added to the scores.")
    final_noise: float | None = Field(None, gt=0, description="K of the last round.")
    l2: float = Field(0.0, ge=0, description="L2 penalty on the convolution kernels.")


class MiningSettings(StageSettings):
    """How the pairs of a round are found."""

    positives: Literal["random", "hard"] = Field(
        "random",
        description="Positive pairs: random: a derangement within each group; hard: the least alike images of a group, "
        "by assignment under the same K (10th place, humpback 2019).",
    )

    assignment: Literal["auto", "dense", "sparse", "blocks"] = Field(
        "auto",
        description="dense: the whole matrix; sparse: the best candidates of each image, in memory that grows with the "
        "images, not with their pairs; blocks: random blocks; auto: dense for up to 1,024 images, else sparse.",
    )
    num_candidates: int = Field(64, ge=2, description="Candidates of an image in a sparse assignment.")
    mid_rank_share: float = Field(
        0.0, ge=0, le=1, description="Share of the images that get a partner from the mid ranks, drawn anew each epoch."
    )
    suspect_margin: float | None = Field(
        None,
        description="A pair scored this far above the best positive of either image is probably mislabelled and left "
        "out, in logits; none leaves nothing out.",
    )


class TrainingSettings(StageSettings):
    """Rounds of score, assign and fit."""

    seed: int = Field(0, ge=0, description="Seed of the weights, the pairs and the augmentation.")
    batches: Literal["walk", "pairs"] = Field(
        "walk", description="walk: encode an image once, compare it often; pairs: the classical two branches."
    )
    batch_size: int = Field(64, ge=4, description="Images encoded in one step.")
    pairs_per_image: int = Field(8, ge=1, description="Pairs compared in one step of a walk, per image of the batch.")
    ranking_weight: float = Field(1.0, ge=0, description="Weight of the ranking loss beside the pair loss.")
    min_photos: int = Field(2, ge=1, description="Individuals with fewer training photos do not train.")
    images_per_round: int | None = Field(
        4096, ge=8, description="At most so many images, drawn anew each round, enter one assignment; none takes all."
    )
    mining: MiningSettings = Field(MiningSettings(), description="How the pairs of a round are found.")
    schedule: tuple[PhaseSettings, ...] = Field(
        (PhaseSettings(rounds=4, noise=100.0), PhaseSettings(rounds=8, noise=10.0, final_noise=1.0)),
        min_length=1,
        description="The phases of the training, in order.",
    )
    positives_share: tuple[str, ...] = Field(
        (), description="Manifest columns two photos must share to be a positive pair, such as viewpoint."
    )


class ProtocolSettings(StageSettings):
    """Which catalog photos may answer which query."""

    must_share: tuple[str, ...] = Field((), description="Columns a query shares with every photo that may answer it.")
    must_differ: tuple[str, ...] = Field((), description="Columns in which a query differs from what may answer it.")


class EvaluationSettings(ProtocolSettings):
    """How a trained model is measured; the protocol here is the main one."""

    catalog: Literal["known", "leave_one_out"] = Field(
        "known", description="known: all known photos but the test's; leave_one_out: the test photos answer each other."
    )
    protocols: dict[str, ProtocolSettings] = Field({}, description="Further protocols by name, reported beside it.")
    top_k: int = Field(5, ge=1, description="Length of a ranking.")
    sheet_queries: int = Field(12, ge=1, description="Queries drawn on the picture sheet.")
    error_name: str = Field("top-1 error", description="What 1 - top1 is called in the summary.")


class Settings(StageSettings):
    """All stages of a run; what `--config FILE.yaml` holds and what the run folder keeps."""

    check: CheckSettings = CheckSettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    split: SplitSettings = SplitSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    encoder: EncoderSettings = EncoderSettings()
    comparator: ComparatorSettings = ComparatorSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()


def settings_from_dict(values: dict[str, Any], *, source: str = "settings") -> Settings:
    """Checks nested values and returns the settings.

    Raises:
        SettingsError: a field is unknown or out of range; the sentence names it.

    Example:
    >>> settings_from_dict({"training": {"batch_size": 32}}).training.batch_size
    32
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"{source}: `{place}` is wrong: {first['msg']}. Received: {first['input']!r}. "
            "`siamese settings` lists every setting with its range."
        ) from error


def read_settings(path: Path) -> Settings:
    """Reads settings from a YAML file; what the file leaves out keeps its default."""
    return settings_from_dict(read_values(path), source=str(path))


def read_values(path: Path) -> dict[str, Any]:
    """Reads a YAML file of sections with fields, not checked yet.

    Raises:
        SettingsError: the file is missing or is not YAML of this form.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: the settings cannot be read ({error}). Give a YAML file.") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: settings must be sections with fields. Received: {type(values).__name__}.")
    return values


def write_settings(settings: Settings, path: Path) -> None:
    """Writes the resolved settings as YAML."""
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
