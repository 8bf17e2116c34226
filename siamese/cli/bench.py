"""`siamese bench`: measures the hot paths of this machine, each comparison within one run."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from siamese.cli.options import AsJson

app = typer.Typer(help="Measure the speed of the parts that decide how long a run takes.", no_args_is_help=True)


@app.command()
def data(
    photos: Annotated[int, typer.Option(help="Photos of one megapixel to draw and check.", min=8)] = 400,
    hashes: Annotated[int, typer.Option(help="Perceptual hashes to search for near pairs.", min=2)] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Check photos, search copies, fill the image store."""
    from siamese.bench.data import bench_data

    _answer(bench_data(num_photos=photos, num_hashes=hashes), as_json)


def _answer(numbers: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(numbers))
        return
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"{name:{width}}  {value:,.1f}" if isinstance(value, float) else f"{name:{width}}  {value}")
