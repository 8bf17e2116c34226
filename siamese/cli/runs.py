"""`siamese runs`: lists, compares and shows run folders."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from siamese.cli.options import AsJson

if TYPE_CHECKING:
    import pandas as pd

    from siamese.runs import Run

FIRST_COLUMNS = ("status", "rounds", "loss", "validation_map5", "map5", "top1", "seconds_training")
HISTORY_COLUMNS = ("round", "noise", "learning_rate", "loss", "accuracy", "correct_pairs")
LOG_LINES = 10
WIDE = 10_000  # columns; what reads a pipe wants no line broken


class _ListFirst(TyperGroup):
    """Takes `siamese runs FOLDER` for `siamese runs list FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "--help"}:
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListFirst,
    help="List the runs of a folder, compare some, show one. `siamese runs` alone lists those in `runs`.",
)

Runs = Annotated[list[Path], typer.Argument(help="Run folders.")]


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Folder of run folders.")] = Path("runs"),
    sort: Annotated[str | None, typer.Option(help="Metric to sort by, the best run first, as map5 or loss.")] = None,
    as_json: AsJson = False,
) -> None:
    """List runs: status, rounds, metrics, and the settings that differ between them."""
    from siamese.runs import best_first, compare_settings, find_runs, foreign_folders, runs_table

    runs = find_runs(folder)
    table, settings = runs_table(runs), compare_settings(runs)
    table = best_first(table, sort) if sort else table
    _tell([f"{place}: left out, no training was started there." for place in foreign_folders(folder)])
    _tell([problem for run in runs for problem in run.problems])
    settings = settings.loc[table.index]
    if as_json:
        rows = zip(_records(table.reset_index(names="run")), _records(settings), strict=True)
        print(json.dumps([{**row, "settings": differing} for row, differing in rows]))
        return
    if runs:
        table["rounds"] = [f"{row.rounds}/{_text(row.num_rounds)}" for row in table.itertuples()]
        columns = dict.fromkeys(name for name in (*FIRST_COLUMNS, sort) if name in table)
        _print_table(table[list(columns)].dropna(axis=1, how="all").join(settings), "run")


@app.command()
def compare(
    runs: Runs,
    metric: Annotated[str, typer.Option(help="Column of the history to draw.")] = "loss",
    against: Annotated[str, typer.Option(help="round, num_encoded or seconds.")] = "round",
    out: Annotated[Path | None, typer.Option(help="Picture of the curves to draw (PNG).")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs: the settings that differ, the metrics, and the curves of their histories."""
    from siamese.files import write_atomically
    from siamese.runs import compare_settings, curves, curves_figure, read_run, runs_table

    compared = [read_run(folder) for folder in runs]
    _tell([problem for run in compared for problem in run.problems])
    table, settings = runs_table(compared), compare_settings(compared)
    drawn = curves(compared, metric, against=against) if out or as_json else None
    if out:
        figure = curves_figure(drawn)
        write_atomically(out, lambda path: figure.savefig(path))
        _tell([f"Curves: {out}."])
    if as_json:
        numbers = {"metrics": table, "settings": settings}
        named = {name: dict(zip(part.index, _records(part), strict=True)) for name, part in numbers.items()}
        print(json.dumps({**named, "curves": _records(drawn)}))
        return
    _print_table(settings.T, "setting")
    _print_table(table.drop(columns="started").T, "metric")


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    as_json: AsJson = False,
) -> None:
    """Show a run: how it was started, its settings, its history and what it told last."""
    from siamese.runs import read_run

    shown = read_run(run)
    _tell(shown.problems)
    if as_json:
        facts = shown.facts.model_dump(mode="json") if shown.facts else None
        whole = {"status": shown.status, "facts": facts, "settings": shown.settings, "metrics": shown.metrics}
        print(json.dumps({**whole, "history": _records(shown.history), "sentences": _sentences(shown)}))
        return
    print("\n".join(_heading(shown)))
    _print_table(_own_settings(shown), "setting")
    history = shown.history
    validation = history.columns[history.columns.str.startswith("validation_")]
    columns = [name for name in (*HISTORY_COLUMNS, *validation) if name in history]
    _print_table(history[columns].set_index("round"), "round")
    for sentence in _sentences(shown):
        print(sentence)


def _heading(run: Run) -> list[str]:
    lines = [f"{run.folder}: {run.status}, {len(run.history)} of {_text(run.num_rounds)} rounds"]
    if run.facts:
        facts = run.facts
        lines += [
            f"collection  {facts.source}",
            f"command     {shlex.join(facts.command)}",
            f"started     {facts.started} by siamese {facts.version}, process {facts.pid} on {facts.host}",
        ]
    return lines


def _own_settings(run: Run) -> pd.DataFrame:
    """The settings that are not the defaults."""
    import pandas as pd

    from siamese.run_folder import flat_settings
    from siamese.runs import by_phase
    from siamese.settings import Settings

    defaults = by_phase(flat_settings(Settings().model_dump(mode="json")))
    own = {name: value for name, value in by_phase(run.settings).items() if value != defaults.get(name)}
    return pd.DataFrame({"value": pd.Series(own, dtype=object)})


def _sentences(run: Run) -> list[str]:
    """What the run told last, and why it failed."""
    from siamese.run_folder import LOG

    log = run.folder / LOG
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:] if log.is_file() else []
    return [*lines, *([run.facts.failure] if run.facts and run.facts.failure else [])]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame.to_json(orient="records", double_precision=15))


def _tell(sentences: Any) -> None:
    for sentence in sentences:
        print(sentence, file=sys.stderr)


def _print_table(frame: pd.DataFrame, index_name: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if frame.empty:
        return
    table = Table(index_name, *(str(name).replace(".", ".\n", 1) for name in frame), box=box.SIMPLE_HEAD)
    for name, *values in frame.itertuples():
        table.add_row(str(name), *map(_text, values))
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(table)


def _text(value: Any) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
