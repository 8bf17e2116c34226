"""Exact comparator scores of queries x catalog, tile by tile: what streams by never grows with the whole matrix.

What was tried for the kernel (512 features, 32 hidden units; pairs in a second of one core, AVX-512 at 2.6 GHz):
tiles of 64 x 64, 128 x 128, 256 x 64 and 16 x 256 run at one speed, 500 to 540 thousand, tiles of 32 x 32 at 440.
Features before images: half of that. Sorting each pair of values (minimum and maximum in place of the difference), the
bias first, the evidence weights folded into the hidden ones: no change, since the arithmetic is the limit.
`XLA_FLAGS=--xla_cpu_prefer_vector_width=512` in the environment gives 45 % more, 750 thousand. Forms with a term for
each query alone need fewer operations, but with them score(a, b) is not score(b, a) to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from siamese.errors import SiameseError
from siamese.models.comparator import Comparator
from siamese.scoring.consumers import Allowed, Best, Tile, best_of_tiles, mirrored, write_matrix

TILE = 64  # queries and catalog images of one compiled tile
# A few queries fill a flat tile. Its short side is over 1: XLA sums a single row in another order, to other bits.
STRIP = (4, 1024)


def score_tiles(
    comparator: keras.layers.Layer, queries: np.ndarray, catalog: np.ndarray | None = None
) -> Iterator[Tile]:
    """Scores every query against every catalog image and gives one tile after the other, row of tiles by row of tiles.

    A pair's score does not depend on its place, on its company or on its order, to the last bit.

    Args:
        comparator: a `Comparator`, or any layer from two `(num_pairs, embed_dim)` embeddings to `(num_pairs,)` logits.
        queries: `(num_queries, embed_dim)` floats. Not changed.
        catalog: `(num_catalog, embed_dim)` floats, or None for the queries themselves: then only the tiles of the upper
            triangle are given, whole on the diagonal; `mirrored` adds the others.

    Yields:
        Tiles; together they cover each cell once.

    Raises:
        SiameseError: the embeddings are not two tables of equal width.

    Example:
    >>> comparator = Comparator(2)
    >>> comparator.build([(None, 3), (None, 3)])
    >>> [tile.columns for tile in score_tiles(comparator, np.ones((65, 3)))]
    [slice(0, 64, None), slice(64, 65, None), slice(64, 65, None)]
    """
    symmetric = catalog is None
    catalog = queries if catalog is None else catalog
    check_embeddings(queries, catalog)
    height, width = STRIP if len(queries) <= STRIP[0] and not symmetric else (TILE, TILE)
    kernel = _tile_kernel(comparator)
    for start in range(0, len(queries), height):
        rows = slice(start, min(start + height, len(queries)))
        left = _padded(queries[rows], height)
        for first in range(start if symmetric else 0, len(catalog), width):
            columns = slice(first, min(first + width, len(catalog)))
            scores = kernel(left, _padded(catalog[columns], width)).numpy()
            yield Tile(rows, columns, scores[: rows.stop - start, : columns.stop - first])


def _whole(comparator: keras.layers.Layer, queries: np.ndarray, catalog: np.ndarray | None) -> Iterator[Tile]:
    tiles = score_tiles(comparator, queries, catalog)
    return mirrored(tiles) if catalog is None else tiles


def score_matrix(comparator: keras.layers.Layer, queries: np.ndarray, catalog: np.ndarray | None = None) -> np.ndarray:
    """Scores every query against every catalog image, in memory.

    Args:
        comparator: a `Comparator`, or any layer from two `(num_pairs, embed_dim)` embeddings to `(num_pairs,)` logits.
        queries: `(num_queries, embed_dim)` floats.
        catalog: `(num_catalog, embed_dim)` floats, or None for the queries themselves: half of the work.

    Returns:
        `(num_queries, num_catalog)` float32 logits, higher is more alike.
    """
    scores: np.ndarray = np.empty((len(queries), len(queries if catalog is None else catalog)), np.float32)
    for tile in _whole(comparator, queries, catalog):
        scores[tile.rows, tile.columns] = tile.scores
    return scores


def write_scores(
    path: Path, comparator: keras.layers.Layer, queries: np.ndarray, catalog: np.ndarray | None = None
) -> None:
    """Writes the score matrix to a file; the memory holds one tile.

    Args:
        path: ends in `.npy` (open it with `np.load(path, mmap_mode="r")`), or in `.h5` or `.hdf5` (dataset `scores`).
        comparator: as for `score_matrix`.
        queries: `(num_queries, embed_dim)` floats.
        catalog: `(num_catalog, embed_dim)` floats, or None for the queries themselves.

    Raises:
        SiameseError: the file name has another ending.
        DiskError: the disk is full; what stood there before is untouched.
    """
    shape = (len(queries), len(queries if catalog is None else catalog))
    write_matrix(path, _whole(comparator, queries, catalog), shape)


def top_k(
    comparator: keras.layers.Layer,
    queries: np.ndarray,
    catalog: np.ndarray | None = None,
    *,
    k: int,
    allowed: Allowed | None = None,
) -> Best:
    """Returns the best catalog images of each query by exact scores; the memory holds one tile and the best.

    Args:
        comparator: as for `score_matrix`.
        queries: `(num_queries, embed_dim)` floats.
        catalog: `(num_catalog, embed_dim)` floats, or None for the queries themselves.
        k: images kept for each query, at least 1.
        allowed: function from the rows and columns of a tile to a boolean table, False where a catalog image may not
            answer a query; without a catalog it is asked for both triangles.

    Returns:
        The best columns and their scores; equal scores stand by index.

    Raises:
        SiameseError: `k` is under 1.
    """
    return best_of_tiles(_whole(comparator, queries, catalog), len(queries), k, allowed)


def score_pairs(
    comparator: keras.layers.Layer, queries: np.ndarray, catalog: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Scores chosen pairs, to the same bits as their cells of the score matrix.

    Args:
        comparator: as for `score_matrix`.
        queries: `(num_queries, embed_dim)` floats.
        catalog: `(num_catalog, embed_dim)` floats.
        rows: `(num_pairs,)` query indices.
        columns: `(num_pairs,)` catalog indices.

    Returns:
        `(num_pairs,)` float32 logits.
    """
    check_embeddings(queries, catalog)
    kernel, batch = _pair_kernel(comparator), TILE * TILE
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), batch):
        left, right = (np.resize(index[start : start + batch], batch) for index in (rows, columns))
        sides = (tf.constant(side, tf.float32) for side in (queries[left], catalog[right]))
        scores[start : start + batch] = kernel(*sides)[: len(rows) - start]
    return scores


def reference_scores(comparator: Comparator, queries: np.ndarray, catalog: np.ndarray) -> np.ndarray:
    """Scores in float64 with NumPy, slowly: what the compiled kernels are checked against.

    Args:
        comparator: a built `Comparator`.
        queries: `(num_queries, embed_dim)` floats.
        catalog: `(num_catalog, embed_dim)` floats.

    Returns:
        `(num_queries, num_catalog)` float64 logits.
    """
    *shared, weight, bias = comparator_weights(comparator)
    rows = [reference_evidence(shared, query[None], catalog) @ weight[:, 0] + bias[0] for query in queries]
    return np.array(rows, np.float64).reshape(len(queries), len(catalog))


def reference_evidence(shared: list[np.ndarray], u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The comparator's function of two feature values, g(u, v), in float64.

    Args:
        shared: kernel and bias of the hidden layer, kernel and bias of the evidence layer.
        u: floats.
        v: floats of a shape that broadcasts with that of `u`.

    Returns:
        Floats of the broadcast shape.
    """
    hidden, hidden_bias, out, out_bias = shared
    u, v = np.asarray(u, np.float64), np.asarray(v, np.float64)
    features = (u * v, u + v, abs(u - v), (u - v) ** 2)
    evidence = np.full(np.broadcast_shapes(u.shape, v.shape), out_bias[0])
    for unit in range(len(hidden_bias)):
        inner = sum(weight * feature for weight, feature in zip(hidden[:, unit], features, strict=True))
        evidence += out[unit, 0] * np.maximum(inner + hidden_bias[unit], 0)
    return evidence


def comparator_weights(comparator: Comparator) -> list[np.ndarray]:
    """Returns kernel and bias of the hidden, the evidence and the logit layer, float64."""
    return [keras.ops.convert_to_numpy(weight).astype(np.float64) for weight in comparator.weights]


def check_embeddings(queries: np.ndarray, catalog: np.ndarray) -> None:
    """Raises SiameseError unless both are tables of equal width."""
    if queries.ndim != 2 or catalog.ndim != 2 or queries.shape[1] != catalog.shape[1]:
        raise SiameseError(
            "`queries` and `catalog` must be tables of embeddings of one model, (num_images, embed_dim). "
            f"Received: shapes {queries.shape} and {catalog.shape}. Embed both with the same model."
        )


def _padded(embeddings: np.ndarray, length: int) -> Any:
    missing = length - len(embeddings)
    return tf.constant(np.pad(np.asarray(embeddings, np.float32), ((0, missing), (0, 0))))


def _tile_kernel(comparator: keras.layers.Layer) -> Callable[..., Any]:
    if isinstance(comparator, Comparator):
        weights = [tf.convert_to_tensor(weight) for weight in comparator.weights]
        return lambda left, right: _comparator_logits(left[:, None], right[None], *weights)
    return tf.function(lambda left, right: _any_tile(comparator, left, right))


def _pair_kernel(comparator: keras.layers.Layer) -> Callable[..., Any]:
    if isinstance(comparator, Comparator):
        weights = [tf.convert_to_tensor(weight) for weight in comparator.weights]
        return lambda left, right: _comparator_logits(left, right, *weights)
    return tf.function(lambda left, right: comparator([left, right]))


def _any_tile(comparator: keras.layers.Layer, left: Any, right: Any) -> Any:
    shape = (left.shape[0], right.shape[0], left.shape[1])
    pairs = [tf.broadcast_to(left[:, None], shape), tf.broadcast_to(right[None], shape)]
    return tf.reshape(comparator([tf.reshape(side, (-1, shape[2])) for side in pairs]), shape[:2])


@tf.function(jit_compile=True)
def _comparator_logits(
    left: Any,
    right: Any,
    hidden_kernel: Any,
    hidden_bias: Any,
    evidence_kernel: Any,
    evidence_bias: Any,
    w: Any,
    b: Any,
) -> Any:
    """The comparator on embeddings that broadcast; unit after unit, so that XLA fuses all of it into one loop."""
    gap = tf.abs(left - right)
    features = (left * right, left + right, gap, gap * gap)
    evidence = evidence_bias[0]
    for unit in range(hidden_bias.shape[0]):
        inner = sum(feature * hidden_kernel[i, unit] for i, feature in enumerate(features))
        evidence += evidence_kernel[unit, 0] * tf.nn.relu(inner + hidden_bias[unit])
    return tf.reduce_sum(evidence * w[:, 0], axis=-1) + b[0]
