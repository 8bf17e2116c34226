"""Curves of a training and of its evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from siamese.checks.plots import svg_plot
from siamese.evaluation.evaluate import Evaluation
from siamese.palette import AMBER, BLUE, GREEN, GREY, ORANGE, SKY

STAGES = {"embed": BLUE, "score": SKY, "assign": AMBER, "fit": GREEN}


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


def curve_plots(evaluation: Evaluation, history: pd.DataFrame | None = None) -> list[tuple[str, str, str]]:
    """Draws the same panels one by one: the title, the SVG text and what is shown, in words, of each."""
    return [_titled(draw) for draw in [*_evaluation_panels(evaluation), *_training_panels(history)]]


def _titled(draw: Callable[[Axes], None]) -> tuple[str, str, str]:
    words: list[str] = []

    def untitled(axes: Axes) -> None:
        draw(axes)
        words.extend((axes.get_title(loc="left"), f"{axes.get_ylabel()}, over {axes.get_xlabel()}"))
        axes.set_title("", loc="left")  # a page writes it itself

    svg = svg_plot(untitled)
    return words[0], svg, words[1]


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
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _title(axes, "Best score of each query", "score (higher is more alike)", "share of its kind")


def _mark_threshold(axes: Axes, evaluation: Evaluation) -> None:
    threshold = evaluation.metrics["threshold"]
    axes.axvline(threshold, color=GREY, linewidth=1.6, linestyle=":", label=f"chosen threshold {threshold:.2f}")
