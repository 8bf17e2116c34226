"""Settings of the rounds: schedule, pairs, batches."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from siamese.settings.base import StageSettings


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
