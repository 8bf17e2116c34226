"""The K study: one epoch for each K from the same weights, which tells how hard the pairs should be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy.special import expit

from siamese.errors import SiameseError
from siamese.palette import BLUE, GREY, ORANGE
from siamese.report.curves import STAGES
from siamese.schedules import Round, rounds_of
from siamese.scoring import Embedder, score_matrix
from siamese.settings import PhaseSettings
from siamese.training import MEAN_SCORE_IMAGES, Trainer
from siamese.training_state import Record

NOISES = (1000.0, 100.0, 10.0, 1.0, 0.5, 0.25)  # K of Piotte's 400 epochs; DeepWhale's poster has four of them
COLUMNS = (
    *("noise", "seed", "loss", "accuracy", "correct_pairs", "mean_score"),
    *(f"seconds_{stage}" for stage in STAGES),
    *("num_steps", "seconds_per_step"),
)
WITHOUT_RULES: dict[str, Any] = {"adaptive_noise": None, "plateau": None}  # K and rate are those asked for
# An epoch alone: nothing rises or falls within it.
ONE_EPOCH: dict[str, Any] = {
    "rounds": 1,
    "epochs_per_round": 1,
    "final_noise": None,
    "rate": "ratio",
    "final_learning_rate": None,
    "cycles": 1,
    "kick_every": None,
}


def noise_study(
    trainer: Trainer,
    noises: Sequence[float] = NOISES,
    *,
    phase: PhaseSettings,
    seeds: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Trains one epoch for each K, each time from the same weights and the same state of the optimiser.

    One epoch more, which is not counted, comes first, so that no K pays for what is compiled. Afterwards the trainer's
    model and optimiser are what they were, to the last bit.

    The study is that of DeepWhale (Galanis & Kozlow), whose poster gives for K = 100, 10, 1 and 0.5 a loss of 0.672,
    0.672, 0.455 and 0.658, an accuracy of 0.575, 0.566, 0.792 and 0.591, a mean score of 0.540, 0.462, 0.653 and 0.579,
    and 2,433, 2,424, 6,190 and 7,629 seconds. K is in units of the scores, so those of another model do not compare.

    Args:
        trainer: model, images and settings; what it tells of its stages goes to its own `on_progress`.
        noises: the K to compare, the easiest pairs (largest K) first as a rule.
        phase: all else that an epoch is trained with, such as the learning rate, which stays the same through it.
        seeds: number of epochs for each K, each with another draw of images, pairs, batches and changes of the images.
        on_progress: called with the number of epochs done and of all.

    Returns:
        One row for each K and seed: noise; seed; loss and accuracy while fitting, on the pairs that this K chose;
        correct_pairs, the share of them that was scored rightly before; mean_score, the mean probability of pairs of at
        most `MEAN_SCORE_IMAGES` images after the epoch, the same images for every K; seconds_embed, seconds_score,
        seconds_assign, seconds_fit; num_steps; seconds_per_step of the fit.

    Raises:
        SiameseError: no K is given, one is under 0, or `seeds` is under 1.
    """
    _check(noises, seeds)
    first = 1 + len(rounds_of(trainer.settings.schedule))  # draws that no round of the training has
    restore, settings, suspects = _remember(trainer), trainer.settings, trainer.suspects
    embedder, rows = Embedder(trainer.model.encoder), []
    try:
        trainer.settings = settings.model_copy(update=WITHOUT_RULES)
        trainer.run_round(_round(phase, noises[0], first))
        for noise, seed in product(noises, range(seeds)):
            restore()
            record = trainer.run_round(_round(phase, noise, first + seed))
            after = {"seed": seed, "mean_score": _mean_score(trainer, embedder, record.round)}
            rows.append({**_told(trainer, record), **after})
            on_progress(len(rows), len(noises) * seeds)
    finally:
        restore()
        trainer.settings, trainer.suspects = settings, suspects
    return pd.DataFrame(rows)[[*COLUMNS]]


def noise_figure(table: pd.DataFrame) -> Figure:
    """Draws loss, accuracy, mean score and seconds against K; with several seeds their mean, and each as a point.

    Args:
        table: what `noise_study` returned.
    """
    figure = Figure(figsize=(11, 7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    means = table.groupby("noise", sort=False).mean()
    loss, shares, mean_score, seconds = figure.subplots(2, 2).flat
    _draw(loss, table, means, {"loss": BLUE})
    _draw(shares, table, means, {"accuracy": BLUE, "correct_pairs": ORANGE})
    _draw(mean_score, table, means, {"mean_score": BLUE})
    _draw_seconds(seconds, means)
    loss.set(title="Loss of the fit", ylabel="loss (lower is better)")
    shares.set(title="Pairs told apart", ylabel="share of the chosen pairs")
    shares.legend(["accuracy while fitting", "scored rightly before"], frameon=False)
    mean_score.set(title="Mean score after the epoch", ylabel="probability")
    seconds.set(title="Time of each stage", ylabel="seconds")
    for axes in (shares, mean_score):
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xticks(np.arange(len(means)), [f"{noise:g}" for noise in means.index])
        axes.set_xlabel("K: noise on the scores")
    return figure


def _check(noises: Sequence[float], seeds: int) -> None:
    if not len(noises) or not all(np.isfinite(noise) and noise >= 0 for noise in noises):
        raise SiameseError(
            "`noises` must be one or more numbers that are 0 or above. "
            f"Received: noises={list(noises)}. 100, 10 and 1 are usual."
        )
    if len(set(noises)) < len(noises):
        raise SiameseError(f"`noises` must be different. Received: noises={list(noises)}. Ask for more `seeds`.")
    if seeds < 1:
        raise SiameseError(f"`seeds` must be at least 1. Received: seeds={seeds}. One epoch for each K is usual.")


def _remember(trainer: Trainer) -> Callable[[], None]:
    """Returns a function that puts model and optimiser back to where they are now."""
    variables = [*trainer.model.variables, *trainer.model.optimizer.variables]
    values = [variable.numpy().copy() for variable in variables]  # without the copy a later step may change them

    def restore() -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    return restore


def _round(phase: PhaseSettings, noise: float, number: int) -> Round:
    (this,) = rounds_of([phase.model_copy(update={**ONE_EPOCH, "noise": float(noise)})])
    return replace(this, number=number)


def _told(trainer: Trainer, record: Record) -> dict[str, Any]:
    """Returns what the record of an epoch tells, and how long a step took."""
    batch_size = min(trainer.settings.batch_size, record.num_images)
    num_steps = (record.num_encoded - record.num_images) // batch_size  # what was encoded, but for the score matrix
    return {**asdict(record), "num_steps": num_steps, "seconds_per_step": record.seconds_fit / num_steps}


def _mean_score(trainer: Trainer, embedder: Embedder, number: int) -> float:
    """Returns the mean probability of pairs among a sample of images, as the model is now."""
    rng = np.random.default_rng([trainer.settings.seed, number])
    sample = np.sort(rng.permutation(len(trainer.images))[:MEAN_SCORE_IMAGES])
    embeddings = embedder.embed(lambda index: trainer.images.read(sample[index]), len(sample))
    return float(expit(score_matrix(trainer.model.comparator, embeddings)).mean())


def _draw(axes: Axes, table: pd.DataFrame, means: pd.DataFrame, colours: dict[str, str]) -> None:
    places = means.index.get_indexer(table["noise"])
    for name, colour in colours.items():
        axes.plot(np.arange(len(means)), means[name], color=colour, marker="o", markersize=4, linewidth=1.8)
        if len(table) > len(means):
            axes.plot(places, table[name], color=GREY, marker=".", linestyle="none", label="_each seed")
    axes.grid(color="#e9ecef")


def _draw_seconds(axes: Axes, means: pd.DataFrame) -> None:
    below = np.zeros(len(means))
    for stage, colour in STAGES.items():
        seconds = means[f"seconds_{stage}"].to_numpy()
        axes.bar(np.arange(len(means)), seconds, bottom=below, color=colour, label=stage, width=0.75)
        below += seconds
    axes.set_ylim(0, 1.3 * below.max())  # room for the legend above the bars
    axes.legend(frameon=False, ncols=4, loc="upper center")
