import threading
import time

import keras
import numpy as np
import pytest

from siamese.batches import BatchPlan, PairBatches
from siamese.errors import StoreError
from siamese.fitting import READ_AHEAD, fit_plan
from siamese.models.pair_model import build_pair_model, compile_pair_model

NUM_BATCHES, RATES = 5, np.linspace(3e-3, 1e-3, 5)
PHOTOS = np.random.default_rng(1).integers(0, 256, (20, 16, 32, 1)).astype(np.uint8)


class KerasBatches(PairBatches, keras.utils.PyDataset):
    """The batches of a plan in the form that Keras's `fit` takes."""

    def __init__(self, plan, read):
        keras.utils.PyDataset.__init__(self)
        PairBatches.__init__(self, plan, read)


def draw_plan(seed=0, num_batches=NUM_BATCHES):
    rng = np.random.default_rng(seed)
    images = np.stack([rng.permutation(20)[:8] for _ in range(num_batches)])
    left, right = (np.tile(side[:12].astype(np.int32), (num_batches, 1)) for side in np.triu_indices(8, 1))
    target = (rng.random((num_batches, 12)) < 0.4).astype(np.float32)
    weight = rng.uniform(0.5, 1.5, target.shape).astype(np.float32)
    return BatchPlan(images, left, right, target, weight / weight.mean(axis=1, keepdims=True))


def read(index):
    return PHOTOS[index]


def make_model(settings):
    model = build_pair_model(settings)
    compile_pair_model(model, settings.training)
    return model


@pytest.fixture(scope="module")
def compiled(tiny_settings):
    """A model and what its variables were at first."""
    model = make_model(tiny_settings)
    return model, [(variable, variable.numpy()) for variable in [*model.variables, *model.optimizer.variables]]


@pytest.fixture
def restart(compiled):
    """`restart()` returns the model as if it were new; it is compiled once for all tests."""

    def put_back():
        model, start = compiled
        for variable, value in start:
            variable.assign(value)
        return model

    return put_back


def same(one, other):
    return all(np.array_equal(first, second) for first, second in zip(one, other, strict=True))


def test_an_epoch_does_what_keras_does_with_the_same_batches(restart, tiny_settings):
    plan, ours, other = draw_plan(), restart(), make_model(tiny_settings)
    told = fit_plan(ours, plan, read, np.full(NUM_BATCHES, 2e-3))
    other.optimizer.learning_rate.assign(2e-3)
    history = other.fit(KerasBatches(plan, read), shuffle=False, verbose=0).history
    assert told == pytest.approx({name: values[-1] for name, values in history.items()}, rel=1e-4)
    for one, two in zip(ours.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)


def test_the_same_plan_gives_the_same_weights_to_the_last_bit(restart):
    told, weights = [], []
    for seed in (0, 0, 1):
        model = restart()
        told.append(fit_plan(model, draw_plan(seed), read, RATES))
        weights.append(model.get_weights())
    assert told[0] == told[1]
    assert same(weights[0], weights[1])
    assert not same(weights[0], weights[2])


def test_each_step_has_its_own_learning_rate_and_is_told(restart):
    model, told = restart(), []
    fit_plan(
        model,
        draw_plan(),
        read,
        RATES,
        lambda done, total: told.append((done, total, float(model.optimizer.learning_rate))),
    )
    assert [entry[:2] for entry in told] == [(done, NUM_BATCHES) for done in range(1, NUM_BATCHES + 1)]
    assert [entry[2] for entry in told] == pytest.approx(RATES)


def test_all_epochs_of_a_training_share_one_trace(tiny_settings):
    model, traces = make_model(tiny_settings), []
    step = model.train_step
    model.train_step = lambda data: traces.append(1) or step(data)
    for seed in range(3):
        fit_plan(model, draw_plan(seed), read, RATES)
    assert len(traces) == 1


def test_images_are_read_in_order_a_few_batches_ahead_and_in_another_thread(restart):
    plan, asked, threads, ahead = draw_plan(num_batches=8), [], set(), []

    def slow_to_be_read(index):
        asked.append(index)
        threads.add(threading.get_ident())
        return read(index)

    def wait(done, total):
        time.sleep(0.02)
        ahead.append(len(asked) - done)

    fit_plan(restart(), plan, slow_to_be_read, np.full(8, 1e-3), wait)
    assert np.array_equal(asked, plan.images)
    assert threads.isdisjoint({threading.get_ident()})
    assert max(ahead) <= READ_AHEAD
    assert ahead[3] > 0


def test_an_error_of_the_store_arrives_as_it_is(restart):
    def cut_short(index):
        raise StoreError("store.h5: the image store must be whole. Received: a file that ends early.")

    with pytest.raises(StoreError, match="must be whole"):
        fit_plan(restart(), draw_plan(), cut_short, RATES)


def test_an_interrupt_ends_the_epoch_and_the_reading(restart):
    asked = []

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_plan(restart(), draw_plan(), lambda index: asked.append(1) or read(index), RATES, interrupt)
    assert len(asked) <= 1 + READ_AHEAD


def test_the_plan_is_left_as_it_was(restart):
    plan, kept = draw_plan(), draw_plan()
    fit_plan(restart(), plan, read, RATES)
    for name in ("images", "left", "right", "target", "weight"):
        assert np.array_equal(getattr(plan, name), getattr(kept, name))
