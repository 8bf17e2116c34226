"""The model card: what a model was made from, how good it is, and where it must not be trusted."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd

from siamese.report.words import cautions, plain_summary, summary
from siamese.settings import Settings

PACKAGES = ("siamese", "keras", "tensorflow", "numpy", "pandas", "scikit-image", "h5py", "scipy", "scikit-learn")

WHAT = "Tells individuals apart by photo: a residual encoder and a learned comparator, trained on hard pairs."
WHAT_FOR = (
    "It proposes names from a catalog for photos of the same kind of animal and view, and says where an animal is "
    "probably new. A person confirms."
)
DECISION_WORDS = {
    "threshold": "Best score under which an animal is called new",
    "threshold_rule": "Chosen on",
    "num_known": "Validation photos of known animals",
    "num_new": "Validation photos of new animals",
    "named_rate": "Share of new animals' photos that get a name",
    "named_low": "lower end of its 95 % interval",
    "named_high": "upper end of its 95 % interval",
    "same_above": "Score from which two photos are called the same animal",
    "different_below": "Score under which two photos are called different animals",
    "false_match_rate": "Share of pairs of different animals that are called the same",
    "false_match_low": "lower end of its 95 % interval for animals never seen",
    "false_match_high": "upper end of its 95 % interval for animals never seen",
    "false_non_match_rate": "Share of pairs of one animal that are called different",
}


def card_text(
    *,
    identity: np.ndarray,
    split: np.ndarray,
    fingerprint: str,
    settings: Settings,
    decision: Mapping[str, Any],
    table: pd.DataFrame,
    metrics: Mapping[str, Any],
) -> str:
    """Writes the model card as Markdown.

    Args:
        identity: `(num_images,)` names of the collection; "" is an unknown individual.
        split: `(num_images,)` side of each photo.
        fingerprint: hash of the stored photos.
        settings: of the run.
        decision: thresholds and calibration as plain values.
        table: of `measures.measure_all`.
        metrics: as `report/metrics.json`.
    """
    parts = {
        "Model card": [WHAT],
        "What it is for": [WHAT_FOR],
        "Results in plain words": [plain_summary(table, metrics), *_listed(cautions(table, metrics))],
        "Data": list(_listed(_data_lines(identity, split, fingerprint, settings))),
        "Rule and thresholds": list(_listed(_rule_lines(decision, settings))),
        "Evaluation": [summary(metrics)],
        "Limits": list(_listed(_limit_lines(identity, split, metrics))),
        "Versions": list(_listed(f"{name} {number}" for name, number in versions().items())),
    }
    marks = dict.fromkeys(parts, "##") | {"Model card": "#"}
    return "\n\n".join(f"{marks[title]} {title}\n\n" + "\n".join(body) for title, body in parts.items()) + "\n"


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _listed(sentences: Any) -> Iterator[str]:
    return (f"- {sentence}" for sentence in sentences)


def _data_lines(identity: np.ndarray, split: np.ndarray, fingerprint: str, settings: Settings) -> Iterator[str]:
    known = identity != ""
    names = np.unique(identity[known])
    yield f"{len(identity):,} photos, {len(names):,} individuals by name; {int((~known).sum()):,} without a name."
    for side in sorted(set(split) - {""}):
        here = split == side
        yield f"{side}: {int(here.sum()):,} photos of {len(np.unique(identity[here & known])):,} individuals."
    images = settings.preprocessing
    colour = "grey" if images.channels == 1 else "colour"
    yield f"Photos are cut and resized to {images.width} x {images.height} pixels, {colour}; more in settings.yaml."
    yield f"Fingerprint of the stored photos: {fingerprint[:16]}."


def _rule_lines(decision: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    rule = settings.ranking.identity_score.rule
    yield f"Score of an individual from those of its photos: {rule} (settings.yaml, `ranking`); higher is more alike."
    for name, meaning in DECISION_WORDS.items():
        if decision.get(name) is not None:
            value = decision[name]
            yield f"{meaning}: {f'{value:.4g}' if isinstance(value, float) else value}."


def _limit_lines(identity: np.ndarray, split: np.ndarray, metrics: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "Thresholds hold for photos like those of the validation; other places, cameras or seasons need their own "
        "validation."
    )
    trained, validated = (set(identity[split == side]) - {""} for side in ("train", "validation"))
    if trained & validated:
        yield (
            "The validation photos show animals that also trained the model. For animals it never saw, expect false "
            "matches somewhat more often than stated: `siamese bench decision --photos` counts them."
        )
    yield "No date, place, sex or age enters a score."
    yield "Photos of more than one animal, or cut by the edge, were not tested apart."
    if metrics.get("num_new") == 0:
        yield "No test photo showed a new individual: how well those are found was not measured."
    if metrics.get("num_quarantined"):
        yield f"{metrics['num_quarantined']:,} photos could not be read and are not in it."
