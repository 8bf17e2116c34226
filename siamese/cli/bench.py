"""`siamese bench`: measures the hot paths of this machine, each comparison within one run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from siamese.cli.options import AsJson
from siamese.cli.quiet import quiet_import

app = typer.Typer(help="Measure the speed of the parts that decide how long a run takes.", no_args_is_help=True)

Model = Annotated[Path | None, typer.Option(help="Model folder whose comparator is measured; none trains a small one.")]
Embeddings = Annotated[Path | None, typer.Option(help="Catalog folder of that model, for its embeddings.")]
Figure = Annotated[Path | None, typer.Option(help="Picture to draw (PNG).")]


@app.command()
def data(
    photos: Annotated[int, typer.Option(help="Photos of one megapixel to draw and check.", min=8)] = 400,
    hashes: Annotated[int, typer.Option(help="Perceptual hashes to search for near pairs.", min=2)] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Check photos, search copies."""
    from siamese.bench.data import bench_data

    _answer(bench_data(num_photos=photos, num_hashes=hashes), as_json)


@app.command()
def scoring(model: Model = None, embeddings: Embeddings = None, as_json: AsJson = False) -> None:
    """Score pairs: `Model.predict` on gathered pairs, exact tiles, factorised scores."""
    with quiet_import():
        from siamese.bench.scoring import bench_scoring

    _answer(bench_scoring(model, embeddings), as_json)


@app.command()
def mining(
    num_images: Annotated[
        list[int] | None, typer.Option(help="Images of the round; give several to see growth.")
    ] = None,
    model: Model = None,
    embeddings: Embeddings = None,
    labels: Annotated[Path | None, typer.Option(help="The challenge's train.csv, for its numbers of photos.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="sparse, blocks, lapjv, scipy or lapx.")] = None,
    noise: Annotated[float, typer.Option(help="K, in score units.", min=0)] = 1.0,
    figure: Figure = None,
    as_json: AsJson = False,
) -> None:
    """Choose hard negatives: candidates and sparse assignment, blocks, the whole matrix."""
    with quiet_import():
        from siamese.bench.mining import bench_mining, growth_figure

    results = [
        bench_mining(count, model=model, catalog=embeddings, labels=labels, noise=noise, methods=method or None)
        for count in num_images or [13_263]
    ]
    _draw(figure, lambda: growth_figure(results))
    for numbers in results if not as_json else ():
        _answer(numbers, as_json=False)
    if as_json:
        print(json.dumps(results if len(results) > 1 else results[0]))


@app.command()
def pipeline(
    size: Annotated[int, typer.Option(help="Height and width of the photos, pixels.", min=8)] = 128,
    batch_size: Annotated[
        int | None, typer.Option(help="Images of a step; none takes the recipe's, fewer for large photos.", min=4)
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Other settings; none takes the defaults.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train from a store, and compare with the step alone on a batch in memory."""
    with quiet_import():
        from siamese.bench.pipeline import bench_pipeline

    _answer(bench_pipeline(size, batch_size=batch_size, recipe=recipe), as_json)


@app.command()
def search(
    queries: Annotated[int, typer.Option(help="Photos asked about.", min=1)] = 1000,
    catalog: Annotated[int, typer.Option(help="Photos of the catalog.", min=8)] = 100_000,
    model: Model = None,
    embeddings: Embeddings = None,
    figure: Figure = None,
    as_json: AsJson = False,
) -> None:
    """Rank queries against a large catalog: exactly, in two stages, by vector indexes."""
    with quiet_import():
        from siamese.bench.search import bench_search, search_figure

    numbers = bench_search(queries, catalog, model=model, catalog=embeddings)
    _draw(figure, lambda: search_figure(numbers))
    _answer(numbers, as_json)


@app.command()
def evaluation(
    num_queries: Annotated[int, typer.Option(help="Photos asked about.", min=2)] = 10_000,
    num_catalog: Annotated[int, typer.Option(help="Photos of the catalog.", min=8)] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Evaluate a large score matrix: every metric with its interval."""
    from siamese.bench.evaluation import bench_evaluation

    _answer(bench_evaluation(num_queries, num_catalog), as_json)


@app.command()
def decision(
    run: Annotated[Path, typer.Option(help="Run folder of a finished training.")],
    photos: Annotated[
        Path | None, typer.Option(help="Labelled photos that the model never saw; none takes the held-out ones.")
    ] = None,
    divisions: Annotated[int, typer.Option(help="Divisions of the individuals.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """Check stated error rates: some individuals calibrate, the others test, again and again."""
    with quiet_import():
        from siamese.bench.decision import bench_decision

    _answer(bench_decision(run, photos=photos, divisions=divisions), as_json)


@app.command()
def ranking(
    run: Annotated[Path, typer.Option(help="Run folder of a finished training.")],
    way: Annotated[
        list[str] | None, typer.Option(help="A way to score individuals, or a step after it; none takes all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare ways to score individuals, and steps after them; chosen on validation, told on test photos."""
    with quiet_import():
        from siamese.bench.ranking import bench_ranking

    _answer(bench_ranking(run, ways=way, say=lambda name: print(name, file=sys.stderr)), as_json)


def _draw(path: Path | None, figure: Any) -> None:
    if path is not None:
        from siamese.files import write_atomically

        write_atomically(path, lambda place: figure().savefig(place, dpi=110))


def _answer(numbers: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(numbers))
        return
    width = max(map(len, numbers))
    for name, value in numbers.items():
        if isinstance(value, list):
            print("\n".join([name, *(f"  {_in_a_line(row)}" for row in value)]))
        else:
            print(f"{name:{width}}  {_number(value)}")


def _in_a_line(row: Any) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in row.items()) if isinstance(row, dict) else str(row)


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
