"""The sub-commands. Each imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from siamese.cli import bench, data, ensemble, runs, study
from siamese.cli.evaluate import evaluate
from siamese.cli.features import features
from siamese.cli.options import AsJson, Config, ModelFolder, Recipe, Values
from siamese.cli.quiet import quiet_import
from siamese.cli.rank import rank
from siamese.cli.tables import tell_quarantine
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
app.command()(evaluate)
app.command()(features)
app.command()(rank)
app.add_typer(ensemble.app, name="ensemble")
app.add_typer(runs.app, name="runs")
app.add_typer(study.app, name="study")


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
        from siamese.run_report import read_metrics, write_run_page
        from siamese.tracking import MLflowTracker, tracked_training

        trackers = [MLflowTracker(run)] if mlflow else []
    with ConsoleListener(run / LOG) as listener:
        metrics = tracked_training(manifest, settings, run, listener, trackers)
        listener.say("Writing the report: asking the model for the test photos again, and explaining some answers.")
        page = write_run_page(run)
    print(json.dumps(read_metrics(run)) if as_json else result_lines(metrics))
    listener.say(f"Model: {run / 'model'}. Report with pictures: {page}. {metrics['seconds']:.0f} seconds.")
    for tracker in trackers:
        listener.say(f"MLflow: mlflow ui --backend-store-uri {tracker.tracking_uri}")


@app.command()
def verify(
    model: ModelFolder,
    photo_a: Annotated[Path, typer.Argument(help="A photo.")],
    photo_b: Annotated[Path, typer.Argument(help="Another photo.")],
    false_match_rate: Annotated[
        float | None, typer.Option(help="Share of pairs of different animals that may be called the same, as 0.001.")
    ] = None,
    prior: Annotated[float | None, typer.Option(help="Share of pairs of one animal among those asked about.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether two photos show the same animal."""
    import siamese

    with quiet_import():
        matcher = siamese.load(model)
    answer = matcher.verify(photo_a, photo_b, false_match_rate=false_match_rate, prior=prior)
    if as_json:
        print(json.dumps({name: None if value != value else value for name, value in vars(answer).items()}))
    else:
        print(answer.sentence)


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
    tell_quarantine(matcher.quarantine)
    print(f"{out}: {len(catalog)} photos")


@app.command()
def report(
    run: Annotated[Path, typer.Option(help="Run folder of a finished training.")],
    as_json: AsJson = False,
) -> None:
    """Write the page of a finished run again, from its model, store and manifest, and print its numbers and place."""
    with quiet_import():
        from siamese.cli.progress import ConsoleListener
        from siamese.run_report import read_metrics, write_run_page

    metrics = read_metrics(run)
    with ConsoleListener() as listener:
        page = write_run_page(run, on_progress=lambda done, total: listener.stage("embed", done, total))
    if as_json:
        print(json.dumps({**metrics, "page": str(page)}))
    else:
        print(f"{(run / 'report' / 'summary.md').read_text(encoding='utf-8')}\n{page}")


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
