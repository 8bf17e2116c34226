"""Tests of `siamese.explanations.maximisation`."""

import keras
import numpy as np
import pytest

from siamese.explanations.maximisation import START, maximise_features


@pytest.fixture(scope="module")
def encoder():
    """Two features: light on the left less light on the right, and the other way round."""
    images = keras.Input((4, 8, 1))
    halves = keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(images))
    model = keras.Model(images, keras.layers.Dense(2, use_bias=False)(halves))
    model.layers[-1].set_weights([np.array([[1.0, -1.0], [-1.0, 1.0]])])
    return model


def test_each_image_raises_its_feature(encoder):
    images = maximise_features(encoder, np.array([0, 1]), num_steps=20)
    assert images.shape == (2, 4, 8, 1)
    assert images.dtype == np.uint8
    raised = keras.ops.convert_to_numpy(encoder(images.astype(np.float32)))
    assert raised[0, 0] > 50 > -50 > raised[0, 1]
    assert raised[1, 1] > 50
    assert images[0, :, :3].mean() > START > images[0, :, 5:].mean()


def test_the_same_seed_gives_the_same_images(encoder):
    first, again, other = (maximise_features(encoder, np.array([1]), num_steps=2, seed=seed) for seed in (4, 4, 5))
    assert (first == again).all()
    assert (first != other).any()
