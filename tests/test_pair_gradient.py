import keras
import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from siamese.models.comparator import Comparator
from siamese.models.pair_gradient import pair_features, pair_logits

finite = st.floats(-4, 4, width=32)
embeddings = arrays(np.float32, (7, 6), elements=finite)
NAMES = ("left", "right", "hidden", "hidden bias", "evidence", "evidence bias", "logit", "logit bias")


def drawn_comparator(embed_dim, hidden_units=3, seed=0):
    layer, rng = Comparator(hidden_units), np.random.default_rng(seed)
    layer.build([(None, embed_dim), (None, embed_dim)])
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


COMPARATOR = drawn_comparator(6)


def logits_and_gradients(layer, left, right, upstream, *, training):
    sides = [tf.constant(side, tf.float32) for side in (left, right)]
    weights = [weight.value for weight in layer.weights]
    with tf.GradientTape() as tape:
        tape.watch(sides)
        logits = layer(sides, training=training)
        loss = tf.reduce_sum(logits * tf.constant(upstream, tf.float32))
    gradients = tape.gradient(loss, [*sides, *weights])
    return logits.numpy(), [keras.ops.convert_to_numpy(gradient) for gradient in gradients]


def assert_same(layer, left, right, upstream):
    plain, expected = logits_and_gradients(layer, left, right, upstream, training=False)
    logits, gradients = logits_and_gradients(layer, left, right, upstream, training=True)
    np.testing.assert_allclose(logits, plain, rtol=1e-5, atol=1e-4)
    for name, gradient, wanted in zip(NAMES, gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-4 * (1 + abs(wanted).max()), err_msg=name)


def test_the_features_of_two_values_are_those_written_out():
    features = pair_features(np.float32([[2]]), np.float32([[5]]))
    assert [float(feature[0, 0]) for feature in features] == [10, 7, 3, 9]


def test_one_pair_of_one_feature_has_the_gradient_worked_out_by_hand():
    # Inner sum of u = 2, v = 1: 0.5 uv + 1 (u + v) - 1 |u - v| + 0.25 (u - v)^2 - 1 = 2.25; then 2 x + 3; then 4 x + 5.
    layer = Comparator(1)
    layer.build([(None, 1), (None, 1)])
    weights = [[[0.5], [1], [-1], [0.25]], [-1], [[2]], [3], [[4]], [5]]
    for weight, value in zip(layer.weights, weights, strict=True):
        weight.assign(np.array(value, np.float32))
    logits, gradients = logits_and_gradients(layer, [[2.0]], [[1.0]], [1.0], training=True)
    assert logits.tolist() == [4 * (2 * 2.25 + 3) + 5]
    towards = dict(zip(NAMES, (gradient.ravel().tolist() for gradient in gradients), strict=True))
    assert towards["left"] == [8 * (0.5 * 1 + 1 - 1 + 0.25 * 2)]
    assert towards["right"] == [8 * (0.5 * 2 + 1 + 1 - 0.25 * 2)]
    assert towards["hidden"] == [8 * 2, 8 * 3, 8 * 1, 8 * 1]
    assert towards["hidden bias"] == [8]
    assert towards["evidence"] == [4 * 2.25]
    assert towards["evidence bias"] == [4]
    assert towards["logit"] == [2 * 2.25 + 3]
    assert towards["logit bias"] == [1]


@given(left=embeddings, right=embeddings, upstream=arrays(np.float32, 7, elements=finite))
@settings(max_examples=30)
def test_logits_and_gradients_are_those_of_the_layers(left, right, upstream):
    assert_same(COMPARATOR, left, right, upstream)


def test_many_features_that_are_computed_in_blocks_have_the_gradients_of_the_layers(rng):
    left, right = (np.maximum(rng.normal(size=(40, 64)), 0) for _ in range(2))
    assert_same(drawn_comparator(64, 5), left, right, rng.normal(size=40))


def test_equal_embeddings_have_a_finite_gradient(rng):
    same = rng.normal(size=(7, 6))
    _, gradients = logits_and_gradients(COMPARATOR, same, same, np.ones(7), training=True)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@given(left=embeddings, right=embeddings)
@settings(max_examples=30)
def test_the_order_within_a_pair_does_not_matter_to_the_last_bit_in_training_either(left, right):
    ones = np.ones(7)
    forth, gradients = logits_and_gradients(COMPARATOR, left, right, ones, training=True)
    back, swapped = logits_and_gradients(COMPARATOR, right, left, ones, training=True)
    assert np.array_equal(forth, back)
    assert np.array_equal(gradients[0], swapped[1])
    assert np.array_equal(gradients[1], swapped[0])


def test_the_number_of_pairs_need_not_be_known_when_the_step_is_traced(rng):
    weights = [tf.convert_to_tensor(weight) for weight in COMPARATOR.weights]

    @tf.function(input_signature=[tf.TensorSpec((None, 6)), tf.TensorSpec((None, 6))])
    def gradient(left, right):
        with tf.GradientTape() as tape:
            tape.watch(left)
            logits = pair_logits(left, right, weights)
        return tape.gradient(logits, left)

    left, right = (rng.normal(size=(7, 6)).astype(np.float32) for _ in range(2))
    _, expected = logits_and_gradients(COMPARATOR, left, right, np.ones(7), training=False)
    np.testing.assert_allclose(gradient(left, right), expected[0], rtol=1e-4, atol=1e-4)


def test_the_inputs_are_left_as_they_were(rng):
    left, right = (rng.normal(size=(7, 6)).astype(np.float32) for _ in range(2))
    kept = left.copy(), right.copy()
    pair_logits(left, right, [weight.numpy() for weight in COMPARATOR.weights])
    assert np.array_equal(left, kept[0])
    assert np.array_equal(right, kept[1])
