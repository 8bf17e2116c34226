"""What another way to score identities changes, each against the plain one, on the same queries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from siamese.evaluation.comparison import compare_steps
from siamese.evaluation.openset import LISTED
from siamese.evaluation.retrieval import average_precision_at
from siamese.identity_scores import IdentityScores, check_length
from siamese.ranking import Threshold, rank_identities, reciprocal_ranks

OF_ALL = ("map5", "first_right")  # the others are about known individuals alone


def answer_values(table: IdentityScores, truth: np.ndarray, threshold: Threshold | None) -> dict[str, np.ndarray]:
    """Returns what each query contributes to the metrics of answers.

    Args:
        table: scores of the identities.
        truth: `(num_queries,)` identities; "" or one that the catalog lacks means new.
        threshold: as for `rank_identities`.

    Returns:
        `(num_queries,)` values of `map5` and `first_right` (the new individual placed), `map5_closed`, `top1` and
        `top5` (not placed; of equal scores the right one stands last).

    Raises:
        SiameseError: there is not one truth per query.

    Example:
    >>> names, nobody = np.array(["ann", "bob"], dtype=object), np.zeros((1, 2), dtype=np.int32)
    >>> values = answer_values(IdentityScores(names, np.array([[3.0, 5.0]], np.float32), nobody), ["ann"], 4.0)
    >>> {metric: round(float(value[0]), 2) for metric, value in values.items()}
    {'map5': 0.33, 'first_right': 0.0, 'map5_closed': 0.5, 'top1': 0.0, 'top5': 1.0}
    """
    truth = check_length("truth", truth, len(table.scores))
    columns = table.columns_of(truth)
    rank = table.last_ranks_of(truth)
    listed = rank_identities(table, query_ids=np.arange(len(truth)), threshold=threshold, top_k=LISTED)
    precision = average_precision_at(np.where(columns < 0, "", truth), listed.identities, k=LISTED)
    return {
        "map5": precision,
        "first_right": precision == 1,
        "map5_closed": reciprocal_ranks(rank, k=LISTED),
        "top1": rank == 1,
        "top5": (rank > 0) & (rank <= LISTED),
    }


def ranking_steps(
    tables: Mapping[str, IdentityScores],
    truth: np.ndarray,
    *,
    thresholds: Mapping[str, Threshold | None],
    identity: np.ndarray | None = None,
) -> pd.DataFrame:
    """Compares each way to score identities with the first one.

    Args:
        tables: scores of the same queries, by name; the first is what the others are compared with.
        truth: `(num_queries,)` identities; "" or one that the catalog lacks means new. Known queries that nothing of
            their own may answer are left out.
        thresholds: for each name, that of the new individual, fitted on other queries.
        identity: `(num_queries,)` names that tell which queries belong together; None takes the truth.

    Returns:
        As `compare_steps`, a step for each name but the first.

    Raises:
        SiameseError: there is not one truth per query, or no query that counts.
    """
    plain, *others = tables
    truth = check_length("truth", truth, len(tables[plain].scores))
    identity = truth if identity is None else check_length("identity", identity, len(truth))
    values = {name: answer_values(table, truth, thresholds[name]) for name, table in tables.items()}
    known = tables[plain].ranks_of(truth) > 0
    counted = known | (tables[plain].columns_of(truth) < 0)
    parts = []
    for name in others:
        for where, metrics in ((counted, OF_ALL), (known, sorted(values[plain].keys() - set(OF_ALL)))):
            if where.any():
                steps = [(step, {metric: values[step][metric][where] for metric in metrics}) for step in (plain, name)]
                parts.append(compare_steps(steps, identity[where]))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
