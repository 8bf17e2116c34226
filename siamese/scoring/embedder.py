"""Embeds many images in batches of one fixed shape."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

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
