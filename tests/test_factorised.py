import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.models.comparator import Comparator
from siamese.scoring import factorise, mirrored, reference_scores, score_matrix

DIM = 12


def draw(rng, count):
    """Embeddings as ReLU gives them: a third of the values is exactly 0."""
    return np.maximum(rng.normal(0.4, 1, size=(count, DIM)), 0).astype(np.float32)


def build_comparator(seed, hidden_units=8):
    layer = Comparator(hidden_units)
    layer.build([(None, DIM), (None, DIM)])
    for weight in layer.weights:
        weight.assign(np.random.default_rng(seed).normal(size=weight.shape))
    return layer


@pytest.fixture(scope="module")
def comparator():
    return build_comparator(4)


@pytest.fixture(scope="module")
def photos():
    return draw(np.random.default_rng(1), 600)


@pytest.fixture(scope="module")
def factorised(comparator, photos):
    return factorise(comparator, photos, max_error=0.02)


def relative_error(scores, exact):
    return np.sqrt(np.mean((scores - exact) ** 2)) / exact.std()


def matrix(factorised, queries, catalog=None):
    tiles = factorised.score_tiles(queries, catalog)
    shape = (len(queries), len(queries if catalog is None else catalog))
    scores = np.full(shape, np.nan, np.float32)
    for tile in mirrored(tiles) if catalog is None else tiles:
        scores[tile.rows, tile.columns] = tile.scores
    return scores


def test_the_error_that_is_told_is_the_error_on_images_never_seen(comparator, factorised, rng):
    assert factorised.error <= 0.02
    queries, catalog = draw(rng, 200), draw(rng, 150)
    exact = reference_scores(comparator, queries, catalog)
    assert factorised.error == pytest.approx(relative_error(matrix(factorised, queries, catalog), exact), rel=0.25)
    assert factorised.spread == pytest.approx(exact.std(), rel=0.15)
    assert factorised.largest_error >= factorised.error


@given(seed=st.integers(0, 20))
@settings(max_examples=3)
def test_any_comparator_keeps_to_the_wanted_error(seed):
    comparator, photos = build_comparator(seed), draw(np.random.default_rng(seed), 1500)
    factorised = factorise(comparator, photos, max_error=0.03, seed=seed)
    fresh = draw(np.random.default_rng(seed + 1000), 150)
    assert relative_error(matrix(factorised, fresh), score_matrix(comparator, fresh)) < 0.05


def test_a_smaller_error_takes_more_columns_and_one_column_fewer_breaks_it(comparator, photos, factorised):
    better = factorise(comparator, photos, max_error=0.01)
    assert better.num_columns > factorised.num_columns
    assert factorise(comparator, photos, num_columns=factorised.num_columns - 1).error > 0.02


def test_the_inner_product_of_the_vectors_is_the_logit(factorised, rng):
    queries, catalog = draw(rng, 30), draw(rng, 40)
    left, right = factorised.query_vectors(queries), factorised.catalog_vectors(catalog)
    assert left.shape == (30, factorised.num_columns + 2)
    assert left.dtype == right.dtype == np.float32
    np.testing.assert_allclose(left @ right.T, matrix(factorised, queries, catalog), rtol=1e-4, atol=1e-4)


def test_factorised_scores_do_not_depend_on_the_order_of_a_pair(factorised, rng):
    queries, catalog = draw(rng, 30), draw(rng, 40)
    forth, back = matrix(factorised, queries, catalog), matrix(factorised, catalog, queries).T
    np.testing.assert_allclose(forth, back, rtol=1e-4, atol=1e-4)
    embeddings = draw(rng, 2100)
    scores = matrix(factorised, embeddings)
    assert np.array_equal(scores[2049:, :5], scores[:5, 2049:].T)
    assert np.isfinite(scores).all()


def test_an_additive_comparator_needs_no_column(photos, rng):
    layer = build_comparator(4)
    kernel = keras.ops.convert_to_numpy(layer.weights[0]).copy()
    kernel[[0, 2, 3]] = 0
    layer.weights[0].assign(np.abs(kernel))
    layer.weights[1].assign(np.ones(8))  # sums of values over 0 leave every unit switched on
    factorised = factorise(layer, photos, max_error=0.001)
    assert factorised.num_columns == 0
    fresh = draw(rng, 50)
    np.testing.assert_allclose(matrix(factorised, fresh), score_matrix(layer, fresh), rtol=1e-3, atol=1e-3)


def test_features_without_weight_get_no_column(photos):
    layer = build_comparator(4)
    weights = keras.ops.convert_to_numpy(layer.weights[4]).copy()
    weights[3:] = 0
    layer.weights[4].assign(weights)
    factorised = factorise(layer, photos, max_error=0.02)
    assert set(factorised.feature.tolist()) == {0, 1, 2}


def test_bfloat16_tells_its_own_error(comparator, photos, rng):
    coarse = factorise(comparator, photos, num_columns=100, storage="bfloat16")
    fine = factorise(comparator, photos, num_columns=100)
    fresh = draw(rng, 150)
    error = relative_error(matrix(coarse, fresh), score_matrix(comparator, fresh))
    assert coarse.error > 1.1 * fine.error
    assert coarse.error == pytest.approx(error, rel=0.3)


def test_the_seed_alone_decides(comparator, photos, factorised):
    again = factorise(comparator, photos, max_error=0.02)
    assert np.array_equal(again.tables, factorised.tables)
    assert again.error == factorised.error


def test_values_between_those_seen_and_a_little_beyond_are_covered(comparator, photos, factorised):
    beyond = photos[:60] * 1.2
    assert factorised.covers(beyond)
    assert relative_error(matrix(factorised, beyond), score_matrix(comparator, beyond)) < 0.1


def test_values_far_beyond_are_refused_and_not_clamped(factorised, photos):
    far = 3 * photos[:60]
    assert not factorised.covers(far)
    with pytest.raises(SiameseError, match="need feature values from .* Factorise with these embeddings"):
        factorised.catalog_vectors(far)


def test_what_cannot_be_factorised_is_named(comparator, photos):
    with pytest.raises(SiameseError, match="Only a `Comparator` can be factorised. Received: Dot"):
        factorise(keras.layers.Dot(1), photos)
    with pytest.raises(SiameseError, match="at least 8 images. Received: 7"):
        factorise(comparator, photos[:7])
    with pytest.raises(SiameseError, match="`max_error` must be within reach. Received: 1e-07"):
        factorise(comparator, photos, max_error=1e-7)


def test_no_images_have_no_vectors(factorised):
    assert factorised.catalog_vectors(np.empty((0, DIM))).shape == (0, factorised.num_columns + 2)


def test_the_embeddings_stay_unchanged(comparator, photos, factorised):
    before = photos.copy()
    factorise(comparator, photos, num_columns=3)
    matrix(factorised, photos)
    assert np.array_equal(photos, before)
