"""Settings of how scores of photos become answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from siamese.settings.augmentation import Turn
from siamese.settings.base import StageSettings

IdentityRule = Literal["max", "mean", "softmax_mean", "k_nearest", "sum_over", "centroid", "robust_centroid"]
Combination = Literal["mean", "max"]


class IdentityScoreSettings(StageSettings):
    """What the score of an individual is made of."""

    rule: IdentityRule = Field(
        "max",
        description="max: its best photo; mean: all its photos; softmax_mean: all, the best ones weighing most; "
        "k_nearest: mean of the best few; sum_over: sum of the photos that are probable enough (5th place, humpback "
        "2019); centroid: the mean of its embeddings is compared; robust_centroid: the mean without outliers (3rd "
        "place).",
    )
    temperature: float = Field(1.0, gt=0, description="Of softmax_mean, in score units; near 0 it is max.")
    nearest: int = Field(3, ge=1, description="Photos that k_nearest takes.")
    sum_over: float = Field(0.7, ge=0, lt=1, description="Probability over which sum_over counts a photo.")


class ViewSettings(StageSettings):
    """Further images of each photo that are compared too; without any, the photo alone."""

    turns: tuple[Turn, ...] = Field(
        (),
        description="Turned or flipped copies, compared with copies turned alike; for a model that was trained with "
        "them as new identities.",
    )
    margins: tuple[float, ...] = Field((), description="Margins of further crops, as preprocessing.margin.")
    draws: int = Field(0, ge=0, description="Random changes, drawn as in training, the same for every photo.")
    seed: int = Field(0, ge=0, description="Seed of these changes.")
    average: Literal["embeddings", "scores"] = Field(
        "embeddings", description="What is averaged over margins and draws. Over turns it is always the scores."
    )

    @model_validator(mode="after")
    def _each_once(self) -> ViewSettings:
        for name, values in (("turns", self.turns), ("margins", self.margins)):
            if len(set(values)) < len(values):
                raise ValueError(f"`{name}` must name each view once. Received: {values}.")
        if any(margin < 0 for margin in self.margins):
            raise ValueError(f"`margins` must be 0 or more. Received: {self.margins}.")
        return self


class RerankingSettings(StageSettings):
    """Re-ranking by shared neighbours (Zhong 2017). It made the results of others worse (OML issue 16): measure it."""

    neighbours: int = Field(0, ge=0, description="k1: neighbours of a photo; 0 leaves re-ranking out. Paper: 20.")
    averaged: int = Field(6, ge=1, description="k2: photos whose neighbourhoods are averaged, itself included.")
    weight: float = Field(5.0, gt=0, description="Added to the score where two neighbourhoods are the same, logits.")


class RankingSettings(StageSettings):
    """How scores of photos become answers."""

    identity_score: IdentityScoreSettings = Field(
        IdentityScoreSettings(), description="What the score of an individual is made of."
    )
    views: ViewSettings = Field(ViewSettings(), description="Further images of each photo that are compared too.")
    reranking: RerankingSettings = Field(RerankingSettings(), description="Re-ranking by shared neighbours.")
    together: Combination = Field("mean", description="What the photos of one encounter answer together: mean or max.")

    @property
    def best_photo_decides(self) -> bool:
        """Whether the score of an individual is that of its best photo, as it comes from the comparator."""
        return self.identity_score.rule == "max" and not self.reranking.neighbours

    @model_validator(mode="after")
    def _reranking_needs_photos(self) -> RankingSettings:
        if self.reranking.neighbours and self.identity_score.rule in ("centroid", "robust_centroid"):
            raise ValueError(
                "`reranking` must be left out where centroids are compared, which have no neighbouring photos. "
                f"Received: neighbours={self.reranking.neighbours}, rule={self.identity_score.rule}."
            )
        return self
