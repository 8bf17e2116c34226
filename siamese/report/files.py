"""The report folder: numbers, rankings, curves and pictures of one evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from siamese.evaluation.evaluate import Evaluation
from siamese.evaluation.output import as_json
from siamese.files import write_atomically
from siamese.report.curves import curves_figure
from siamese.report.sheets import SheetRow, query_sheet
from siamese.report.words import comparison_table, summary


def write_report(
    folder: Path,
    *,
    evaluation: Evaluation,
    metrics: Mapping[str, Any],
    history: pd.DataFrame | None = None,
    sheet_rows: Sequence[SheetRow] = (),
    catalog_ids: np.ndarray | None = None,
    new_individual: str = "new_whale",
) -> None:
    """Writes metrics.json, summary.md, ranking.csv, submission.csv, curves.png and sheet.png.

    Args:
        folder: made if missing; files of the same name are replaced, each in one move.
        evaluation: rankings and curves.
        metrics: what metrics.json holds: the evaluation's metrics with `seconds` and `baselines`. NaN becomes null.
        history: one row a round, columns round, loss, accuracy, mean_score, correct_pairs, noise, learning_rate,
            seconds_embed, ... as far as they are there; none draws the evaluation's curves alone.
        sheet_rows: queries for the picture sheet; none leaves it out.
        catalog_ids: `(num_catalog,)` image ids; given, ranking.csv names the catalog photo of each answer.
        new_individual: name of the new individual in submission.csv.

    Raises:
        DiskError: a file cannot be written.
    """
    folder = Path(folder)
    ranking = evaluation.ranking
    _write_text(folder / "summary.md", f"# Report\n\n{summary(metrics)}\n\n{_as_markdown(comparison_table(metrics))}\n")
    _write_table(folder / "ranking.csv", ranking.to_frame(catalog_ids))
    _write_table(folder / "submission.csv", ranking.to_submission(new_individual))
    write_atomically(folder / "curves.png", lambda path: curves_figure(evaluation, history).savefig(path))
    if len(sheet_rows):
        query_sheet(folder / "sheet.png", sheet_rows)
    _write_text(folder / "metrics.json", as_json(metrics) + "\n")


def _as_markdown(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|---|" + "---:|" * (len(table.columns) - 1)]
    for row in table.itertuples(index=False):
        cells = ["" if math.isnan(value) else f"{value:.3f}" for value in row[1:]]
        lines.append("| " + " | ".join([row[0], *cells]) + " |")
    return "\n".join(lines)


def _write_text(path: Path, text: str) -> None:
    def write(unfinished: Path) -> None:
        unfinished.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_atomically(path, lambda unfinished: table.to_csv(unfinished, index=False))
