"""Settings of the random changes that training images go through."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from siamese.settings.base import StageSettings

Turn = Literal["flip", "turn90", "turn180", "turn270"]


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
