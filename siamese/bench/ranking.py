"""Which ways to score identities help a trained model: chosen on its validation photos, told on its test photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from siamese.bench.postprocessing import (
    PROBABILITIES,
    STEPS,
    Asked,
    is_within_noise,
    log_loss_rows,
    nearest_by_probability,
)
from siamese.decision import choose_threshold
from siamese.errors import SiameseError
from siamese.evaluation.ranking_steps import ranking_steps
from siamese.finished_run import FinishedRun, open_run
from siamese.identity_scores import IdentityScores
from siamese.open_scores import open_scores
from siamese.postprocessing.places import open_ranks, precisions
from siamese.ranking import Threshold
from siamese.settings import RankingSettings
from siamese.views import mean_scores

PLAIN = "best photo"
SIDES = ("validation", "test")
NUM_DRAWS = 4
FURTHER_MARGIN = 0.15  # a crop that shows more of the photo around its box

WAYS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "mean": {"identity_score": {"rule": "mean"}},
    "softmax mean": {"identity_score": {"rule": "softmax_mean"}},
    "2 nearest": {"identity_score": {"rule": "k_nearest", "nearest": 2}},
    "3 nearest": {"identity_score": {"rule": "k_nearest", "nearest": 3}},
    "sum over 0.7": {"identity_score": {"rule": "sum_over"}},
    "centroid": {"identity_score": {"rule": "centroid"}},
    "robust centroid": {"identity_score": {"rule": "robust_centroid"}},
    "re-ranked, 1": {"reranking": {"neighbours": 20, "weight": 1}},
    "re-ranked, 5": {"reranking": {"neighbours": 20, "weight": 5}},
    "re-ranked, 20": {"reranking": {"neighbours": 20, "weight": 20}},
    "flip": {"views": {"turns": ["flip"]}},
    "draws, embeddings": {"views": {"draws": NUM_DRAWS}},
    "draws, scores": {"views": {"draws": NUM_DRAWS, "average": "scores"}},
    "crops, embeddings": {"views": {"margins": [FURTHER_MARGIN]}},
    "crops, scores": {"views": {"margins": [FURTHER_MARGIN], "average": "scores"}},
    "flip and draws": {"views": {"turns": ["flip"], "draws": NUM_DRAWS}},
}


@dataclass(frozen=True, eq=False)
class Way:
    """What one way makes of a side.

    Attributes:
        table: scores of the identities.
        threshold: places the new individual.
    """

    table: IdentityScores
    threshold: Threshold


def bench_ranking(
    run: Path, *, ways: list[str] | None = None, say: Callable[[str], None] = lambda sentence: None
) -> dict[str, Any]:
    """Scores the validation and the test photos of a run in every way, and takes every step after the scoring.

    Each way gets the threshold that its validation scores choose. The way to take is the one with the highest MAP@5 on
    the validation photos; the test photos tell what it brings. The steps follow on the best photo and keep its
    threshold; their numbers are fitted on the validation photos. They are told and not chosen: no setting takes them,
    and swaps answer all queries together, so that a photo alone would get another answer. Whatever gains no more than
    chance may bring, on the very photos that chose it, is called within noise.

    Args:
        run: the folder of a finished training.
        ways: names out of `WAYS` and `STEPS`; None takes all. The best photo always takes part.
        say: is told each way when it is done.

    Returns:
        `chosen`: a name; `validation`: for each way MAP@5, what it gains over the best photo with the 95 % interval,
        whether that is within noise, and the numbers fitted (None: no swap helps); `test`: rows of `ranking_steps`;
        `log_loss`: of the steps that give probabilities, on both sides, against the softmax of the scores.

    Raises:
        SiameseError: there is no such way, a part of the run is missing or was changed, or a photo of a further crop
            cannot be read.
    """
    for name in ways or ():
        if name not in WAYS and name not in STEPS:
            known = ", ".join([*WAYS, *STEPS])
            raise SiameseError(f"`ways` must be among {known}. Received: {name}. Choose one of them.")
    with open_run(run) as found:
        made = _scored(found, [name for name in WAYS if name == PLAIN or not ways or name in ways], say)
        sides = {side: _asked(found, side, made[side][PLAIN]) for side in SIDES}
    numbers, log_loss = {}, []
    for name in (name for name in STEPS if not ways or name in ways):
        fitted = STEPS[name](sides["validation"])
        numbers[name] = fitted.told()
        for side, asked in sides.items():
            scores = fitted.made(asked)
            made[side][name] = Way(scores.table, scores.threshold)
        if name in PROBABILITIES:
            log_loss += log_loss_rows(name, sides, fitted)
        say(name)
    validation = validation_rows(made["validation"], sides["validation"], numbers)
    return {
        "chosen": max((row for row in validation if row["way"] in WAYS), key=lambda row: row["map5"])["way"],
        "validation": validation,
        "test": _compared(made["test"], sides["test"]).to_dict("records"),
        "log_loss": log_loss,
    }


def _scored(found: FinishedRun, names: list[str], say: Callable[[str], None]) -> dict[str, dict[str, Way]]:
    """Scores both sides in some ways; the validation side chooses the threshold."""
    made: dict[str, dict[str, Way]] = {side: {} for side in SIDES}
    for name in names:
        tables = {side: found.table(found.side(side), RankingSettings.model_validate(WAYS[name])) for side in SIDES}
        threshold = choose_threshold(tables["validation"], found.collection.truth(found.side("validation")))
        for side, table in tables.items():
            made[side][name] = Way(table, threshold)
        say(name)
    return made


def _asked(found: FinishedRun, name: str, plain: Way) -> Asked:
    """Returns one side with the scores of its best photos."""
    side = found.side(name)
    views = RankingSettings().views
    asked, known = (found.catalog(rows, views) for rows in (side.queries, side.catalog))
    logits = mean_scores(found.matcher.model.comparator, asked.embeddings, known.embeddings)
    return Asked(
        open_scores(plain.table, plain.threshold),
        found.collection.truth(side),
        found.collection.identity[side.queries],
        known.identity,
        nearest_by_probability(logits, known.identity, found.allowed(side)),
    )


def _compared(ways: Mapping[str, Way], asked: Asked) -> pd.DataFrame:
    return ranking_steps(
        {name: way.table for name, way in ways.items()},
        asked.truth,
        thresholds={name: way.threshold for name, way in ways.items()},
        identity=asked.identity,
    )


def validation_rows(
    ways: Mapping[str, Way], asked: Asked, numbers: Mapping[str, Mapping[str, float | None]]
) -> list[dict[str, Any]]:
    """Tells of each way what it gains on the validation photos.

    Args:
        ways: the best photo first.
        asked: the validation side.
        numbers: what was fitted, by way.

    Returns:
        A row for each way, over the queries whose right answer may be given, see `bench_ranking`.
    """
    compared = _compared(ways, asked)
    gains = {row["step"]: row for row in compared.to_dict("records") if row["metric"] == "map5"}
    counted = open_ranks(asked.scores, asked.truth) > 0
    plain = float(precisions(asked.scores, asked.truth)[counted].mean())
    rows: list[dict[str, Any]] = [{"way": PLAIN, "map5": plain}]
    for name, gain in gains.items():
        told = {key: gain[key] for key in ("difference", "low", "high")}
        told["within_noise"] = is_within_noise(gain)
        rows.append({"way": name, "map5": gain["second"], **told, **numbers.get(name, {})})
    return rows
