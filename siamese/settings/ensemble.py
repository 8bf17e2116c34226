"""Settings of how several models answer together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from siamese.settings.base import StageSettings

BlendMethod = Literal["mean", "renormalised", "vote"]
ScoreConversion = Literal["none", "probability", "softmax", "rank", "triple_log"]
PROBABILITIES: tuple[ScoreConversion, ...] = ("probability", "softmax")  # what votes and renormalised means take


class EnsembleSettings(StageSettings):
    """Among which blends of several models the validation photos choose."""

    methods: tuple[BlendMethod, ...] = Field(
        ("mean", "renormalised", "vote"),
        min_length=1,
        description="mean: weighted mean; renormalised: weighted mean of probabilities whose sum is made 1 "
        "(deepsense.io 2015); vote: each model's five best with their probabilities (2nd place, humpback 2019).",
    )
    conversions: tuple[ScoreConversion, ...] = Field(
        ("none", "probability", "softmax", "rank", "triple_log"),
        min_length=1,
        description="What the scores of each model become before they are blended. none: nothing; probability: by the "
        "model's own calibration; softmax: over the identities and the new individual; rank: 1 / rank; triple_log: "
        "1 / (1 + log(1 + log(1 + d))), d = -log probability (10th place).",
    )
    temperatures: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), min_length=1, description="Factors of the calibrated log odds that softmax tries."
    )
    weight_steps: int = Field(20, ge=1, description="Steps from 0 to 1 in which weights are tried; 20 is 0.05.")
    most_weights: int = Field(
        100, ge=1, description="Sets of weights that are tried at most; with more models the steps get coarser."
    )
    folds: int = Field(4, ge=2, description="Parts of the individuals, each judged by what the others chose.")

    @model_validator(mode="after")
    def _something_fits(self) -> EnsembleSettings:
        if "mean" not in self.methods and not set(PROBABILITIES) & set(self.conversions):
            raise ValueError(
                f"`conversions` must hold one of {', '.join(PROBABILITIES)} for {' and '.join(self.methods)}. "
                f"Received: {', '.join(self.conversions)}."
            )
        if min(self.temperatures) <= 0:
            raise ValueError(f"`temperatures` must be over 0. Received: {self.temperatures}.")
        return self


class StackingSettings(StageSettings):
    """Logistic regression from the joined embeddings of several models to the identities."""

    inverse_penalty: float = Field(10.0, gt=0, description="C: the higher, the closer the fit (Lau 2015: 10).")
    most_steps: int = Field(200, ge=1, description="Steps of the solver at most.")
