"""Tests of `siamese.collection`."""

import numpy as np
import pytest

from siamese.collection import Collection, training_images_of
from siamese.finished_run import open_run
from siamese.pipeline import train


@pytest.fixture
def everything_trains(finished_run):
    """The photos of seven animals and of six unknown ones, all on the training side."""
    with open_run(finished_run.folder) as run:
        manifest = run.collection.manifest
        yield Collection(manifest.with_column("split", np.full(len(manifest), "train")), run.collection.store)


def with_training(settings, **changes):
    return settings.model_copy(update={"training": settings.training.model_copy(update=changes)})


def test_photos_without_a_name_do_not_train(everything_trains, tiny_settings):
    images = training_images_of(everything_trains, tiny_settings)
    assert images.identity.min() == 0
    assert not any("stranger" in image_id for image_id in images.image_ids)


def test_as_negatives_each_of_them_is_nobody(everything_trains, tiny_settings):
    plain = training_images_of(everything_trains, tiny_settings)
    images = training_images_of(everything_trains, with_training(tiny_settings, unknown_negatives=True))
    unknown = np.array(["stranger" in image_id for image_id in images.image_ids])
    assert unknown.sum() > 0
    assert np.array_equal(images.identity < 0, unknown)
    assert np.array_equal(images.group < 0, unknown)
    assert np.array_equal(images.identity[~unknown], plain.identity)
    row = int(np.flatnonzero(unknown)[0])
    here = everything_trains.manifest.image_ids.tolist().index(images.image_ids[row].split(" (")[0])
    assert np.array_equal(images.read(np.array([row])), everything_trains.store.read(np.array([here])))


def test_a_training_with_unknown_negatives_encodes_them(
    small_collection, tiny_settings, finished_run, tmp_path, listener
):
    manifest = tmp_path / "manifest.csv"
    with open_run(finished_run.folder) as run:
        photos = run.collection.manifest
        unknown = photos.identity == ""
        split = np.where(unknown & (np.cumsum(unknown) <= 2), "train", photos.column("split"))
        photos.with_column("split", split).write(manifest)
    encoded = [
        train(manifest, with_training(tiny_settings, unknown_negatives=negatives), tmp_path / str(negatives), listener)
        for negatives in (False, True)
    ]
    assert encoded[1]["num_encoded"] > encoded[0]["num_encoded"]
