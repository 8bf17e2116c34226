"""Settings of single changes of light, sharpness and noise, and of the choice among them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from siamese.settings.base import StageSettings

Range = tuple[float, float]


def within(low: float, high: float) -> AfterValidator:
    """Makes the check that a range lies between two numbers and does not fall."""

    def check(values: Range) -> Range:
        if not low <= values[0] <= values[1] <= high:
            raise ValueError(f"a range must be two numbers from {low:g} to {high:g}, the smaller one first")
        return values

    return AfterValidator(check)


class SingleChange(StageSettings):
    """What all kinds of change share; a range is drawn from for each photo on its own."""

    probability: float = Field(1.0, ge=0, le=1, description="Share of the photos that are changed.")


class ChannelChange(SingleChange):
    """A change that all channels share, or that each channel has on its own."""

    per_channel: float = Field(0.0, ge=0, le=1, description="Share of the photos whose channels change on their own.")


class Blur(SingleChange):
    """Gaussian blur."""

    kind: Literal["blur"]
    size: Annotated[Range, within(0, 4)] = Field((0, 1.5), description="Standard deviation, pixels.")


class AverageBlur(SingleChange):
    """Mean of the square around each pixel."""

    kind: Literal["average_blur"]
    size: Annotated[Range, within(1, 15)] = Field((1, 3), description="Side of the square, pixels.")


class MotionBlur(SingleChange):
    """Mean along a line, as a moved camera leaves it."""

    kind: Literal["motion_blur"]
    size: Annotated[Range, within(1, 15)] = Field((3, 5), description="Length of the line, pixels.")


class Sharpen(SingleChange):
    """Adds what a small blur takes away."""

    kind: Literal["sharpen"]
    share: Annotated[Range, within(0, 2)] = Field((0, 0.5), description="Share of it that is added.")


class Noise(ChannelChange):
    """Adds a normal number to each pixel."""

    kind: Literal["noise"]
    size: Annotated[Range, within(0, 1)] = Field((0, 0.05), description="Standard deviation, as a share of the range.")


class Speckle(ChannelChange):
    """Multiplies each pixel by one and a normal number."""

    kind: Literal["speckle"]
    size: Annotated[Range, within(0, 1)] = Field((0, 0.1), description="Standard deviation, as a share of the pixel.")


class Brightness(ChannelChange):
    """Adds one number to all pixels."""

    kind: Literal["brightness"]
    size: Annotated[Range, within(-1, 1)] = Field((-0.1, 0.1), description="The number, as a share of the range.")


class Multiply(ChannelChange):
    """Multiplies all pixels by one number."""

    kind: Literal["multiply"]
    factor: Annotated[Range, within(0, 4)] = Field((0.9, 1.1), description="The number.")


class Contrast(SingleChange):
    """Stretches the pixels around their mean."""

    kind: Literal["contrast"]
    factor: Annotated[Range, within(0, 4)] = Field((0.8, 1.2), description="How far; under 1 flattens.")


class Gamma(SingleChange):
    """Raises the light to a power."""

    kind: Literal["gamma"]
    exponent: Annotated[Range, within(0.05, 20)] = Field(
        (0.8, 1.25), description="The power, even in its logarithm; under 1 brightens."
    )


class Gradient(SingleChange):
    """Makes one side lighter and the other darker."""

    kind: Literal["gradient"]
    size: float = Field(0.1, ge=0, le=1, description="Largest change at an edge, as a share of the range.")


class HueSaturation(SingleChange):
    """Turns and stretches the colours; grey images stay."""

    kind: Literal["hue_saturation"]
    hue: Annotated[Range, within(-180, 180)] = Field((-10, 10), description="Turn of the hue, degrees.")
    saturation: Annotated[Range, within(0, 4)] = Field((0.8, 1.2), description="Factor of the saturation.")


class Grey(SingleChange):
    """Takes colour away; grey images stay."""

    kind: Literal["grey"]
    share: Annotated[Range, within(0, 1)] = Field((1, 1), description="Share of the colour that goes.")


class PcaColour(SingleChange):
    """Adds one colour to all pixels, along the directions in which the colours of the batch differ most."""

    kind: Literal["pca_colour"]
    size: float = Field(0.1, ge=0, le=10, description="Deviation, in eigenvalues of the colours counted from 0 to 1.")


class LocalContrast(SingleChange):
    """Evens out the contrast from place to place."""

    kind: Literal["local_contrast"]
    share: Annotated[Range, within(0, 1)] = Field((0, 1), description="Share of the way to the evened image.")
    window: int = Field(16, ge=3, le=64, description="Side of the place, pixels.")
    limit: float = Field(2.0, ge=1, le=10, description="Largest factor by which a flat place is stretched.")


class Erase(SingleChange):
    """Paints one box."""

    kind: Literal["erase"]
    size: Annotated[Range, within(0, 1)] = Field((0.1, 0.3), description="Sides, as a share of height and width.")
    paint: Literal["mean", "zero"] = Field("mean", description="The photo's mean, or black.")


class Jpeg(SingleChange):
    """Leaves the traces of a strong JPEG compression."""

    kind: Literal["jpeg"]
    quality: Annotated[Range, within(5, 100)] = Field((30, 90), description="Quality, as the programs count it.")


class Mixup(SingleChange):
    """Shines another photo of the batch through; under one half, so the identity stays that of the first."""

    kind: Literal["mixup"]
    share: Annotated[Range, within(0, 0.49)] = Field((0, 0.3), description="Share of the other photo.")


class DropMask(SingleChange):
    """Zeroes the mask, the last of two or four channels; images without a mask stay."""

    kind: Literal["drop_mask"]


Kind = Annotated[
    Blur
    | AverageBlur
    | MotionBlur
    | Sharpen
    | Noise
    | Speckle
    | Brightness
    | Multiply
    | Contrast
    | Gamma
    | Gradient
    | HueSaturation
    | Grey
    | PcaColour
    | LocalContrast
    | Erase
    | Jpeg
    | Mixup
    | DropMask,
    Field(discriminator="kind"),
]


class OneOf(StageSettings):
    """One change of a list for each photo, all equally often."""

    one_of: tuple[Kind, ...] = Field(min_length=1, description="The changes to choose from.")
    probability: float = Field(1.0, ge=0, le=1, description="Share of the photos that are changed at all.")


class SomeOf(StageSettings):
    """Several different changes of a list for each photo, one after the other in random order."""

    some_of: tuple[Kind, ...] = Field(min_length=1, description="The changes to choose from.")
    count: tuple[int, int] | None = Field(
        None, description="Fewest and most changes of a photo, equally often; none: all."
    )
    probability: float = Field(1.0, ge=0, le=1, description="Share of the photos that are changed at all.")

    @model_validator(mode="after")
    def _counts_are_there(self) -> SomeOf:
        if self.count is not None and not 0 <= self.count[0] <= self.count[1] <= len(self.some_of):
            raise ValueError(
                f"`count` must be two numbers from 0 to {len(self.some_of)}, the smaller one first. "
                f"Received: {list(self.count)}. `some_of` lists {len(self.some_of)}"
            )
        return self


def _form(value: Any) -> str:
    there = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, StageSettings) else ()
    return next((name for name in ("one_of", "some_of") if name in there), "single")


Change = Annotated[
    Annotated[Kind, Tag("single")] | Annotated[OneOf, Tag("one_of")] | Annotated[SomeOf, Tag("some_of")],
    Discriminator(_form),
]
