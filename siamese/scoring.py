"""Embeds many images; scores queries against a catalog, tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from siamese.models.comparator import Comparator

TILE = 64  # queries and catalog images of one compiled tile
EMBED_BATCH = 64

Read = Callable[[np.ndarray], np.ndarray]


class Embedder:
    """Embeds images with one compiled function of fixed batch shape, so that it compiles once."""

    def __init__(self, encoder: keras.Model, *, batch_size: int = EMBED_BATCH, jit_compile: bool = False) -> None:
        """Takes an encoder; later changes of its weights are seen."""
        self.encoder, self.batch_size = encoder, batch_size
        self._step = tf.function(lambda images: encoder(images, training=False), jit_compile=jit_compile)

    def embed(self, read: Read, num_images: int, on_progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Embeds images 0 to `num_images` - 1.

        Args:
            read: function from `(count,)` indices to `(count, height, width, channels)` `uint8` images.
            num_images: how many to embed.
            on_progress: called with (done, all) after each batch.

        Returns:
            `(num_images, embed_dim)` float32.
        """
        embeddings = np.empty((num_images, self.encoder.output_shape[-1]), np.float32)
        for start in range(0, num_images, self.batch_size):
            index = np.arange(start, min(start + self.batch_size, num_images))
            filled = np.resize(index, self.batch_size)
            embeddings[index] = self._step(tf.constant(read(filled)))[: len(index)]
            if on_progress:
                on_progress(int(index[-1]) + 1, num_images)
        return embeddings


def score_matrix(comparator: keras.layers.Layer, queries: np.ndarray, catalog: np.ndarray | None = None) -> np.ndarray:
    """Scores every query against every catalog image.

    Tiles of 64 x 64 go through one compiled kernel, which never stores the pairs' features. Without a catalog the
    queries are scored against each other, and only the upper triangle is computed.

    Args:
        comparator: a `Comparator`, or any layer from two `(num_pairs, embed_dim)` embeddings to `(num_pairs,)` logits.
        queries: `(num_queries, embed_dim)` floats.
        catalog: `(num_catalog, embed_dim)` floats, or None for the queries themselves.

    Returns:
        `(num_queries, num_catalog)` float32 logits, higher is more alike.
    """
    symmetric = catalog is None
    catalog = queries if catalog is None else catalog
    kernel = _tile_kernel(comparator)
    left, right = _padded(queries), _padded(catalog)
    scores: np.ndarray = np.empty((len(left), len(right)), np.float32)
    for row in range(0, len(left), TILE):
        for column in range(row if symmetric else 0, len(right), TILE):
            tile = kernel(left[row : row + TILE], right[column : column + TILE]).numpy()
            scores[row : row + TILE, column : column + TILE] = tile
            if symmetric:
                scores[column : column + TILE, row : row + TILE] = tile.T
    return scores[: len(queries), : len(catalog)]


def _padded(embeddings: np.ndarray) -> np.ndarray:
    missing = -len(embeddings) % TILE
    return np.pad(np.asarray(embeddings, np.float32), ((0, missing), (0, 0)))


def _tile_kernel(comparator: keras.layers.Layer) -> Callable[..., Any]:
    if isinstance(comparator, Comparator):
        weights = [tf.convert_to_tensor(weight) for weight in comparator.weights]
        return lambda left, right: _comparator_tile(left, right, *weights)
    return tf.function(lambda left, right: _any_tile(comparator, left, right))


def _any_tile(comparator: keras.layers.Layer, left: Any, right: Any) -> Any:
    shape = (TILE, TILE, left.shape[-1])
    pairs = [tf.broadcast_to(left[:, None], shape), tf.broadcast_to(right[None], shape)]
    return tf.reshape(comparator([tf.reshape(side, (TILE * TILE, -1)) for side in pairs]), (TILE, TILE))


@tf.function(jit_compile=True)
def _comparator_tile(
    left: Any,
    right: Any,
    hidden_kernel: Any,
    hidden_bias: Any,
    evidence_kernel: Any,
    evidence_bias: Any,
    w: Any,
    b: Any,
) -> Any:
    """The comparator on a tile, one hidden unit after the other, so that XLA fuses it into one loop."""
    u, v = left[:, None, :], right[None, :, :]
    gap = tf.abs(u - v)
    features = (u * v, u + v, gap, gap * gap)
    evidence = evidence_bias[0]
    for unit in range(hidden_bias.shape[0]):
        inner = sum(feature * hidden_kernel[i, unit] for i, feature in enumerate(features))
        evidence += evidence_kernel[unit, 0] * tf.nn.relu(inner + hidden_bias[unit])
    return tf.reduce_sum(evidence * w[:, 0], axis=-1) + b[0]
