import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.exposure import equalize_adapthist

from siamese.contrast import normalise_contrast

images = arrays(np.uint8, st.tuples(st.integers(9, 20), st.integers(9, 20), st.sampled_from([1, 3])))


def stored(values):
    return np.clip(np.rint(127.5 + 51 * values), 0, 255)


def draw_image(rng, channels=1):
    return rng.integers(40, 120, (24, 32, channels)).astype(np.uint8)


def test_an_image_without_normalisation_stays_as_it_is(rng):
    image = draw_image(rng)
    np.testing.assert_array_equal(normalise_contrast(image, "none"), image)


def test_global_contrast_of_four_pixels_is_what_it_is_by_hand():
    image = np.array([98, 99, 101, 102], np.uint8).reshape(2, 2, 1)  # mean 100, mean square 2.5
    values = np.array([-2, -1, 1, 2]) / np.sqrt(2.5)
    assert normalise_contrast(image, "global").ravel().tolist() == stored(values).tolist() == [63, 95, 160, 192]


def test_global_contrast_takes_one_mean_for_all_channels():
    image = np.array([90, 100, 110], np.uint8).reshape(1, 1, 3)
    assert normalise_contrast(image, "global").ravel().tolist() == [65, 128, 190]


def test_global_contrast_ends_two_and_a_half_deviations_from_the_mean():
    image = np.full((10, 10, 1), 100, np.uint8)
    image[0, 0], image[0, 1] = 255, 0
    assert normalise_contrast(image, "global")[0, :2].ravel().tolist() == [255, 0]


@given(images)
def test_global_contrast_does_not_see_a_change_of_light(image):
    dim = (image // 4).astype(np.uint8)
    bright = (dim * 3 + 20).astype(np.uint8)
    change = normalise_contrast(dim, "global").astype(int) - normalise_contrast(bright, "global")
    assert np.abs(change).max() <= 1  # rounding


def local_by_hand(image):
    """Pixel by pixel; the image is mirrored beyond its edge, the outermost pixel twice."""
    height, width, _ = image.shape

    def local_mean(values):
        padded = np.pad(values.astype(float), ((4, 4), (4, 4), (0, 0)), mode="symmetric")
        windows = [[padded[y : y + 9, x : x + 9].mean() for x in range(width)] for y in range(height)]
        return np.array(windows)[..., None]

    centred = image - local_mean(image)
    return stored(centred / np.sqrt(1 + local_mean(centred**2)))


@given(images)
def test_local_contrast_is_that_of_each_window_by_hand(image):
    change = normalise_contrast(image, "local") - local_by_hand(image)
    assert np.abs(change).max() <= 1  # of halves that round the other way


def test_local_contrast_shows_a_faint_pattern_beside_a_bright_one(rng):
    faint, bright = 100 + rng.integers(-5, 6, (20, 20, 1)), 100 + 20 * rng.integers(-5, 6, (20, 20, 1))
    seen = normalise_contrast(np.concatenate([faint, bright], axis=1).astype(np.uint8), "local")
    assert seen[:, :14].std() > 0.9 * seen[:, 26:].std()


@pytest.mark.parametrize("channels", [1, 3])
def test_clahe_is_that_of_scikit_image(rng, channels):
    image = draw_image(rng, channels)
    expected = equalize_adapthist(image[..., 0] if channels == 1 else image).reshape(image.shape)
    np.testing.assert_array_equal(normalise_contrast(image, "clahe"), np.rint(255 * expected))
    assert normalise_contrast(image, "clahe").std() > 1.5 * image.std()


@pytest.mark.parametrize("contrast", ["none", "global", "local", "clahe"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_normalisation_keeps_shape_and_type_and_leaves_its_input_alone(rng, contrast, channels):
    image = draw_image(rng, channels)
    before = image.copy()
    seen = normalise_contrast(image, contrast)
    assert seen.shape == image.shape
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("contrast", ["global", "local", "clahe"])
def test_an_image_of_one_grey_stays_one_grey(contrast):
    assert len(np.unique(normalise_contrast(np.full((16, 24, 1), 37, np.uint8), contrast))) == 1
