"""Activation maximisation: the image that a feature of the embedding answers to most."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

NUM_STEPS = 64
STEP = 6.0  # grey levels by which an image changes in a step, root mean square
START, SPREAD = 128.0, 12.0  # grey levels of the noise that the ascent starts from
SMOOTHING = 0.15  # share of each pixel that its neighbours take over after a step; without it fine noise wins


def maximise_features(
    encoder: keras.Model, features: np.ndarray, *, num_steps: int = NUM_STEPS, seed: int = 0
) -> np.ndarray:
    """Climbs, from noise, to images that raise one feature of the embedding each (Erhan 2009).

    Args:
        encoder: image -> embedding.
        features: `(num_features,)` places in the embedding.
        num_steps: steps of the gradient ascent.
        seed: of the noise.

    Returns:
        `(num_features, height, width, channels)` uint8.
    """
    shape = (len(features), *encoder.input_shape[1:])
    noise = np.random.default_rng(seed).normal(START, SPREAD, shape).astype(np.float32)
    images, chosen = tf.constant(noise), tf.one_hot(features, encoder.output_shape[-1])
    climb = tf.function(lambda current: _climb(encoder, current, chosen))
    for _ in range(num_steps):
        images = climb(images)
    return np.rint(images.numpy()).astype(np.uint8)


def _climb(encoder: keras.Model, images: Any, chosen: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(images)
        raised = tf.reduce_sum(encoder(images, training=False) * chosen)
    gradient = tape.gradient(raised, images)
    size = tf.sqrt(tf.reduce_mean(tf.square(gradient), axis=(1, 2, 3), keepdims=True))
    images = images + STEP * gradient / (size + 1e-12)
    neighbours = tf.nn.avg_pool2d(images, 3, 1, "SAME")
    return tf.clip_by_value((1 - SMOOTHING) * images + SMOOTHING * neighbours, 0.0, 255.0)
