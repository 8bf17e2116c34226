"""Tests of `siamese.drift`."""

import json

import numpy as np
import pytest

from siamese.drift import FEWEST_PHOTOS, Drift, DriftSketch, fit_drift, measure_images
from siamese.errors import ModelFolderError, SiameseError

NUM_EACH = 4


def drawn(rng, num_animals, *, shift=0.0, light=0.0):
    """Four photos each of some animals; `shift` moves their embeddings, `light` their pictures."""
    animals = np.repeat(rng.normal(size=(num_animals, 8)), NUM_EACH, axis=0)
    embeddings = 5 + animals + 0.3 * rng.normal(size=animals.shape) + shift * np.arange(8)
    level = np.repeat(rng.normal(120, 15, num_animals), NUM_EACH)[:, None, None, None] + light
    images = np.clip(level + rng.normal(0, 30, (len(embeddings), 6, 6, 1)), 0, 255).astype(np.uint8)
    return embeddings, images, np.repeat([f"w{i}" for i in range(num_animals)], NUM_EACH).astype(object)


def sketch_of(embeddings, images, identity):
    return fit_drift(embeddings, lambda index: images[index], identity)


def compare(sketch, embeddings, images, *_):
    return sketch.compare(embeddings, measure_images(images))


@pytest.fixture(scope="module")
def sketch():
    return sketch_of(*drawn(np.random.default_rng(1), 100))


def test_photos_of_the_same_kind_raise_few_alarms(rng, monkeypatch):
    monkeypatch.setattr("siamese.drift.NUM_REPLAYS", 200)
    alarms = []
    for _ in range(8):
        sketch = sketch_of(*drawn(rng, 60))
        alarms += [bool(compare(sketch, *drawn(rng, size)).changed) for size in (2, 5, 12, 30) for _ in range(12)]
    assert np.mean(alarms) <= 0.05


def test_darker_photos_are_told(sketch, rng):
    embeddings, images, _ = drawn(rng, 15, light=-60)
    drift = compare(sketch, embeddings, images)
    assert drift.changed[0] == "brightness"
    assert drift.gap > drift.limit
    assert drift.sentence == (
        "These 60 photos do not look like those the model was calibrated on: brightness differs most. "
        "Stated error rates may not hold; calibrate on photos like these."
    )


def test_blurred_photos_are_told(sketch, rng):
    embeddings, images, _ = drawn(rng, 15)
    blurred = images.mean(axis=(1, 2), keepdims=True) + 0.4 * (images - images.mean(axis=(1, 2), keepdims=True))
    assert set(compare(sketch, embeddings, blurred).changed) == {"sharpness", "contrast"}


def test_other_animals_are_told_by_embeddings_alone(sketch, rng):
    embeddings, _, _ = drawn(rng, 15, shift=-1.0)
    assert sketch.compare(embeddings).changed
    assert not sketch.compare(drawn(rng, 15)[0]).changed


def test_few_photos_say_nothing(sketch, rng):
    embeddings, images, _ = drawn(rng, 2, light=-100)
    drift = compare(sketch, embeddings[: FEWEST_PHOTOS - 1], images[: FEWEST_PHOTOS - 1])
    assert drift == Drift(FEWEST_PHOTOS - 1, 0.0, sketch.limit, ())
    assert drift.sentence == ""


def test_animals_with_many_alike_photos_widen_the_limit(rng):
    """Sixteen photos of four animals stray as far as four photos do."""
    clustered = sketch_of(*drawn(rng, 60))
    embeddings, images, _ = drawn(rng, 60)
    loose = sketch_of(embeddings, images, np.full(len(embeddings), "", dtype=object))
    assert clustered.usual[0] > 1.3 * loose.usual[0]


def test_measures_are_what_they_say():
    images = np.zeros((20, 2, 2, 3), np.uint8)
    images[:, 0] = 200  # steps of 200 downwards, none sideways
    sketch = sketch_of(np.tile([[3.0, 4.0]], (20, 1)), images, np.full(20, "", dtype=object))
    assert [row[0] for row in sketch.quantiles] == pytest.approx([100.0, 100.0, 200.0, 5.0, 1.0])


def test_an_image_is_measured_alike_whatever_stands_beside_it(rng):
    images = rng.integers(0, 256, (9, 33, 47, 3), dtype=np.uint8)
    whole = measure_images(images)
    for size in (1, 2, 4):
        parts = [measure_images(images[start : start + size]) for start in range(0, 9, size)]
        assert np.array_equal(np.concatenate(parts), whole)
    grey = images.astype(np.float64).mean(axis=-1)
    steps = [np.abs(np.diff(grey[0], axis=axis)).mean() for axis in (0, 1)]
    np.testing.assert_allclose(whole[0], [grey[0].mean(), grey[0].std(), sum(steps)])


def test_a_sketch_survives_json(sketch):
    assert DriftSketch.from_dict(json.loads(json.dumps(sketch.to_dict()))) == sketch


@pytest.mark.parametrize(("name", "value"), [("limit", None), ("quantiles", [[1.0]]), ("usual", "x")])
def test_a_sketch_that_was_changed_is_told(sketch, name, value):
    with pytest.raises(ModelFolderError, match="A drift sketch must .* Save the model again"):
        DriftSketch.from_dict(sketch.to_dict() | {name: value})


def test_too_few_photos_are_told(rng):
    embeddings, images, identity = drawn(rng, 3)
    with pytest.raises(SiameseError, match="at least 16 photos. Received: 12"):
        sketch_of(embeddings, images, identity)


def test_one_animal_alone_is_told(rng):
    embeddings, images, _ = drawn(rng, 5)
    with pytest.raises(SiameseError, match="photos in each half of the animals. Received: 1 animals"):
        sketch_of(embeddings, images, np.full(20, "w", dtype=object))


def test_only_the_photos_compared_are_read(rng, monkeypatch):
    monkeypatch.setattr("siamese.drift.MOST_PHOTOS", 40)
    monkeypatch.setattr("siamese.drift.BLOCK", 16)
    embeddings, images, identity = drawn(rng, 50)
    asked = []

    def read(index):
        asked.append(index)
        return images[index]

    assert fit_drift(embeddings, read, identity).num_photos == 40
    assert [len(index) for index in asked] == [16, 16, 8]


def test_the_arrays_stay_unchanged(rng):
    embeddings, images, identity = drawn(rng, 20)
    before = embeddings.copy(), images.copy()
    compare(sketch_of(embeddings, images, identity), embeddings, images)
    assert np.array_equal(before[0], embeddings)
    assert np.array_equal(before[1], images)
