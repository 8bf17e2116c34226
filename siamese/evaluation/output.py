"""An evaluation as tables: on the screen, and as files that a spreadsheet opens."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from siamese.decision import Decision
from siamese.evaluation.accuracy import confusion_table
from siamese.evaluation.bootstrap import individual_codes
from siamese.evaluation.comparison import decision_steps
from siamese.evaluation.evaluate import Evaluation
from siamese.evaluation.groups import group_table, photo_groups
from siamese.evaluation.measures import accept_rates, cmc_table, measure_all, right_first
from siamese.evaluation.probability import reliability
from siamese.files import write_together
from siamese.identity_scores import NEW_INDIVIDUAL

CONVENTIONS = (
    "MAP@5: mean over queries of 1 / rank of the one right answer, 0 behind rank 5; the new individual is an answer "
    "like any other. Intervals: 95 %, from a bootstrap over individuals asked for; the catalog stays. Of equal scores "
    "the right one stands last."
)
FEW_INDIVIDUALS = 20  # in draws from known shares, intervals over fewer spanned up to the whole scale
SIGNIFICANT = 0.05
LOWER_IS_BETTER = ("log_loss",)
# How columns are called on a screen.
HEADINGS = {
    "n": "queries",
    "num": "number",
    "num_queries": "queries",
    "num_individuals": "individuals",
    "first": "before",
    "second": "after",
    "p_value": "p",
}


@dataclass(frozen=True, eq=False)
class EvaluationTables:
    """An evaluation as tables.

    Attributes:
        metrics: as `measures.measure_all`.
        groups: by, group, metric, n, num_individuals, value, low, high: MAP@5 of each group of queries, and top-1 of
            its known ones.
        steps: as `comparison.decision_steps`: before and after threshold and calibration.
        confusion: as `accuracy.confusion_table`.
        thresholds: as `openset.threshold_curve`.
        cmc: as `measures.cmc_table`.
        calibration: as `probability.reliability`, of "the most similar identity is right".
        queries: as `Evaluation.queries`.
        notes: sentences, such as that there are too few pairs for a rate.
    """

    metrics: pd.DataFrame
    groups: pd.DataFrame
    steps: pd.DataFrame
    confusion: pd.DataFrame
    thresholds: pd.DataFrame
    cmc: pd.DataFrame
    calibration: pd.DataFrame
    queries: pd.DataFrame
    notes: tuple[str, ...]


def evaluation_tables(
    evaluation: Evaluation, decision: Decision, groups: Mapping[str, np.ndarray] | None = None
) -> EvaluationTables:
    """Makes every table of an evaluation.

    Args:
        evaluation: of `evaluate`.
        decision: threshold and calibration that it was made with.
        groups: further groups of the queries by name, `(num_queries,)` each; photos per individual are always there.
    """
    queries, counted = evaluation.queries, evaluation.counted
    right = np.where(evaluation.truth == "", NEW_INDIVIDUAL, evaluation.truth)
    by = {"photos per individual": photo_groups(queries["num_photos"].to_numpy()), **(groups or {})}
    return EvaluationTables(
        metrics=measure_all(evaluation),
        groups=pd.concat([_group_rows(evaluation, name, column) for name, column in by.items()], ignore_index=True),
        steps=decision_steps(evaluation, decision),
        confusion=confusion_table(right[counted], queries["answer"].to_numpy()[counted]),
        thresholds=evaluation.curve,
        cmc=cmc_table(evaluation),
        calibration=reliability(right_first(evaluation)[counted], queries["probability"].to_numpy()[counted]),
        queries=queries,
        notes=tuple(_notes(evaluation)),
    )


def write_tables(folder: Path, tables: EvaluationTables, further: Mapping[str, Any]) -> None:
    """Writes queries.csv, groups.csv, confusion.csv, thresholds.csv, cmc.csv, calibration.csv, steps.csv, metrics.json.

    Args:
        folder: made if missing.
        tables: of `evaluation_tables`.
        further: what metrics.json holds beside the metrics.

    Raises:
        DiskError: a file cannot be written; the earlier ones are untouched.
    """
    names = ("queries", "groups", "confusion", "thresholds", "cmc", "calibration", "steps")
    files = {f"{name}.csv": getattr(tables, name).to_csv(index=False).encode() for name in names}
    write_together(folder, {**files, "metrics.json": as_json(as_numbers(tables, further)).encode()})


def as_numbers(tables: EvaluationTables, further: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what metrics.json holds: metrics by name, groups, steps, notes, and what else is given."""
    return {
        "conventions": CONVENTIONS,
        "metrics": tables.metrics.set_index("metric").to_dict("index"),
        "groups": tables.groups.to_dict("records"),
        "steps": tables.steps.to_dict("records"),
        "notes": tables.notes,
        **further,
    }


def as_json(values: Any) -> str:
    """Returns JSON of nested values; what is no number becomes null.

    Example:
    >>> print(as_json({"top1": np.float64(0.5), "auc_new": float("nan")}))
    {
      "top1": 0.5,
      "auc_new": null
    }
    """
    return json.dumps(_plain(values), indent=2, allow_nan=False)


def as_lines(tables: EvaluationTables) -> list[str]:
    """Returns the tables as lines for a screen: metrics, groups, steps, the most frequent confusions, notes."""
    lines = [_asked(tables.queries), "", aligned(tables.metrics[["name", "value", "low", "high", "num", "of"]])]
    if len(tables.groups):
        lines += ["", "By group:", aligned(tables.groups)]
    if len(tables.steps):
        lines += ["", "Before and after each step:", aligned(tables.steps)]
    if len(tables.confusion):
        lines += ["", "Most frequent wrong answers:", aligned(tables.confusion.head(5))]
    return [*lines, "", CONVENTIONS, *tables.notes]


def aligned(table: pd.DataFrame) -> str:
    """Returns a table as lines for a screen; differences with a p get a word on what they show.

    Example:
    >>> rows = [{"metric": "top1", "difference": 0.2, "p_value": 0.0001}]
    >>> print(aligned(pd.DataFrame(rows)))
    metric  difference      p   shows
      top1       0.200 <0.001  better
    """
    shown = table.copy()
    if {"metric", "difference", "p_value"} <= set(table):
        shown["shows"] = [
            _shown(*row) for row in zip(table["metric"], table["difference"], table["p_value"], strict=True)
        ]
    if "p_value" in table:
        shown["p_value"] = ["-" if np.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}" for p in table["p_value"]]
    if "num" in table:
        shown["num"] = [f"{num:,}" for num in table["num"]]
    return shown.rename(columns=HEADINGS).to_string(index=False, float_format="{:.3f}".format, na_rep="-")


def _shown(metric: str, difference: float, p_value: float) -> str:
    if np.isnan(p_value):
        return "-"
    if p_value > SIGNIFICANT:
        return "not clear"
    return "better" if (difference < 0) == (metric in LOWER_IS_BETTER) else "worse"


def _asked(queries: pd.DataFrame) -> str:
    """Tells how many queries of how many individuals there are, and how many are not counted."""
    known, new, left_out = (
        queries.loc[queries["kind"] == kind, "identity"] for kind in ("known", "new", "unanswerable")
    )
    line = (
        f"Asked: {len(known):,} queries of {_num_individuals(known):,} known individuals and "
        f"{len(new):,} of {_num_individuals(new):,} new ones."
    )
    return f"{line} Not counted: {len(left_out):,}, which no photo of theirs may answer." if len(left_out) else line


def _notes(evaluation: Evaluation) -> Iterator[str]:
    """Tells what the numbers cannot say, for want of queries, individuals or pairs."""
    queries = evaluation.queries
    nameless = int((queries["identity"] == "").sum())
    if nameless:
        yield (
            f"Queries without a name: {nameless:,}. Each is taken for a new individual of its own; if some show "
            "animals of the catalog, the numbers are wrong."
        )
    for kind, open_numbers in (
        ("known", "how well the right individual is found"),
        ("new", "how well new ones are told from known ones, and the threshold can only cost"),
    ):
        num = _num_individuals(queries.loc[queries["kind"] == kind, "identity"])
        if not num:
            yield f"No query shows a {kind} individual, so it stays open {open_numbers}."
        elif num < FEW_INDIVIDUALS:
            yield (
                f"The queries show only {num} {kind} individual{'s' * (num > 1)}: what is said of them is rough. "
                f"From {FEW_INDIVIDUALS} on, intervals become useful."
            )
    yield from (rate.sentence() for rate in accept_rates(evaluation) if not rate.enough)


def _num_individuals(identity: pd.Series) -> int:
    return int(individual_codes(identity.to_numpy()).max(initial=-1)) + 1


def _group_rows(evaluation: Evaluation, name: str, groups: np.ndarray) -> pd.DataFrame:
    queries = evaluation.queries
    identity = queries["identity"].to_numpy(dtype=object)
    values = {
        "map5": np.where(evaluation.counted, queries["precision"], np.nan),
        "top1": np.where(evaluation.is_known, right_first(evaluation), np.nan),
    }
    tables = [group_table(column, groups, identity).assign(by=name, metric=metric) for metric, column in values.items()]
    table = pd.concat(tables, ignore_index=True)
    return table.loc[table["n"] > 0, ["by", "group", "metric", "n", "num_individuals", "value", "low", "high"]]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
