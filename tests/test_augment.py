import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from siamese.augment import Augment, turn_images
from siamese.settings import AugmentationSettings

STILL = {"rotation": 0, "shear": 0, "zoom": (1, 1), "shift": 0}
WILD = AugmentationSettings(
    rotation=20, shear=10, zoom=(0.7, 1.2), shift=0.2, perspective=0.2, gamma=0.3, gradient=0.3, noise=0.05, erase=0.4
)


class LargestChange(Augment):
    """Draws the upper end of every range."""

    def _uniform(self, images, low, high, *extra):
        return ops.full((len(images), *extra), float(high))


def change(images, layer=LargestChange, **settings):
    augment = layer(AugmentationSettings(**{**STILL, **settings}))
    return ops.convert_to_numpy(augment(images, training=True))


def ramps(height, width):
    """Two images: the column of each pixel, and its row."""
    rows, columns = np.indices((height, width), dtype=np.float32)
    return np.stack([columns, rows])[..., None]


def centred(height, width):
    rows, columns = np.indices((height, width))
    return rows - (height - 1) / 2, columns - (width - 1) / 2


def lands_at(warped, height, width):
    """Where each output pixel took its value, `(x, y)` from the centre, read off two warped ramps."""
    return warped[0, ..., 0] - (width - 1) / 2, warped[1, ..., 0] - (height - 1) / 2


INNER = np.s_[6:-6, 8:-8]  # places whose source lies inside the image


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 12, 20, 3)).astype(np.uint8)


def test_with_every_change_switched_off_images_stay_as_they_are(images):
    changed = change(images, layer=Augment)
    assert changed.dtype == np.float32
    np.testing.assert_allclose(changed, images, atol=1e-3)


def test_outside_of_training_images_stay_as_they_are_to_the_last_bit(images):
    augment = Augment(WILD)
    for options in ({}, {"training": False}):
        assert np.array_equal(ops.convert_to_numpy(augment(images, **options)), images)


def test_a_shift_moves_the_image_by_a_share_of_its_sides_and_fills_with_its_mean(images):
    changed = change(images, shift=0.25)  # 3 of 12 rows, 5 of 20 columns
    np.testing.assert_allclose(changed[:, :-3, :-5], images[:, 3:, 5:], atol=1e-2)
    mean = np.broadcast_to(images.mean(axis=(1, 2, 3))[:, None, None, None], images.shape)
    np.testing.assert_allclose(changed[:, -3:], mean[:, -3:], atol=1e-2)
    np.testing.assert_allclose(changed[:, :, -5:], mean[:, :, -5:], atol=1e-2)


def test_a_rotation_by_90_degrees_is_a_quarter_turn(rng):
    images = rng.integers(0, 256, (2, 16, 16, 1)).astype(np.uint8)
    np.testing.assert_allclose(change(images, rotation=90), np.rot90(images, axes=(1, 2)), atol=0.1)


def test_a_rotation_by_180_degrees_turns_an_oblong_image_upside_down(images):
    np.testing.assert_allclose(change(images, rotation=180), images[:, ::-1, ::-1], atol=0.1)


def test_a_rotation_keeps_lengths_also_when_height_and_width_differ():
    height, width = 24, 48
    x, y = lands_at(change(ramps(height, width), rotation=20), height, width)
    rows, columns = centred(height, width)
    np.testing.assert_allclose(np.hypot(x, y)[INNER], np.hypot(rows, columns)[INNER], atol=1e-2)
    angle = np.deg2rad(20)
    np.testing.assert_allclose(x[INNER], (np.cos(angle) * columns - np.sin(angle) * rows)[INNER], atol=1e-2)


def test_a_zoom_of_one_half_shows_twice_as_much():
    x, y = lands_at(change(ramps(16, 32), zoom=(0.5, 0.5)), 16, 32)
    rows, columns = centred(16, 32)
    np.testing.assert_allclose(x[5:11, 10:22], 2 * columns[5:11, 10:22], atol=1e-2)
    np.testing.assert_allclose(y[5:11, 10:22], 2 * rows[5:11, 10:22], atol=1e-2)


def test_a_shear_slants_what_is_upright():
    x, y = lands_at(change(ramps(24, 48), shear=30), 24, 48)
    rows, columns = centred(24, 48)
    np.testing.assert_allclose(x[INNER], (columns - 0.5 * rows)[INNER], atol=1e-2)
    np.testing.assert_allclose(y[INNER], (np.cos(np.deg2rad(30)) * rows)[INNER], atol=1e-2)


def test_a_perspective_shrinks_one_side_and_stretches_the_other():
    x, y = lands_at(change(ramps(24, 48), perspective=0.2), 24, 48)
    rows, columns = centred(24, 48)
    depth = 1 + 0.2 * columns / 24 + 0.2 * rows / 12
    np.testing.assert_allclose(x[INNER], (columns / depth)[INNER], atol=2e-2)
    np.testing.assert_allclose(y[INNER], (rows / depth)[INNER], atol=2e-2)


def test_gamma_bends_the_light(images):
    np.testing.assert_allclose(change(images, gamma=0.5), 255 * (images / 255.0) ** 2, atol=0.1)


def test_a_gradient_brightens_one_corner_and_darkens_the_other():
    grey = np.full((1, 8, 16, 1), 128, np.uint8)
    changed = change(grey, gradient=0.2)[0, ..., 0]
    assert changed[0, 0] == pytest.approx(128 - 51, abs=0.1)
    assert changed[-1, -1] == pytest.approx(128 + 51, abs=0.1)
    assert changed.mean() == pytest.approx(128, abs=0.1)


def test_noise_has_the_asked_strength(images):
    difference = change(np.full((4, 64, 64, 1), 100, np.uint8), layer=Augment, noise=0.1) - 100
    assert difference.std() == pytest.approx(25.5, rel=0.05)
    assert abs(difference.mean()) < 1


def test_an_erased_box_is_painted_with_the_mean(images):
    changed = change(images, erase=0.5)  # the drawn box reaches from 3/4 to 5/4 of each side
    np.testing.assert_allclose(changed[:, :9], images[:, :9], atol=1e-3)
    np.testing.assert_allclose(changed[:, :, :15], images[:, :, :15], atol=1e-3)
    mean = np.broadcast_to(images.mean(axis=(1, 2, 3))[:, None, None, None], (5, 2, 4, 3))
    np.testing.assert_allclose(changed[:, -2:, -4:], mean, atol=1e-2)


def test_each_image_of_a_batch_is_changed_in_its_own_way(rng):
    same = np.repeat(rng.integers(0, 256, (1, 12, 20, 1)), 6, axis=0).astype(np.uint8)
    changed = ops.convert_to_numpy(Augment(WILD)(same, training=True))
    assert len(np.unique(changed.reshape(6, -1), axis=0)) == 6


def test_the_same_state_of_the_seed_gives_the_same_images_and_the_next_call_others(images):
    first, second = Augment(WILD, seed=3), Augment(WILD, seed=3)
    state = ops.convert_to_numpy(first.generator.state)
    results = [ops.convert_to_numpy(layer(images, training=True)) for layer in (first, first, second)]
    assert np.array_equal(results[0], results[2])
    assert not np.array_equal(results[0], results[1])
    first.generator.state.assign(state)
    assert np.array_equal(ops.convert_to_numpy(first(images, training=True)), results[0])
    assert not np.array_equal(ops.convert_to_numpy(Augment(WILD, seed=4)(images, training=True)), results[0])


def test_changes_stay_within_their_ranges_and_go_both_ways(rng):
    shifted = change(np.repeat(ramps(20, 40)[:1], 300, axis=0), layer=Augment, shift=0.1)
    moved = shifted[:, 10, 20, 0] - 20
    assert np.all(np.abs(moved) <= 4.001)
    assert moved.min() < -3
    assert moved.max() > 3


def test_images_are_left_unchanged(images):
    before = images.copy()
    Augment(WILD)(images, training=True)
    turn_images(images, "flip")
    assert np.array_equal(images, before)


def test_turned_images_are_those_of_a_two_by_two_pattern():
    pattern = np.array([[1, 2], [3, 4]], np.uint8)[None, :, :, None]
    turned = {turn: turn_images(pattern, turn)[0, ..., 0].tolist() for turn in ("flip", "turn90", "turn180", "turn270")}
    assert turned == {
        "flip": [[2, 1], [4, 3]],
        "turn90": [[2, 4], [1, 3]],
        "turn180": [[4, 3], [2, 1]],
        "turn270": [[3, 1], [4, 2]],
    }


@given(st.sampled_from([("flip", 2), ("turn90", 4), ("turn180", 2), ("turn270", 4)]), st.integers(0, 99))
def test_turns_repeated_come_back_to_the_image(turn_and_times, seed):
    turn, times = turn_and_times
    images = np.random.default_rng(seed).integers(0, 256, (3, 6, 6, 1)).astype(np.uint8)
    turned = images
    for _ in range(times):
        turned = turn_images(turned, turn)
    assert np.array_equal(turned, images)


@pytest.mark.parametrize("turn", ["turn90", "turn270"])
def test_a_quarter_turn_of_oblong_images_is_refused(turn, images):
    with pytest.raises(ValueError, match=f"`{turn}` needs square images. Received: shape .5, 12, 20, 3.") as caught:
        turn_images(images, turn)
    assert "augmentation.new_identities" in str(caught.value)
