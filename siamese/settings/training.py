"""Settings of the rounds: schedule, pairs, batches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from siamese.settings.base import StageSettings

# A part of the pair model.
Part = Annotated[str, StringConstraints(pattern=r"^(stem|stage[1-9][0-9]*|encoder|comparator|batch_norm)$")]


class PhaseSettings(StageSettings):
    """One row of the schedule; K runs to its final value in equal ratios, the learning rate as `rate` says."""

    rounds: int = Field(1, ge=1, description="Rounds of score, assign and fit.")
    epochs_per_round: int = Field(1, ge=1, description="Epochs fitted under one score matrix.")
    learning_rate: float = Field(64e-5, gt=0, description="Learning rate of Adam; of one_cycle, the highest.")
    final_learning_rate: float | None = Field(
        None, gt=0, description="Learning rate at the end; none: ratio keeps the first, the others fall to almost zero."
    )
    rate: Literal["ratio", "linear", "cosine", "one_cycle"] = Field(
        "ratio",
        description="How the learning rate runs. ratio: in equal ratios from round to round. From step to step run "
        "linear; cosine, half a wave; one_cycle, up from a 25th and down again, by cosine.",
    )
    cycles: int = Field(1, ge=1, description="The rate runs its way so many times (restarts), in equal runs of rounds.")
    peak_share: float = Field(
        0.3, gt=0, lt=1, description="one_cycle: share of the cycle in which the rate rises (fastai's value)."
    )
    kick: float = Field(
        1.0, ge=1, description="Kicks raise the rate to so many times itself; it falls back in equal ratios."
    )
    kick_every: int | None = Field(None, ge=1, description="Epochs of the phase from one kick to the next.")
    noise: float = Field(1.0, ge=0, description="K: width of the uniform noise added to the scores.")
    final_noise: float | None = Field(None, gt=0, description="K of the last round.")
    l2: float = Field(0.0, ge=0, description="L2 penalty on the convolution kernels.")
    image_scale: float = Field(
        1.0, gt=0, le=2, description="Images train at this share of their stored height and width."
    )
    min_photos: int = Field(1, ge=1, description="Individuals with fewer training photos wait for a later phase.")
    frozen: tuple[Part, ...] = Field(
        (), description="Parts that do not train: stem, stage1, stage2, ..., encoder, comparator, batch_norm."
    )

    @model_validator(mode="after")
    def _cycles_are_whole_rounds(self) -> PhaseSettings:
        if self.rounds % self.cycles:
            raise ValueError(
                "`cycles` must divide `rounds`, so that a cycle ends with a round. "
                f"Received: cycles={self.cycles}, rounds={self.rounds}. Take a multiple of `cycles` as `rounds`."
            )
        return self

    @model_validator(mode="after")
    def _kicks_happen(self) -> PhaseSettings:
        num_epochs = self.rounds * self.epochs_per_round
        if self.kick > 1 and (self.kick_every is None or self.kick_every >= num_epochs):
            raise ValueError(
                f"`kick_every` must be under the {num_epochs} epochs of the phase, or no kick happens. "
                f"Received: kick={self.kick}, kick_every={self.kick_every}. Take fewer epochs, or leave out `kick`."
            )
        return self

    @model_validator(mode="after")
    def _something_trains(self) -> PhaseSettings:
        if {"encoder", "comparator"} <= set(self.frozen):
            raise ValueError(
                f"`frozen` must leave a part that trains. Received: frozen={self.frozen}. "
                "Leave out the encoder or the comparator."
            )
        return self


class PlateauSettings(StageSettings):
    """Lowers the learning rate where a phase gets no better (10th place, humpback 2019: to a fifth).

    That team published no patience; 3 is that of Piotte's box model.
    """

    metric: Literal["validation", "loss"] = Field(
        "validation", description="What must get better: the validation side's ranking metric or the training loss."
    )
    factor: float = Field(0.2, gt=0, lt=1, description="The rate is multiplied by this at each plateau.")
    patience: int = Field(3, ge=1, description="Rounds without a gain that make a plateau.")
    min_delta: float = Field(0.0, ge=0, description="A smaller gain is none.")
    smallest: float = Field(
        0.01, gt=0, le=1, description="All plateaus together leave at least this share of the rate."
    )


class AdaptiveNoiseSettings(StageSettings):
    """Sets K by what the model can take: harder pairs while it judges most of them rightly, easier ones else.

    The band is the one in which the share moved while the flukes recipe trained by its table of K: 0.48 to 0.63.
    The factor is that of Piotte's table, 100 ** -0.1.
    """

    low: float = Field(0.5, ge=0, le=1, description="K rises where a smaller share of the pairs was judged rightly.")
    high: float = Field(0.6, ge=0, le=1, description="K falls where a larger share of the pairs was judged rightly.")
    factor: float = Field(
        0.631, gt=0, lt=1, description="K falls to this share of itself, or rises by as much, from round to round."
    )
    smallest: float = Field(0.1, gt=0, description="K falls no further.")
    largest: float = Field(1000.0, gt=0, description="K rises no further.")

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> AdaptiveNoiseSettings:
        if self.low >= self.high or self.smallest > self.largest:
            raise ValueError(
                "`low` must be under `high`, and `smallest` not above `largest`. Received: "
                f"low={self.low}, high={self.high}, smallest={self.smallest}, largest={self.largest}."
            )
        return self


class EarlyStopSettings(StageSettings):
    """Ends the training where the validation side's ranking metric gets no better; 9 rounds as Piotte's box model."""

    patience: int = Field(9, ge=1, description="Rounds without a gain after which the training ends.")
    min_delta: float = Field(0.0, ge=0, description="A smaller gain is none.")


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
    random_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="walk: share of the negative pairs of a batch drawn at random; the others are hard.",
    )
    pair_flips: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the individuals of a batch that are mirrored in it, all of their images together "
        "(smart flipping; 10th place, humpback 2019).",
    )
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = Field(
        "float32", description="What the encoder's convolutions compute in; the mixed ones pay on recent GPUs."
    )
    devices: Literal["one", "all"] = Field(
        "one", description="all: every GPU of this machine trains on a batch of its own in each step."
    )
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
    final_rounds: int = Field(
        0,
        ge=0,
        description="Rounds after the evaluation with all named photos, validation and test too; that model goes to "
        "`final/`, beside the evaluated one. 0 trains none.",
    )
    final_learning_rate: float = Field(
        3e-4, gt=0, description="Learning rate of these rounds; it falls to almost zero by cosine."
    )
    averaging: Literal["none", "swa", "ema"] = Field(
        "none",
        description="Which weights the model keeps: none: the last ones; swa: their mean over the rounds of the last "
        "phase, or over the ends of its cycles; ema: an exponential mean over the steps.",
    )
    averaging_phase: int | None = Field(None, ge=1, description="swa: first phase that is averaged; none: the last.")
    ema_momentum: float = Field(0.998, gt=0, lt=1, description="ema: share of the mean that stays at each step.")
    validate_every: int | None = Field(
        None,
        ge=1,
        description="The validation queries are ranked after every so many rounds, and the last; none never.",
    )
    plateau: PlateauSettings | None = Field(None, description="Lower the learning rate at a plateau; none does not.")
    adaptive_noise: AdaptiveNoiseSettings | None = Field(
        None, description="Set K by what the model can take, from the first phase's K on; none keeps the schedule's."
    )
    early_stop: EarlyStopSettings | None = Field(None, description="End without further gain; none runs all rounds.")
    positives_share: tuple[str, ...] = Field(
        (), description="Manifest columns two photos must share to be a positive pair, such as viewpoint."
    )

    unknown_negatives: bool = Field(
        False,
        description="Whether photos of unknown individuals on the training side train, too: as negatives of the named "
        "ones, never of each other (first and second place, humpback 2019).",
    )

    @model_validator(mode="after")
    def _one_rule_sets_the_noise(self) -> TrainingSettings:
        if self.adaptive_noise is not None and any(phase.final_noise is not None for phase in self.schedule):
            raise ValueError(
                "`adaptive_noise` sets K itself, from the first phase's `noise` on. Received: a phase with "
                "`final_noise` beside it. Leave one of them out."
            )
        return self

    @model_validator(mode="after")
    def _rules_see_what_they_look_at(self) -> TrainingSettings:
        by_validation = self.plateau is not None and self.plateau.metric == "validation"
        if self.validate_every is None and (by_validation or self.early_stop is not None):
            raise ValueError(
                "`validate_every` must be set for rules that look at the validation. Received: none, beside "
                "`early_stop` or `plateau`. Set it to 1, or take plateau.metric=loss."
            )
        return self
