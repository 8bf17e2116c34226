"""The report folder: numbers, rankings, curves and pictures of one evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from siamese.evaluation.evaluate import Evaluation
from siamese.evaluation.sheets import SheetRow, query_sheet
from siamese.files import write_atomically
from siamese.palette import AMBER, BLUE, GREEN, GREY, ORANGE, SKY

STAGES = {"embed": BLUE, "score": SKY, "assign": AMBER, "fit": GREEN}
TABLE_NAMES = {
    "model": "this model",
    "untrained": "untrained encoder",
    "nearest_pixels": "nearest pixels",
    "always_new": "always new individual",
    "chance": "chance",
}
TABLE_COLUMNS = ("map5", "map5_known", "map5_closed", "top1", "top5", "auc_new")


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
    _write_text(folder / "metrics.json", json.dumps(_plain(metrics), indent=2, allow_nan=False) + "\n")


def comparison_table(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the model and its baselines in the order of `TABLE_NAMES`, with the metrics that one of them has.

    Example:
    >>> metrics = {"map5": 0.9, "map5_known": 0.8, "baselines": {"chance": {"map5": 0.1, "map5_known": 0.1}}}
    >>> print(comparison_table(metrics).to_string(index=False))
        method  map5  map5_known
    this model   0.9         0.8
        chance   0.1         0.1
    """
    rows = {"model": metrics, **metrics.get("baselines", {})}
    order = [*(name for name in TABLE_NAMES if name in rows), *(name for name in rows if name not in TABLE_NAMES)]
    columns = [column for column in TABLE_COLUMNS if any(column in row for row in rows.values())]
    table: dict[str, list[Any]] = {"method": [TABLE_NAMES.get(name, name.replace("_", " ")) for name in order]}
    for column in columns:
        table[column] = [_number(rows[name].get(column)) for name in order]
    return pd.DataFrame(table)


def summary(metrics: Mapping[str, Any]) -> str:
    """Returns in plain words what was asked, how often the answers are right, and what the split leaks.

    What was not measured is left out.
    """
    sentences = [
        _asked(metrics),
        _found(metrics),
        _new_said(metrics),
        _overall(metrics),
        *metrics.get("leaks", {}).get("sentences", ()),
        *metrics.get("warnings", ()),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def curves_figure(evaluation: Evaluation, history: pd.DataFrame | None = None) -> Figure:
    """Draws the training round by round, as far as it was recorded, and the evaluation's ranks and scores."""
    draw_all = [*_training_panels(history), *_evaluation_panels(evaluation)]
    rows = math.ceil(len(draw_all) / 3)
    figure = Figure(figsize=(14, 3.9 * rows), dpi=110, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.14))
    FigureCanvasAgg(figure)
    for place, draw in enumerate(draw_all, start=1):
        axes = figure.add_subplot(rows, 3, place)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e9ecef")
        axes.set_axisbelow(True)
        draw(axes)
    return figure


def _training_panels(history: pd.DataFrame | None) -> list[Callable[[Axes], None]]:
    if history is None or not len(history):
        return []
    there = set(history.columns[history.notna().any()])
    panels: dict[str, Callable[[Axes], None]] = {
        "loss": partial(_draw_line, history, "loss", "Loss", "loss (lower is better)"),
        "accuracy": partial(_draw_shares, history),
        "mean_score": partial(_draw_line, history, "mean_score", "Mean score of the score matrix", "score"),
        "noise": partial(_draw_line, history, "noise", "K: noise on the scores", "score units"),
        "learning_rate": partial(_draw_line, history, "learning_rate", "Learning rate", "learning rate"),
    }
    drawn = [draw for name, draw in panels.items() if name in there]
    if any(f"seconds_{stage}" in there for stage in STAGES):
        drawn.append(partial(_draw_seconds, history))
    return drawn


def _evaluation_panels(evaluation: Evaluation) -> list[Callable[[Axes], None]]:
    return [
        partial(_draw_cmc, evaluation),
        partial(_draw_threshold_curve, evaluation),
        partial(_draw_best_scores, evaluation),
    ]


def _rounds(history: pd.DataFrame) -> np.ndarray:
    return history["round"].to_numpy() if "round" in history else np.arange(1, len(history) + 1)


def _title(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _whole_rounds(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _draw_line(history: pd.DataFrame, column: str, title: str, unit: str, axes: Axes) -> None:
    values = history[column].to_numpy(dtype=np.float64)
    axes.plot(_rounds(history), values, color=BLUE, marker="o", markersize=4, linewidth=1.8)
    if column in ("noise", "learning_rate") and np.nanmin(values) > 0 and np.nanmax(values) >= 10 * np.nanmin(values):
        axes.set_yscale("log")
    _whole_rounds(axes)
    _title(axes, title, "round", unit)


def _draw_shares(history: pd.DataFrame, axes: Axes) -> None:
    names = {"accuracy": ("accuracy while fitting", BLUE), "correct_pairs": ("chosen pairs scored correctly", ORANGE)}
    for column, (name, colour) in names.items():
        if column in history:
            axes.plot(
                _rounds(history), history[column], color=colour, marker="o", markersize=4, linewidth=1.8, label=name
            )
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(frameon=False, loc="lower right")
    _whole_rounds(axes)
    _title(axes, "Pairs told apart", "round", "share of pairs")


def _draw_seconds(history: pd.DataFrame, axes: Axes) -> None:
    below = np.zeros(len(history))
    for stage, colour in STAGES.items():
        if f"seconds_{stage}" in history:
            seconds = history[f"seconds_{stage}"].fillna(0).to_numpy(dtype=np.float64)
            axes.bar(_rounds(history), seconds, bottom=below, color=colour, label=stage, width=0.75)
            below += seconds
    axes.set_ylim(0, 1.3 * below.max() or 1)  # room for the legend above the bars
    axes.legend(frameon=False, ncols=4, loc="upper center", columnspacing=1.2, handlelength=1.2)
    _whole_rounds(axes)
    _title(axes, "Time of each stage", "round", "seconds")


def _draw_cmc(evaluation: Evaluation, axes: Axes) -> None:
    ranks = np.arange(1, len(evaluation.cmc) + 1)
    axes.plot(ranks, evaluation.cmc, color=BLUE, marker="o", markersize=4, linewidth=1.8)
    for rank in (1, 5):
        if len(ranks) >= rank and np.isfinite(evaluation.cmc[rank - 1]):
            share = evaluation.cmc[rank - 1]
            axes.annotate(f"{share:.1%}", (rank, share), (6, -14), textcoords="offset points", color=BLUE)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xticks([1, *range(5, len(ranks) + 1, 5)])
    _title(axes, "Known individuals found (CMC)", "among the first ... identities", "share of known queries")


def _draw_threshold_curve(evaluation: Evaluation, axes: Axes) -> None:
    curve = evaluation.curve
    axes.plot(curve["threshold"], curve["map"], color=BLUE, linewidth=1.8, label="all queries")
    axes.plot(
        curve["threshold"], curve["map_known"], color=ORANGE, linewidth=1.8, linestyle="--", label="known individuals"
    )
    _mark_threshold(axes, evaluation)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, loc="best")
    _title(axes, "MAP@5 against the threshold", "threshold of the new individual (score)", "MAP@5")


def _draw_best_scores(evaluation: Evaluation, axes: Axes) -> None:
    finite = np.isfinite(evaluation.best_scores)
    groups = {
        "known individual": (evaluation.best_scores[evaluation.is_known & finite], BLUE),
        "new individual": (evaluation.best_scores[evaluation.is_new & finite], ORANGE),
    }
    everything = np.concatenate([values for values, _ in groups.values()])
    if len(everything):
        edges = np.histogram_bin_edges(everything, bins=30).tolist()
        for name, (values, colour) in groups.items():
            if len(values):
                axes.hist(
                    values, edges, weights=np.full(len(values), 1 / len(values)), color=colour, alpha=0.55,
                    label=f"{name} ({len(values)})",
                )  # fmt: skip
    _mark_threshold(axes, evaluation)
    axes.legend(frameon=False, loc="best")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _title(axes, "Best score of each query", "score (higher is more alike)", "share of its kind")


def _mark_threshold(axes: Axes, evaluation: Evaluation) -> None:
    threshold = evaluation.metrics["threshold"]
    axes.axvline(threshold, color=GREY, linewidth=1.6, linestyle=":", label=f"chosen threshold {threshold:.2f}")


def _asked(metrics: Mapping[str, Any]) -> str:
    if "num_queries" not in metrics:
        return ""
    left_out = metrics.get("num_unanswerable", 0)
    sentence = (
        f"Asked were {metrics['num_queries']} photos that took no part in training: {metrics['num_known']} of "
        f"individuals in the catalog (which holds {metrics['num_identities']}) and {metrics['num_new']} of new ones."
    )
    if left_out:
        sentence += f" {left_out} more were not counted, because no photo of their individual was allowed to answer."
    return sentence


def _found(metrics: Mapping[str, Any]) -> str:
    if not _measured(metrics, "top1", "top5"):
        return ""
    return (
        f"Among the catalog's individuals, the right one stands first for {metrics['top1']:.1%} of the photos of known "
        f"ones and among the first five for {metrics['top5']:.1%}."
    )


def _new_said(metrics: Mapping[str, Any]) -> str:
    sentences = []
    if _measured(metrics, "threshold"):
        sentences.append(f'A best score under {metrics["threshold"]:.3f} is answered "new individual".')
    if _measured(metrics, "new_found"):
        sentences.append(f"That was said of {metrics['new_found']:.1%} of the photos of new individuals, rightly.")
    if _measured(metrics, "known_called_new"):
        sentences.append(f"It was said of {metrics['known_called_new']:.1%} of the photos of known ones, wrongly.")
    return " ".join(sentences)


def _overall(metrics: Mapping[str, Any]) -> str:
    sentences = []
    if _measured(metrics, "first_right"):
        sentences.append(f"Over all photos the first answer is right for {metrics['first_right']:.1%}.")
    known = f" ({metrics['map5_known']:.3f} over known individuals)" if _measured(metrics, "map5_known") else ""
    if _measured(metrics, "map5"):
        sentences.append(f"MAP@5 is {metrics['map5']:.3f}{known}.")
    if _measured(metrics, "auc_new"):
        sentences.append(
            f"Of a known and a new individual's photo, the known one's has the higher best score in "
            f"{metrics['auc_new']:.1%} of all pairs."
        )
    return " ".join(sentences)


def _measured(metrics: Mapping[str, Any], *names: str) -> bool:
    return all(math.isfinite(_number(metrics.get(name))) for name in names)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _as_markdown(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|---|" + "---:|" * (len(table.columns) - 1)]
    for row in table.itertuples(index=False):
        cells = ["" if math.isnan(value) else f"{value:.3f}" for value in row[1:]]
        lines.append("| " + " | ".join([row[0], *cells]) + " |")
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Returns what JSON can hold: NumPy numbers as Python's, and null for what is no number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _write_text(path: Path, text: str) -> None:
    def write(unfinished: Path) -> None:
        unfinished.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    write_atomically(path, lambda unfinished: table.to_csv(unfinished, index=False))
