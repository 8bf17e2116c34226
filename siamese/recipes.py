"""Settings from a recipe, a file and single values, in this order; the last one wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from siamese.errors import SettingsError
from siamese.settings import Settings, read_values, settings_from_dict

FOLDERS = (Path("recipes"), Path(__file__).resolve().parents[1] / "recipes")


def resolve_settings(recipe: str | None, config: Path | None, values: Iterable[str]) -> Settings:
    """Joins a recipe, a YAML file and `section.field=value` texts.

    Args:
        recipe: name of a file under `recipes/`, with or without `.yaml`; None takes the defaults.
        config: a YAML file that overrides the recipe.
        values: such as `training.batch_size=32`; the value is read as YAML.

    Raises:
        SettingsError: a recipe or file is missing, or a value is unknown or out of range.
    """
    merged: dict[str, Any] = {}
    for path in ([find_recipe(recipe)] if recipe else []) + ([config] if config else []):
        _merge(merged, read_values(path))
    for text in values:
        _merge(merged, _nested(text))
    return settings_from_dict(merged, source="settings")


def find_recipe(name: str) -> Path:
    """Finds a recipe by name in `recipes/` of the working folder, then of the project."""
    file_name = name if name.endswith(".yaml") else f"{name}.yaml"
    for folder in FOLDERS:
        if (folder / file_name).is_file():
            return folder / file_name
    there = sorted({path.stem for folder in FOLDERS for path in folder.glob("*.yaml")})
    raise SettingsError(f"`recipe` must be one of {', '.join(there) or '(none here)'}. Received: {name!r}.")


def _nested(text: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    sentence = f"A setting must look like training.batch_size=32. Received: {text!r}."
    if not equals or "." not in name:
        raise SettingsError(sentence)
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(f"{sentence} Close every bracket and quote of the value.") from error
    for part in reversed(name.strip().split(".")):
        nested = {part: nested}
    return nested


def _merge(target: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = dict(value) if isinstance(value, Mapping) else value
