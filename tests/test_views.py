import numpy as np
import pytest
from pydantic import ValidationError

from siamese.images import prepare_image
from siamese.manifest import from_folder, from_table
from siamese.scoring import Embedder, score_matrix
from siamese.settings import AugmentationSettings, PreprocessingSettings, ViewSettings
from siamese.views import PhotoViews, View, crop_settings, mean_of_pairs, mean_scores, mean_tiles, read_crops

STRONG = AugmentationSettings(rotation=30, zoom=(0.7, 1.3), gamma=0.5, gradient=0.5, noise=0.1, erase=0.4)


@pytest.fixture
def images():
    """Seven square photos, two crops of each."""
    return np.random.default_rng(1).integers(0, 256, (7, 2, 16, 16, 1), dtype=np.uint8)


class Corners:
    """In place of a network: its embeddings are three pixels, which can be worked out by hand."""

    def embed(self, read, num_images, on_progress=None):
        seen = np.concatenate([read(np.arange(row, row + 1)) for row in range(num_images)])
        if on_progress:
            on_progress(num_images, num_images)
        return seen[:, [0, 0, -1], [0, -1, 0], 0].astype(np.float32)


def embedded(settings, images, augmentation=STRONG):
    return PhotoViews(settings, augmentation).embed(Corners(), lambda index: images[index], len(images))


def corners(images):
    return images[:, [0, 0, -1], [0, -1, 0], 0].astype(np.float32)


def test_without_settings_a_photo_is_embedded_as_it_is(images):
    views = PhotoViews(ViewSettings(), STRONG)
    assert views.names == ("plain",)
    assert np.array_equal(embedded(ViewSettings(), images), corners(images[:, 0]))


def test_a_flipped_copy_stands_beside_the_photo_and_is_never_mixed_with_it(images):
    for average in ("embeddings", "scores"):
        found = embedded(ViewSettings(turns=("flip",), average=average), images)
        flipped = images[:, 0, :, ::-1]
        assert np.array_equal(found, np.hstack([corners(images[:, 0]), corners(flipped)]))


def test_crops_are_averaged_or_stand_side_by_side(images):
    both = [corners(images[:, crop]) for crop in (0, 1)]
    mean = embedded(ViewSettings(margins=(0.2,)), images)
    assert np.array_equal(mean, (both[0] + both[1]) / 2)
    assert np.array_equal(embedded(ViewSettings(margins=(0.2,), average="scores"), images), np.hstack(both))


def test_names_tell_what_is_averaged():
    settings = ViewSettings(turns=("turn90",), margins=(0.2,), draws=1, seed=5)
    assert PhotoViews(settings, STRONG).names == (
        "plain + margin 0.2 + draw 1 of seed 5",
        "turn90 + turn90, margin 0.2 + turn90, draw 1 of seed 5",
    )
    apart = settings.model_copy(update={"average": "scores"})
    assert len(PhotoViews(apart, STRONG).names) == 6


def test_a_drawn_change_does_not_depend_on_the_company_of_a_photo(images):
    view = View(draw=1)
    together = view.of(images, STRONG)
    alone = np.concatenate([view.of(images[row : row + 1], STRONG) for row in range(len(images))])
    assert np.array_equal(together, alone)
    assert together.shape == images[:, 0].shape
    assert not np.array_equal(together, images[:, 0])


def test_the_same_photo_is_changed_alike_wherever_it_stands(images):
    twice = np.stack([images[0], images[1], images[0]])
    changed = View(draw=2).of(twice, STRONG)
    assert np.array_equal(changed[0], changed[2])
    assert not np.array_equal(changed[0], changed[1])


@pytest.mark.parametrize("other", [View(draw=2), View(draw=1, seed=1)])
def test_draws_and_seeds_give_other_changes(images, other):
    assert not np.allclose(View(draw=1).of(images, STRONG), other.of(images, STRONG))


def test_a_turn_comes_before_the_random_change(images):
    turned = View(draw=1).of(images[:, :, :, ::-1], STRONG)
    assert np.array_equal(View(turn="flip", draw=1).of(images, STRONG), turned)


def test_images_stay_as_they_are(images):
    before = images.copy()
    embedded(ViewSettings(turns=("flip",), margins=(0.1,), draws=2), images)
    assert np.array_equal(before, images)


def test_the_progress_counts_every_view(images):
    told = []
    views = PhotoViews(ViewSettings(turns=("flip",), draws=1), STRONG)
    views.embed(Corners(), lambda index: images[index], 7, lambda done, total: told.append((done, total)))
    assert told == [(7, 28), (14, 28), (21, 28), (28, 28)]


def test_crops_of_files_are_those_of_their_preprocessing(photo_folder):
    manifest = from_folder(photo_folder)
    boxes = manifest.table.assign(x=20, y=20, width=30, height=20, path=[str(path) for path in manifest.paths])
    manifest = from_table(boxes, photo_folder)
    preprocessing = PreprocessingSettings(height=16, width=32, channels=1, margin=0.0)
    views = ViewSettings(margins=(0.3, 0.6))
    read = read_crops(manifest, preprocessing, views)(np.array([2, 0]))
    assert read.shape == (2, 3, 16, 32, 1)
    for crop, margin in enumerate((0.0, 0.3, 0.6)):
        chosen = preprocessing.model_copy(update={"margin": margin})
        assert crop_settings(preprocessing, views)[crop] == chosen
        assert np.array_equal(read[0, crop], prepare_image(manifest.paths[2], manifest.boxes[2], chosen))
    assert not np.array_equal(read[0, 0], read[0, 2])


# scores


def test_scores_are_the_mean_over_views_and_views_of_one_kind_meet(drawn_comparator):
    rng = np.random.default_rng(2)
    queries, catalog = rng.random((70, 24)).astype(np.float32), rng.random((9, 24)).astype(np.float32)
    comparator = drawn_comparator(12)
    found = mean_scores(comparator, queries, catalog, num_views=2)
    parts = [score_matrix(comparator, queries[:, view], catalog[:, view]) for view in (slice(12), slice(12, 24))]
    np.testing.assert_allclose(found, (parts[0] + parts[1]) / 2, rtol=1e-6)
    assert np.array_equal(found, mean_scores(comparator, catalog, queries, num_views=2).T)


def test_one_view_has_the_scores_of_the_matrix_to_the_last_bit(drawn_comparator):
    photos = np.random.default_rng(2).random((70, 12)).astype(np.float32)
    comparator = drawn_comparator(12)
    assert np.array_equal(mean_scores(comparator, photos, photos), score_matrix(comparator, photos))


def test_tiles_and_pairs_hold_the_same_scores_as_the_matrix(drawn_comparator):
    photos = np.random.default_rng(2).random((70, 24)).astype(np.float32)
    comparator = drawn_comparator(12)
    scores = mean_scores(comparator, photos, photos, num_views=2)
    for tile in mean_tiles(comparator, photos, num_views=2):
        assert np.array_equal(tile.scores, scores[tile.rows, tile.columns])
    rows, columns = np.array([0, 5, 69]), np.array([3, 5, 1])
    pairs = mean_of_pairs(comparator, photos, rows, columns, num_views=2)
    assert np.array_equal(pairs, scores[rows, columns])


def test_a_flipped_catalog_is_asked_by_flipped_queries(matcher, small_collection):
    comparator, settings = matcher.model.comparator, matcher.model.settings.preprocessing
    photos = sorted((small_collection / "animal1").glob("*.jpg"))
    images = np.stack([prepare_image(photo, None, settings) for photo in photos])
    embedder = Embedder(matcher.model.encoder)
    views = PhotoViews(ViewSettings(turns=("flip",)), AugmentationSettings())
    both = views.embed(embedder, lambda index: images[index][:, None], len(images))
    plain = embedder.embed(lambda index: images[index], len(images))
    flipped = embedder.embed(lambda index: images[index, :, ::-1], len(images))
    expected = (score_matrix(comparator, plain) + score_matrix(comparator, flipped)) / 2
    np.testing.assert_allclose(mean_scores(comparator, both, both, num_views=2), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"turns": ("flip", "flip")}, "`turns` must name each view once"),
        ({"margins": (0.1, 0.1)}, "`margins` must name each view once"),
        ({"margins": (-0.1,)}, "`margins` must be 0 or more"),
    ],
)
def test_views_that_make_no_sense_are_told(values, sentence):
    with pytest.raises(ValidationError, match=sentence):
        ViewSettings(**values)
