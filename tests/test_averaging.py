import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from siamese.augment import Augment
from siamese.errors import SettingsError
from siamese.models.averaging import (
    AveragingAdam,
    RunningMean,
    averaged,
    averaged_weights,
    merged,
    reestimate_batch_norm,
)
from siamese.models.encoder import build_encoder
from siamese.settings import AugmentationSettings, EncoderSettings

TINY = EncoderSettings(
    stem_filters=3, stem_kernel=3, stem_pool=False, stem_convolutions=1, widths=(4, 6), bottlenecks=(2, 3), depth=1
)
numbers = st.floats(-1e3, 1e3, width=32)


@pytest.fixture
def encoder():
    keras.utils.set_random_seed(5)
    return build_encoder((8, 16, 1), TINY)


@pytest.fixture
def images(rng):
    """Photos that differ more between the two halves of the collection than within them."""
    photos = rng.integers(0, 256, (13, 8, 16, 1))
    return (photos // np.where(np.arange(13) < 6, 1, 8).reshape(-1, 1, 1, 1)).astype(np.uint8)


def small_model(optimizer, frozen=False):
    keras.utils.set_random_seed(6)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    )
    model.compile(optimizer, loss="mse")
    optimizer.build(model.trainable_variables)
    model.layers[0].trainable = not frozen
    return model


def fit(model, steps=4):
    x = np.random.default_rng(0).normal(size=(8 * steps, 3)).astype(np.float32)
    model.fit(x, x.sum(axis=1, keepdims=True), batch_size=8, shuffle=False, verbose=0)


def weights_after_each_step(model, steps):
    """Trains in `fit` calls of one epoch and keeps the weights after each step."""
    seen = []
    keep = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(copies(model)))
    x = np.random.default_rng(0).normal(size=(8 * steps, 3)).astype(np.float32)
    model.fit(x, x.sum(axis=1, keepdims=True), batch_size=8, shuffle=False, verbose=0, callbacks=[keep])
    return seen


def copies(model):
    return [np.array(weight) for weight in model.get_weights()]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def norms_of(encoder):
    return [layer for layer in encoder.layers if isinstance(layer, keras.layers.BatchNormalization)]


def statistics_of(encoder):
    return [(norm.moving_mean.numpy(), norm.moving_variance.numpy()) for norm in norms_of(encoder)]


def statistics_by_hand(encoder, images, batches):
    """Runs a copy in training mode batch by batch, and takes mean and variance over all that each layer was given."""
    copy = keras.models.clone_model(encoder)
    copy.set_weights(encoder.get_weights())
    taps = keras.Model(copy.inputs[0], [norm.input for norm in norms_of(copy)])
    given = [[np.asarray(part, float) for part in taps(images[batch], training=True)] for batch in batches]
    whole = [np.concatenate(parts) for parts in zip(*given, strict=True)]
    return [(inputs.mean(axis=(0, 1, 2)), inputs.var(axis=(0, 1, 2))) for inputs in whole]


# mean over rounds


def test_the_running_mean_of_three_sets_of_weights():
    mean = RunningMean()
    for value in (1, 2, 6):
        mean.add([np.float32([value, 0]), np.float32([[value * 10]])])
    assert mean.count == 3
    assert [weights.tolist() for weights in mean.weights] == [[3, 0], [[30]]]


@given(rounds=arrays(np.float32, (5, 4), elements=numbers))
def test_the_running_mean_is_the_mean_of_all(rounds):
    before, mean = rounds.copy(), RunningMean()
    for weights in rounds:
        mean.add([weights])
    np.testing.assert_allclose(mean.weights[0], rounds.mean(axis=0, dtype=float), rtol=1e-12, atol=1e-10)
    assert np.array_equal(rounds, before)


@given(weights=arrays(np.float32, 4, elements=numbers), count=st.integers(1, 30))
def test_equal_weights_are_their_own_mean_to_the_bit(weights, count):
    mean = RunningMean()
    for _ in range(count):
        mean.add([weights])
    assert np.array_equal(mean.weights[0], weights)


def test_a_mean_that_was_stored_goes_on_exactly(rng):
    rounds = rng.normal(size=(6, 3)).astype(np.float32)
    whole = RunningMean()
    for weights in rounds:
        whole.add([weights])
    half = RunningMean()
    for weights in rounds[:2]:
        half.add([weights])
    half = RunningMean(half.count, half.weights)
    for weights in rounds[2:]:
        half.add([weights])
    assert np.array_equal(half.weights[0], whole.weights[0])


# mean over steps


def test_the_average_over_steps_is_the_recursion_written_out_over_several_fits():
    model = small_model(AveragingAdam(0.1, ema_momentum=0.75))
    seen = weights_after_each_step(model, 3)
    model.optimizer.learning_rate.assign(0.01)
    seen += weights_after_each_step(model, 3)
    expected = seen[0]
    for weights in seen[1:]:
        expected = [0.75 * old + 0.25 * new for old, new in zip(expected, weights, strict=True)]
    for weight, average, by_hand in zip(model.weights, averaged_weights(model), expected, strict=True):
        if weight.trainable:
            np.testing.assert_allclose(average, by_hand, rtol=1e-5, atol=1e-6)
        else:
            assert np.array_equal(average, weight.numpy())


def test_keeping_an_average_does_not_change_the_training():
    plain, averaging = small_model(keras.optimizers.Adam(0.1)), small_model(AveragingAdam(0.1))
    for model in (plain, averaging):
        fit(model)
        fit(model)
    assert same(copies(plain), copies(averaging))
    assert not same(copies(averaging), averaged_weights(averaging))


def test_the_average_goes_on_while_a_layer_is_frozen():
    model = small_model(AveragingAdam(0.1, ema_momentum=0.5), frozen=True)
    first = copies(model)[0]
    fit(model)
    assert np.array_equal(model.get_weights()[0], first)
    averages = averaged_weights(model)
    assert np.array_equal(averages[0], first)
    assert not np.array_equal(averages[-2], model.get_weights()[-2])


def test_before_the_first_step_the_average_is_the_weights():
    model = small_model(AveragingAdam(0.1))
    assert same(averaged_weights(model), copies(model))


def test_a_training_that_is_resumed_has_the_same_average():
    whole, half, resumed = (small_model(AveragingAdam(0.1)) for _ in range(3))
    fit(whole), fit(whole), fit(half)
    state = [variable.numpy() for variable in [*half.variables, *half.optimizer.variables]]
    for variable, value in zip([*resumed.variables, *resumed.optimizer.variables], state, strict=True):
        variable.assign(value)
    fit(resumed)
    assert same(averaged_weights(resumed), averaged_weights(whole))


def test_the_average_is_found_under_a_loss_scale():
    optimizer = keras.optimizers.LossScaleOptimizer(AveragingAdam(0.1, ema_momentum=0.0))
    model = small_model(optimizer)
    fit(model)
    assert int(optimizer.inner_optimizer.iterations) > 0
    assert same(averaged_weights(model), copies(model))


def test_the_optimiser_comes_back_from_its_config():
    optimizer = AveragingAdam.from_config(AveragingAdam(0.1, ema_momentum=0.75, clipnorm=2.0).get_config())
    assert (optimizer.use_ema, optimizer.ema_momentum, optimizer.clipnorm) == (True, 0.75, 2.0)


def test_a_model_without_an_average_is_refused():
    sentence = "`model` must be compiled with AveragingAdam.*Received: Adam"
    with pytest.raises(SettingsError, match=sentence):
        averaged_weights(small_model(keras.optimizers.Adam(0.1, use_ema=True)))


# lending


def test_a_lent_model_gets_its_weights_back_to_the_bit(encoder, images):
    own, other = copies(encoder), [weight + 0.5 for weight in copies(encoder)]
    before, given = encoder(images).numpy(), [weight.copy() for weight in other]
    with averaged(encoder, other):
        assert same(copies(encoder), other)
        assert not np.array_equal(encoder(images).numpy(), before)
        reestimate_batch_norm(encoder, lambda index: images[index], 13, 4)
    assert same(copies(encoder), own)
    assert np.array_equal(encoder(images).numpy(), before)
    assert same(other, given)


def test_a_lent_model_gets_its_weights_back_after_an_error(encoder):
    own = copies(encoder)
    with pytest.raises(RuntimeError, match="disk"), averaged(encoder, [weight * 2 for weight in own]):
        raise RuntimeError("disk")
    assert same(copies(encoder), own)


# batch statistics


@given(values=arrays(np.float64, 12, elements=st.floats(-100, 100)), cut=st.integers(1, 11))
def test_merged_moments_are_those_of_the_union(values, cut):
    first, second = ((part.mean(), part.var()) for part in (values[:cut], values[cut:]))
    mean, variance = merged(first, second, (12 - cut) / 12)
    assert mean == pytest.approx(values.mean(), abs=1e-9)
    assert variance == pytest.approx(values.var(), abs=1e-7)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 13, 64])
def test_the_first_layer_gets_mean_and_variance_of_all_images_exactly(encoder, images, batch_size):
    first = norms_of(encoder)[0]
    inputs = keras.Model(encoder.inputs[0], first.input)(images).numpy().astype(float)
    reestimate_batch_norm(encoder, lambda index: images[index], 13, batch_size)
    np.testing.assert_allclose(first.moving_mean.numpy(), inputs.mean(axis=(0, 1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.moving_variance.numpy(), inputs.var(axis=(0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("batch_size", [4, 7])
def test_all_layers_get_what_they_are_given_in_training(encoder, images, batch_size):
    batches = []
    reestimate_batch_norm(encoder, lambda index: batches.append(index) or images[index], 13, batch_size)
    expected = statistics_by_hand(encoder, images, batches)
    for found, (mean, variance) in zip(statistics_of(encoder), expected, strict=True):
        np.testing.assert_allclose(found[0], mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1], variance, rtol=1e-4, atol=1e-6)


@given(num_images=st.integers(1, 13), batch_size=st.integers(1, 16))
@settings(max_examples=10)
def test_each_image_is_seen_once_and_no_batch_is_a_small_rest(num_images, batch_size):
    norm, batches = keras.layers.BatchNormalization(), []
    values = np.arange(13, dtype=np.float32).reshape(-1, 1, 1, 1)
    model = keras.Sequential([keras.Input((1, 1, 1)), norm])
    reestimate_batch_norm(model, lambda index: batches.append(index) or values[index], num_images, batch_size)
    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches).tolist()) == list(range(num_images))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert norm.moving_variance.numpy()[0] == pytest.approx((num_images**2 - 1) / 12, rel=1e-5)  # of 0 ... n - 1


def test_with_all_images_in_one_batch_inference_is_what_training_sees(encoder, images):
    seen = encoder(images, training=True).numpy()
    reestimate_batch_norm(encoder, lambda index: images[index], 13, 64)
    np.testing.assert_allclose(encoder(images, training=False).numpy(), seen, rtol=1e-4, atol=1e-4)


def test_only_batch_statistics_change_and_read_images_stay(encoder, images):
    before, given = copies(encoder), images.copy()
    reestimate_batch_norm(encoder, lambda index: images[index], 13, 4)
    moving = {id(weight) for norm in norms_of(encoder) for weight in (norm.moving_mean, norm.moving_variance)}
    changed = [not np.array_equal(old, new) for old, new in zip(before, copies(encoder), strict=True)]
    assert changed == [id(weight) in moving for weight in encoder.weights]
    assert np.array_equal(images, given)


def test_frozen_layers_keep_their_statistics(encoder, images):
    frozen = norms_of(encoder)[1]
    frozen.trainable = False
    before = statistics_of(encoder)
    reestimate_batch_norm(encoder, lambda index: images[index], 13, 4)
    after = statistics_of(encoder)
    assert [same(old, new) for old, new in zip(before, after, strict=True)] == [n is frozen for n in norms_of(encoder)]


def test_statistics_of_augmented_images_are_the_same_each_time(encoder, images):
    augment = Augment(AugmentationSettings(rotation=20), seed=3)
    reestimate_batch_norm(encoder, lambda index: images[index], 13, 13)
    plain = statistics_of(encoder)
    found = []
    for _ in range(2):
        reestimate_batch_norm(encoder, lambda index: images[index], 13, 4, augment)
        found.append(statistics_of(encoder))
    assert all(same(first, second) for first, second in zip(*found, strict=True))
    assert not same(found[0][0], plain[0])


def test_the_state_of_the_augmentation_is_put_back(encoder, images):
    augment = Augment(AugmentationSettings(rotation=20), seed=3)
    state = augment.generator.state.numpy().copy()
    reestimate_batch_norm(encoder, lambda index: images[index], 13, 4, augment)
    assert np.array_equal(augment.generator.state.numpy(), state)


def test_an_image_that_cannot_be_read_leaves_the_statistics(encoder, images):
    before = copies(encoder)

    def read(index):
        if 1 in index:
            raise OSError("disk")
        return images[index]

    with pytest.raises(OSError, match="disk"):
        reestimate_batch_norm(encoder, read, 13, 4)
    assert same(copies(encoder), before)
