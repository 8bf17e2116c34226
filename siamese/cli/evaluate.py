"""`siamese evaluate`: how good a trained model is, with intervals, by groups, and against another model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese.cli.options import AsJson
from siamese.cli.quiet import quiet_import
from siamese.errors import SiameseError

if TYPE_CHECKING:
    from siamese.examination import Examination


def evaluate(
    run: Annotated[Path | None, typer.Option(help="Run folder: its model is asked for its test photos.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder, with --queries and --catalog.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Photos asked about, with their identities.")] = None,
    catalog: Annotated[Path | None, typer.Option(help="Known photos: a saved catalog, a folder or a manifest.")] = None,
    compare: Annotated[
        list[Path] | None, typer.Option(help="Another run, compared on the photos that all test; give several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write; RUN/evaluation with --run.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model with intervals over individuals, by groups, before and after each step; compare models."""
    with quiet_import():
        from siamese.evaluation.comparison import compare_evaluations
        from siamese.evaluation.output import aligned, as_lines, as_numbers, evaluation_tables, write_tables
        from siamese.evaluation.output import as_json as to_json

    found = _examined(run, model, queries, catalog)
    tables = evaluation_tables(found.evaluation, found.decision, found.groups)
    further: dict[str, Any] = {"leaks": found.leaks.to_dict() if found.leaks else None, "told": found.notes}
    lines = [*(found.leaks.sentences() if found.leaks else ()), *found.notes, "", *as_lines(tables)]
    if compare:
        others = {str(other): _examined(other, None, None, None).evaluation for other in compare}
        compared = compare_evaluations({str(run or model): found.evaluation, **others})
        further["compared"] = compared.to_dict("records")
        heading = "Side by side on the photos that all were asked; differences from the first, each p for itself:"
        lines += ["", heading, aligned(compared)]
    folder = out or (run / "evaluation" if run else None)
    if folder:
        write_tables(folder, tables, further)
    print(to_json(as_numbers(tables, further)) if as_json else "\n".join(lines))


def _examined(run: Path | None, model: Path | None, queries: Path | None, catalog: Path | None) -> Examination:
    with quiet_import():
        from siamese.cli.progress import ConsoleListener
        from siamese.examination import examine_model, examine_run

    if run and not (model or queries or catalog):
        with ConsoleListener() as listener:
            return examine_run(run, on_progress=lambda done, total: listener.stage("embed", done, total))
    if model and queries and catalog and not run:
        return examine_model(model, queries, catalog)
    raise SiameseError(
        "`evaluate` must get --run, or --model with --queries and --catalog. Received: another combination. "
        "Try `siamese evaluate --run runs/flukes`."
    )
