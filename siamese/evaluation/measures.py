"""Every number of an evaluation, each with the interval that a bootstrap over individuals gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from siamese.evaluation.bootstrap import (
    NUM_DRAWS,
    Interval,
    Measure,
    auc_of,
    balanced_mean_of,
    calibration_error_of,
    draw_individuals,
    individual_codes,
    interval,
    intervals,
    mean_of,
)
from siamese.evaluation.evaluate import Evaluation
from siamese.evaluation.openset import LISTED
from siamese.evaluation.probability import log_losses
from siamese.evaluation.verification import AcceptRate, accept_rate
from siamese.identity_scores import NEW_INDIVIDUAL
from siamese.ranking import reciprocal_ranks

FALSE_ACCEPT_RATES = (0.1, 0.01, 0.001)

KINDS: dict[str, str] = {"counted": "queries", "known": "known queries", "new": "new queries", "pairs": "pairs"}
NAMES: dict[str, tuple[str, str]] = {
    "map5": ("MAP@5, new individual placed (the challenge's)", "counted"),
    "map5_known": ("MAP@5 over known individuals", "known"),
    "map5_closed": ("MAP@5, new individual not placed", "known"),
    "map": ("mAP over all right photos", "known"),
    "top1": ("top-1 (CMC@1)", "known"),
    "top5": ("top-5 (CMC@5)", "known"),
    "top10": ("top-10 (CMC@10)", "known"),
    "balanced_top1": ("top-1, each individual alike", "known"),
    "first_right": ("first answer right", "counted"),
    "new_found": ("new ones called new", "new"),
    "known_called_new": ("known ones called new (lower is better)", "known"),
    "baks": ("BAKS: known ones right, each individual alike", "known"),
    "baus": ("BAUS: new ones called new, each individual alike", "new"),
    "animalclef_score": ("square root of BAKS x BAUS (AnimalCLEF's)", "counted"),
    "normalised_accuracy": ("normalised accuracy: mean of known right and new found", "counted"),
    "auc_new": ("AUC of known against new", "counted"),
    "auc_pairs": ("AUC of pairs", "pairs"),
    "equal_error_rate": ("equal error rate of pairs (lower is better)", "pairs"),
    **{
        f"tar_at_far_{far:g}": (f"TAR at FAR {100 * far:g} %: same pairs accepted", "pairs")
        for far in FALSE_ACCEPT_RATES
    },
    "log_loss": ("log loss of the best identity (lower is better)", "counted"),
    "calibration_error": ("ECE of the best identity (lower is better)", "counted"),
}


def measure_all(evaluation: Evaluation, *, num_draws: int = NUM_DRAWS, seed: int = 0) -> pd.DataFrame:
    """Returns every metric with its 95 % interval over individuals.

    Known and new individuals are drawn together, all queries of one at once; the catalog stays. The interval is nan
    where fewer than two individuals take part.

    Args:
        evaluation: of `evaluate`, best with the names of new individuals, so that their queries stay together.
        num_draws: draws of the bootstrap.
        seed: of the draws.

    Returns:
        Columns metric, name, value, low, high, num (queries or pairs it is about) and of (in words). `NAMES` lists the
        metrics; log loss and ECE are those of "the most similar identity is the right one" by its probability.
    """
    code, counts = _drawn(evaluation, num_draws, seed)
    sizes = {
        "counted": int(evaluation.counted.sum()),
        "known": int(evaluation.is_known.sum()),
        "new": int(evaluation.is_new.sum()),
        "pairs": int(evaluation.pairs.same[:, -1].sum() + evaluation.pairs.different[:, -1].sum()),
    }
    found = {metric: interval(measure, counts) for metric, measure in _measures(evaluation, code)}
    found |= {f"top{rank}": one for rank, one in enumerate(_cmc_intervals(evaluation, code, counts), start=1)}
    pairs = evaluation.pairs
    found |= intervals(lambda some: pairs.numbers(some, fars=FALSE_ACCEPT_RATES), counts, size=pairs.size)
    rows = [
        {"metric": metric, "name": name, **asdict(found[metric]), "num": sizes[kind], "of": KINDS[kind]}
        for metric, (name, kind) in NAMES.items()
    ]
    return pd.DataFrame(rows)


def accept_rates(evaluation: Evaluation) -> list[AcceptRate]:
    """Returns TAR at each of `FALSE_ACCEPT_RATES`, with its threshold and whether there are pairs enough."""
    roc = evaluation.pairs.roc()
    return [accept_rate(roc, far) for far in FALSE_ACCEPT_RATES]


def cmc_table(evaluation: Evaluation, *, num_draws: int = NUM_DRAWS, seed: int = 0) -> pd.DataFrame:
    """Returns the CMC with its intervals: columns rank, value, low, high.

    Args:
        evaluation: of `evaluate`.
        num_draws: draws of the bootstrap.
        seed: of the draws.
    """
    code, counts = _drawn(evaluation, num_draws, seed)
    found = _cmc_intervals(evaluation, code, counts)
    return pd.DataFrame([{"rank": rank, **asdict(one)} for rank, one in enumerate(found, start=1)])


def right_first(evaluation: Evaluation) -> np.ndarray:
    """Returns `(num_queries,)` bool: the most similar identity is the right one, the threshold left aside."""
    return (evaluation.queries["rank"] == 1).to_numpy()


def _drawn(evaluation: Evaluation, num_draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the individual of each query, and how often each is drawn."""
    code = individual_codes(evaluation.queries["identity"].to_numpy())
    return code, draw_individuals(code.max(initial=-1) + 1, num_draws=num_draws, rng=np.random.default_rng(seed))


def _cmc_intervals(evaluation: Evaluation, code: np.ndarray, counts: np.ndarray) -> list[Interval]:
    """Returns the interval at each rank; what is found by one rank is found by the next, so that no lower end falls."""
    found: list[Interval] = []
    for rank in range(1, len(evaluation.cmc) + 1):
        one = interval(mean_of(evaluation.queries["rank"] <= rank, code, where=evaluation.is_known), counts)
        found.append(replace(one, low=max(one.low, found[-1].low)) if found else one)
    return found


def _measures(evaluation: Evaluation, code: np.ndarray) -> Iterator[tuple[str, Measure]]:
    yield from _of_lists(evaluation, code)
    yield from _of_answers(evaluation, code)
    counted, queries = evaluation.counted, evaluation.queries
    scores = queries["best_score"].to_numpy()
    yield "auc_new", auc_of(evaluation.is_known, scores, code, where=counted)
    prob, right = queries["probability"].to_numpy(), right_first(evaluation)
    yield "log_loss", mean_of(log_losses(right, prob), code, where=counted, are_shares=False)
    yield "calibration_error", calibration_error_of(right, prob, code, where=counted)


def _of_lists(evaluation: Evaluation, code: np.ndarray) -> Iterator[tuple[str, Measure]]:
    queries, known = evaluation.queries, evaluation.is_known
    precision, rank = queries["precision"].to_numpy(), queries["rank"].to_numpy()
    yield "map5", mean_of(precision, code, where=evaluation.counted)
    yield "map5_known", mean_of(precision, code, where=known)
    yield "map5_closed", mean_of(reciprocal_ranks(rank, k=LISTED), code, where=known)
    yield "map", mean_of(queries["average_precision"].to_numpy(), code, where=known)
    yield "balanced_top1", balanced_mean_of(rank == 1, code, where=known)


def _of_answers(evaluation: Evaluation, code: np.ndarray) -> Iterator[tuple[str, Measure]]:
    known, new = evaluation.is_known, evaluation.is_new
    right = evaluation.queries["precision"].to_numpy() == 1
    called_new = (evaluation.queries["answer"] == NEW_INDIVIDUAL).to_numpy()
    known_right, new_right = (mean_of(right, code, where=kind) for kind in (known, new))
    baks, baus = (balanced_mean_of(right, code, where=kind) for kind in (known, new))
    yield "first_right", mean_of(right, code, where=evaluation.counted)
    yield "new_found", new_right
    yield "known_called_new", mean_of(called_new, code, where=known)
    yield "baks", baks
    yield "baus", baus
    yield "animalclef_score", Measure(lambda counts: np.sqrt(baks(counts) * baus(counts)), min(baks.size, baus.size))
    size = min(known_right.size, new_right.size)
    yield "normalised_accuracy", Measure(lambda counts: (known_right(counts) + new_right(counts)) / 2, size)
