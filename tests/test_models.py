import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from siamese.augment import Augment
from siamese.errors import SettingsError
from siamese.models.comparator import Comparator
from siamese.models.encoder import (
    FixedStandardise,
    GeneralisedMeanPooling,
    Standardise,
    Stripes,
    build_encoder,
    collection_statistics,
    set_collection_statistics,
)
from siamese.models.losses import pair_ranking_loss
from siamese.models.pair_model import PairModel, compile_pair_model
from siamese.settings import AugmentationSettings, EncoderSettings, PhaseSettings, TrainingSettings

HUMPBACK = EncoderSettings(
    stem_filters=64,
    stem_kernel=9,
    stem_stride=2,
    stem_pool=True,
    stem_convolutions=2,
    widths=(128, 256, 384, 512),
    bottlenecks=(64, 64, 96, 128),
    depth=4,
    pooling="max",
    stripes=1,
)
TINY = EncoderSettings(
    stem_filters=4, stem_kernel=3, stem_pool=False, stem_convolutions=1, widths=(8,), bottlenecks=(4,), depth=1
)
STILL = AugmentationSettings(rotation=0, shear=0, zoom=(1, 1), shift=0)
finite = st.floats(-8, 8, width=32)


def draw_images(rng, count=6, shape=(16, 32, 1)):
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def comparator():
    keras.utils.set_random_seed(1)
    layer = Comparator(8)
    layer.build([(None, 5), (None, 5)])
    for weight in layer.weights:
        weight.assign(np.random.default_rng(2).normal(size=weight.shape))
    return layer


@pytest.fixture
def pair_model():
    keras.utils.set_random_seed(3)
    return PairModel(build_encoder((16, 32, 1), TINY), Comparator(8), Augment(STILL))


def logits_by_hand(comparator, left, right):
    """The head of the humpback kernel, feature by feature, in double precision."""
    hidden, hidden_bias, evidence, evidence_bias, weight, bias = (w.numpy().astype(float) for w in comparator.weights)
    total = float(bias[0])
    for feature, (u, v) in enumerate(zip(left.astype(float), right.astype(float), strict=True)):
        values = np.array([u * v, u + v, abs(u - v), (u - v) ** 2])
        total += weight[feature, 0] * (np.maximum(values @ hidden + hidden_bias, 0) @ evidence[:, 0] + evidence_bias[0])
    return total


def ranking_loss_by_hand(logits, target, left, right):
    losses = []
    for logit, same, *images in zip(logits, target, left, right, strict=True):
        for image in images if same else ():
            rivals = [
                other
                for other, alike, *ends in zip(logits, target, left, right, strict=True)
                if not alike
                for end in ends
                if end == image
            ]
            losses.append(-np.log(np.exp(logit) / (np.exp(logit) + np.exp(rivals).sum())))
    return np.mean(losses) if losses else 0.0


def cross_entropy(logits, target):
    return np.logaddexp(0, logits) - target * logits


# encoder


def test_the_encoder_of_the_humpback_kernel_has_its_55_convolutions_and_2692096_parameters():
    encoder = build_encoder((384, 384, 1), HUMPBACK)
    kinds = [type(layer) for layer in encoder.layers]
    assert kinds.count(keras.layers.Conv2D) == 55
    assert kinds.count(keras.layers.BatchNormalization) == 54
    assert encoder.count_params() == 2_692_096
    assert sum(int(np.prod(weight.shape)) for weight in encoder.trainable_weights) == 2_674_304
    assert encoder.output_shape == (None, 512)


def test_the_default_encoder_is_that_of_the_humpback_kernel():
    assert EncoderSettings() == HUMPBACK
    assert build_encoder((64, 128, 1)).count_params() == 2_692_096


@pytest.mark.parametrize("pooling", ["max", "average", "gem"])
def test_embeddings_are_float32_and_not_negative_and_one_row_an_image(pooling, rng):
    encoder = build_encoder((16, 32, 3), TINY.model_copy(update={"pooling": pooling}))
    embeddings = keras.ops.convert_to_numpy(encoder(draw_images(rng, 5, (16, 32, 3))))
    assert embeddings.shape == (5, 8)
    assert embeddings.dtype == np.float32
    assert embeddings.min() >= 0
    assert embeddings.std(axis=0).max() > 0


def test_an_image_is_embedded_the_same_whatever_stands_beside_it(rng):
    encoder, images = build_encoder((16, 32, 1), TINY), draw_images(rng)
    together = keras.ops.convert_to_numpy(encoder(images, training=False))
    alone = keras.ops.convert_to_numpy(encoder(images[2:3], training=False))
    np.testing.assert_allclose(together[2:3], alone, atol=1e-5)


def test_stripes_keep_left_and_right_apart(rng):
    encoder = build_encoder((16, 32, 1), TINY.model_copy(update={"stripes": 4}))
    embeddings = keras.ops.convert_to_numpy(encoder(draw_images(rng, 2)))
    assert embeddings.shape == (2, 4 * 8)
    cut = keras.ops.convert_to_numpy(Stripes(4)(np.arange(8.0).reshape(1, 1, 8, 1))[1])
    assert cut.ravel().tolist() == [2, 3]


def test_standardised_images_have_zero_mean_and_unit_variance(rng):
    standard = keras.ops.convert_to_numpy(Standardise()(draw_images(rng)))
    np.testing.assert_allclose(standard.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(standard.var(axis=(1, 2, 3)), 1, rtol=1e-3)


def test_a_photo_of_one_grey_stays_finite():
    standard = keras.ops.convert_to_numpy(Standardise()(np.full((1, 4, 4, 1), 200, np.uint8)))
    assert np.array_equal(standard, np.zeros((1, 4, 4, 1)))


def test_an_image_standardises_to_the_numbers_written_out():
    image = np.array([10, 20, 30, 40], np.uint8).reshape(1, 2, 2, 1)
    standard = keras.ops.convert_to_numpy(Standardise()(image)).ravel()
    np.testing.assert_allclose(standard, np.array([-15, -5, 5, 15]) / np.sqrt(125.001), rtol=1e-6)


def encoder_with(normalisation, channels=1):
    keras.utils.set_random_seed(4)
    return build_encoder((16, 32, channels), TINY.model_copy(update={"normalisation": normalisation}))


def normalised(encoder, images):
    return keras.ops.convert_to_numpy(encoder.get_layer("standardise")(images))


def test_the_default_normalisation_is_that_of_each_image(rng):
    assert isinstance(build_encoder((16, 32, 1), TINY).get_layer("standardise"), Standardise)
    assert isinstance(encoder_with("image").get_layer("standardise"), Standardise)


def test_the_unit_normalisation_divides_by_255():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_allclose(normalised(encoder_with("unit"), ramp).ravel(), np.arange(256) / 255, atol=1e-6)


def test_the_imagenet_normalisation_takes_its_constants_by_channel():
    image = np.array([255, 0, 255], np.uint8).reshape(1, 1, 1, 3)
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(normalised(encoder_with("imagenet", 3), image).ravel(), expected, rtol=1e-5)


def test_the_imagenet_normalisation_weighs_its_constants_for_grey_images():
    image = np.full((1, 1, 1, 1), 255, np.uint8)
    mean = 0.299 * 0.485 + 0.587 * 0.456 + 0.114 * 0.406
    deviation = 0.299 * 0.229 + 0.587 * 0.224 + 0.114 * 0.225
    assert normalised(encoder_with("imagenet"), image).item() == pytest.approx((1 - mean) / deviation, rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_collection_statistics_are_those_of_all_pixels_by_channel(rng, channels):
    images = draw_images(rng, 600, (5, 4, channels)) // np.arange(1, channels + 1, dtype=np.uint8)
    asked = []
    mean, deviation = collection_statistics(lambda indices: asked.append(len(indices)) or images[indices], 600)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(deviation, images.std(axis=(0, 1, 2)), rtol=1e-12)
    assert sum(asked) == 600
    assert max(asked) <= 256


@pytest.mark.parametrize("channels", [1, 3])
def test_the_collection_normalisation_takes_what_was_measured(rng, channels):
    images, encoder = draw_images(rng, 50, (16, 32, channels)), encoder_with("collection", channels)
    set_collection_statistics(encoder, *collection_statistics(lambda indices: images[indices], 50))
    standard = normalised(encoder, images)
    np.testing.assert_allclose(standard.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(standard.std(axis=(0, 1, 2)), 1, rtol=1e-4)


def test_the_collection_normalisation_shows_when_it_was_forgotten(rng):
    assert np.isnan(normalised(encoder_with("collection"), draw_images(rng))).all()


def test_a_collection_of_one_grey_stays_finite():
    encoder = encoder_with("collection")
    set_collection_statistics(encoder, np.array([200.0]), np.array([0.0]))
    assert normalised(encoder, np.full((1, 16, 32, 1), 200, np.uint8)).max() == 0


def test_the_statistics_fit_the_encoder():
    with pytest.raises(SettingsError, match="must have the normalisation `collection`.*Received: Standardise"):
        set_collection_statistics(encoder_with("image"), [1.0], [1.0])
    with pytest.raises(SettingsError, match=r"Received: FixedStandardise for images \(16, 32, 1\), and 3 means"):
        set_collection_statistics(encoder_with("collection"), [1.0] * 3, [1.0] * 3)


def test_the_statistics_can_change_after_the_encoder_was_compiled(rng):
    images, encoder = draw_images(rng), encoder_with("collection")
    step = tf.function(lambda batch: encoder(batch, training=False), jit_compile=True)
    assert not np.isfinite(step(images).numpy()).any()
    set_collection_statistics(encoder, [100.0], [50.0])
    np.testing.assert_allclose(step(images).numpy(), encoder(images, training=False).numpy(), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("normalisation", ["image", "collection", "imagenet", "unit"])
def test_a_saved_encoder_keeps_its_normalisation(tmp_path, rng, normalisation, channels):
    images, encoder = draw_images(rng, 4, (16, 32, channels)), encoder_with(normalisation, channels)
    if normalisation == "collection":
        set_collection_statistics(encoder, np.full(channels, 90.0), np.full(channels, 40.0))
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(loaded(images, training=False).numpy(), encoder(images, training=False).numpy())
    assert np.isfinite(loaded(images, training=False).numpy()).all()


def test_fixed_statistics_do_not_train():
    layer = encoder_with("collection").get_layer("standardise")
    assert isinstance(layer, FixedStandardise)
    assert not layer.trainable_weights
    assert len(layer.weights) == 2


@given(features=arrays(np.float32, (2, 3, 4, 2), elements=st.floats(0.125, 8, width=32)))
@settings(max_examples=20)
def test_generalised_mean_lies_between_average_and_maximum(features):
    pooled = keras.ops.convert_to_numpy(GeneralisedMeanPooling()(features))
    assert np.all(pooled >= features.mean(axis=(1, 2)) * 0.9999)
    assert np.all(pooled <= features.max(axis=(1, 2)) * 1.0001)
    average = keras.ops.convert_to_numpy(GeneralisedMeanPooling(1.0)(features))
    np.testing.assert_allclose(average, features.mean(axis=(1, 2)), rtol=1e-4)


@pytest.mark.parametrize(
    ("shape", "changes", "sentence"),
    [
        ((16, 384, 1), {}, "`input_shape` must be at least 32 pixels high and wide for 4 stages"),
        ((64, 96, 1), {"stripes": 5}, "`encoder.stripes` must be at most the width of the last map, 2"),
    ],
)
def test_an_encoder_that_does_not_fit_the_images_is_refused(shape, changes, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        build_encoder(shape, HUMPBACK.model_copy(update=changes))
    assert "Received: " in str(caught.value)


# comparator


def test_the_comparator_has_706_parameters_at_512_features():
    layer = Comparator()
    layer.build([(None, 512), (None, 512)])
    assert layer.count_params() == 706


@given(left=arrays(np.float32, 5, elements=finite), right=arrays(np.float32, 5, elements=finite))
@settings(max_examples=30)
def test_the_comparator_is_the_small_network_written_out(comparator, left, right):
    logit = keras.ops.convert_to_numpy(comparator([left[None], right[None]]))
    assert logit.shape == (1,)
    assert logit[0] == pytest.approx(logits_by_hand(comparator, left, right), rel=1e-4, abs=1e-3)


@given(left=arrays(np.float32, (7, 5), elements=finite), right=arrays(np.float32, (7, 5), elements=finite))
@settings(max_examples=30)
def test_the_order_within_a_pair_does_not_matter_to_the_last_bit(comparator, left, right):
    forth, back = (keras.ops.convert_to_numpy(comparator(pair)) for pair in ([left, right], [right, left]))
    assert np.array_equal(forth, back)


def test_the_comparator_gives_the_same_logits_in_training(comparator, rng):
    left, right = rng.normal(size=(2, 7, 5)).astype(np.float32)
    logits, trained = (keras.ops.convert_to_numpy(comparator([left, right], training=on)) for on in (False, True))
    np.testing.assert_allclose(trained, logits, rtol=1e-4, atol=1e-4)


def test_a_comparator_comes_back_from_its_config():
    layer = Comparator.from_config(Comparator(7, name="head").get_config())
    assert (layer.hidden_units, layer.name) == (7, "head")


def test_a_comparator_needs_a_hidden_unit():
    with pytest.raises(ValueError, match=r"`hidden_units` must be at least 1. Received: hidden_units=0."):
        Comparator(0)


# losses


def test_the_ranking_loss_of_one_positive_pair_against_one_rival():
    # Image 0 with 1 alike (2.0), image 0 with 2 different (1.0): image 0 has one rival, image 1 has none.
    loss = pair_ranking_loss(np.float32([2, 1]), np.float32([1, 0]), np.array([0, 0]), np.array([1, 2]), 3)
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-1)) / 2, rel=1e-5)


@given(
    logits=arrays(np.float32, 20, elements=st.floats(-10, 10, width=32)),
    target=arrays(np.float32, 20, elements=st.sampled_from([0.0, 1.0])),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_the_ranking_loss_is_the_loop_over_positive_pairs_and_their_rivals(logits, target, seed):
    left, right = np.random.default_rng(seed).integers(0, 6, (2, 20))
    right = np.where(left == right, (right + 1) % 6, right)
    loss = float(pair_ranking_loss(logits, target, left, right, 6))
    assert loss == pytest.approx(ranking_loss_by_hand(logits.astype(float), target, left, right), rel=1e-4, abs=1e-5)


def test_without_a_positive_pair_the_ranking_loss_is_zero():
    loss = pair_ranking_loss(np.float32([5, 1]), np.zeros(2, np.float32), np.array([0, 1]), np.array([1, 2]), 3)
    assert float(loss) == 0


# pair model


def compile_at(model, learning_rate):
    compile_pair_model(model, TrainingSettings(schedule=(PhaseSettings(learning_rate=learning_rate),)))


def batch_of(rng, target, weight=None):
    pairs = len(target)
    inputs = {
        "images": draw_images(rng, 6),
        "left": np.arange(pairs, dtype=np.int32) % 6,
        "right": (np.arange(pairs, dtype=np.int32) + 1) % 6,
    }
    weight = np.ones(pairs, np.float32) if weight is None else np.asarray(weight, np.float32)
    return inputs, np.asarray(target, np.float32)[:, None], weight


def loss_and_logits(model, inputs, target, weight):
    logits = model(inputs, training=True)
    loss = model.compute_loss(inputs, keras.ops.convert_to_tensor(target), logits, weight, training=True)
    return float(loss), keras.ops.convert_to_numpy(logits)[:, 0]


def test_each_pair_gets_the_logit_of_its_two_images(pair_model, rng):
    inputs, _, _ = batch_of(rng, np.zeros(6))
    embeddings = keras.ops.convert_to_numpy(pair_model.encoder(inputs["images"]))
    expected = pair_model.comparator([embeddings[inputs["left"]], embeddings[inputs["right"]]])
    logits = keras.ops.convert_to_numpy(pair_model(inputs))
    np.testing.assert_allclose(logits[:, 0], keras.ops.convert_to_numpy(expected), atol=1e-5)


def test_weights_of_an_unbalanced_batch_enter_the_loss(pair_model, rng):
    compile_at(pair_model, 1e-3)
    target, weight = np.array([1, 0, 0, 0, 0, 0]), np.array([3, 0.6, 0.6, 0.6, 0.6, 0.6])
    for weights in (weight, np.ones(6)):
        batch = batch_of(rng, target, weights)
        loss, logits = loss_and_logits(pair_model, *batch)
        assert loss == pytest.approx(np.mean(weights * cross_entropy(logits, target)), rel=1e-4)


def test_the_accuracy_of_a_training_counts_both_targets_alike(pair_model, rng):
    compile_at(pair_model, 1e-9)
    pair_model.run_eagerly = True
    pair_model.comparator.weights[-1].assign([50.0])  # says "same" of every pair
    inputs, target, weight = batch_of(rng, [1, 0, 0, 0, 0, 0], [3, 0.6, 0.6, 0.6, 0.6, 0.6])
    history = pair_model.fit(inputs, target, sample_weight=weight, batch_size=6, verbose=0).history
    assert history["accuracy"][0] == pytest.approx(0.5)


def test_the_l2_penalty_of_the_convolutions_enters_the_loss(pair_model, rng):
    compile_at(pair_model, 1e-3)
    batch = batch_of(rng, [1, 0, 1, 0])
    plain, _ = loss_and_logits(pair_model, *batch)
    pair_model.l2.assign(2e-2)
    penalised, _ = loss_and_logits(pair_model, *batch)
    kernels = [layer.kernel.numpy() for layer in pair_model.encoder.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(kernels) == 6  # stem, one more, the stage's entry and three of its sub-block
    assert penalised - plain == pytest.approx(2e-2 * sum((kernel**2).sum() for kernel in kernels), rel=1e-3)


def test_the_ranking_loss_is_added_with_its_weight(rng):
    keras.utils.set_random_seed(3)
    model = PairModel(build_encoder((16, 32, 1), TINY), Comparator(8), Augment(STILL), ranking_weight=0.5)
    compile_at(model, 1e-3)
    inputs, target, weight = batch_of(rng, [1, 0, 1, 0, 0, 0])
    loss, logits = loss_and_logits(model, inputs, target, weight)
    ranking = ranking_loss_by_hand(logits.astype(float), target[:, 0], inputs["left"], inputs["right"])
    assert loss == pytest.approx(np.mean(cross_entropy(logits, target[:, 0])) + 0.5 * ranking, rel=1e-4)


def test_some_steps_on_one_batch_lower_its_loss(pair_model, rng):
    compile_at(pair_model, 3e-3)
    pair_model.run_eagerly = True
    inputs, target, weight = batch_of(rng, [1, 0, 1, 0, 1, 0])
    history = pair_model.fit(inputs, target, sample_weight=weight, batch_size=6, epochs=25, verbose=0, shuffle=False)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


def test_the_parts_stay_usable_alone_and_l2_does_not_train(pair_model):
    assert not any(weight is pair_model.l2 for weight in pair_model.trainable_variables)
    trained = pair_model.encoder.trainable_weights + pair_model.comparator.trainable_weights
    assert {id(weight) for weight in pair_model.trainable_variables} == {id(weight) for weight in trained}
