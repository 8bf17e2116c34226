import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Two devices must be made before TensorFlow starts, so this runs in a process of its own.
SCRIPT = """
import json
import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from siamese.batches import BatchPlan
from siamese.fitting import fit_plan
from siamese.models.pair_model import build_pair_model, compile_pair_model
from siamese.models.replicas import accelerators, replicated
from siamese.settings import settings_from_dict

settings = settings_from_dict({
    "preprocessing": {"height": 16, "width": 32, "channels": 1},
    "augmentation": {"rotation": 0, "shear": 0, "zoom": [1, 1], "shift": 0},  # quick to compile
    "encoder": {"stem_filters": 4, "stem_kernel": 3, "stem_pool": False, "stem_convolutions": 0, "depth": 1,
                "widths": [8], "bottlenecks": [4], "batch_norm_momentum": 0.9},
    "comparator": {"hidden_units": 4},
    "training": {"schedule": [{"l2": 0.001}]},
})
rng = np.random.default_rng(0)
photos = rng.integers(0, 256, (12, 16, 32, 1)).astype(np.uint8)
images = np.stack([rng.permutation(12)[:6] for _ in range(3)])
left, right = (np.tile(side.astype(np.int32), (3, 1)) for side in np.triu_indices(6, 1))
target = (rng.random(left.shape) < 0.4).astype(np.float32)
columns = images, left, right, target, np.ones_like(target)


def fit(devices, plan):
    with replicated(devices):
        model = build_pair_model(settings)
    compile_pair_model(model, settings.training)
    told, done = [], []
    for _ in range(2):
        rates = np.full(len(plan), 0.002)
        told.append(fit_plan(model, plan, lambda index: photos[index], rates, lambda *now: done.append(now)))
    return model, told, done


def copies(variable):
    return [value.numpy() for value in variable.value.values]


one, alone, _ = fit([], BatchPlan(*columns))
both, twice, _ = fit(["CPU:0", "CPU:1"], BatchPlan(*(np.repeat(column, 2, axis=0) for column in columns)))
odd, apart, done = fit(["CPU:0", "CPU:1"], BatchPlan(*columns))
print(json.dumps({
    "accelerators": accelerators(),
    "alone": alone,
    "twice": twice,
    "largest_gap": max(float(abs(a - b).max()) for a, b in zip(one.get_weights(), both.get_weights(), strict=True)),
    "steps": [int(model.optimizer.iterations.numpy()) for model in (one, both, odd)],
    "done": done[:2],
    "equal": all(np.array_equal(*copies(variable)) for variable in odd.trainable_variables),
    "finite": all(np.isfinite(copies(variable)).all() for variable in odd.variables),
    "differs_from_one": not np.array_equal(odd.get_weights()[0], one.get_weights()[0]),
}))
"""


@pytest.fixture(scope="module")
def measured():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_replicas_that_see_the_same_batches_train_as_one_device_does(measured):
    for one, both in zip(measured["alone"], measured["twice"], strict=True):
        assert both == pytest.approx(one, rel=1e-5)
    assert measured["largest_gap"] < 1e-5
    assert measured["steps"][:2] == [6, 6]


def test_two_replicas_with_batches_of_their_own_keep_equal_and_finite_weights(measured):
    assert measured["equal"]
    assert measured["finite"]
    assert measured["differs_from_one"]


def test_a_plan_that_does_not_divide_is_filled_up_and_told_by_batches(measured):
    assert measured["steps"][2] == 4
    assert measured["done"] == [[2, 3], [3, 3]]


def test_a_machine_without_accelerators_has_none(measured):
    assert measured["accelerators"] == []
