import keras
import numpy as np
import pytest

from siamese.models.comparator import Comparator
from siamese.models.encoder import build_encoder
from siamese.scoring import TILE, Embedder, score_matrix
from siamese.settings import EncoderSettings

DIM = 6


@pytest.fixture(scope="module")
def comparator():
    layer = Comparator(8)
    layer.build([(None, DIM), (None, DIM)])
    for weight in layer.weights:
        weight.assign(np.random.default_rng(4).normal(size=weight.shape))
    return layer


@keras.saving.register_keras_serializable(package="tests")
class InnerProduct(keras.layers.Layer):
    """Another comparator: the inner product of the embeddings."""

    def call(self, inputs):
        return keras.ops.sum(inputs[0] * inputs[1], axis=-1)


def draw(rng, count):
    return np.abs(rng.normal(size=(count, DIM))).astype(np.float32)


def scored_pair_by_pair(comparator, queries, catalog):
    left, right = (side.ravel() for side in np.indices((len(queries), len(catalog))))
    logits = keras.ops.convert_to_numpy(comparator([queries[left], catalog[right]]))
    return logits.reshape(len(queries), len(catalog))


@pytest.mark.parametrize(("num_queries", "num_catalog"), [(1, 1), (3, 70), (TILE, TILE), (65, 130)])
def test_tiles_give_the_logits_of_the_layer_on_all_pairs(comparator, rng, num_queries, num_catalog):
    queries, catalog = draw(rng, num_queries), draw(rng, num_catalog)
    scores = score_matrix(comparator, queries, catalog)
    assert scores.shape == (num_queries, num_catalog)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, scored_pair_by_pair(comparator, queries, catalog), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 64, 65, 150])
def test_scores_of_a_set_with_itself_are_symmetric_to_the_last_bit(comparator, rng, count):
    scores = score_matrix(comparator, draw(rng, count))
    assert scores.shape == (count, count)
    assert np.array_equal(scores, scores.T)


def test_the_upper_triangle_says_the_same_as_the_full_rectangle(comparator, rng):
    embeddings = draw(rng, 100)
    assert np.array_equal(score_matrix(comparator, embeddings), score_matrix(comparator, embeddings, embeddings))


def test_a_pair_scores_the_same_from_both_sides_and_in_any_company(comparator, rng):
    queries, catalog = draw(rng, 70), draw(rng, 90)
    scores = score_matrix(comparator, queries, catalog)
    assert np.array_equal(scores, score_matrix(comparator, catalog, queries).T)
    assert np.array_equal(scores[66:67, 5:6], score_matrix(comparator, queries[66:67], catalog[5:6]))


def test_any_other_layer_of_two_embeddings_can_compare(rng):
    queries, catalog = draw(rng, 70), draw(rng, 5)
    np.testing.assert_allclose(score_matrix(InnerProduct(), queries, catalog), queries @ catalog.T, rtol=1e-5)


def test_later_changes_of_the_comparator_are_seen(rng):
    layer = Comparator(2)
    layer.build([(None, DIM), (None, DIM)])
    queries = draw(rng, 3)
    before = score_matrix(layer, queries)
    layer.weights[-1].assign_add([1.0])
    np.testing.assert_allclose(score_matrix(layer, queries), before + 1, rtol=1e-5)


def test_no_queries_have_no_scores(comparator, rng):
    assert score_matrix(comparator, np.empty((0, DIM)), draw(rng, 4)).shape == (0, 4)
    assert score_matrix(comparator, draw(rng, 4), np.empty((0, DIM))).shape == (4, 0)


def test_embeddings_stay_unchanged(comparator, rng):
    queries, catalog = draw(rng, 5), draw(rng, 7)
    before = queries.copy(), catalog.copy()
    score_matrix(comparator, queries, catalog)
    assert np.array_equal(queries, before[0])
    assert np.array_equal(catalog, before[1])


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    small = EncoderSettings(stem_filters=4, stem_kernel=3, stem_convolutions=0, widths=(8,), bottlenecks=(4,), depth=1)
    return build_encoder((16, 16, 1), small)


def test_the_embedder_gives_what_the_encoder_gives_also_for_a_last_batch_that_is_not_full(encoder, rng):
    images = rng.integers(0, 256, (11, 16, 16, 1)).astype(np.uint8)
    seen = []
    embedder = Embedder(encoder, batch_size=4)
    embeddings = embedder.embed(lambda index: images[index], 11, lambda done, total: seen.append((done, total)))
    assert seen == [(4, 11), (8, 11), (11, 11)]
    np.testing.assert_allclose(embeddings, keras.ops.convert_to_numpy(encoder(images, training=False)), atol=1e-5)


def test_an_image_is_embedded_to_the_same_bits_in_any_company(encoder, rng):
    images = rng.integers(0, 256, (9, 16, 16, 1)).astype(np.uint8)
    embedder = Embedder(encoder, batch_size=4)
    together = embedder.embed(lambda index: images[index], 9)
    alone = np.concatenate([embedder.embed(lambda _, row=row: images[[row] * 4], 1) for row in range(9)])
    assert np.array_equal(together, alone)


def test_the_embedder_sees_later_changes_of_the_weights(encoder, rng):
    images = rng.integers(0, 256, (2, 16, 16, 1)).astype(np.uint8)
    embedder = Embedder(encoder, batch_size=2)
    before = embedder.embed(lambda index: images[index], 2)
    kernel = encoder.layers[2].kernel
    kernel.assign(-kernel)
    assert not np.array_equal(before, embedder.embed(lambda index: images[index], 2))
    kernel.assign(-kernel)
    assert np.array_equal(before, embedder.embed(lambda index: images[index], 2))
