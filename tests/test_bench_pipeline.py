import json
import time

import numpy as np
import pytest

from siamese.bench import pipeline as bench_module
from siamese.bench.pipeline import bench_pipeline
from siamese.errors import SettingsError
from siamese.recipes import resolve_settings


@pytest.fixture
def small(monkeypatch):
    """A small encoder and short epochs."""
    for name, value in {"EPOCH_SECONDS": 1e-9, "FEWEST_BATCHES": 2, "MOST_BATCHES": 3, "NUM_PASSES": 2}.items():
        monkeypatch.setattr(bench_module, name, value)
    few = ["encoder.stem_filters=4", "encoder.widths=[8]", "encoder.bottlenecks=[4]", "encoder.depth=1"]
    still = ["augmentation.rotation=0", "augmentation.shear=0", "augmentation.zoom=[1,1]", "augmentation.shift=0"]

    def resolve(recipe, config, values):
        return resolve_settings(recipe, config, [*few, *still, "comparator.hidden_units=4", *values])

    monkeypatch.setattr(bench_module, "resolve_settings", resolve)


def test_training_and_the_step_alone_are_measured(small, run_program):
    code, out, err = run_program("bench", "pipeline", "--size", 32, "--batch-size", 8, "--json")
    assert code == 0, err
    numbers = json.loads(out)
    assert (numbers["size"], numbers["batch_size"], numbers["num_batches"]) == (32, 8, 2)
    assert numbers["images_per_second_bare"] > 0
    assert numbers["images_per_second_fitted"] > 0
    assert 0 < numbers["fed_share"] < 3
    assert numbers["data"] == "random pixels, a store of 24 photos"


def test_a_slow_store_shows_in_the_share(small, monkeypatch):
    fit = bench_module.fit_plan

    def from_a_slow_disk(model, plan, read_store, rates):
        def slowly(index):
            time.sleep(0.5)
            return read_store(index)

        return fit(model, plan, slowly, rates)

    monkeypatch.setattr(bench_module, "fit_plan", from_a_slow_disk)
    assert bench_pipeline(32, batch_size=8)["fed_share"] < 0.5


def test_large_photos_come_in_smaller_batches():
    sizes = {size: bench_module._settings(size, None, None, 0).training.batch_size for size in (96, 128, 192, 384)}
    assert sizes == {96: 64, 128: 64, 192: 28, 384: 16}
    assert bench_module._settings(384, 40, None, 0).training.batch_size == 40


def test_the_batches_are_those_of_a_training():
    training = bench_module._settings(64, 16, None, 0).training
    plan = bench_module._plan(5, training, np.random.default_rng(0))
    assert plan.images.shape == (5, 16)
    assert np.array_equal(np.sort(plan.images, axis=None), np.arange(80))
    assert 0 < plan.target.mean() < 0.5


def test_an_encoder_that_cannot_take_the_size_is_told():
    with pytest.raises(SettingsError, match="must be at least 32 pixels"):
        bench_pipeline(16)
