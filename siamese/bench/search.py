"""Measures the two-stage search, with each first stage, against exact scoring of a whole catalog."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from siamese.bench.example import further_images, trained_comparator
from siamese.errors import MissingPackage
from siamese.models.comparator import Comparator
from siamese.palette import BLUE, GREEN, GREY, ORANGE, PURPLE
from siamese.scoring import Best, FactorisedComparator, FirstStageName, factorise, open_first_stage, search, top_k

LENGTHS = (5, 10, 20, 40, 60)  # of the shortlists each first stage is tried with
NUM_PASSES = 3  # the best counts, for other work on the machine only slows down
COLOURS = {"exact": GREY, "product": BLUE, "faiss": ORANGE, "faiss_ivf": PURPLE, "usearch": GREEN}


def bench_search(
    num_queries: int = 1000,
    num_catalog: int = 100_000,
    *,
    model: Path | None = None,
    catalog: Path | None = None,
    recall: float = 0.999,
    seed: int = 0,
) -> dict[str, Any]:
    """Ranks queries against a catalog exactly and in two stages, in one run.

    Half of the photos ask, the other half answer, so that no photo finds itself; both halves are filled up with
    mixtures (`further_images`) where more are wanted. The two-stage seconds hold the whole search: making the vectors
    of queries and catalog, choosing the length, re-scoring. Factorising, done once for a model, stands apart. The ways
    after that are timed with the first stage open already, as a catalog that is asked often would have it.

    Args:
        num_queries: photos asked about.
        num_catalog: photos of the catalog.
        model: a model folder; none trains a small comparator.
        catalog: a saved catalog of the model.
        recall: wanted share of the queries whose best five all stand in the shortlist.
        seed: of the samples.

    Returns:
        `exact_s`, `two_stage_s`, `factorise_s`, `speedup`, `same_top5`: the share of the queries with the same five
        photos in the same order, `rank`, `relative_error`, `length` of the shortlist, `settled`: a share, `curve`,
        `ways`: for exact scores and each first stage at several lengths of the shortlist `way`, `length`,
        `queries_per_s`, `recall_top5`: the share of the queries whose five best are all found, and `build_s`: seconds
        to open the first stage; `left_out`: a sentence for each first stage that is not installed; and `data`, a
        sentence.
    """
    comparator, photos, source = trained_comparator(model, catalog, seed=seed)
    photos = np.random.default_rng(seed).permutation(photos)
    queries = further_images(photos[::2], num_queries, seed=seed)
    images = further_images(photos[1::2], num_catalog, seed=seed + 1)
    start = time.perf_counter()
    factorised = factorise(comparator, photos, seed=seed)
    factorise_s = time.perf_counter() - start
    search(comparator, queries[:64], images[:1024], factorised=factorised, recall=recall)  # compiles
    top_k(comparator, queries[:64], images[:64], k=5)
    start = time.perf_counter()
    found = search(comparator, queries, images, factorised=factorised, recall=recall, seed=seed)
    two_stage_s = time.perf_counter() - start
    start = time.perf_counter()
    exact = top_k(comparator, queries, images, k=5)
    exact_s = time.perf_counter() - start
    ways = [_way("exact", num_catalog, num_queries / exact_s, exact.columns, exact, 0.0)]
    left_out = []
    for name in get_args(FirstStageName):
        try:
            ways += _measured(name, factorised, comparator, queries, images, exact)
        except MissingPackage as error:
            left_out.append(str(error))
    return {
        "exact_s": exact_s,
        "two_stage_s": two_stage_s,
        "factorise_s": factorise_s,
        "speedup": exact_s / two_stage_s,
        "same_top5": float(np.mean((found.columns == exact.columns).all(axis=1))),
        "rank": factorised.num_columns,
        "relative_error": factorised.error,
        "length": found.length,
        "settled": float(found.settled.mean()),
        "curve": [asdict(point) for point in found.curve],
        "ways": ways,
        "left_out": left_out,
        "data": f"{source}; half ask, half answer; further images are mixtures of two photos",
    }


def _measured(
    name: FirstStageName,
    factorised: FactorisedComparator,
    comparator: Comparator,
    queries: np.ndarray,
    images: np.ndarray,
    exact: Best,
) -> Iterator[dict[str, Any]]:
    """Gives the numbers of one first stage at each length."""
    start = time.perf_counter()
    first_stage = open_first_stage(name, factorised, images)
    build_s = time.perf_counter() - start
    for length in LENGTHS:
        seconds = np.inf
        for _ in range(NUM_PASSES):
            start = time.perf_counter()
            found = search(comparator, queries, images, first_stage=first_stage, shortlist=length)
            seconds = min(seconds, time.perf_counter() - start)
        yield _way(name, length, len(queries) / seconds, found.columns, exact, build_s)


def _way(way: str, length: int, speed: float, columns: np.ndarray, exact: Best, build_s: float) -> dict[str, Any]:
    same = np.sort(columns, axis=1) == np.sort(exact.columns, axis=1)
    recall = float(same.all(axis=1).mean())
    return {"way": way, "length": length, "queries_per_s": speed, "recall_top5": recall, "build_s": build_s}


def search_figure(numbers: dict[str, Any]) -> Figure:
    """Draws queries in a second against the recall of the best five, a line for each first stage.

    Args:
        numbers: what `bench_search` returned.
    """
    figure = Figure(figsize=(6.4, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name in dict.fromkeys(way["way"] for way in numbers["ways"]):
        points = [way for way in numbers["ways"] if way["way"] == name]
        recalls, speeds = ([way[key] for way in points] for key in ("recall_top5", "queries_per_s"))
        axes.plot(recalls, speeds, marker="o", color=COLOURS[name], label=name)
        for way, before in zip(points, [np.nan, *recalls], strict=False):  # a label where the length changed something
            if name != "exact" and way["recall_top5"] != before:
                place = (way["recall_top5"], way["queries_per_s"])
                axes.annotate(str(way["length"]), place, (3, 4), textcoords="offset points", fontsize=8)
    axes.set(yscale="log", xlabel="share of the queries whose best five are all found", ylabel="queries in a second")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
