"""Settings of the random changes that training images go through."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from siamese.settings.base import StageSettings
from siamese.settings.changes import Change, Range, within
from siamese.settings.presets import PRESETS, Preset

Turn = Literal["flip", "turn90", "turn180", "turn270"]
Fill = Literal["mean", "edge", "zero"]
Motion = Literal["all", "rotation", "shear", "zoom", "shift", "perspective", "corners", "elastic"]
Share = Annotated[float, Field(ge=0, le=1)]
Shift = Annotated[float, Field(ge=0, le=0.5)]


class AugmentationSettings(StageSettings):
    """Random geometry and light for whole batches; 0 switches a change off. Geometry: the humpback kernel's."""

    preset: Preset | None = Field(
        None, description="Changes of a published system; what is set beside it, by a recipe too, wins over it."
    )
    rotation: float = Field(5, ge=0, le=180, description="Largest rotation, degrees.")
    shear: float = Field(5, ge=0, le=60, description="Largest shear, degrees.")
    zoom: Annotated[Range, within(0.1, 10)] = Field(
        (0.8, 1.0), description="Range of the zoom of each axis; under 1 shows more."
    )
    zoom_axes: Literal["each", "together"] = Field(
        "each", description="each: height and width are zoomed on their own; together: by one number."
    )
    shift: Shift | tuple[Shift, Shift] = Field(
        0.05, description="Largest shift, as a share of height and width; two numbers: height, then width."
    )
    perspective: float = Field(0.0, ge=0, le=0.5, description="Largest change of scale from one side to the other.")
    corners: Annotated[Range, within(-0.4, 0.4)] = Field(
        (0.0, 0.0),
        description="How far each corner moves inward on its own, as a share of the sides, so that the rest is cut "
        "off; below 0 it moves outward and shows what lies beyond.",
    )
    elastic: Annotated[Range, within(0, 0.1)] = Field(
        (0.0, 0.0),
        description="Range of the deviation of random vectors on a grid that bend the image, share of sides.",
    )
    elastic_grid: int = Field(4, ge=2, le=16, description="Vectors of that grid along each side.")
    flip: Share = Field(
        0.0,
        description="Share of the photos that are mirrored and still count as the same animal; where left and right "
        "carry different marks, new_identities is right instead.",
    )
    flip_vertical: Share = Field(0.0, description="Share of the photos that are turned upside down by a mirror.")
    geometry_probability: dict[Motion, Share] = Field(
        {}, description="Share of the photos that a part of the geometry moves, as {rotation: 0.5}; all: any of them."
    )
    fill: Fill = Field(
        "mean", description="What is shown beyond the edge: the photo's mean, its edge, or zero (black)."
    )
    gamma: float = Field(0.0, ge=0, lt=1, description="Largest relative change of gamma, up or down.")
    gradient: float = Field(
        0.0, ge=0, le=1, description="Largest change of light across the image, as a share of the range."
    )
    noise: float = Field(0.0, ge=0, le=1, description="Standard deviation of pixel noise, as a share of the range.")
    erase: float = Field(0.0, ge=0, lt=1, description="Largest side of an erased box, as a share of height and width.")
    changes: tuple[Change, ...] = Field(
        (),
        description="Further changes, in this order, as {kind: blur, size: [0, 1.5], probability: 0.5}; one_of takes "
        "one of a list for each photo, some_of several in random order.",
    )
    new_identities: tuple[Turn, ...] = Field(
        (), description="Turned or flipped copies that train as further identities (none of them is the same animal)."
    )

    @model_validator(mode="before")
    @classmethod
    def _own_fields_win_over_the_preset(cls, values: Any) -> Any:
        preset = values.get("preset") if isinstance(values, dict) else None
        if isinstance(preset, str) and preset in PRESETS:
            return {**PRESETS[preset], **values}
        return values  # an unknown preset is refused by its field

    @model_validator(mode="after")
    def _bends_do_not_fold(self) -> AugmentationSettings:
        # Vectors are cut off at two deviations, so neighbours differ by four at most, in each of two directions.
        largest = 1 / (8 * (self.elastic_grid - 1))
        if self.elastic[1] >= largest:
            raise ValueError(
                f"`elastic` must stay under {largest:.3f} for a grid of {self.elastic_grid}, or the image would fold "
                f"over itself. Received: {list(self.elastic)}. Take a smaller deviation or a coarser `elastic_grid`"
            )
        return self
