"""Measures whether training waits for its data: fitted epochs against the compiled step alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from siamese.batches import BatchPlan, PairBatches, plan_walk
from siamese.candidates import MatrixScores
from siamese.fitting import fit_plan
from siamese.mining import NegativeMiner
from siamese.models.pair_model import PairModel, build_pair_model, compile_pair_model
from siamese.pairs import positive_pairs
from siamese.recipes import resolve_settings
from siamese.settings import PreprocessingSettings, Settings, TrainingSettings
from siamese.store import BLOCK, open_store
from siamese.store_file import StoreWriter, lay_out

PHOTOS_EACH = 4  # of an individual
BATCH_PIXELS = 2**20  # 64 images of 128 x 128: larger images come in smaller batches, of no less than
SMALLEST_BATCH = 16
EPOCH_SECONDS, FEWEST_BATCHES, MOST_BATCHES = 6.0, 3, 48
NUM_PASSES = 5
WARM_UP_STEPS = 3  # the first one compiles


def bench_pipeline(
    size: int, *, batch_size: int | None = None, recipe: str | None = None, seed: int = 0
) -> dict[str, Any]:
    """Trains on a store of noise, in turns with the same step on one batch in memory, and compares medians.

    The photos are random pixels: a step takes no other time for them than for real ones, and no photo need be decoded,
    since training reads the store. That lies in the temporary folder and, freshly written, in the memory of the system.
    An epoch takes about six seconds, 3 to 48 batches.

    Args:
        size: height and width of the photos, pixels.
        batch_size: images of a step; None takes the recipe's, fewer for images above 128 x 128, at least 16.
        recipe: gives all other settings; None takes the defaults: the humpback kernel's 55 convolutions.
        seed: of the pixels, the weights and the pairs.

    Returns:
        `images_per_second_bare` and `images_per_second_fitted`, `fed_share`: the median over the passes of the second
        as a share of the first, `size`, `batch_size`, `num_batches` of an epoch, and `data`, a sentence.

    Raises:
        SettingsError: the recipe is unknown, or its encoder cannot take photos of this size.
    """
    settings = _settings(size, batch_size, recipe, seed)
    model, rng, batch_size = build_pair_model(settings), np.random.default_rng(seed), settings.training.batch_size
    compile_pair_model(model, settings.training)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "store.h5"
        _write_noise(place, batch_size * MOST_BATCHES, settings.preprocessing, rng)
        with open_store(place) as store:
            fixed = PairBatches(_plan(1, settings.training, rng), store.read)[0]
            step = _bare_step(model, fixed)
            num_batches = int(np.clip(EPOCH_SECONDS / _seconds(step), FEWEST_BATCHES, MOST_BATCHES))
            plan = _plan(num_batches, settings.training, rng)
            rates = np.full(num_batches, settings.training.schedule[0].learning_rate)
            seconds = _in_turns(
                lambda: [step() for _ in range(num_batches)], lambda: fit_plan(model, plan, store.read, rates)
            )
    bare, fitted = num_batches * batch_size / np.median(seconds, axis=0)
    return {
        "images_per_second_bare": float(bare),
        "images_per_second_fitted": float(fitted),
        "fed_share": float(np.median(seconds[:, 0] / seconds[:, 1])),
        "size": size,
        "batch_size": batch_size,
        "num_batches": num_batches,
        "data": f"random pixels, a store of {batch_size * MOST_BATCHES} photos",
    }


def _settings(size: int, batch_size: int | None, recipe: str | None, seed: int) -> Settings:
    sides = [f"preprocessing.{side}={size}" for side in ("height", "width")]
    settings = resolve_settings(recipe, None, [*sides, f"training.seed={seed}"])
    most = max(SMALLEST_BATCH, BATCH_PIXELS // size**2)
    chosen = batch_size or min(settings.training.batch_size, most)
    return resolve_settings(recipe, None, [*sides, f"training.seed={seed}", f"training.batch_size={chosen}"])


def _write_noise(place: Path, count: int, settings: PreprocessingSettings, rng: np.random.Generator) -> None:
    shape = (settings.height, settings.width, settings.channels)
    lay_out(place, np.array([f"photo{row}" for row in range(count)], dtype=object), settings, "noise")
    with StoreWriter(place) as writer:
        for start in range(0, count, BLOCK):
            rows = range(start, min(start + BLOCK, count))
            writer.write({row: rng.integers(0, 256, shape, np.uint8) for row in rows})


def _plan(num_batches: int, settings: TrainingSettings, rng: np.random.Generator) -> BatchPlan:
    """Plans batches of the first photos as a training does, under random scores."""
    count = num_batches * settings.batch_size
    identity = np.arange(count) // PHOTOS_EACH
    drawn = rng.random((count, count), np.float32)
    scores = MatrixScores(drawn + drawn.T)
    miner = NegativeMiner(scores, identity, noise=0, seed=[settings.seed], settings=settings.mining)
    return plan_walk(
        positive_pairs(identity, rng=rng),
        miner.draw(),
        group=identity,
        identity=identity,
        scores=scores,
        limit=miner.limit,
        batch_size=settings.batch_size,
        pairs_per_image=settings.pairs_per_image,
        rng=rng,
    )


def _bare_step(model: PairModel, batch: Any) -> Callable[[], Any]:
    """Returns the compiled step on one batch, whose tensors are made beforehand."""
    tensors = tf.nest.map_structure(tf.constant, batch)
    model.make_train_function()

    def step() -> Any:
        return model.train_function(iter([tensors]))

    for _ in range(WARM_UP_STEPS):
        step()
    return step


def _in_turns(*ways: Callable[[], Any]) -> np.ndarray:
    """Returns the seconds of each pass and each way; the ways take turns, so that all meet the same other work."""
    for way in ways[1:]:
        way()  # warms up; the first is warm
    return np.array([[_seconds(way) for way in ways] for _ in range(NUM_PASSES)])


def _seconds(way: Callable[[], Any]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start
