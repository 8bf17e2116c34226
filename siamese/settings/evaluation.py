"""Settings of how a trained model is measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from siamese.settings.base import StageSettings


class ProtocolSettings(StageSettings):
    """Which catalog photos may answer which query."""

    must_share: tuple[str, ...] = Field((), description="Columns a query shares with every photo that may answer it.")
    must_differ: tuple[str, ...] = Field((), description="Columns in which a query differs from what may answer it.")


class EvaluationSettings(ProtocolSettings):
    """How a trained model is measured; the protocol here is the main one."""

    catalog: Literal["known", "leave_one_out"] = Field(
        "known", description="known: all known photos but the test's; leave_one_out: the test photos answer each other."
    )
    protocols: dict[str, ProtocolSettings] = Field({}, description="Further protocols by name, reported beside it.")
    top_k: int = Field(5, ge=1, description="Length of a ranking.")
    sheet_queries: int = Field(12, ge=1, description="Queries drawn on the picture sheet.")
    error_name: str = Field("top-1 error", description="What 1 - top1 is called in the summary.")
