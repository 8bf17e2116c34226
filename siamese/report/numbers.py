"""The numbers on the page: metrics with intervals, baselines, groups, and the answers that were given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from siamese.evaluation.output import CONVENTIONS, EvaluationTables
from siamese.ranking import NEW_INDIVIDUAL, Ranking
from siamese.report.page import Section, table_html
from siamese.report.words import comparison_table

MEANINGS = {
    "top1": "photos of known animals whose right name comes first, new ones left aside",
    "top5": "photos of known animals whose right name is among the first five",
    "balanced_top1": "the same as the first, but each animal counts alike, however many photos it has",
    "map5": "1 for a right first answer, 1/2 for a right second, ... 1/5; the mean over all photos",
    "first_right": "photos whose first answer is right, where new is an answer too",
    "new_found": "photos of animals not in the catalog that were called new",
    "known_called_new": "photos of known animals that were called new by mistake",
    "auc_new": "how often the photo of a known animal finds a more similar photo than one of a new animal",
    "baks": "photos of known animals whose first answer is right, where new is wrong; each animal alike",
    "baus": "photos of new animals that were called new, each animal alike",
    "equal_error_rate": "error on pairs of photos where false matches and missed matches are as frequent",
    "calibration_error": "how far stated probabilities are from what came true",
}
COMPARED = {
    "map5": "MAP@5",
    "map5_known": "MAP@5, known",
    "map5_closed": "MAP@5, new left aside",
    "top1": "top-1",
    "top5": "top-5",
    "auc_new": "AUC of known against new",
}
SHOWN_ANSWERS = 5


def numbers_section(tables: EvaluationTables, metrics: Mapping[str, Any]) -> Section:
    """Makes the section of all numbers.

    Args:
        tables: of `evaluation_tables`.
        metrics: with the `baselines` as far as they were measured.
    """
    rows = tables.metrics.set_index("metric").loc[list(MEANINGS)]
    measured = pd.DataFrame(
        {
            "measure": rows["name"],
            "value": [_digits(value) for value in rows["value"]],
            "95 % interval": [_interval(low, high) for low, high in zip(rows["low"], rows["high"], strict=True)],
            "over": [f"{num:,} {of}" for num, of in zip(rows["num"], rows["of"], strict=True)],
            "what it says": list(MEANINGS.values()),
        }
    )
    compared = comparison_table(metrics).rename(columns=COMPARED)
    compared = compared.astype(object).map(lambda cell: cell if isinstance(cell, str) else _digits(cell))
    parts = (
        table_html(measured, words="what it says"),
        table_html(compared, "Against plain methods"),
        table_html(_groups(tables), "By group"),
    )
    return Section("The numbers", f"{CONVENTIONS} {' '.join(tables.notes)}", parts)


def answers_table(ranking: Ranking, catalog_identity: np.ndarray) -> pd.DataFrame:
    """Counts the first answers: how many are new, and who is named most often.

    A model that names a few animals again and again is not to be trusted, whatever its score.

    Args:
        ranking: of all queries.
        catalog_identity: `(num_catalog,)` names.

    Example:
    >>> empty = np.zeros((3, 1))
    >>> names = np.array([["ann"], ["ann"], ["new_individual"]], dtype=object)
    >>> ranking = Ranking(np.array(["a", "b", "c"]), names, empty, empty, empty)
    >>> print(answers_table(ranking, np.array(["ann", "bob"], dtype=object)).to_string(index=False))
    first answer photos share photos in the catalog
             new      1  33 %
             ann      2  67 %                     1
    """
    first = pd.Series(ranking.identities[:, 0], dtype=object)
    counts = first[~first.isin(["", NEW_INDIVIDUAL])].value_counts().sort_index()
    named = counts.sort_values(ascending=False, kind="stable").head(SHOWN_ANSWERS)
    rows = [("new", int((first == NEW_INDIVIDUAL).sum())), *((str(name), int(num)) for name, num in named.items())]
    in_catalog = pd.Series(catalog_identity, dtype=object).value_counts()
    return pd.DataFrame(
        {
            "first answer": [name for name, _ in rows],
            "photos": [f"{count:,}" for _, count in rows],
            "share": [f"{100 * count / max(1, len(first)):.0f} %" for _, count in rows],
            "photos in the catalog": ["", *(f"{in_catalog.get(name, 0):,}" for name in named.index)],
        }
    )


def _groups(tables: EvaluationTables) -> pd.DataFrame:
    groups = tables.groups[tables.groups["metric"] == "top1"]
    return pd.DataFrame(
        {
            "group": [f"{by}: {group}" for by, group in zip(groups["by"], groups["group"], strict=True)],
            "top-1": [_digits(value) for value in groups["value"]],
            "95 % interval": [_interval(low, high) for low, high in zip(groups["low"], groups["high"], strict=True)],
            "photos": [f"{n:,}" for n in groups["n"]],
            "individuals": [f"{n:,}" for n in groups["num_individuals"]],
        }
    )


def _digits(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _interval(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}" if math.isfinite(low) and math.isfinite(high) else "-"
