"""Scores and truths of held-out queries become one table of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from siamese.decision import Decision
from siamese.evaluation.openset import auc_new, threshold_curve
from siamese.evaluation.retrieval import average_precision_at, cmc
from siamese.ranking import (
    NEW_INDIVIDUAL,
    IdentityScores,
    Ranking,
    check_length,
    check_top_k,
    identity_scores,
    rank_identities,
    reciprocal_ranks,
)

CURVE_PLACES = 20  # length of the CMC curve that is kept for the report


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came out for the queries of one split.

    Attributes:
        ranking: the answers to all queries, counted or not.
        metrics: numbers over the counted queries; see `evaluate`.
        truth: `(num_queries,)` right answers; "" for a new individual.
        counted: `(num_queries,)` bool; false where no photo of the right identity may answer.
        num_candidates: `(num_queries,)` int, identities that may answer each query.
        best_scores: `(num_queries,)` float64 score of the most similar identity.
        cmc: `(CURVE_PLACES,)` share of the known queries found by rank 1, 2, ...; the new individual not placed.
        curve: MAP@5 against the threshold, columns threshold, map, map_known.
    """

    ranking: Ranking
    metrics: dict[str, Any]
    truth: np.ndarray
    counted: np.ndarray
    num_candidates: np.ndarray
    best_scores: np.ndarray
    cmc: np.ndarray
    curve: pd.DataFrame

    @property
    def is_new(self) -> np.ndarray:
        """`(num_queries,)` bool, the counted queries of new individuals."""
        return self.counted & (self.truth == "")

    @property
    def is_known(self) -> np.ndarray:
        """`(num_queries,)` bool, the counted queries of known individuals."""
        return self.counted & (self.truth != "")


def evaluate(
    scores: np.ndarray,
    catalog_identity: np.ndarray,
    truth: np.ndarray,
    *,
    query_ids: np.ndarray,
    decision: Decision,
    allowed: np.ndarray | None = None,
    top_k: int = 5,
) -> Evaluation:
    """Ranks the identities of the catalog for each query and says how often the answers are right.

    A query of an identity that the catalog does not hold is one of a new individual. A query of a known individual none
    of whose photos may answer it (`allowed`) has no right answer, and is not counted.

    Args:
        scores: `(num_queries, num_catalog)` floats, higher is more alike. Not changed.
        catalog_identity: `(num_catalog,)` names; photos of unknown individuals ("") answer nothing.
        truth: `(num_queries,)` right identities; "" means new.
        query_ids: `(num_queries,)` image ids.
        decision: threshold and calibration, fitted on other queries than these.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.
        top_k: length of the ranking that is returned; the metrics do not depend on it.

    Returns:
        `Evaluation`, whose metrics are
        `map5`, `map5_known`: mean over all / known queries of 1 / rank of the right answer, 0 behind rank 5, with the
        new individual placed by the threshold; `map5_closed`: over known queries, the new individual not placed;
        `top1`, `top5`: share of the known queries with the right identity first / among five, the new individual not
        placed; `auc_new`: see `openset.auc_new`;
        `first_right`: share of all queries whose first answer is right; `new_found`: share of the new queries answered
        "new individual" first; `known_called_new`: share of the known queries answered so; `threshold`;
        `num_queries` (counted ones), `num_known`, `num_new`, `num_identities` (in the catalog), `num_unanswerable`.
        A share of nothing is nan.

    Raises:
        SiameseError: shapes do not fit.
    """
    check_top_k(top_k)
    table = identity_scores(scores, catalog_identity, allowed=allowed)
    truth = check_length("truth", truth, len(table.scores))
    is_new, is_known = table.columns_of(truth) < 0, table.ranks_of(truth) > 0
    right = np.where(is_new, "", truth)
    ranking = rank_identities(
        table,
        query_ids=query_ids,
        threshold=decision.threshold,
        top_k=max(top_k, 5),
        probability=decision.identity_probability,
    )
    curve = cmc(table, right, CURVE_PLACES)
    return Evaluation(
        ranking=ranking.first(top_k),
        metrics={
            **_answers(ranking, right, is_new, is_known),
            "map5_closed": _mean(reciprocal_ranks(table.ranks_of(right)[is_known], k=5)),
            "top1": float(curve[0]),
            "top5": float(curve[4]),
            "auc_new": auc_new(table.best()[is_new | is_known], is_new[is_new | is_known]),
            "threshold": float(decision.threshold),
            **_counts(table, is_new, is_known),
        },
        truth=right,
        counted=is_new | is_known,
        num_candidates=np.isfinite(table.scores).sum(axis=1),
        best_scores=table.best(),
        cmc=curve,
        curve=threshold_curve(table, right, mark=decision.threshold),
    )


def _answers(ranking: Ranking, right: np.ndarray, is_new: np.ndarray, is_known: np.ndarray) -> dict[str, float]:
    precision = average_precision_at(ranking.identities, right, k=5)
    called_new = ranking.identities[:, 0] == NEW_INDIVIDUAL
    return {
        "map5": _mean(precision[is_new | is_known]),
        "map5_known": _mean(precision[is_known]),
        "first_right": _mean(precision[is_new | is_known] == 1),
        "new_found": _mean(called_new[is_new]),
        "known_called_new": _mean(called_new[is_known]),
    }


def _counts(table: IdentityScores, is_new: np.ndarray, is_known: np.ndarray) -> dict[str, int]:
    return {
        "num_queries": int(np.sum(is_new | is_known)),
        "num_known": int(is_known.sum()),
        "num_new": int(is_new.sum()),
        "num_identities": len(table.names),
        "num_unanswerable": int(np.sum(~is_new & ~is_known)),
    }


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
