"""Settings of how scores become answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from siamese.settings.base import StageSettings

ThresholdRule = Literal["scan", "rate", "balanced", "share_new", "singleton", "stacked"]


class DecisionSettings(StageSettings):
    """What the validation photos fit: cuts of a pair, its probability, the threshold of the new individual."""

    false_match_rate: float = Field(
        0.01, ge=0, le=1, description="Share of the pairs of different individuals that may be called the same."
    )
    false_non_match_rate: float = Field(
        0.05, ge=0, le=1, description="Share of the pairs of one individual that may be called different."
    )
    calibration: Literal["best", "platt", "logistic", "isotonic"] = Field(
        "best",
        description="Curve from a pair's score to a probability; best: the one that held-out individuals prefer.",
    )
    prior: float = Field(
        0.5, gt=0, lt=1, description="Share of pairs of one individual among those that will be asked about."
    )
    threshold_rule: ThresholdRule = Field(
        "scan",
        description="Threshold of the new individual. scan: highest MAP@5; rate: by `named_rate`; balanced: known ones "
        "are called new as often as new ones are named; share_new: by the share called new; singleton: scanned apart "
        "for individuals with one photo; stacked: logistic regression on the four best scores and the number of "
        "photos. Without new queries in the validation, balanced takes the place of scan, singleton and stacked.",
    )
    named_rate: float = Field(
        0.05, gt=0, lt=1, description="Share of the photos of new individuals that may get a name, for the rule `rate`."
    )
    share_new: float = Field(0.3, ge=0, le=1, description="Share of the photos to call new, for the rule `share_new`.")
