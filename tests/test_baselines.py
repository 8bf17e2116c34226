"""Tests of `siamese.evaluation.baselines`."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.decision import Decision
from siamese.errors import SiameseError
from siamese.evaluation.baselines import chance_map5, pixel_scores, plain_baselines
from siamese.evaluation.evaluate import evaluate
from siamese.evaluation.retrieval import average_precision_at


def photos(rng, count, channels=1):
    return rng.integers(0, 256, (count, 6, 9, channels), dtype=np.uint8)


def test_a_photo_is_most_like_itself_and_least_like_its_negative(rng):
    image = photos(rng, 1)
    np.testing.assert_allclose(pixel_scores(image, np.concatenate([image, 255 - image])), [[1.0, -1.0]], atol=1e-6)


def test_brightness_and_contrast_do_not_matter(rng):
    image = rng.integers(0, 100, (1, 6, 9, 1), dtype=np.uint8)
    np.testing.assert_allclose(pixel_scores(image, 2 * image + 30), [[1.0]], atol=1e-6)


def test_pixel_scores_are_numpys_correlations(rng):
    queries, catalog = photos(rng, 3), photos(rng, 4)
    expected = np.corrcoef(queries.reshape(3, -1), catalog.reshape(4, -1))[:3, 3:]
    np.testing.assert_allclose(pixel_scores(queries, catalog), expected, atol=1e-6)


def test_colour_photos_are_compared_as_grey_ones(rng):
    grey = photos(rng, 2)
    np.testing.assert_allclose(
        pixel_scores(np.repeat(grey, 3, axis=-1), np.repeat(grey, 3, axis=-1)), pixel_scores(grey, grey), atol=1e-5
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_of_one_colour_is_like_nothing(rng, channels):
    flat = np.full((1, 6, 9, channels), 77, dtype=np.uint8)
    assert pixel_scores(flat, photos(rng, 3, channels)).tolist() == [[0.0, 0.0, 0.0]]


def test_blocks_give_the_same_scores(rng, monkeypatch):
    queries, catalog = photos(rng, 7), photos(rng, 5)
    whole = pixel_scores(queries, catalog)
    monkeypatch.setattr("siamese.evaluation.baselines.BLOCK_IMAGES", 2)
    np.testing.assert_allclose(pixel_scores(queries, catalog), whole, atol=1e-6)


def test_the_photos_stay_as_they_are(rng):
    images = photos(rng, 2)
    before = images.copy()
    pixel_scores(images, images)
    assert np.array_equal(images, before)


def test_photos_of_different_sizes_are_told(rng):
    with pytest.raises(SiameseError, match=r"must be of one size.*Read both from the same image store"):
        pixel_scores(photos(rng, 1), photos(rng, 1)[:, :3])


@pytest.mark.parametrize("num_identities", [0, 1, 3, 5])
def test_chance_is_the_mean_over_all_orders(num_identities):
    orders = np.array(list(permutations([*(f"w{i}" for i in range(num_identities)), "right"])), dtype=object)
    expected = average_precision_at(np.full(len(orders), "right", dtype=object), orders).mean()
    assert chance_map5(num_identities) == pytest.approx(expected)


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_chance_falls_with_each_identity(num_identities, top_k):
    assert 0 < chance_map5(num_identities + 1, top_k) <= chance_map5(num_identities, top_k) <= 1


def test_always_new_is_right_for_the_new_queries_alone():
    evaluation = evaluate(
        np.ones((4, 2)),
        np.array(["ann", "bob"], dtype=object),
        ["ann", "bob", "ann", ""],
        query_ids=["a", "b", "c", "d"],
        decision=Decision(0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    )
    baselines = plain_baselines(evaluation)
    assert baselines["always_new"] == {"map5": 0.25, "map5_known": 0.0}
    assert baselines["chance"]["map5"] == baselines["chance"]["map5_known"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_without_queries_always_new_has_no_number():
    evaluation = evaluate(
        np.ones((0, 1)),
        np.array(["ann"], dtype=object),
        [],
        query_ids=[],
        decision=Decision(0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    )
    assert all(math.isnan(value) for value in plain_baselines(evaluation)["always_new"].values())


def test_a_negative_number_of_identities_is_told():
    with pytest.raises(SiameseError, match=r"`num_identities` must not be negative. Received: -1"):
        chance_map5(-1)
