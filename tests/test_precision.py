import functools

import keras
import numpy as np
import pytest
from keras import layers

from siamese.batches import BatchPlan
from siamese.fitting import fit_plan
from siamese.models.encoder import GeneralisedMeanPooling, Standardise, Stripes, build_encoder
from siamese.models.pair_model import build_pair_model, compile_pair_model
from siamese.models.precision import needs_loss_scale, set_precision
from siamese.settings import EncoderSettings
from siamese.training_state import Kept, load_state, save_state

HALF = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
TINY = EncoderSettings(
    stem_filters=4, stem_kernel=3, stem_convolutions=0, widths=(8,), bottlenecks=(4,), depth=1, pooling="gem", stripes=2
)


def draw_images(count=6):
    return np.random.default_rng(0).integers(0, 256, (count, 16, 32, 1)).astype(np.uint8)


def encoder_in(precision):
    keras.utils.set_random_seed(2)
    encoder = build_encoder((16, 32, 1), TINY)
    set_precision(encoder, precision)
    return encoder


def embedded(encoder):
    return keras.ops.convert_to_numpy(encoder(draw_images(), training=False))


@pytest.mark.parametrize("precision", HALF)
def test_convolutions_compute_in_half_precision_and_pixels_and_pooling_in_float32(precision):
    encoder = encoder_in(precision)
    assert {weight.dtype for weight in encoder.weights} == {"float32"}
    for kind in (layers.Conv2D, layers.BatchNormalization, layers.MaxPooling2D, layers.ReLU, layers.Add):
        computed_in = {layer.compute_dtype for layer in encoder.layers if isinstance(layer, kind)}
        assert computed_in == {HALF[precision]}, kind
    for kind in (Standardise, Stripes, GeneralisedMeanPooling, layers.Concatenate):
        computed_in = {layer.compute_dtype for layer in encoder.layers if isinstance(layer, kind)}
        assert computed_in == {"float32"}, kind


@pytest.mark.parametrize("precision", HALF)
def test_embeddings_are_float32_and_near_those_of_full_precision(precision):
    full, half = embedded(encoder_in("float32")), embedded(encoder_in(precision))
    assert half.dtype == np.float32
    assert not np.array_equal(full, half)  # so it was half precision
    np.testing.assert_allclose(half, full, rtol=0.05, atol=0.02 * full.max())


@pytest.mark.parametrize("precision", HALF)
def test_a_saved_encoder_gives_the_numbers_it_was_saved_with(precision, tmp_path):
    encoder = encoder_in(precision)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras", compile=False, safe_mode=True)
    assert np.array_equal(embedded(loaded), embedded(encoder))


def test_float32_leaves_an_encoder_as_it_was():
    keras.utils.set_random_seed(2)
    assert np.array_equal(embedded(build_encoder((16, 32, 1), TINY)), embedded(encoder_in("float32")))


def test_only_float16_needs_a_loss_scale():
    assert needs_loss_scale(encoder_in("mixed_float16"))
    assert not needs_loss_scale(encoder_in("mixed_bfloat16"))
    assert not needs_loss_scale(encoder_in("float32"))


@pytest.fixture(scope="module")
def compiled(tiny_settings):
    """`compiled(precision)` makes a model that trains in this precision, once."""

    @functools.cache
    def make(precision):
        training = tiny_settings.training.model_copy(update={"precision": precision})
        model = build_pair_model(tiny_settings.model_copy(update={"training": training}))
        compile_pair_model(model, training)
        return model

    return make


def fit(model, num_batches=2):
    pair = np.tile(np.int32([0, 1, 2, 3]), (num_batches, 1))
    images = np.tile(np.arange(6), (num_batches, 1))
    target = np.tile(np.float32([1, 0, 1, 0]), (num_batches, 1))
    plan = BatchPlan(images, pair, pair + 1, target, np.ones_like(target))
    photos = draw_images()
    return fit_plan(model, plan, lambda index: photos[index], np.full(num_batches, 3e-3))


@pytest.mark.parametrize("precision", ["float32", *HALF])
def test_a_training_runs_in_each_precision_and_its_weights_stay_float32(compiled, precision):
    model = compiled(precision)
    before = model.encoder.get_weights()
    first, *_, last = (fit(model)["loss"] for _ in range(12))
    assert last < first
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert not np.array_equal(before[0], model.encoder.get_weights()[0])


def test_the_loss_scale_is_kept_with_the_state_of_a_training(compiled, tmp_path):
    model = compiled("mixed_float16")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.optimizer.dynamic_scale.assign(128.0)
    fit(model)
    steps = int(model.optimizer.step_counter)
    save_state(tmp_path, model, [], "one training", Kept())
    fit(model)
    gone_on = model.get_weights()
    model.optimizer.dynamic_scale.assign(2.0)
    load_state(tmp_path, model, "one training")
    assert float(model.optimizer.dynamic_scale) == 128
    assert int(model.optimizer.step_counter) == steps > 0
    fit(model)
    assert all(np.array_equal(one, other) for one, other in zip(model.get_weights(), gone_on, strict=True))
