"""Steps after the scoring that need no further input, fitted on validation queries alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from siamese.evaluation.comparison import compare_steps
from siamese.evaluation.probability import log_losses
from siamese.open_scores import OpenScores
from siamese.postprocessing import (
    NearestQueries,
    fit_balance_gap,
    fit_singletons,
    fit_temperature,
    fit_transposed,
    nearest_queries,
    num_photos,
    photo_prior,
    put_singletons_first,
    sharpen,
    swap_for_balance,
    swap_transposed,
    with_temperature,
)
from siamese.postprocessing.balance import GAP
from siamese.postprocessing.places import check_probabilities
from siamese.postprocessing.transposed import NEAR


@dataclass(frozen=True, eq=False)
class Asked:
    """One side of a run, scored by the best photo of each identity.

    Attributes:
        scores: of its identities and the new individual.
        truth: `(num_queries,)` identities, "" for new ones.
        identity: `(num_queries,)` names that tell which queries belong together.
        catalog_identity: `(num_catalog,)` names.
        nearest: the query that each catalog photo is most like, by probability.
    """

    scores: OpenScores
    truth: np.ndarray
    identity: np.ndarray
    catalog_identity: np.ndarray
    nearest: NearestQueries

    @property
    def is_new(self) -> np.ndarray:
        """`(num_queries,)` bool."""
        return self.scores.table.columns_of(self.truth) < 0

    @property
    def num_photos(self) -> np.ndarray:
        """`(num_identities,)` photos of each identity in the catalog."""
        return num_photos(self.scores.table.names, self.catalog_identity)


@dataclass(frozen=True, eq=False)
class FittedStep:
    """A step with what validation chose for it.

    Attributes:
        numbers: what was chosen, or taken from the source.
        made: makes the step on any side.
    """

    numbers: Mapping[str, float]
    made: Callable[[Asked], OpenScores]

    def told(self) -> dict[str, float | None]:
        """Returns the numbers for JSON, which knows no infinity: a limit that nothing reaches is None."""
        return {name: value if math.isfinite(value) else None for name, value in self.numbers.items()}


def is_within_noise(gain: Mapping[str, Any]) -> bool:
    """Tells whether the interval of a difference, `low` to `high`, holds 0."""
    return not (gain["low"] > 0 or gain["high"] < 0)


def nearest_by_probability(logits: np.ndarray, catalog_identity: np.ndarray, allowed: np.ndarray) -> NearestQueries:
    """Returns the nearest query of each catalog photo, with the logistic function of the score, as in the source."""
    return nearest_queries(expit(logits.astype(np.float64)), catalog_identity, allowed=allowed)


def log_loss_rows(step: str, sides: Mapping[str, Asked], fitted: FittedStep) -> list[dict[str, Any]]:
    """Compares the log loss of a step's probabilities with that of the softmax of the scores.

    Args:
        step: its name.
        sides: by name.
        fitted: the step, which gives probabilities.

    Returns:
        For each side: side, a row of `compare_steps`, and whether the difference is within noise.
    """
    rows = []
    for side, asked in sides.items():
        before, after = _losses(with_temperature(asked.scores, 1.0), asked), _losses(fitted.made(asked), asked)
        counted = np.isfinite(before)
        if counted.any():
            losses = [("softmax", {"log_loss": before[counted]}), (step, {"log_loss": after[counted]})]
            (row,) = compare_steps(losses, asked.identity[counted]).to_dict("records")
            rows.append({"side": side, **row, "within_noise": is_within_noise(row)})
    return rows


def _losses(scores: OpenScores, asked: Asked) -> np.ndarray:
    """Returns `(num_queries,)` log losses, nan where the right answer may not be given."""
    columns = check_probabilities(scores)
    own = scores.table.columns_of(asked.truth) % columns.shape[1]  # the last column is the new individual's
    counted = columns[np.arange(len(own)), own] > -np.inf
    losses = np.full(len(own), np.nan)
    losses[counted] = log_losses(own[counted], np.maximum(columns[counted], 0))
    return losses


def _temperature(validation: Asked) -> FittedStep:
    factor = fit_temperature(validation.scores, validation.truth)
    return FittedStep({"factor": factor}, lambda asked: with_temperature(asked.scores, factor))


def _sharpened(validation: Asked) -> FittedStep:
    calibrated = _temperature(validation)

    def made(asked: Asked) -> OpenScores:
        prior = photo_prior(asked.scores.table.names, asked.catalog_identity, validation.is_new)
        return sharpen(calibrated.made(asked), prior)

    return FittedStep(calibrated.numbers, made)


def _balanced(validation: Asked, gap: float | None = None) -> FittedStep:
    calibrated = _temperature(validation)
    chosen = fit_balance_gap(calibrated.made(validation), validation.truth) if gap is None else gap
    numbers = {**calibrated.numbers, "gap": chosen}
    return FittedStep(numbers, lambda asked: swap_for_balance(calibrated.made(asked), gap=chosen))


def _transposed(validation: Asked, near: float | None = None) -> FittedStep:
    chosen = fit_transposed(validation.scores, validation.nearest, validation.truth) if near is None else near
    return FittedStep({"near": chosen}, lambda asked: swap_transposed(asked.scores, asked.nearest, near=chosen))


def _singletons(validation: Asked) -> FittedStep:
    near = fit_singletons(validation.scores, validation.num_photos, validation.truth)
    return FittedStep({"near": near}, lambda asked: put_singletons_first(asked.scores, asked.num_photos, near=near))


STEPS: dict[str, Callable[[Asked], FittedStep]] = {
    "temperature": _temperature,
    "sharpened": _sharpened,
    f"class balance, {GAP:g}": lambda validation: _balanced(validation, GAP),
    "class balance, fitted": _balanced,
    f"transposed swap, {NEAR:g}": lambda validation: _transposed(validation, NEAR),
    "transposed swap, fitted": _transposed,
    "singletons first": _singletons,
}
PROBABILITIES = ("temperature", "sharpened")  # steps that are about probabilities more than about the order
