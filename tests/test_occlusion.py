"""Tests of `siamese.explanations.occlusion`."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.explanations.occlusion import box_places, occluded, occlusion_map
from siamese.scoring import Embedder, score_matrix


@pytest.fixture(scope="module")
def embedder():
    """An encoder with two features: the mean light of the left half and of the right half, over 100."""
    images = keras.Input((8, 16, 1))
    light = keras.layers.Rescaling(1 / 100)(images)
    halves = keras.layers.AveragePooling2D((8, 8))(light)
    return Embedder(keras.Model(images, keras.layers.Flatten()(halves)), batch_size=4)


class LeftOnly(keras.layers.Layer):
    """A comparator that asks how near the left halves are."""

    def call(self, inputs):
        left, right = inputs
        return -keras.ops.abs(left[:, 0] - right[:, 0])


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 1))
def test_boxes_cover_every_pixel_and_stay_inside(height, width, box_share):
    places, side = box_places(height, width, box_share)
    covered = np.zeros((height, width), dtype=bool)
    for top, left in places:
        assert 0 <= top <= height - side
        assert 0 <= left <= width - side
        covered[top : top + side, left : left + side] = True
    assert covered.all()


@pytest.mark.parametrize("box_share", [0, -1, 1.1, float("nan")])
def test_a_box_larger_than_the_image_is_refused(box_share):
    with pytest.raises(SiameseError, match="`box_share` must be over 0 and at most 1"):
        box_places(8, 8, box_share)


def test_boxes_are_filled_with_the_mean_of_each_channel():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0, 0] = (40, 80, 120)
    before = image.copy()
    hidden = occluded(image, np.array([[0, 0], [1, 1]]), 1)
    assert hidden[0, 0, 0].tolist() == hidden[1, 1, 1].tolist() == [10, 20, 30]
    assert hidden[1, 0, 0].tolist() == [40, 80, 120]
    assert (image == before).all()


def test_the_map_shows_the_half_that_the_score_rests_on(embedder):
    image = np.zeros((8, 16, 1), np.uint8)
    image[2:6, 2:6] = 200  # a mark in the left half; the box over it takes it away
    image[2:6, 10:14] = 200
    before = image.copy()
    match = embedder.embed(lambda index: image[None][index], 1)[0]
    found = occlusion_map(embedder, LeftOnly(), image, match, box_share=0.5)
    assert found.score == pytest.approx(0, abs=1e-6)
    assert found.fall.shape == (8, 16)
    assert found.fall[2:6, 2:6].mean() > 0.05
    assert np.abs(found.fall[:, 10:]).max() < 1e-6
    assert (image == before).all()


def test_the_map_is_the_mean_over_the_boxes_that_hid_a_pixel(embedder, rng):
    image = rng.integers(0, 256, (8, 16, 1), dtype=np.uint8)
    match = np.array([1.0, 1.0], np.float32)
    found = occlusion_map(embedder, LeftOnly(), image, match, box_share=0.5)
    places, side = box_places(8, 16, 0.5)
    images = np.concatenate([image[None], occluded(image, places, side)])
    scores = score_matrix(LeftOnly(), embedder.embed(lambda index: images[index], len(images)), match[None])[:, 0]
    row, column = 5, 3
    hid = [top <= row < top + side and left <= column < left + side for top, left in places]
    assert found.fall[row, column] == pytest.approx((scores[0] - scores[1:])[hid].mean(), abs=1e-5)
