"""Measures a round of mining: candidates and blocks against the whole matrix, each in a process of its own."""

from __future__ import annotations

import importlib.util
import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from siamese import assignment
from siamese.assignment import solve_assignment
from siamese.bench.example import trained_comparator
from siamese.candidates import PairNoise, PairScores
from siamese.mining import NegativeMiner
from siamese.palette import BLUE, GREEN, GREY, ORANGE, PURPLE
from siamese.scoring import factorise
from siamese.scoring.sources import FactorisedScores
from siamese.settings import MiningSettings

# Identities of the 2019 humpback challenge by their number of photos (Simoes and Meidanis 2021), singles left out.
PHOTOS_PER_IDENTITY = {
    2: 1285, 3: 568, 4: 273, 5: 172, 6: 136, 7: 86, 8: 76, 9: 62, 10: 46,
    11: 39, 12: 26, 13: 14, 14: 16, 15: 19, 16: 16, 17: 17,
}  # fmt: skip
MANY_PHOTOS, MOST_PHOTOS, WITH_MANY = 18, 73, 80  # 80 further identities hold 18 to 73, 29.7 on average
DENSE_LIMIT = 16_384  # above, the whole matrix takes too long for a measurement
SEED_ROUND = 1
COLOURS = {"sparse": BLUE, "blocks": GREEN, "lapjv": ORANGE, "scipy": PURPLE, "lapx": GREY}


def humpback_identity(num_images: int, *, seed: int, labels: Path | None = None) -> np.ndarray:
    """Draws identities with as many photos each as in the 2019 humpback challenge, at least two.

    Args:
        num_images: how many images.
        seed: of the draw.
        labels: the challenge's `train.csv` (columns Image, Id); its own counts are taken then. None takes the published
            ones.

    Returns:
        `(num_images,)` codes, each identity's images in a row. With `labels` and as many images as it has, all its
        identities; else identities drawn with replacement.

    Example:
    >>> int(np.bincount(humpback_identity(13_263, seed=0)).max())
    73
    """
    sizes = _published_sizes() if labels is None else _sizes_of(labels)
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(sizes)
    while drawn.sum() < num_images:
        drawn = np.append(drawn, rng.permutation(sizes))
    return np.repeat(np.arange(len(drawn)), drawn)[:num_images]


def _published_sizes() -> np.ndarray:
    sizes = np.repeat(list(PHOTOS_PER_IDENTITY), list(PHOTOS_PER_IDENTITY.values()))
    steps = np.linspace(0, 1, WITH_MANY) ** 3.7  # gives the average
    return np.append(sizes, np.round(MANY_PHOTOS + (MOST_PHOTOS - MANY_PHOTOS) * steps).astype(int))


def _sizes_of(labels: Path) -> np.ndarray:
    names = pd.read_csv(labels, dtype=str)["Id"]
    counts = np.sort(names[names != "new_whale"].value_counts().to_numpy())
    return counts[counts > 1]


def clustered_embeddings(photos: np.ndarray, identity: np.ndarray, *, seed: int) -> np.ndarray:
    """Draws embeddings of many animals out of those of real photos, keeping what values each feature takes.

    An animal takes each feature from one of two photos; a photo of it takes 5 to 35 % of the features from another one.

    Args:
        photos: `(num_photos, embed_dim)` floats.
        identity: `(num_images,)` codes from 0.
        seed: of the draw.

    Returns:
        `(num_images, embed_dim)` float32.
    """
    rng = np.random.default_rng(seed)
    parents = rng.integers(0, len(photos), (int(identity.max()) + 1, 2))
    first = rng.random((len(parents), photos.shape[1]), dtype=np.float32) < 0.5
    animals = np.where(first, photos[parents[:, 0]], photos[parents[:, 1]])
    other = photos[rng.integers(0, len(photos), len(identity))]
    share = rng.uniform(0.05, 0.35, (len(identity), 1)).astype(np.float32)
    changed = rng.random(other.shape, dtype=np.float32) < share
    return np.where(changed, other, animals[identity]).astype(np.float32)


def bench_mining(
    num_images: int = 13_263,
    *,
    model: Path | None = None,
    catalog: Path | None = None,
    labels: Path | None = None,
    noise: float = 1.0,
    methods: Sequence[str] | None = None,
    settings: MiningSettings | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures the first epoch of a round, from embeddings to pairs, for each way of assignment.

    Scores are factorised ones, so the seconds hold making their vectors, the tiles, the candidates and the assignment;
    for the whole matrix, scores, noise and the solver. Each way runs in a process of its own: `peak_gib` is the largest
    memory of that process, TensorFlow and the embeddings included.

    Args:
        num_images: images of the round, with the identities of `humpback_identity`.
        model: a model folder; none trains a small comparator.
        catalog: a saved catalog of the model: the photos from which embeddings are drawn.
        labels: the humpback challenge's `train.csv`; none takes the published counts.
        noise: K.
        methods: of "sparse", "blocks", "lapjv", "scipy", "lapx"; None takes what is installed, the last three for up to
            16,384 images.
        settings: of the mining; None takes the defaults.
        seed: of the data and the noise.

    Returns:
        `num_images`, `num_identities`, `noise`, `relative_error` of the factorised scores, `data`: a sentence,
        `methods`: for each `method, seconds, solver_seconds, peak_gib, cost, num_pairs, cost_ratio`: 1 + (cost - c) /
        |c| where c is the cost of the whole matrix, None where that was not solved; and `seconds, peak_gib,
        cost_ratio, method` of the sparse way once more, if it is among them.
    """
    comparator, photos, source = trained_comparator(model, catalog, seed=seed)
    identity = humpback_identity(num_images, seed=seed, labels=labels)
    embeddings = clustered_embeddings(photos, identity, seed=seed)
    factorised = factorise(comparator, embeddings[:: max(1, num_images // 4096)], seed=seed)
    settings = settings or MiningSettings()
    rows = [
        _in_own_process(method, partial(FactorisedScores, factorised, embeddings), identity, noise, seed, settings)
        for method in methods or _available(num_images)
    ]
    exact = [row["cost"] for row in rows if row["method"] in assignment.SOLVERS]
    for row in rows:
        row["cost_ratio"] = 1 + (row["cost"] - min(exact)) / abs(min(exact)) if exact else None
    shown = next((row for row in rows if row["method"] == "sparse"), rows[0])
    return {
        "num_images": num_images,
        "num_identities": int(identity.max()) + 1,
        "noise": noise,
        "relative_error": factorised.error,
        "data": f"{source}; {clustered_embeddings.__name__} of its photos, factorised scores",
        "methods": rows,
        **{name: shown[name] for name in ("seconds", "peak_gib", "cost_ratio", "method")},
    }


def growth_figure(results: Sequence[dict[str, Any]]) -> Figure:
    """Draws seconds and peak memory of each way against the number of images, both axes logarithmic.

    Args:
        results: what `bench_mining` returned for several numbers of images.
    """
    figure = Figure(figsize=(11, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name, label in zip(figure.subplots(1, 2), ("seconds", "peak_gib"), ("seconds", "GiB"), strict=True):
        _draw_growth(axes, results, name)
        axes.set(xscale="log", yscale="log", xlabel="images", ylabel=label)
        axes.set_xticks(
            [result["num_images"] for result in results], [f"{result['num_images']:,}" for result in results]
        )
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "235" else ""))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _draw_growth(axes: Axes, results: Sequence[dict[str, Any]], name: str) -> None:
    points = [(row["method"], result["num_images"], row[name]) for result in results for row in result["methods"]]
    for method in dict.fromkeys(point[0] for point in points):
        line = sorted(point[1:] for point in points if point[0] == method)
        axes.plot(*zip(*line, strict=True), marker="o", label=method, color=COLOURS.get(method))


def _available(num_images: int) -> list[str]:
    found = {"lapjv": assignment.lapjv is not None, "scipy": True, "lapx": importlib.util.find_spec("lap") is not None}
    whole = [name for name, there in found.items() if there] if num_images <= DENSE_LIMIT else []
    return ["sparse", "blocks", *whole]


def _in_own_process(*job: Any) -> dict[str, Any]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure_round, *job).result()


def measure_round(
    method: str,
    make_scores: Callable[[], PairScores],
    identity: np.ndarray,
    noise: float,
    seed: int,
    settings: MiningSettings,
) -> dict[str, Any]:
    """Measures the first epoch of a round in this process; see `bench_mining` for the numbers.

    Args:
        method: "sparse", "blocks", "lapjv", "scipy" or "lapx".
        make_scores: makes the source of the scores, which is measured too.
        identity: `(num_images,)` codes.
        noise: K.
        seed: of the noise.
        settings: of the mining.
    """
    index = np.arange(len(identity))
    make_scores()  # what compiles, compiles before
    start = time.perf_counter()
    scores = make_scores()
    if method in assignment.SOLVERS:
        cost = _noisy_costs(scores, PairNoise(index, width=noise, seed=[seed, SEED_ROUND]), len(index))
        solved = solve_assignment(cost, identity[:, None] == identity, method=method)
        num_pairs = None
    else:
        chosen = settings.model_copy(update={"assignment": method})
        miner = NegativeMiner(scores, identity, noise=noise, seed=[seed, SEED_ROUND], settings=chosen)
        num_pairs = len(miner.draw())
        solved = miner.assignment
    seconds = time.perf_counter() - start
    return {
        "method": method,
        "seconds": seconds,
        "solver_seconds": solved.seconds,
        "peak_gib": peak_gib(),
        "cost": solved.cost,
        "num_pairs": num_pairs,
    }


def _noisy_costs(scores: PairScores, noise: PairNoise, num_images: int) -> np.ndarray:
    """Returns the `(n, n)` float32 costs of the whole matrix."""
    cost = np.empty((num_images, num_images), np.float32)
    index = np.arange(num_images)
    for tile in scores.tiles():
        rows, columns = index[tile.rows], index[tile.columns]
        cost[tile.columns, tile.rows] = -(tile.scores.T + noise.of(noise.hashed(columns[:, None], rows)))
        cost[tile.rows, tile.columns] = -(tile.scores + noise.of(noise.hashed(rows[:, None], columns)))
    return cost


def peak_gib() -> float:
    """Returns the largest memory this process has held, GiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent's memory too, from before the process began
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 2**20  # type: ignore[index]
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
