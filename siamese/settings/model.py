"""Settings of the encoder and the comparator."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from siamese.settings.base import StageSettings

Pooling = Literal["max", "average", "gem"]
Normalisation = Literal["image", "collection", "imagenet", "unit"]


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
