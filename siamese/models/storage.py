"""The model folder: all that a ranking needs, in one place, checked by hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from siamese.errors import DiskError, ModelFolderError
from siamese.models.comparator import Comparator
from siamese.models.encoder import FixedStandardise, GeneralisedMeanPooling, Standardise, Stripes
from siamese.settings import Settings, read_settings, write_settings
from siamese.version import installed_version

FORMAT_VERSION = 1
INDEX = "model.json"
DRIFT = "drift.json"
# Imported, so that Keras finds them by name.
CUSTOM_LAYERS = (Comparator, Standardise, FixedStandardise, GeneralisedMeanPooling, Stripes)


@dataclass(frozen=True)
class StoredModel:
    """What a model folder holds.

    Attributes:
        encoder: image -> embedding.
        comparator: two embeddings -> logit.
        settings: all settings of the run; the preprocessing among them.
        decision: thresholds and calibration as plain values.
        card: numbers and provenance: metrics, data and weight hashes, versions.
        drift: what the calibration photos look like, as plain values; {} where nothing was kept.
    """

    encoder: keras.Model
    comparator: keras.layers.Layer
    settings: Settings
    decision: dict[str, Any]
    card: dict[str, Any]
    drift: dict[str, Any] = field(default_factory=dict)


def save_model(folder: Path, model: StoredModel, *, card_text: str) -> None:
    """Writes a model folder beside its place and moves it there, so that an earlier one stays until this one is whole.

    Args:
        folder: the place; a model that stood there is replaced.
        model: what to keep.
        card_text: the model card, Markdown.

    Raises:
        DiskError: the disk is full or the folder cannot be written.
    """
    fresh, old = folder.with_name(folder.name + ".unfinished"), folder.with_name(folder.name + ".old")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        _write_parts(fresh, model, card_text)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DiskError(
            f"{folder}: the model could not be saved ({error}). Free some space or choose another folder; "
            "the earlier model is untouched."
        ) from error


def _write_parts(folder: Path, model: StoredModel, card_text: str) -> None:
    model.encoder.save(folder / "encoder.keras")
    _as_model(model.comparator, model.encoder.output_shape[-1]).save(folder / "comparator.keras")
    write_settings(model.settings, folder / "settings.yaml")
    (folder / "decision.json").write_text(json.dumps(model.decision, indent=2), encoding="utf-8")
    if model.drift:
        (folder / DRIFT).write_text(json.dumps(model.drift), encoding="utf-8")
    (folder / "model_card.md").write_text(card_text, encoding="utf-8")
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
    index = {"format": FORMAT_VERSION, **_versions(), "files": files, "card": model.card}
    (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def load_model(folder: Path) -> StoredModel:
    """Reads a model folder; the numbers it gives are those that were saved.

    Raises:
        ModelFolderError: a part is missing, was changed after saving, or is of another format version.
    """
    index = _read_index(folder)
    for name, expected in index["files"].items():
        path = folder / name
        if not path.is_file() or file_hash(path) != expected:
            state = "was changed after it was saved" if path.is_file() else "is missing"
            raise ModelFolderError(f"{folder}: `{name}` {state}. Copy the whole model folder again, or train anew.")
    comparator = keras.saving.load_model(folder / "comparator.keras", compile=False, safe_mode=True)
    return StoredModel(
        keras.saving.load_model(folder / "encoder.keras", compile=False, safe_mode=True),
        comparator.get_layer("comparator"),
        read_settings(folder / "settings.yaml"),
        json.loads((folder / "decision.json").read_text(encoding="utf-8")),
        index["card"],
        json.loads((folder / DRIFT).read_text(encoding="utf-8")) if DRIFT in index["files"] else {},
    )


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index = dict(json.loads((folder / INDEX).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelFolderError(
            f"{folder}: a model folder must hold {INDEX}. Received: {error}. Give the folder that training wrote, "
            "such as runs/flukes/model."
        ) from error
    if index.get("format") != FORMAT_VERSION:
        raise ModelFolderError(
            f"{folder}: the format must be {FORMAT_VERSION}. Received: {index.get('format')}. Update siamese."
        )
    return index


def _as_model(comparator: keras.layers.Layer, embed_dim: int) -> keras.Model:
    """Wraps the comparator, which is a layer, so that Keras can save it alone."""
    sides = [keras.Input((embed_dim,), name=name) for name in ("left", "right")]
    comparator.name = "comparator"
    return keras.Model(sides, comparator(sides), name="comparator_model")


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    return {"siamese": installed_version(), "keras": keras.__version__}
