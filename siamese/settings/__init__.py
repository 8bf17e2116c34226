"""Settings of every stage: one frozen model a stage. A default stands here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError, model_validator

from siamese.errors import SettingsError
from siamese.settings.augmentation import AugmentationSettings, Turn
from siamese.settings.base import StageSettings
from siamese.settings.collection import CheckSettings, Contrast, PreprocessingSettings, SplitKind, SplitSettings
from siamese.settings.decision import DecisionSettings, ThresholdRule
from siamese.settings.ensemble import BlendMethod, EnsembleSettings, ScoreConversion, StackingSettings
from siamese.settings.evaluation import EvaluationSettings, ProtocolSettings
from siamese.settings.model import ComparatorSettings, EncoderSettings, Normalisation, Pooling
from siamese.settings.ranking import (
    Combination,
    IdentityRule,
    IdentityScoreSettings,
    RankingSettings,
    RerankingSettings,
    ViewSettings,
)
from siamese.settings.training import (
    AdaptiveNoiseSettings,
    EarlyStopSettings,
    MiningSettings,
    PhaseSettings,
    PlateauSettings,
    TrainingSettings,
)

__all__ = [
    "AdaptiveNoiseSettings",
    "AugmentationSettings",
    "BlendMethod",
    "CheckSettings",
    "Combination",
    "ComparatorSettings",
    "Contrast",
    "DecisionSettings",
    "EarlyStopSettings",
    "EncoderSettings",
    "EnsembleSettings",
    "EvaluationSettings",
    "IdentityRule",
    "IdentityScoreSettings",
    "MiningSettings",
    "Normalisation",
    "PhaseSettings",
    "PlateauSettings",
    "Pooling",
    "PreprocessingSettings",
    "ProtocolSettings",
    "RankingSettings",
    "RerankingSettings",
    "ScoreConversion",
    "Settings",
    "SplitKind",
    "SplitSettings",
    "StackingSettings",
    "StageSettings",
    "ThresholdRule",
    "TrainingSettings",
    "Turn",
    "ViewSettings",
    "read_settings",
    "read_values",
    "settings_from_dict",
    "write_settings",
]


class Settings(StageSettings):
    """All stages of a run; what `--config FILE.yaml` holds and what the run folder keeps."""

    check: CheckSettings = CheckSettings()
    preprocessing: PreprocessingSettings = PreprocessingSettings()
    split: SplitSettings = SplitSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    encoder: EncoderSettings = EncoderSettings()
    comparator: ComparatorSettings = ComparatorSettings()
    training: TrainingSettings = TrainingSettings()
    ranking: RankingSettings = RankingSettings()
    decision: DecisionSettings = DecisionSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _mirror_images_are_one_thing(self) -> Settings:
        if self.training.pair_flips and "flip" in self.augmentation.new_identities:
            raise ValueError(
                "A mirror image cannot be both another animal and the same one. Received: training.pair_flips="
                f"{self.training.pair_flips} and `flip` in augmentation.new_identities. Leave one of them out."
            )
        return self


def settings_from_dict(values: dict[str, Any], *, source: str = "settings") -> Settings:
    """Checks nested values and returns the settings.

    Raises:
        SettingsError: a field is unknown or out of range; the sentence names it.

    Example:
    >>> settings_from_dict({"training": {"batch_size": 32}}).training.batch_size
    32
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"{source}: `{place}` is wrong: {first['msg']}. Received: {first['input']!r}. "
            "`siamese settings` lists every setting with its range."
        ) from error


def read_settings(path: Path) -> Settings:
    """Reads settings from a YAML file; what the file leaves out keeps its default."""
    return settings_from_dict(read_values(path), source=str(path))


def read_values(path: Path) -> dict[str, Any]:
    """Reads a YAML file of sections with fields, not checked yet.

    Raises:
        SettingsError: the file is missing or is not YAML of this form.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: the settings cannot be read ({error}). Give a YAML file.") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: settings must be sections with fields. Received: {type(values).__name__}.")
    return values


def write_settings(settings: Settings, path: Path) -> None:
    """Writes the resolved settings as YAML."""
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
