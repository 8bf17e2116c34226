"""`siamese ensemble`: several trained models answer together."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from siamese.cli.options import AsJson
from siamese.cli.quiet import quiet_import
from siamese.cli.tables import give_table, tell_quarantine

app = typer.Typer(help="Let several trained models answer together.")


@app.command()
def fit(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, trained on one manifest with one split.")],
    out: Annotated[Path, typer.Option(help="Folder to write; `siamese ensemble rank` reads it.")],
    stacking: Annotated[
        bool, typer.Option("--stacking", help="Let a regression on the embeddings of all models be one more model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Choose on the validation photos how runs answer together, and tell on the test photos what it brings."""
    with quiet_import():
        from siamese.ensemble import fit_ensemble
        from siamese.evaluation.output import aligned

    found = fit_ensemble(runs, stacking=stacking, say=lambda sentence: print(sentence, file=sys.stderr))
    told = found.to_dict()
    found.ensemble.save(out, told)
    if as_json:
        print(json.dumps(told))
        return
    print("\n".join(found.fit.sentences))
    print(f"\nTest photos, each against {found.best_single}, the best model on the validation photos:")
    print(aligned(found.steps))
    print(f"\nWritten: {out}. Rank new photos with: siamese ensemble rank --ensemble {out} --queries PHOTOS")


@app.command()
def rank(
    ensemble: Annotated[Path, typer.Option(help="Folder that `siamese ensemble fit` wrote.")],
    queries: Annotated[Path, typer.Option(help="Photos to name: a photo, a folder or a manifest.")],
    out: Annotated[Path | None, typer.Option(help="CSV file to write; without it the table is printed.")] = None,
    top_k: Annotated[int, typer.Option(help="Answers for each query.", min=1)] = 5,
    as_json: AsJson = False,
) -> None:
    """Rank the individuals of the runs' catalogs for each photo, with the place of a new individual."""
    with quiet_import():
        from siamese.ensemble import load_ensemble

    together = load_ensemble(ensemble)
    frame = together.rank(queries, top_k=top_k).to_frame(together.catalog_ids())
    tell_quarantine(together.quarantine)
    give_table(frame, out, as_json)
