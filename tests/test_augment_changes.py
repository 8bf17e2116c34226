import io

import numpy as np
import pytest
import tensorflow as tf
from keras import ops, random
from PIL import Image
from scipy import ndimage

from siamese.augment.draws import Draw
from siamese.augment.policies import KINDS, all_changes, apply_change
from siamese.settings import AugmentationSettings
from siamese.settings.changes import Kind

NAMES = {choice.model_fields["kind"].annotation.__args__[0] for choice in Kind.__origin__.__args__}


class LargestDraw(Draw):
    """Draws the upper end of every range."""

    def uniform(self, low, high, *shape):
        return ops.full((self.num_images, *shape), float(high))


def change_of(**values):
    return AugmentationSettings(changes=[values]).changes[0]


def change(images, draw=LargestDraw, seed=0, **values):
    """What one entry of `changes` makes of images."""
    drawn = draw(len(images), random.SeedGenerator(seed))
    return ops.convert_to_numpy(apply_change(ops.cast(images, "float32"), drawn, change_of(**values)))


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 12, 20, 3)).astype(np.uint8)


@pytest.fixture
def smooth(rng):
    """Photos have neighbours that are alike; pure noise has none."""
    return np.clip(128 + 400 * ndimage.gaussian_filter(rng.normal(size=(4, 24, 32, 3)), (0, 3, 3, 0)), 0, 255)


def test_every_kind_of_the_settings_has_its_function():
    assert set(KINDS) == NAMES


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_keeps_the_shape_and_leaves_its_input(kind, channels, rng):
    images = rng.uniform(0, 255, (3, 11, 21, channels)).astype("float32")  # no side is a multiple of anything
    before = images.copy()
    changed = change(images, draw=Draw, kind=kind)
    assert changed.shape == images.shape
    assert np.isfinite(changed).all()
    assert np.array_equal(images, before)
    unchanged = kind == "drop_mask" or (channels == 1 and kind in ("hue_saturation", "grey"))
    assert np.array_equal(changed, images) == unchanged


def test_a_blur_is_that_of_another_library(smooth):
    blurred = change(smooth, kind="blur", size=(1.2, 1.2))
    expected = ndimage.gaussian_filter(smooth, (0, 1.2, 1.2, 0), mode="reflect", radius=3)
    np.testing.assert_allclose(blurred, expected, atol=0.05)


def test_a_blur_of_no_size_changes_nothing(images):
    np.testing.assert_allclose(change(images, kind="blur", size=(0, 0)), images, atol=1e-3)


def test_each_image_is_blurred_by_the_size_that_was_drawn_for_it(images):
    class Rising(Draw):
        def uniform(self, low, high, *shape):
            return ops.linspace(low, high, self.num_images)

    blurred = change(images, draw=Rising, kind="average_blur", size=(1, 9))  # 1, 3, 5, 7, 9 pixels
    for place, image in enumerate(images.astype(float)):
        expected = ndimage.uniform_filter(image, (1 + 2 * place, 1 + 2 * place, 1), mode="reflect")
        np.testing.assert_allclose(blurred[place], expected, atol=1e-2)


@pytest.mark.parametrize("side", [1, 3, 5])
def test_an_average_blur_is_the_mean_of_a_square(images, side):
    expected = ndimage.uniform_filter(images.astype(float), (1, side, side, 1), mode="reflect")
    np.testing.assert_allclose(change(images, kind="average_blur", size=(side, side)), expected, atol=1e-2)


def test_a_motion_blur_draws_a_dot_out_to_a_line_of_the_drawn_length():
    class Level(LargestDraw):
        def uniform(self, low, high, *shape):
            return super().uniform(low, 0 if high == pytest.approx(np.pi) else high, *shape)

    dot = np.zeros((1, 15, 15, 1))
    dot[0, 7, 7] = 100
    line = change(dot, draw=Level, kind="motion_blur", size=(5, 5))[0, ..., 0]
    expected = np.zeros((15, 15))
    expected[7, 5:10] = 20
    np.testing.assert_allclose(line, expected, atol=1e-3)
    slanted = change(dot, draw=Draw, kind="motion_blur", size=(5, 5))
    assert slanted.sum() == pytest.approx(100, rel=1e-4)


def test_sharpening_takes_the_blur_twice_away_from_a_blurred_edge(smooth):
    blurred = change(smooth, kind="blur", size=(1, 1))
    np.testing.assert_allclose(
        change(smooth, kind="sharpen", share=(0.5, 0.5)), 1.5 * smooth - 0.5 * blurred, atol=1e-2
    )


@pytest.mark.parametrize("quality", [15, 60, 95])
def test_jpeg_leaves_about_the_error_that_a_real_one_leaves(smooth, quality):
    grey = np.rint(smooth[..., :1]).astype(np.uint8)
    changed = change(grey, kind="jpeg", quality=(quality, quality))
    decoded = []
    for image in grey[..., 0]:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(file), dtype=float))
    error = np.abs(changed[..., 0] - np.stack(decoded))
    assert error.mean() < 0.5  # a decoder rounds
    assert error.max() < 5  # now and then a frequency lies between two steps
    assert np.abs(changed - grey).max() > 1


def test_noise_of_one_channel_is_shared_and_else_each_channel_has_its_own(rng):
    grey = np.full((40, 16, 16, 3), 100)
    shared = change(grey, draw=Draw, kind="noise", size=(0.1, 0.1))
    np.testing.assert_allclose(shared[..., 0], shared[..., 2], atol=1e-3)
    assert (shared - 100).std() == pytest.approx(25.5, rel=0.05)
    own = change(grey, draw=Draw, kind="noise", size=(0.1, 0.1), per_channel=1)
    assert abs(np.corrcoef(own[..., 0].ravel(), own[..., 2].ravel())[0, 1]) < 0.05
    some = change(grey, draw=Draw, kind="noise", size=(0.1, 0.1), per_channel=0.5)
    share = (np.abs(some[..., 0] - some[..., 2]).max(axis=(1, 2)) > 1).mean()
    assert 0.2 < share < 0.8


def test_speckle_grows_with_the_light():
    dark, bright = np.full((4, 64, 64, 1), 20), np.full((4, 64, 64, 1), 200)
    changed = change(np.concatenate([dark, bright]), draw=Draw, kind="speckle", size=(0.1, 0.1))
    assert changed[:4].std() == pytest.approx(2, rel=0.05)
    assert changed[4:].std() == pytest.approx(20, rel=0.05)


def test_brightness_adds_and_multiply_multiplies(images):
    np.testing.assert_allclose(change(images, kind="brightness", size=(-0.1, 0.1)), images + 25.5, atol=1e-2)
    np.testing.assert_allclose(change(images, kind="multiply", factor=(0.5, 1.5)), 1.5 * images, atol=1e-2)


def test_channels_brighten_on_their_own_in_the_asked_share(rng):
    added = change(np.zeros((200, 4, 4, 3)), draw=Draw, kind="brightness", per_channel=0.3)[:, 0, 0]
    assert (np.ptp(added, axis=1) > 1e-3).mean() == pytest.approx(0.3, abs=0.12)
    assert np.abs(added).max() <= 25.51


def test_contrast_stretches_around_the_mean(images):
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    expected = mean + 1.5 * (images - mean)
    np.testing.assert_allclose(change(images, kind="contrast", factor=(0.5, 1.5)), expected, atol=1e-2)


def test_gamma_bends_the_light_as_often_up_as_down(images):
    np.testing.assert_allclose(change(images, kind="gamma", exponent=(0.5, 2)), 255 * (images / 255.0) ** 2, atol=0.1)
    middle = change(np.full((2000, 2, 2, 1), 128), draw=Draw, kind="gamma", exponent=(0.5, 2))[:, 0, 0, 0]
    assert (middle > 128).mean() == pytest.approx(0.5, abs=0.05)


def test_a_gradient_brightens_one_corner_and_darkens_the_other():
    changed = change(np.full((1, 8, 16, 1), 128), kind="gradient", size=0.2)[0, ..., 0]
    assert changed[0, 0] == pytest.approx(128 - 51, abs=0.1)
    assert changed[-1, -1] == pytest.approx(128 + 51, abs=0.1)
    assert changed.mean() == pytest.approx(128, abs=0.1)


def test_a_turn_of_the_hue_keeps_the_brightness_and_goes_round_in_three(images):
    weights = np.array([0.299, 0.587, 0.114])
    turned = change(images, kind="hue_saturation", hue=(0, 120), saturation=(1, 1))
    np.testing.assert_allclose(turned @ weights, images @ weights, atol=0.2)
    assert np.abs(turned - images).max() > 50
    for _ in range(2):
        turned = change(turned, kind="hue_saturation", hue=(0, 120), saturation=(1, 1))
    np.testing.assert_allclose(turned, images, atol=0.2)


def test_without_saturation_only_grey_is_left_as_grey_leaves_it(images):
    pale = change(images, kind="hue_saturation", hue=(0, 0), saturation=(0, 0))
    grey = change(images, kind="grey", share=(1, 1))
    luminance = images @ np.array([0.299, 0.587, 0.114])
    for changed in (pale, grey):
        np.testing.assert_allclose(changed, np.repeat(luminance[..., None], 3, axis=-1), atol=0.2)
    half = change(images, kind="grey", share=(0, 0.5))
    np.testing.assert_allclose(half, (images + grey) / 2, atol=0.1)


def test_pca_colour_moves_along_the_colours_that_occur(rng):
    direction = np.array([0.6, 0.8, 0.0])
    images = 100 + 30 * rng.normal(size=(300, 8, 8, 1)) * direction
    shift = (change(images, draw=Draw, kind="pca_colour", size=1.0) - images)[:, 0, 0]
    np.testing.assert_allclose(shift - (shift @ direction)[:, None] * direction, 0, atol=0.02)
    eigenvalue = np.linalg.eigvalsh(np.cov(images.reshape(-1, 3).T / 255)).max()
    assert (shift @ direction).std() == pytest.approx(255 * eigenvalue, rel=0.15)


def test_local_contrast_lifts_a_flat_place_up_to_the_limit(rng):
    flat, lively = 100 + rng.normal(0, 1, (1, 40, 40, 1)), 100 + rng.normal(0, 40, (1, 40, 40, 1))
    image = np.concatenate([flat, lively], axis=2)
    evened = change(image, kind="local_contrast", share=(1, 1), window=8, limit=3.0)
    assert evened[:, 10:30, 5:25].std() == pytest.approx(3 * image[:, 10:30, 5:25].std(), rel=0.2)
    assert evened[:, 10:30, 55:75].std() < image[:, 10:30, 55:75].std()


def test_an_erased_box_is_painted_with_the_mean_or_black(images):
    # The drawn box reaches from 3/4 to 5/4 of each side.
    mean = np.broadcast_to(images.mean(axis=(1, 2, 3))[:, None, None, None], (5, 2, 4, 3))
    for paint, colour in (("mean", mean), ("zero", 0)):
        changed = change(images, kind="erase", size=(0, 0.5), paint=paint)
        np.testing.assert_allclose(changed[:, :9], images[:, :9], atol=1e-3)
        np.testing.assert_allclose(changed[:, :, :15], images[:, :, :15], atol=1e-3)
        np.testing.assert_allclose(changed[:, -2:, -4:], np.broadcast_to(colour, mean.shape), atol=1e-2)


def test_mixup_shows_another_photo_by_less_than_half(images):
    mixed = change(images, kind="mixup", share=(0, 0.25))
    np.testing.assert_allclose(mixed, 0.75 * images + 0.25 * np.roll(images, 1, axis=0), atol=1e-2)
    with pytest.raises(ValueError, match="a range must be two numbers from 0 to 0.49"):
        change_of(kind="mixup", share=(0, 0.5))


@pytest.mark.parametrize("channels", [2, 4])
def test_a_mask_is_dropped_at_the_asked_share_and_nothing_else_touches_it(channels, rng):
    images = rng.uniform(50, 200, (40, 8, 8, channels)).astype("float32")
    dropped = change(images, draw=Draw, kind="drop_mask", probability=0.5)
    empty = (dropped[..., -1] == 0).all(axis=(1, 2))
    assert empty.sum() == 20
    assert np.array_equal(dropped[~empty], images[~empty])
    assert np.array_equal(dropped[..., :-1], images[..., :-1])
    brighter = change(images, kind="brightness", size=(0.1, 0.1))
    assert np.array_equal(brighter[..., -1], images[..., -1])
    np.testing.assert_allclose(brighter[..., :-1], images[..., :-1] + 25.5, atol=1e-2)


ADD = {"kind": "brightness", "size": (1 / 255, 1 / 255)}
DOUBLE = {"kind": "multiply", "factor": (2, 2)}
HALVE = {"kind": "multiply", "factor": (0.5, 0.5)}


def drawn_values(num_images, num_batches, start=16.0, **values):
    """What becomes of batches of images of one value, one compiled step after the other; one row a batch."""
    draw, entry = Draw(num_images, random.SeedGenerator(1)), change_of(**values)
    step = tf.function(lambda images: apply_change(images, draw, entry))
    images = tf.fill((num_images, 1, 1, 1), start)
    return np.stack([step(images).numpy()[:, 0, 0, 0] for _ in range(num_batches)]).round(3)


def test_a_probability_changes_its_share_of_every_batch_and_each_image_as_often():
    changed = drawn_values(32, 400, **ADD, probability=0.3) == 17
    assert set(changed.sum(axis=1)) == {9, 10}
    assert changed.mean() == pytest.approx(0.3, abs=0.004)
    np.testing.assert_allclose(changed.mean(axis=0), 0.3, atol=0.1)


@pytest.mark.parametrize(("probability", "expected"), [(0, 16), (1, 17)])
def test_never_and_always_are_exact(probability, expected):
    assert (drawn_values(5, 1, **ADD, probability=probability) == expected).all()


def test_a_rare_change_of_a_single_image_happens_as_often_as_asked():
    assert (drawn_values(1, 800, **ADD, probability=0.2) == 17).mean() == pytest.approx(0.2, abs=0.05)


def test_one_of_gives_each_image_one_change_and_all_changes_equally_many():
    for batch in drawn_values(32, 50, one_of=[ADD, DOUBLE, HALVE]):
        values, counts = np.unique(batch, return_counts=True)
        assert values.tolist() == [8, 17, 32]
        assert counts.sum() == 32
        assert set(counts) <= {10, 11}


def test_one_of_with_a_probability_leaves_the_others_as_they_were():
    values, counts = np.unique(drawn_values(40, 1, one_of=[ADD, DOUBLE], probability=0.5), return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {16: 20, 17: 10, 32: 10}


def test_some_of_all_goes_through_every_change_once_in_both_orders():
    drawn = drawn_values(9, 200, some_of=[ADD, DOUBLE])
    assert set(drawn.ravel().tolist()) == {33, 34}  # 2 x 16 + 1, or 2 x (16 + 1)
    assert (drawn == 34).mean() == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose((drawn == 34).mean(axis=0), 0.5, atol=0.15)


def test_some_of_draws_how_many_and_never_the_same_twice():
    drawn = drawn_values(30, 200, some_of=[ADD, DOUBLE, HALVE], count=[0, 2])
    # None; one alone; two in either order. The same one twice would give 18, 64 or 4.
    assert set(drawn.ravel().tolist()) == {16, 17, 32, 8, 33, 34, 9, 8.5}
    assert np.isin(drawn, [17, 32, 8]).mean() == pytest.approx(1 / 3, abs=0.03)
    assert (drawn == 16).mean() == pytest.approx(1 / 3 + 1 / 9, abs=0.03)  # 2 and 1/2 together are one pair of three


def test_some_of_keeps_the_probability_of_each_change():
    drawn = drawn_values(30, 200, some_of=[{**ADD, "probability": 0.5}, {**DOUBLE, "probability": 0.25}])
    assert np.isin(drawn, [17, 33, 34]).mean() == pytest.approx(0.5, abs=0.03)
    assert np.isin(drawn, [32, 33, 34]).mean() == pytest.approx(0.25, abs=0.03)


def test_the_fields_with_names_of_their_own_come_first_and_mean_what_they_meant():
    settings = AugmentationSettings(gamma=0.5, gradient=0.15, noise=0.2, erase=0.3, changes=[ADD])
    named = [change.model_dump(exclude_defaults=True) for change in all_changes(settings)]
    assert named == [
        {"kind": "gamma", "exponent": (0.5, 2)},
        {"kind": "gradient", "size": 0.15},
        {"kind": "noise", "size": (0.2, 0.2), "per_channel": 1},
        {"kind": "erase", "size": (0, 0.3)},
        {"kind": "brightness", "size": (1 / 255, 1 / 255)},
    ]
    assert all_changes(AugmentationSettings()) == ()
