"""How long a large score matrix takes to be evaluated, and in how much memory beside it."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import numpy as np

from siamese.decision import Decision
from siamese.evaluation.evaluate import evaluate
from siamese.evaluation.measures import measure_all

PHOTOS_EACH = 4
SHARE_NEW = 0.25
LIKENESS = 3.0  # standard deviations that photos of one animal score above those of two


def bench_evaluation(num_queries: int = 10_000, num_catalog: int = 100_000, *, seed: int = 0) -> dict[str, Any]:
    """Evaluates drawn scores, every metric with its interval.

    Four catalog photos of each individual; a quarter of the queries are of new ones, two queries of each individual.

    Args:
        num_queries: photos asked about.
        num_catalog: photos of the catalog.
        seed: of the scores and identities.

    Returns:
        `evaluate_s`, `intervals_s`, `seconds`: of both; `cpu_s`: of both, on all cores; `scores_gib`; `peak_gib`: most
        memory beyond what stood before the evaluation, the scores; `map5`, `auc_pairs`.
    """
    rng = np.random.default_rng(seed)
    num_known = max(1, num_catalog // PHOTOS_EACH)
    catalog = np.arange(num_catalog) // PHOTOS_EACH % num_known
    asked = rng.integers(0, int(num_known / (1 - SHARE_NEW)) + 1, num_queries)
    asked[1::2] = asked[: len(asked[1::2]) * 2 : 2]
    scores = _drawn_scores(asked, num_known, num_catalog, rng)
    names, identity = (np.array([f"individual {code}" for code in codes], dtype=object) for codes in (catalog, asked))
    decision = Decision(LIKENESS + 1, 1.0, 0.0, 1.0, -LIKENESS - 1, same_above=LIKENESS + 1, different_below=0.0)
    before = _peak_gib()
    start, cpu = time.perf_counter(), time.process_time()
    evaluation = evaluate(scores, names, identity, query_ids=np.arange(num_queries), decision=decision)
    evaluated = time.perf_counter()
    metrics = measure_all(evaluation).set_index("metric")["value"]
    end, cpu_s = time.perf_counter(), time.process_time() - cpu
    return {
        "evaluate_s": evaluated - start,
        "intervals_s": end - evaluated,
        "seconds": end - start,
        "cpu_s": cpu_s,
        "scores_gib": scores.nbytes / 2**30,
        "peak_gib": _peak_gib() - before,
        "map5": float(metrics["map5"]),
        "auc_pairs": float(metrics["auc_pairs"]),
    }


def _drawn_scores(asked: np.ndarray, num_known: int, num_catalog: int, rng: np.random.Generator) -> np.ndarray:
    """Draws normal scores row by row, those of same pairs higher."""
    scores = np.empty((len(asked), num_catalog), dtype=np.float32)
    for row, individual in zip(scores, asked, strict=True):
        rng.standard_normal(out=row, dtype=np.float32)
        if individual < num_known:
            row[individual * PHOTOS_EACH : (individual + 1) * PHOTOS_EACH] += LIKENESS
    return scores


def _peak_gib() -> float:
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
