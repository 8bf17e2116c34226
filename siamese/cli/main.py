"""The sub-commands. Each imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from siamese.cli import bench, data, runs, study
from siamese.cli.options import AsJson, Config, Recipe, Values
from siamese.cli.quiet import quiet_import
from siamese.errors import SiameseError

INTERRUPTED = 130  # what Typer makes of Ctrl-C

app = typer.Typer(
    help="Tells individual animals apart by photo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.add_typer(runs.app, name="runs")
app.add_typer(study.app, name="study")

ModelFolder = Annotated[Path, typer.Option("--model", help="Model folder that training wrote, as runs/flukes/model.")]


class Format(StrEnum):
    """What `rank` writes."""

    table = "table"
    submission = "submission"


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from siamese import __version__

        print(__version__)
        raise typer.Exit


@app.command()
def train(
    run: Annotated[Path, typer.Option(help="Run folder; an interrupted run in it goes on.")],
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest CSV, or a folder with one sub-folder for each individual.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run, with its own collection and settings.")
    ] = False,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Keep the run in MLflow too, on this disk.")] = False,
    recipe: Recipe = None,
    config: Config = None,
    values: Values = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on a collection, evaluate it on its held-out photos and write a report."""
    from siamese.recipes import resolve_settings
    from siamese.run_folder import LOG, to_resume

    settings = resolve_settings(recipe, config, values or [])
    if resume:
        interrupted = to_resume(run, settings, manifest)
        manifest, settings = interrupted.source, interrupted.settings
    if manifest is None:
        raise SiameseError("`--manifest` must name a collection. Received: none. Give it, or --resume to go on.")
    with quiet_import():
        from siamese.cli.progress import ConsoleListener
        from siamese.pipeline import result_lines
        from siamese.tracking import MLflowTracker, tracked_training

        trackers = [MLflowTracker(run)] if mlflow else []
    with ConsoleListener(run / LOG) as listener:
        metrics = tracked_training(manifest, settings, run, listener, trackers)
    print(json.dumps(_read_metrics(run)) if as_json else result_lines(metrics))
    listener.say(f"Model: {run / 'model'}. Report with pictures: {run / 'report'}. {metrics['seconds']:.0f} seconds.")
    for tracker in trackers:
        listener.say(f"MLflow: mlflow ui --backend-store-uri {tracker.tracking_uri}")


@app.command()
def rank(
    model: ModelFolder,
    queries: Annotated[Path, typer.Option(help="Photos to name: a photo, a folder or a manifest.")],
    catalog: Annotated[Path, typer.Option(help="Known photos: a saved catalog, a folder or a manifest.")],
    out: Annotated[Path | None, typer.Option(help="CSV file to write; without it the table is printed.")] = None,
    top_k: Annotated[int, typer.Option(help="Answers for each query.", min=1)] = 5,
    form: Annotated[Format, typer.Option("--format", help="Table, or the challenge's submission.")] = Format.table,
    as_json: AsJson = False,
) -> None:
    """Rank the individuals of a catalog for each photo, with the place of a new individual."""
    import siamese

    with quiet_import():
        matcher = siamese.load(model)
    known = matcher.catalog(catalog)
    ranking = matcher.rank(queries, known, top_k=top_k)
    frame = ranking.to_submission() if form is Format.submission else ranking.to_frame(known.image_ids)
    _tell_quarantine(matcher.quarantine)
    if out:
        from siamese.files import write_atomically

        write_atomically(out, lambda path: frame.to_csv(path, index=False))
    elif as_json:
        print(frame.to_json(orient="records"))
    else:
        frame.to_csv(sys.stdout, index=False)


@app.command()
def verify(
    model: ModelFolder,
    photo_a: Annotated[Path, typer.Argument(help="A photo.")],
    photo_b: Annotated[Path, typer.Argument(help="Another photo.")],
    as_json: AsJson = False,
) -> None:
    """Say whether two photos show the same animal."""
    import siamese

    with quiet_import():
        matcher = siamese.load(model)
    answer = matcher.verify(photo_a, photo_b)
    if as_json:
        print(json.dumps(vars(answer)))
    else:
        print(f"{answer.verdict}: score {answer.score:.2f}, probability of the same animal {answer.probability:.0%}")


@app.command()
def embed(
    model: ModelFolder,
    photos: Annotated[Path, typer.Option(help="Known photos: a folder or a manifest.")],
    out: Annotated[Path, typer.Option(help="Catalog folder to write.")],
) -> None:
    """Embed photos into a catalog that `rank` reads without decoding the photos again."""
    import siamese

    with quiet_import():
        matcher = siamese.load(model)
    catalog = matcher.catalog(photos)
    catalog.save(out)
    _tell_quarantine(matcher.quarantine)
    print(f"{out}: {len(catalog)} photos")


@app.command()
def report(
    run: Annotated[Path, typer.Option(help="Run folder of a finished training.")],
    as_json: AsJson = False,
) -> None:
    """Print the numbers of a finished run again."""
    metrics = _read_metrics(run)
    if as_json:
        print(json.dumps(metrics))
        return
    print((run / "report" / "summary.md").read_text(encoding="utf-8"))


@app.command()
def settings(recipe: Recipe = None, config: Config = None, values: Values = None) -> None:
    """Print every setting with its value, as YAML that --config reads."""
    import yaml

    from siamese.recipes import resolve_settings

    resolved = resolve_settings(recipe, config, values or [])
    for section, fields in resolved.model_dump(mode="json").items():
        model = type(getattr(resolved, section))
        print(f"{section}:")
        for name, value in fields.items():
            text = yaml.safe_dump({name: value}, sort_keys=False).rstrip().replace("\n", "\n  ")
            print(f"  # {model.model_fields[name].description}\n  {text}")


def _read_metrics(run: Path) -> dict[str, Any]:
    path = run / "report" / "metrics.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SiameseError(f"{path}: there must be a report. Received: {error}. Train this run to its end.") from error


def _tell_quarantine(quarantine: list[tuple[str, str]]) -> None:
    for _, reason in quarantine:
        print(f"left out: {reason}", file=sys.stderr)


def main() -> None:
    """Runs the program; wrong input gives a sentence on stderr and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow tells at length that there is no GPU
    try:
        app()
    except SiameseError as error:
        print(f"siamese: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(
            f"siamese: {error.filename or 'a file'}: {error.strerror or error}. Check the path and the disk.",
            file=sys.stderr,
        )
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("siamese: interrupted; the same command goes on from the last finished round.", file=sys.stderr)
        raise
