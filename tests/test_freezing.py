import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.augment import Augment
from siamese.errors import SettingsError
from siamese.models.averaging import AveragingAdam
from siamese.models.comparator import Comparator
from siamese.models.encoder import build_encoder
from siamese.models.freezing import set_frozen
from siamese.models.pair_model import PairModel
from siamese.settings import AugmentationSettings, EncoderSettings

TINY = EncoderSettings(
    stem_filters=3, stem_kernel=3, stem_pool=False, stem_convolutions=1, widths=(4, 6), bottlenecks=(2, 3), depth=1
)
PARTS = ["stem", "stage1", "stage2", "encoder", "comparator", "batch_norm"]


def make_model(optimizer=None):
    keras.utils.set_random_seed(3)
    model = PairModel(build_encoder((8, 16, 1), TINY), Comparator(4), Augment(AugmentationSettings()))
    if optimizer:
        model.compile(optimizer, loss=keras.losses.BinaryCrossentropy(from_logits=True))
        optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def trained():
    """A model that was fitted while all trained; tests set anew what is frozen."""
    model = make_model(keras.optimizers.Adam(0.01))
    fit(model)
    return model


def fit(model):
    rng = np.random.default_rng(7)
    inputs = {
        "images": rng.integers(0, 256, (6, 8, 16, 1)).astype(np.uint8),
        "left": np.arange(6, dtype=np.int32),
        "right": (np.arange(6, dtype=np.int32) + 1) % 6,
    }
    target = np.float32([1, 0, 1, 0, 1, 0])[:, None]
    model.fit(inputs, target, sample_weight=np.ones(6, np.float32), batch_size=6, epochs=2, verbose=0, shuffle=False)


def changed_by_a_fit(model, variables):
    before = [variable.numpy().copy() for variable in variables]
    fit(model)
    return [not np.array_equal(old, new.numpy()) for old, new in zip(before, variables, strict=True)]


def weights_of(layers):
    return {id(weight) for layer in layers for weight in layer.weights}


def names_that_train(model):
    return [layer.name for layer in model.encoder.layers if layer.trainable_weights]


def test_each_part_is_the_layers_that_belong_to_it():
    model = make_model()
    order = names_that_train(model)
    norms = [name for name in order if name.startswith("batch")]
    found = {}
    for part in PARTS:
        set_frozen(model, [part])
        found[part] = [name for name in order if name not in names_that_train(model)]
    assert found["stem"] == order[:3]  # convolution, batch normalisation, convolution
    assert found["stage1"] == order[3 : 3 + 8]  # norm, entry, then norm and convolution three times
    assert found["stage2"] == order[3 + 8 :]
    assert found["encoder"] == order
    assert found["comparator"] == []
    assert found["batch_norm"] == norms
    assert len(norms) == 9


def test_the_comparator_is_a_part():
    model = make_model()
    set_frozen(model, ["comparator"])
    assert {id(weight) for weight in model.trainable_weights} == {id(w) for w in model.encoder.trainable_weights}


@pytest.mark.parametrize("parts", [["stem", "comparator"], ["encoder"], ["batch_norm"]])
def test_frozen_weights_stay_to_the_bit_and_the_others_move(trained, parts):
    set_frozen(trained, parts)
    moving = {id(weight) for weight in trained.trainable_weights}
    weights = everything_trainable(trained)
    changed = changed_by_a_fit(trained, weights)
    assert changed == [id(weight) in moving for weight in weights]
    assert 0 < sum(changed) < len(changed)


def everything_trainable(model):
    """All weights the optimiser was built for, in its order, whatever is frozen now."""
    weights = [weight for layer in [*model.encoder.layers, model.comparator] for weight in layer.weights]
    fixed = {"moving_mean", "moving_variance"}
    return [weight for weight in weights if weight.path.split("/")[-1] not in fixed]


def test_the_optimiser_leaves_what_it_knows_of_frozen_weights(trained):
    set_frozen(trained, [])
    weights = trained.trainable_weights
    set_frozen(trained, ["stem", "comparator"])
    training = {id(weight) for weight in trained.trainable_weights}
    iteration, _rate, *state = trained.optimizer.variables
    steps = int(iteration)
    changed = changed_by_a_fit(trained, state)
    assert len(state) == 2 * len(weights)  # momentum and velocity of each
    for number, weight in enumerate(weights):
        assert changed[2 * number : 2 * number + 2] == [id(weight) in training] * 2, weight.path
    assert int(iteration) == steps + 2


def test_frozen_batch_statistics_stay_in_training(trained):
    norms = [layer for layer in trained.encoder.layers if isinstance(layer, keras.layers.BatchNormalization)]
    moving = [weight for norm in norms for weight in (norm.moving_mean, norm.moving_variance)]
    set_frozen(trained, [])
    assert all(changed_by_a_fit(trained, moving))
    set_frozen(trained, ["batch_norm"])
    assert not any(changed_by_a_fit(trained, moving))


def test_a_frozen_encoder_embeds_in_training_as_in_inference(rng):
    model = make_model()
    images = rng.integers(0, 256, (4, 8, 16, 1)).astype(np.uint8)
    plain = model.encoder(images, training=False).numpy()
    assert not np.allclose(model.encoder(images, training=True).numpy(), plain, atol=1e-3)
    plain = model.encoder(images, training=False).numpy()
    set_frozen(model, ["batch_norm"])
    np.testing.assert_array_equal(model.encoder(images, training=True).numpy(), plain)


def test_what_is_thawed_moves_again(trained):
    set_frozen(trained, ["encoder"])
    fit(trained)
    set_frozen(trained, [])
    weights = everything_trainable(trained)
    assert len(trained.trainable_weights) == len(weights)
    assert all(changed_by_a_fit(trained, weights))


def test_freezing_nothing_anew_keeps_the_compiled_step(trained):
    set_frozen(trained, ["stem"])
    step = trained.train_function
    set_frozen(trained, ("stem",))
    assert trained.train_function is step
    set_frozen(trained, [])
    assert trained.train_function is not step


def test_weights_keep_their_order_whatever_is_frozen(trained):
    set_frozen(trained, [])
    order = [id(variable) for variable in trained.variables]
    set_frozen(trained, ["stem", "batch_norm"])
    assert [id(variable) for variable in trained.variables] == order


def test_an_encoder_saved_while_frozen_gives_the_same_numbers(tmp_path, rng):
    model = make_model()
    set_frozen(model, ["encoder"])
    images = rng.integers(0, 256, (4, 8, 16, 1)).astype(np.uint8)
    model.encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(loaded(images).numpy(), model.encoder(images).numpy())


def test_a_frozen_model_trains_with_averages():
    model = make_model(AveragingAdam(0.01))
    set_frozen(model, ["encoder"])
    weights = everything_trainable(model)
    changed = changed_by_a_fit(model, weights)
    assert changed == [id(weight) in weights_of([model.comparator]) for weight in weights]


@given(parts=st.sets(st.sampled_from(["stem", "stage1", "encoder", "batch_norm"])))
@settings(max_examples=20)
def test_what_trains_depends_on_the_last_call_alone(trained, parts):
    set_frozen(trained, parts)
    once = [id(weight) for weight in trained.trainable_weights]
    set_frozen(trained, ["stage2"])
    set_frozen(trained, parts)
    assert [id(weight) for weight in trained.trainable_weights] == once


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (["stage3"], "must name parts of the model: stem, stage1, stage2, encoder, comparator, batch_norm.*stage3"),
        (["head", "stem"], "Received: head. Correct the name"),
        (["comparator", "encoder"], "must leave something to train. Received: comparator, encoder"),
        (["stage1", "stage2", "stem", "comparator"], "must leave something to train"),
    ],
)
def test_parts_that_do_not_fit_are_refused_and_nothing_changes(trained, parts, sentence):
    set_frozen(trained, ["stem"])
    before = [id(weight) for weight in trained.trainable_weights]
    with pytest.raises(SettingsError, match=sentence):
        set_frozen(trained, parts)
    assert [id(weight) for weight in trained.trainable_weights] == before
