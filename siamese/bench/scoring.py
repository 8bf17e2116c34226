"""Measures pairs scored in a second: `Model.predict` as it was done, exact tiles, factorised scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from siamese.bench.example import as_model, further_images, trained_comparator
from siamese.models.comparator import NUM_PAIR_FEATURES, Comparator
from siamese.scoring import FactorisedComparator, Tile, factorise, score_tiles
from siamese.scoring.factorised import Storage

COLUMNS = (256, 512, 1024)  # of the factorised scores, beside those that keep to the wanted error
PREDICT_BATCH = 2048  # pairs, as in the humpback kernel
NUM_PASSES = 5


def bench_scoring(
    model: Path | None = None,
    catalog: Path | None = None,
    *,
    num_queries: int = 4096,
    num_catalog: int = 16384,
    predict_pairs: int = 20480,
    exact_pairs: int = 2**18,
    max_error: float = 0.01,
    seed: int = 0,
) -> dict[str, Any]:
    """Compares the ways to score, all in one run.

    The catalog is made of the photos' embeddings and, where they are too few, of mixtures (`further_images`). Making
    the vectors counts in the time of the factorised scores; compiling and factorising, done once, do not.

    Args:
        model: a model folder; none trains a small comparator.
        catalog: a saved catalog of the model.
        num_queries: rows of the factorised score matrix.
        num_catalog: its columns.
        predict_pairs: pairs given to `Model.predict`, twice.
        exact_pairs: pairs scored in exact tiles, about.
        max_error: RMS error of the factorised scores that is allowed, as a share of the logits' spread.
        seed: of the samples.

    Returns:
        `predict_pairs_per_s`: `Model.predict` of the `classical_head` on gathered pairs, `predict_layer_pairs_per_s`:
        the same of our comparator, `exact_pairs_per_s`, `factorised` (one dictionary for each number of columns, the
        one chosen for `max_error` first: `rank`, in columns, `storage`, `pairs_per_s`, `relative_error`),
        `matmul_gflops`: a float32 product of the same shape, `factorised_gflops`: of the chosen one, and `data`, a
        sentence.
    """
    comparator, photos, source = trained_comparator(model, catalog, seed=seed)
    queries, images = further_images(photos, num_queries, seed=seed), further_images(photos, num_catalog, seed=seed + 1)
    chosen = factorise(comparator, photos, max_error=max_error, seed=seed)
    plans: list[tuple[int, Storage]] = [(chosen.num_columns, "float32"), (chosen.num_columns, "bfloat16")]
    plans += [(columns, "float32") for columns in COLUMNS]
    forms = [
        factorise(comparator, photos, num_columns=columns, storage=storage, seed=seed) for columns, storage in plans
    ]
    rows, columns = np.random.default_rng(seed).integers(0, len(photos), (2, predict_pairs))
    side = int(np.sqrt(exact_pairs))
    pair_models = classical_head(comparator, photos.shape[1]), as_model(comparator, photos.shape[1])
    left, right = (
        tf.random.stateless_normal((count, chosen.num_columns), [0, 1]) for count in (num_queries, num_catalog)
    )
    predict, predict_layer, exact, matmul, *factorised = _speeds(
        *(lambda model=model: _predicted(model, photos[rows], photos[columns]) for model in pair_models),
        lambda: _num_pairs(score_tiles(comparator, queries[:side], images[:side])),
        lambda: tf.matmul(left, right, transpose_b=True).numpy().size,
        *(lambda form=form: _num_pairs(form.score_tiles(queries, images)) for form in forms),
    )
    return {
        "predict_pairs_per_s": predict,
        "predict_layer_pairs_per_s": predict_layer,
        "exact_pairs_per_s": exact,
        "factorised": [_described(form, speed) for form, speed in zip(forms, factorised, strict=True)],
        "matmul_gflops": 2e-9 * matmul * chosen.num_columns,
        "factorised_gflops": 2e-9 * factorised[0] * chosen.num_columns,
        "data": f"{source}; further images are mixtures of two photos",
    }


def classical_head(comparator: Comparator, embed_dim: int) -> keras.Model:
    """Writes a comparator with the layers of the humpback kernel (Piotte 2018), which gave pairs to `Model.predict`.

    Args:
        comparator: a built `Comparator`; its weights are copied.
        embed_dim: length of an embedding.

    Returns:
        A model from two `(num_pairs, embed_dim)` embeddings to `(num_pairs, 1)` logits, those of the comparator.
    """
    left, right = sides = [keras.Input((embed_dim,)) for _ in range(2)]
    gap = ops.abs(left - right)
    features = layers.Concatenate()([left * right, left + right, gap, ops.square(gap)])
    grid = layers.Reshape((NUM_PAIR_FEATURES, embed_dim, 1))(features)
    hidden = layers.Conv2D(comparator.hidden_units, (NUM_PAIR_FEATURES, 1), activation="relu")(grid)
    hidden = layers.Reshape((embed_dim, comparator.hidden_units, 1))(hidden)
    evidence = layers.Conv2D(1, (1, comparator.hidden_units))(hidden)
    model = keras.Model(sides, layers.Dense(1)(layers.Flatten()(evidence)))
    weights = zip(model.weights, comparator.weights, strict=True)
    model.set_weights([ops.reshape(weight, target.shape) for target, weight in weights])
    return model


def _described(factorised: FactorisedComparator, speed: float) -> dict[str, Any]:
    return {
        "rank": factorised.num_columns,
        "storage": factorised.storage,
        "pairs_per_s": speed,
        "relative_error": factorised.error,
    }


def _predicted(model: keras.Model, *pairs: np.ndarray) -> int:
    return model.predict(list(pairs), batch_size=PREDICT_BATCH, verbose=0).size


def _num_pairs(tiles: Iterable[Tile]) -> int:
    return sum(tile.scores.size for tile in tiles)


def _speeds(*ways: Callable[[], int]) -> list[float]:
    """Returns the pairs in a second of each way to score, the best of several passes that take turns.

    Other work on the machine only slows down; taking turns, all ways meet the same of it. A pass before them compiles.
    """
    best = [0.0] * len(ways)
    for number in range(NUM_PASSES + 1):
        for place, way in enumerate(ways):
            start = time.perf_counter()
            num_pairs = way()
            if number:
                best[place] = max(best[place], num_pairs / (time.perf_counter() - start))
    return best
