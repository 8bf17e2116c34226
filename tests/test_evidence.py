"""Tests of `siamese.explanations.evidence`."""

import keras
import numpy as np
import pytest

from siamese.errors import SiameseError
from siamese.explanations.evidence import (
    LastMaps,
    comparator_surface,
    evidence_of_match,
    feature_evidence,
    last_maps,
)
from siamese.models.encoder import build_encoder
from siamese.scoring import score_matrix, score_pairs
from siamese.settings import EncoderSettings

SMALL = {"stem_filters": 4, "stem_kernel": 3, "stem_pool": False, "stem_convolutions": 0, "depth": 1}


def encoder(pooling, stripes, width=32):
    keras.utils.set_random_seed(3)
    settings = EncoderSettings(**SMALL, widths=(8,), bottlenecks=(4,), pooling=pooling, stripes=stripes)
    return build_encoder((16, width, 1), settings)


def test_the_evidence_of_the_features_adds_up_to_the_score(drawn_comparator, rng):
    comparator = drawn_comparator(6)
    left, right = rng.random((2, 5, 6)).astype(np.float32)
    bias = float(keras.ops.convert_to_numpy(comparator.weights[-1])[0])
    scores = score_pairs(comparator, left, right, np.arange(5), np.arange(5))
    assert feature_evidence(comparator, left, right).sum(axis=1) + bias == pytest.approx(scores, abs=1e-4)


def test_the_order_of_a_pair_does_not_matter(drawn_comparator, rng):
    left, right = rng.random((2, 5, 6))
    comparator = drawn_comparator(6)
    assert (feature_evidence(comparator, left, right) == feature_evidence(comparator, right, left)).all()


def test_the_evidence_of_a_match_is_what_lifts_it_over_the_others(drawn_comparator, rng):
    comparator = drawn_comparator(6)
    photos = rng.random((9, 6)).astype(np.float32)
    scores = score_matrix(comparator, photos[:1], photos[1:])[0]
    evidence = evidence_of_match(comparator, photos[0], photos[1], photos[2:])
    assert evidence.shape == (6,)
    assert evidence.sum() == pytest.approx(scores[0] - scores[1:].mean(), abs=1e-4)


def test_another_layer_has_no_parts():
    with pytest.raises(SiameseError, match="Only the score of a `Comparator` has a part for each feature"):
        feature_evidence(keras.layers.Add(), np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(SiameseError, match="Only a `Comparator` has such a surface. Received: Add"):
        comparator_surface(keras.layers.Add(), np.ones((1, 2)))


@pytest.mark.parametrize("pooling", ["max", "average", "gem"])
@pytest.mark.parametrize("stripes", [1, 4])
def test_the_evidence_is_spread_within_each_stripe(pooling, stripes, rng):
    model = encoder(pooling, stripes)
    images = rng.integers(0, 256, (2, 16, 32, 1), dtype=np.uint8)
    maps = last_maps(model, images)
    rows, columns = maps.maps.shape[1:3]
    assert maps.shares.shape == (2, stripes, rows, columns, 8)
    evidence = rng.normal(size=8 * stripes)
    spread = maps.spread(evidence, 1)
    assert spread.shape == (rows, columns)
    by_stripe = spread.reshape(rows, stripes, -1).sum(axis=(0, 2))
    assert by_stripe == pytest.approx(evidence.reshape(stripes, 8).sum(axis=1), abs=1e-4)


@pytest.mark.parametrize(("pooling", "power"), [("average", 1.0), ("gem", 3.74)])
def test_the_shares_are_those_of_the_pooled_feature(pooling, power, rng):
    model = encoder(pooling, 2)
    images = rng.integers(0, 256, (1, 16, 32, 1), dtype=np.uint8)
    maps = last_maps(model, images)
    half = np.maximum(maps.maps[0, :, : maps.maps.shape[2] // 2, 3].astype(np.float64), 1e-6) ** power
    expected = half / half.sum()
    assert maps.shares[0, 0, :, : half.shape[1], 3] == pytest.approx(expected, abs=1e-4)
    pooled = keras.ops.convert_to_numpy(model(images))[0, 3]
    assert pooled == pytest.approx(half.mean() ** (1 / power), abs=1e-3)


def test_the_largest_place_takes_all_where_the_largest_is_pooled(rng):
    maps = last_maps(encoder("max", 1), rng.integers(0, 256, (1, 16, 32, 1), dtype=np.uint8))
    for channel in np.flatnonzero(maps.maps[0].max(axis=(0, 1)) > 0):
        assert np.argmax(maps.shares[0, 0, ..., channel]) == np.argmax(maps.maps[0, ..., channel])
        assert maps.shares[0, 0, ..., channel].max() == 1


def test_spreading_puts_a_feature_into_its_stripe():
    shares = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.25, 0.75]], np.float32).reshape(1, 2, 1, 4, 1)
    spread = LastMaps(np.ones((1, 1, 4, 1)), shares).spread(np.array([2.0, -4.0]), 0)
    assert spread.tolist() == [[1.0, 1.0, -1.0, -3.0]]


@pytest.mark.parametrize(("stripes", "edges"), [(3, [(0, 2), (1, 3), (2, 4)]), (4, [(0, 1), (1, 2), (2, 3), (3, 4)])])
def test_stripes_may_share_a_column(stripes, edges, rng):
    """A map of 4 columns in three stripes, as `Stripes` cuts it."""
    maps = last_maps(encoder("gem", stripes, 16), rng.integers(0, 256, (2, 16, 16, 1), dtype=np.uint8))
    assert maps.maps.shape[2] == 4
    for stripe, (first, end) in enumerate(edges):
        inside = maps.shares[:, stripe, :, first:end]
        assert inside.sum(axis=(1, 2)) == pytest.approx(np.ones((2, 8)), abs=1e-4)
        assert (inside > 0).all()
    evidence = rng.normal(size=8 * stripes)
    assert maps.spread(evidence, 1).sum() == pytest.approx(evidence.sum(), abs=1e-4)


def test_the_surface_is_symmetric_and_starts_at_nothing(drawn_comparator, rng):
    embeddings = 3 * rng.random((50, 6))
    surface = comparator_surface(drawn_comparator(6), embeddings)
    assert surface.values[0] == 0
    assert 2.5 < surface.values[-1] <= 3
    assert surface.evidence == pytest.approx(surface.evidence.T)
    assert surface.evidence[0, 0] == 0
    pair = np.full((1, 6), surface.values[[3, 20]][:, None, None][0]), np.full((1, 6), surface.values[20])
    nothing = feature_evidence(drawn_comparator(6), np.zeros((1, 6)), np.zeros((1, 6)))
    expected = surface.evidence[3, 20] * surface.weights
    assert (feature_evidence(drawn_comparator(6), *pair) - nothing)[0] == pytest.approx(expected)
