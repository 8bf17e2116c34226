import numpy as np
import pytest

from siamese.augment import Augment
from siamese.models.comparator import Comparator
from siamese.models.encoder import build_encoder
from siamese.models.pair_model import PairModel
from siamese.settings import AugmentationSettings, EncoderSettings
from siamese.validation import Validation

IDENTITY = np.array(["ann", "bob", "cleo", "ann", "dora"], dtype=object)
PHOTOS = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    small = EncoderSettings(
        stem_filters=4, stem_kernel=3, stem_pool=False, stem_convolutions=0, widths=(8,), bottlenecks=(4,), depth=1
    )
    return PairModel(build_encoder((16, 16, 1), small), Comparator(4), Augment(AugmentationSettings()))


def validation(model, photos, queries, allowed=True):
    queries, catalog = np.array(queries), np.array([0, 1, 2])
    allowed = np.full((len(queries), 3), allowed)
    return Validation(model, lambda index: photos[index], queries, catalog, IDENTITY, allowed)


def loud(model):
    """A comparator that says how little two embeddings differ."""
    weights = [np.zeros(weight.shape, np.float32) for weight in model.comparator.weights]
    weights[0][2] = 1  # the absolute difference goes through
    weights[2][:] = -1
    weights[4][:] = 1
    model.comparator.set_weights(weights)
    return model


def test_a_query_that_shows_the_same_photo_is_found_and_a_stranger_is_not_counted(model):
    photos = PHOTOS.copy()
    photos[3] = photos[0]
    assert validation(loud(model), photos, [3, 4])() == {"validation_map5": 1.0, "validation_top1": 1.0}


def test_the_second_place_counts_half(model):
    photos = PHOTOS.copy()
    photos[3] = photos[1]  # ann looks like bob, and somewhat like herself
    photos[2] = 255 - photos[1]
    photos[0] = photos[1]
    photos[0, :2] = 0
    assert validation(loud(model), photos, [3])() == {"validation_map5": 0.5, "validation_top1": 0.0}


def test_where_nothing_can_be_answered_rightly_nothing_is_measured(model):
    for queries, allowed in (([4], True), ([3], False)):
        numbers = validation(loud(model), PHOTOS, queries, allowed)()
        assert list(numbers) == ["validation_map5", "validation_top1"]
        assert np.isnan(list(numbers.values())).all()


def test_later_weights_are_seen(model):
    photos = PHOTOS.copy()
    photos[3] = photos[0]
    check = validation(loud(model), photos, [3])
    assert check()["validation_map5"] == 1.0
    *others, logit, bias = model.comparator.get_weights()
    model.comparator.set_weights([*others, -logit, bias])  # the most alike stand last
    assert check()["validation_map5"] == pytest.approx(1 / 3)
