"""Run folders side by side: which are at work, what was set differently in each, how they went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from siamese.errors import SettingsError, SiameseError
from siamese.palette import AMBER, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY
from siamese.run_folder import (
    METRICS,
    SETTINGS,
    RunFacts,
    Status,
    damaged,
    flat_settings,
    is_run,
    no_run,
    read_facts,
    status_of,
)
from siamese.settings import read_values, settings_from_dict

HISTORY = "history.csv"
LOWER_IS_BETTER = ("loss", "error", "seconds", "memory", "called_new", "brier")  # parts of names of metrics
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, GREY)

AGAINST = ("round", "num_encoded", "seconds")


@dataclass(frozen=True)
class Run:
    """What a run folder tells.

    Attributes:
        folder: its place.
        status: running, failed, finished or interrupted.
        facts: how it was started; none in a folder of an older version.
        settings: values by dotted name, `training.batch_size`; the schedule is a list of phases.
        history: one row a round.
        metrics: of the report; empty before there is one.
        problems: sentences about files that cannot be read.
    """

    folder: Path
    status: Status
    facts: RunFacts | None
    settings: dict[str, Any]
    history: pd.DataFrame
    metrics: dict[str, Any]
    problems: tuple[str, ...]

    @property
    def num_rounds(self) -> int | None:
        """Rounds of the schedule, none where the settings do not tell."""
        try:
            return sum(phase["rounds"] for phase in self.settings["training.schedule"])
        except (KeyError, TypeError):
            return None


def read_run(folder: Path) -> Run:
    """Reads what a run folder tells; a damaged file becomes a problem, not an error.

    Raises:
        SiameseError: the folder is missing or holds no training.
    """
    folder = Path(folder)
    if not is_run(folder):
        raise SiameseError(no_run(folder))
    problems: list[str] = []
    facts = None
    try:
        facts = read_facts(folder)
    except SiameseError as error:
        problems.append(str(error))
    settings, history = _settings(folder, problems), _history(folder, problems)
    metrics = _metrics(folder, problems)
    return Run(folder, status_of(folder), facts, settings, history, metrics, tuple(problems))


def _settings(folder: Path, problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    try:
        values = read_values(folder / SETTINGS)
        values = settings_from_dict(values, source=str(folder / SETTINGS)).model_dump(mode="json")
    except SettingsError as error:  # settings of another version are shown as they stand
        problems.append(str(error))
    return flat_settings(values)


def _history(folder: Path, problems: list[str]) -> pd.DataFrame:
    place = folder / HISTORY
    if place.is_file():
        try:
            history = pd.read_csv(place)
            history["round"].astype(int)
            return history
        except (OSError, ValueError, KeyError) as error:
            problems.append(damaged(place, error))
    return pd.DataFrame({"round": pd.Series(dtype=int)})


def _metrics(folder: Path, problems: list[str]) -> dict[str, Any]:
    place = folder / METRICS
    if place.is_file():
        try:
            return dict(json.loads(place.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            problems.append(damaged(place, error))
    return {}


def find_runs(folder: Path | str = "runs") -> list[Run]:
    """Reads every run in a folder of runs, sorted by name; hidden folders and those without a training are left out.

    Raises:
        SiameseError: the folder is missing.

    Example:
    >>> import tempfile
    >>> from siamese.run_folder import held
    >>> folder = Path(tempfile.mkdtemp())
    >>> for seed in (0, 1):
    ...     settings = settings_from_dict({"training": {"seed": seed}})
    ...     with held(folder / f"seed{seed}", source=Path("photos"), settings=settings):
    ...         pass
    >>> runs = find_runs(folder)
    >>> runs_table(runs)[["status", "rounds", "num_rounds"]]
                status  rounds  num_rounds
    seed0  interrupted       0          12
    seed1  interrupted       0          12
    >>> compare_settings(runs)
           training.seed
    seed0              0
    seed1              1
    """
    return [read_run(place) for place in _folders(Path(folder)) if is_run(place)]


def foreign_folders(folder: Path | str = "runs") -> list[Path]:
    """Returns the folders beside the runs that hold no training, so that a listing can tell of them."""
    return [place for place in _folders(Path(folder)) if not is_run(place)]


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SiameseError(f"{folder}: there must be a folder of runs. Received: no folder. `siamese train` makes one.")
    return sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))


def run_names(runs: Sequence[Run]) -> list[str]:
    """Names runs by their folders, by whole paths where two folders have one name."""
    names = [run.folder.absolute().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def runs_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Puts runs into a table, one row each, by name.

    Returns:
        status, rounds, num_rounds, started, seconds_training (of all rounds), loss of the last round, the best round's
        value of every `validation_...` of the history, and every number of the report.
    """
    return pd.DataFrame([_row(run) for run in runs], index=run_names(runs))


def _row(run: Run) -> dict[str, Any]:
    history = run.history
    row: dict[str, Any] = {
        "status": run.status,
        "rounds": len(history),
        "num_rounds": run.num_rounds,
        "started": run.facts.started if run.facts else None,
        "seconds_training": float(_seconds(history).sum()),
    }
    if len(history) and "loss" in history:
        row["loss"] = history["loss"].iloc[-1]
    for name in history.columns[history.columns.str.startswith("validation_")]:
        row[name] = history[name].min() if is_lower_better(name) else history[name].max()
    return row | {name: value for name, value in numbers_of(run.metrics).items() if name not in row}


def numbers_of(values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers among values, without nan.

    Example:
    >>> numbers_of({"map5": 0.9, "loss": float("nan"), "protocols": {}, "error_name": "error"})
    {'map5': 0.9}
    """
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value
    }


def _seconds(history: pd.DataFrame) -> pd.Series:
    return history.filter(regex="^seconds_").sum(axis=1)


def is_lower_better(metric: str) -> bool:
    """Tells by the name of a metric whether a lower value is a better one.

    Example:
    >>> is_lower_better("validation_loss"), is_lower_better("map5")
    (True, False)
    """
    return any(part in metric for part in LOWER_IS_BETTER)


def best_first(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sorts the table of runs by a column of numbers, the best first and runs without the number last.

    Raises:
        SiameseError: the table has no such column of numbers.
    """
    names = table.columns[[pd.api.types.is_numeric_dtype(table[name]) for name in table]]
    if column not in names:
        raise SiameseError(f"`sort` must be one of {', '.join(names)}. Received: {column!r}.")
    return table.sort_values(column, ascending=is_lower_better(column), kind="stable", na_position="last")


def compare_settings(runs: Sequence[Run]) -> pd.DataFrame:
    """Returns the settings in which runs differ: one row a run, one column a setting, empty where a run has none.

    Phases of a schedule are counted from 1: `training.schedule.2.noise`.
    """
    settings = pd.DataFrame([by_phase(run.settings) for run in runs], index=run_names(runs), dtype=object)
    settings = settings.where(settings.notna(), None)
    return settings[[name for name in settings if settings[name].map(repr).nunique() > 1]].infer_objects()


def by_phase(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Names the settings of a schedule by their phase, counted from 1.

    Example:
    >>> by_phase({"training.seed": 0, "training.schedule": [{"rounds": 4}, {"rounds": 8}]})
    {'training.seed': 0, 'training.schedule.1.rounds': 4, 'training.schedule.2.rounds': 8}
    """
    schedule = settings.get("training.schedule")
    if not isinstance(schedule, list):
        return dict(settings)
    phases = flat_settings({"training.schedule": {str(number): phase for number, phase in enumerate(schedule, 1)}})
    return {name: value for name, value in settings.items() if name != "training.schedule"} | phases


def curves(runs: Sequence[Run], metric: str = "loss", against: str = "round") -> pd.DataFrame:
    """Returns how a number of the history went in each run.

    Args:
        runs: those to compare.
        metric: a column of the history; rounds without a value are left out.
        against: round; num_encoded: passes of the encoder so far; seconds: of training so far.

    Returns:
        Columns run, `against` and `metric`, one row a round.

    Raises:
        SiameseError: no run has this number.

    Example:
    >>> history = pd.DataFrame({"round": [1, 2], "num_encoded": [40, 40], "loss": [0.7, 0.5]})
    >>> run = Run(Path("runs/a"), "finished", None, {}, history, {}, ())
    >>> curves([run], "loss", against="num_encoded")
      run  num_encoded  loss
    0   a           40   0.7
    1   a           80   0.5
    """
    if against not in AGAINST:
        raise SiameseError(f"`against` must be one of {', '.join(AGAINST)}. Received: {against!r}.")
    parts = [
        pd.DataFrame({"run": name, against: _so_far(run.history, against), metric: run.history[metric]})
        for name, run in zip(run_names(runs), runs, strict=True)
        if metric in run.history and (against == "seconds" or against in run.history)
    ]
    frame = pd.concat(parts, ignore_index=True).dropna() if parts else pd.DataFrame()
    if not len(frame):
        there = sorted({name for run in runs for name in run.history if run.history[name].notna().any()})
        raise SiameseError(f"`metric` must be one of {', '.join(there) or '(no round yet)'}. Received: {metric!r}.")
    return frame.reset_index(drop=True)


def _so_far(history: pd.DataFrame, against: str) -> pd.Series:
    if against == "seconds":
        return _seconds(history).cumsum()
    return history[against] if against == "round" else history[against].cumsum()


def curves_figure(frame: pd.DataFrame) -> Figure:
    """Draws what `curves` returned, one line a run."""
    _, against, metric = frame.columns
    figure = Figure(figsize=(9, 5.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e9ecef")
    for number, (name, of_run) in enumerate(frame.groupby("run", sort=False)):
        style = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(of_run[against], of_run[metric], style, color=colour, marker="o", markersize=3, label=name)
    axes.set_xlabel({"num_encoded": "passes of the encoder", "seconds": "seconds of training"}.get(against, against))
    axes.set_ylabel(metric.replace("_", " "))
    axes.legend(frameon=False)
    return figure
