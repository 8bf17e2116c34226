"""Whether one model, or one step, is better than another on the same queries, or only luckier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from siamese.decision import Decision
from siamese.errors import SiameseError
from siamese.evaluation.bootstrap import (
    NUM_DRAWS,
    balanced_mean_of,
    check_codes,
    draw_individuals,
    individual_codes,
    interval,
    mean_of,
)
from siamese.evaluation.evaluate import Evaluation
from siamese.evaluation.measures import right_first
from siamese.evaluation.openset import LISTED
from siamese.evaluation.probability import log_losses
from siamese.ranking import reciprocal_ranks

NUM_FLIPS = 10_000
FLIPS_AT_ONCE = 500
ROUNDING = 1e-12  # sums of the same numbers in another order are equal

# Of each metric: the column of `Evaluation.queries`, the value that counts as 1 (none takes the number itself), whether
# it is over known individuals alone, and whether each of them weighs alike.
COMPARED: dict[str, tuple[str, float | None, bool, bool]] = {
    "map5": ("precision", None, False, False),
    "map5_known": ("precision", None, True, False),
    "map": ("average_precision", None, True, False),
    "top1": ("rank", 1, True, False),
    "balanced_top1": ("rank", 1, True, True),
    "first_right": ("precision", 1, False, False),
}


@dataclass(frozen=True)
class Comparison:
    """Two sets of values for the same queries.

    Attributes:
        first: mean of the first.
        second: mean of the second.
        difference: second minus first.
        low: lower end of its 95 % interval over individuals.
        high: upper end.
        p_value: chance of a difference as large, either way, were the two alike for every individual.
        num_individuals: individuals asked for.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    num_individuals: int


def compare_values(
    first: np.ndarray,
    second: np.ndarray,
    identity: np.ndarray,
    *,
    balanced: bool = False,
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compares two values for each query: a sign-flip test and a bootstrap, both by whole individuals.

    Were the two alike, the difference of each individual could as well have the other sign. The test flips these signs
    at random, for all queries of an individual together, and counts how often the mean comes out as far from 0 (paired
    permutation test, Good 2005, clustered). The observed order is one of the flips, so that p is never 0.

    Args:
        first: `(num_queries,)` numbers, such as precision in the list.
        second: `(num_queries,)` numbers of the same queries.
        identity: `(num_queries,)` names; "" is a further individual each.
        balanced: whether each individual weighs alike, not each query.
        num_draws: draws of the bootstrap.
        seed: of the draws and flips.

    Raises:
        SiameseError: the three differ in length, or there is no query.

    Example:
    >>> found = compare_values([0.0] * 6, [1.0] * 6, list("aabbcd"))
    >>> found.difference, round(found.p_value, 1)  # four individuals: 2 of 16 flips are as far from 0
    (1.0, 0.1)
    """
    code = individual_codes(identity)
    gap = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    check_codes(gap, code)
    if not len(code):
        raise SiameseError("Two models must be compared on at least one query. Received: none. Ask both one photo.")
    rng = np.random.default_rng(seed)
    num_individuals = int(code.max()) + 1
    make = balanced_mean_of if balanced else mean_of
    measures = [make(np.asarray(values), code, are_shares=False) for values in (first, second, gap)]
    one, other = (float(measure(np.ones((1, num_individuals)))[0]) for measure in measures[:2])
    found = interval(measures[2], draw_individuals(num_individuals, num_draws=num_draws, rng=rng))
    each = np.bincount(code, weights=gap) / (np.bincount(code) if balanced else 1.0)
    return Comparison(one, other, found.value, found.low, found.high, _flip_test(each, rng), num_individuals)


def compare_evaluations(evaluations: Mapping[str, Evaluation], *, seed: int = 0) -> pd.DataFrame:
    """Sets models side by side, each against the first, on the queries that all were asked.

    The p of each row is that of its comparison alone: of twenty models that are alike, one is under 0.05 by chance.

    Args:
        evaluations: by the models' names, with the same names of individuals.
        seed: of the draws and flips.

    Returns:
        Columns metric, model, num_queries, value; and difference (from the first model), low, high, p_value and
        num_individuals as in `Comparison`, the first model's own difference being nan. The metrics of answers are over
        the queries counted in all, those of known individuals over the queries that are known in all.

    Raises:
        SiameseError: the models share no query, or disagree about who a photo shows.
    """
    names = list(evaluations)
    asked = [evaluation.queries.set_index("image_id") for evaluation in evaluations.values()]
    common = [photo for photo in asked[0].index if all(photo in other.index for other in asked[1:])]
    asked = [queries.loc[common] for queries in asked]
    _check_same_truth(asked)
    counted = np.all([queries["kind"] != "unanswerable" for queries in asked], axis=0)
    known = np.all([queries["kind"] == "known" for queries in asked], axis=0)
    identity = asked[0]["identity"].to_numpy(dtype=object)
    rows: list[dict[str, Any]] = []
    for metric, (column, wanted, over_known, balanced) in COMPARED.items():
        where = known if over_known else counted
        values = [_wanted(queries[column].to_numpy(), wanted)[where] for queries in asked] if where.any() else []
        for name, own in zip(names, values, strict=False):
            found = compare_values(values[0], own, identity[where], balanced=balanced, seed=seed)
            rows.append({"metric": metric, "model": name, "num_queries": int(where.sum()), **_against_first(found)})
            if name == names[0]:
                rows[-1] |= dict.fromkeys(("difference", "low", "high", "p_value"), np.nan)
    return pd.DataFrame(rows)


def compare_steps(steps: Sequence[tuple[str, Mapping[str, np.ndarray]]], identity: np.ndarray) -> pd.DataFrame:
    """Compares each step with the one before it, metric by metric.

    Args:
        steps: name of each step, and for each metric `(num_queries,)` values after it.
        identity: `(num_queries,)` names; "" is a further individual each.

    Returns:
        Columns step, metric and those of `Comparison`, where first is before and second after the step; a metric that
        the step before does not have is left out.

    Example:
    >>> steps = [("plain", {"top1": np.array([0.0, 1.0])}), ("re-ranked", {"top1": np.array([1.0, 1.0])})]
    >>> print(compare_steps(steps, ["ann", "bob"])[["step", "metric", "first", "second"]].to_string(index=False))
         step metric  first  second
    re-ranked   top1    0.5     1.0
    """
    rows = [
        {"step": name, "metric": metric, **asdict(compare_values(before[metric], after[metric], identity))}
        for (_, before), (name, after) in pairwise(steps)
        for metric in after
        if metric in before
    ]
    return pd.DataFrame(rows)


def decision_steps(evaluation: Evaluation, decision: Decision) -> pd.DataFrame:
    """Tells what the threshold and the calibration of a decision change, each against doing without it.

    Without the threshold nobody is called new; without the calibration the logistic function of the score is the
    probability that the most similar identity is right.

    Args:
        evaluation: of `evaluate` with this decision.
        decision: threshold and calibration.

    Returns:
        As `compare_steps`, over the counted queries.
    """
    counted = evaluation.counted
    if not counted.any():
        return pd.DataFrame()
    queries = evaluation.queries[counted]
    identity, place = queries["identity"].to_numpy(dtype=object), queries["place"].to_numpy()
    precision, right = queries["precision"].to_numpy(), right_first(evaluation)[counted]
    scores = queries["best_score"].to_numpy()
    known = queries["kind"].to_numpy() == "known"
    closed = np.where(known, reciprocal_ranks(place, k=LISTED), 0.0)
    threshold = [
        ("nobody new", {"map5": closed, "first_right": closed == 1}),
        (f"new under {decision.threshold:.3f}", {"map5": precision, "first_right": precision == 1}),
    ]
    calibration = [
        ("logistic of the score", {"log_loss": log_losses(right, expit(scores))}),
        ("calibrated", {"log_loss": log_losses(right, queries["probability"].to_numpy())}),
    ]
    return pd.concat([compare_steps(steps, identity) for steps in (threshold, calibration)], ignore_index=True)


def _wanted(values: np.ndarray, wanted: float | None) -> np.ndarray:
    return values if wanted is None else (values == wanted).astype(np.float64)


def _against_first(found: Comparison) -> dict[str, float]:
    parts = asdict(found)
    del parts["first"]
    return {"value": parts.pop("second"), **parts}


def _check_same_truth(asked: Sequence[pd.DataFrame]) -> None:
    if not len(asked[0]):
        raise SiameseError(
            "Evaluations must share queries to be compared. Received: no common image id. "
            "Evaluate the models on the same photos."
        )
    first = asked[0]["identity"]
    for other in (queries["identity"] for queries in asked[1:]):
        differ = np.flatnonzero((first != other).to_numpy())
        if len(differ):
            row = differ[0]
            raise SiameseError(
                f"Evaluations must agree on who a photo shows. Received: {first.index[row]!r} is "
                f"{first.iloc[row]!r} in one and {other.iloc[row]!r} in another. Correct the manifests."
            )


def _flip_test(each: np.ndarray, rng: np.random.Generator) -> float:
    """Returns the two-sided p of the sum of the individuals' differences."""
    each = each[each != 0]  # a difference of nothing stays so whatever its sign
    reached = np.abs(each.sum()) - ROUNDING * np.abs(each).sum()
    as_far = 0
    for _ in range(NUM_FLIPS // FLIPS_AT_ONCE):
        signs = rng.integers(0, 2, (FLIPS_AT_ONCE, len(each)), dtype=np.int8) * 2.0 - 1
        as_far += int(np.sum(np.abs(signs @ each) >= reached))
    return (1 + as_far) / (1 + NUM_FLIPS)
