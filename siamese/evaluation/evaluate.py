"""Scores and truths of held-out queries become one table of numbers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from siamese.decision import Decision
from siamese.evaluation.openset import LISTED, auc_new, threshold_curve
from siamese.evaluation.pair_scores import PairCounts, query_blocks, read_pair_scores
from siamese.evaluation.retrieval import average_precision_at, share_found
from siamese.identity_scores import NEW_INDIVIDUAL, IdentityScores, check_length, check_scores, identity_scores
from siamese.ranking import Ranking, Threshold, check_top_k, join_rankings, rank_identities, reciprocal_ranks

CURVE_PLACES = 20  # length of the CMC curve that is kept for the report
BLOCKS_AT_ONCE = 2  # threads; NumPy leaves Python alone while it works, and each block takes some 300 MB


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
        curve: what each threshold would give, see `openset.threshold_curve`.
        queries: one row a query: image_id; identity ("" where even the name is unknown); kind: known, new or
            unanswerable; answer: the first; best_identity: the most similar one; best_score, own_score: of it and of
            the right identity; rank: of the right identity, equals standing before it; place: the same in the order
            that is shown (both without the new individual, and 0 where it may not answer); num_candidates; precision:
            1 / rank in the list that is shown, 0 behind rank 5; probability: that the most similar identity is right;
            score_1 to score_5: of the best identities; average_precision: over all photos of the right identity;
            num_photos: so many of these may answer.
        pairs: same and different pairs of photos by threshold.
    """

    ranking: Ranking
    metrics: dict[str, Any]
    truth: np.ndarray
    counted: np.ndarray
    num_candidates: np.ndarray
    best_scores: np.ndarray
    cmc: np.ndarray
    curve: pd.DataFrame
    queries: pd.DataFrame
    pairs: PairCounts

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
    table: IdentityScores | None = None,
    top_k: int = 5,
) -> Evaluation:
    """Ranks the identities of the catalog for each query and says how often the answers are right.

    A query of an identity that the catalog does not hold is one of a new individual. A query of a known individual none
    of whose photos may answer it (`allowed`) has no right answer, and is not counted. The matrix is worked on in blocks
    of queries, so that memory beside it does not grow with its size. Of equal scores the right one stands last; lists
    that are shown order equals by name, and what judges them (MAP@5, first answers) takes that order.

    Args:
        scores: `(num_queries, num_catalog)` floats, higher is more alike. Not changed.
        catalog_identity: `(num_catalog,)` names; photos of unknown individuals ("") answer nothing.
        truth: `(num_queries,)` identities; "" or one that the catalog lacks means new. Names of new individuals let
            intervals take the queries of one together; each "" counts as a further one.
        query_ids: `(num_queries,)` image ids.
        decision: threshold and calibration, fitted on other queries than these and moved to the size of this catalog.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.
        table: scores of the identities, where another rule than the best photo made them; none takes the best photo.
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
    catalog_identity = np.asarray(catalog_identity, dtype=object)
    check_scores(scores, len(catalog_identity), allowed)
    truth = check_length("truth", truth, len(scores))
    query_ids = check_length("query_ids", query_ids, len(scores))

    num_identities = decision.growth.num_identities if decision.growth else None  # the decision was moved already
    threshold = decision.new_threshold(catalog_identity, num_identities=num_identities)

    def answered(rows: slice) -> tuple[Ranking, pd.DataFrame]:
        may = None if allowed is None else allowed[rows]
        some = table.select(rows) if table else identity_scores(scores[rows], catalog_identity, allowed=may)
        return _answers(
            some, truth[rows], query_ids[rows], threshold, decision.identity_probability, max(top_k, LISTED) + 1
        )

    with ThreadPoolExecutor(BLOCKS_AT_ONCE) as pool:
        reading = pool.submit(read_pair_scores, scores, catalog_identity, truth, allowed=allowed)
        parts = list(pool.map(answered, query_blocks(scores, num_blocks=16)))
    ranking = join_rankings([ranking for ranking, _ in parts])
    pairs = reading.result()
    queries = pd.concat([table for _, table in parts], ignore_index=True)
    queries = queries.assign(average_precision=pairs.average_precision, num_photos=pairs.num_right)
    right = np.where(queries["kind"] == "new", "", truth)
    kind = queries["kind"]
    counts = {
        "num_queries": int((kind != "unanswerable").sum()),
        "num_known": int((kind == "known").sum()),
        "num_new": int((kind == "new").sum()),
        "num_identities": len(set(catalog_identity) - {""}),
        "num_unanswerable": int((kind == "unanswerable").sum()),
    }
    curve = share_found(queries["rank"].to_numpy(), k=CURVE_PLACES)
    return Evaluation(
        ranking=ranking.first(top_k),
        metrics={**_metrics(queries, curve), "threshold": float(decision.threshold), **counts},
        truth=right,
        counted=(kind != "unanswerable").to_numpy(),
        num_candidates=queries["num_candidates"].to_numpy(),
        best_scores=queries["best_score"].to_numpy(),
        cmc=curve,
        curve=threshold_curve(queries, mark=decision.threshold),
        queries=queries,
        pairs=pairs.counts,
    )


def _answers(
    table: IdentityScores,
    truth: np.ndarray,
    query_ids: np.ndarray,
    threshold: Threshold,
    probability: Callable[[np.ndarray], np.ndarray],
    num_listed: int,
) -> tuple[Ranking, pd.DataFrame]:
    """Ranks some queries, and returns the list and the numbers of each."""
    columns = table.columns_of(truth)
    places = table.ranks_of(truth)
    is_new = columns < 0
    ranking = rank_identities(
        table,
        query_ids=query_ids,
        threshold=threshold,
        top_k=num_listed,
        probability=probability,
    )
    names, five = _listed_identities(ranking)
    best = five[:, 0]
    numbers = {
        "image_id": query_ids,
        "identity": truth,
        "kind": np.where(is_new, "new", np.where(places > 0, "known", "unanswerable")),
        "answer": ranking.identities[:, 0],
        "best_identity": names,
        "best_score": best,
        "own_score": table.scores_of(truth),
        "rank": table.last_ranks_of(truth),
        "place": places,
        "num_candidates": np.isfinite(table.scores).sum(axis=1),
        "precision": average_precision_at(np.where(is_new, "", truth), ranking.identities, k=LISTED),
        "probability": np.where(best > -np.inf, probability(np.where(best > -np.inf, best, 0.0)), 0.0),
        **{f"score_{rank + 1}": five[:, rank] for rank in range(LISTED)},
    }
    return ranking, pd.DataFrame(numbers)


def _listed_identities(ranking: Ranking) -> tuple[np.ndarray, np.ndarray]:
    """Returns the most similar identity of each query ("" without any), and `(num_queries, LISTED)` best scores."""
    is_known = (ranking.identities != NEW_INDIVIDUAL) & (ranking.identities != "")
    scores = np.where(is_known, ranking.scores, -np.inf)
    first = np.argmax(is_known, axis=1)[:, None]
    names = np.take_along_axis(np.where(is_known, ranking.identities, ""), first, axis=1)[:, 0]
    return names, -np.sort(-scores, axis=1)[:, :LISTED]


def _metrics(queries: pd.DataFrame, curve: np.ndarray) -> dict[str, float]:
    known, new = (queries[queries["kind"] == kind] for kind in ("known", "new"))
    counted = pd.concat([known, new])
    return {
        "map5": _mean(counted["precision"]),
        "map5_known": _mean(known["precision"]),
        "first_right": _mean(counted["precision"] == 1),
        "new_found": _mean(new["answer"] == NEW_INDIVIDUAL),
        "known_called_new": _mean(known["answer"] == NEW_INDIVIDUAL),
        "map5_closed": _mean(reciprocal_ranks(known["rank"].to_numpy(), k=LISTED)),
        "top1": float(curve[0]),
        "top5": float(curve[4]),
        "auc_new": auc_new(counted["best_score"].to_numpy(), (counted["kind"] == "new").to_numpy()),
    }


def _mean(values: np.ndarray | pd.Series) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
