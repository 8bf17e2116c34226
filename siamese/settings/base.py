"""What the settings of all stages share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StageSettings(BaseModel):
    """What all stages share: fields cannot change after checking, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
