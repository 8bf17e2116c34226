"""What the measurements run on: a trained comparator with real embeddings, or a small one trained on drawn ones."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from siamese.catalog import load_catalog
from siamese.models.comparator import Comparator
from siamese.models.storage import load_model

OTHER_SHARE = 0.2  # of the features of a further image that come from another photo
PHOTOS_EACH = 4
TRAINING_STEPS, TRAINING_PAIRS = 200, 256


def trained_comparator(
    model: Path | None, catalog: Path | None, *, seed: int = 0
) -> tuple[Comparator, np.ndarray, str]:
    """Returns a comparator, embeddings it was made for, and a sentence that says where they come from.

    Args:
        model: a model folder with a `Comparator`; none trains one on drawn embeddings, in some ten seconds.
        catalog: a saved catalog of that model; needed with a model.
        seed: of the drawn embeddings and the training.
    """
    if model is not None and catalog is not None:
        embeddings = load_catalog(catalog).embeddings
        return load_model(model).comparator, embeddings, f"comparator {model}, {len(embeddings)} photos of {catalog}"
    embeddings = drawn_embeddings(2048, 512, seed=seed)
    return _train(embeddings, seed), embeddings, "comparator trained briefly on 2048 drawn embeddings of 512 animals"


def drawn_embeddings(num_images: int, embed_dim: int, *, seed: int) -> np.ndarray:
    """Draws embeddings with many zeros, as ReLU and pooling give: four photos of each animal, around its own values."""
    rng = np.random.default_rng(seed)
    animals = rng.normal(size=(-(-num_images // PHOTOS_EACH), embed_dim)) + rng.normal(size=embed_dim)
    photos = np.repeat(animals, PHOTOS_EACH, axis=0)[:num_images]
    return np.maximum(photos + 0.5 * rng.normal(size=photos.shape), 0).astype(np.float32)


def further_images(embeddings: np.ndarray, num_images: int, *, seed: int) -> np.ndarray:
    """Returns so many embeddings: the photos themselves, and mixtures of two of them where there are not enough.

    A mixture is a photo in which each feature takes, with probability 0.2, the value of another photo. So every feature
    keeps its values, its zeros among them, and most of what ties the features together.

    Args:
        embeddings: `(num_photos, embed_dim)` floats of real photos.
        num_images: how many are wanted.
        seed: of the mixtures.

    Example:
    >>> further_images(np.array([[1.0, 5.0], [2.0, 6.0]]), 5, seed=0).shape
    (5, 2)
    """
    rng = np.random.default_rng(seed)
    own, other = (rng.integers(0, len(embeddings), max(num_images - len(embeddings), 0)) for _ in range(2))
    swap = rng.random((len(own), embeddings.shape[1]), dtype=np.float32) < OTHER_SHARE
    return np.concatenate([embeddings[:num_images], np.where(swap, embeddings[other], embeddings[own])])


def _train(embeddings: np.ndarray, seed: int) -> Comparator:
    """Trains a comparator to tell photos of one animal from photos of two."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    left = rng.integers(0, len(embeddings), TRAINING_STEPS * TRAINING_PAIRS)
    same = left // PHOTOS_EACH * PHOTOS_EACH + rng.integers(0, PHOTOS_EACH, len(left))
    target = rng.integers(0, 2, len(left))
    right = np.where(target == 1, np.minimum(same, len(embeddings) - 1), rng.integers(0, len(embeddings), len(left)))
    comparator = Comparator()
    model = as_model(comparator, embeddings.shape[1])
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit([embeddings[left], embeddings[right]], target, batch_size=TRAINING_PAIRS, verbose=0)
    return comparator


def as_model(comparator: keras.layers.Layer, embed_dim: int) -> keras.Model:
    """Wraps a comparator as a Keras model of two inputs."""
    sides = [keras.Input((embed_dim,)) for _ in range(2)]
    return keras.Model(sides, comparator(sides))
