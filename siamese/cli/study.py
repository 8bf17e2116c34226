"""`siamese study`: what can be learned from a finished run before the next one."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from siamese.cli.options import AsJson
from siamese.cli.quiet import quiet_import
from siamese.files import write_atomically

app = typer.Typer(help="Learn from a run before the next one; the run stays as it is.", no_args_is_help=True)

Run = Annotated[Path, typer.Option(help="Run folder that training wrote, as runs/flukes.")]


@app.command()
def noise(
    run: Run,
    k: Annotated[list[float] | None, typer.Option(help="A K; give several. Without it six, from 1000 to 0.25.")] = None,
    seeds: Annotated[int, typer.Option(help="Epochs for each K, each with other draws.", min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="CSV file to write.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture to draw (PNG).")] = None,
    as_json: AsJson = False,
) -> None:
    """Train one epoch for each K from the same weights: loss, accuracy, mean score, seconds."""
    with quiet_import():
        from siamese.cli.progress import ConsoleListener
        from siamese.noise_study import NOISES, noise_figure
        from siamese.studies import study_noise

    with ConsoleListener() as listener:
        table = study_noise(
            run,
            k or NOISES,
            seeds=seeds,
            on_stage=listener.stage,
            on_progress=lambda done, total: listener.say(f"{done} of {total} epochs"),
        )
    if out is not None:
        write_atomically(out, lambda path: table.to_csv(path, index=False))
    if picture is not None:
        write_atomically(picture, lambda path: noise_figure(table).savefig(path))
    print(table.to_json(orient="records") if as_json else table.to_string(index=False, float_format="{:.4g}".format))


@app.command("pseudo-labels")
def pseudo_labels(
    run: Run,
    out: Annotated[Path, typer.Option(help="Manifest CSV to write, for the next `siamese train`.")],
    queries: Annotated[
        Path | None, typer.Option(help="New photos: a manifest or a folder. Without it the run's own unknown ones.")
    ] = None,
    precision: Annotated[float, typer.Option(help="Share of the names that must be right.", min=0, max=1)] = 0.98,
    as_json: AsJson = False,
) -> None:
    """Name unknown photos that the next training may learn from, as surely as measured on the validation photos."""
    with quiet_import():
        from siamese.studies import study_pseudo_labels

        found = study_pseudo_labels(run, precision=precision, queries=queries)
    found.manifest.write(out)
    cut, num_names = found.cut, found.table["identity"].nunique()
    numbers = {**asdict(cut), "num_asked": found.num_asked, "num_labels": len(found.table), "num_names": num_names}
    if as_json:
        print(json.dumps({**numbers, "new_share": found.new_share}))
        return
    print(
        f"Of {cut.num_measured} validation answers {cut.num_kept} score {cut.score:.3f} or more, and {cut.num_right} "
        f"of these are right: {cut.precision:.1%}, with {cut.confidence:.0%} confidence at least {cut.lower:.1%}.\n"
        f"{len(found.table)} of {found.num_asked} photos get a pseudo-label, of {num_names} individuals: {out}"
    )
    print(
        f"This holds for photos of which no more show new individuals than of the validation's: {found.new_share:.0%}.",
        file=sys.stderr,
    )
