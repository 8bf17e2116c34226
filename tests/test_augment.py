import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from PIL import Image
from scipy import ndimage

from siamese.augment import Augment, move_boxes, turn_images, warp
from siamese.augment.examples import NUM_DRAWS, example_rows, sample_photos
from siamese.errors import ImageError
from siamese.manifest import from_folder
from siamese.settings import AugmentationSettings, PreprocessingSettings
from siamese.settings.presets import PRESETS

STILL = {"rotation": 0, "shear": 0, "zoom": (1, 1), "shift": 0}
WILD = AugmentationSettings(
    rotation=20, shear=10, zoom=(0.7, 1.2), shift=0.2, perspective=0.2, gamma=0.3, gradient=0.3, noise=0.05, erase=0.4
)


def change(images, **settings):
    augment = Augment(AugmentationSettings(**{**STILL, **settings}))
    return ops.convert_to_numpy(augment(images, training=True))


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 12, 20, 3)).astype(np.uint8)


def test_with_every_change_switched_off_images_stay_as_they_are(images):
    changed = change(images)
    assert changed.dtype == np.float32
    np.testing.assert_allclose(changed, images, atol=1e-3)


def test_outside_of_training_images_stay_as_they_are_to_the_last_bit(images):
    augment = Augment(WILD)
    for options in ({}, {"training": False}):
        assert np.array_equal(ops.convert_to_numpy(augment(images, **options)), images)


def test_noise_has_the_asked_strength(images):
    difference = change(np.full((4, 64, 64, 1), 100, np.uint8), noise=0.1) - 100
    assert difference.std() == pytest.approx(25.5, rel=0.05)
    assert abs(difference.mean()) < 1


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


def test_changes_stay_within_their_ranges_and_go_both_ways():
    columns = np.tile(np.arange(40, dtype=np.float32)[None, None, :, None], (300, 20, 1, 1))
    shifted = change(columns, shift=0.1)
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


EVERYTHING = AugmentationSettings(
    elastic=(0, 0.02),
    flip=0.5,
    fill="edge",
    changes=[
        {"kind": "mixup", "probability": 0.4},
        {
            "one_of": [
                {"kind": "blur", "size": (0.5, 1.5)},
                {"kind": "jpeg"},
                {"kind": "local_contrast", "share": (1, 1), "window": 4},
            ]
        },
        {"some_of": [{"kind": "noise"}, {"kind": "gamma"}, {"kind": "hue_saturation"}], "count": [0, 2]},
        {"kind": "drop_mask", "probability": 0.5},
    ],
)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_one_trace_serves_batches_of_every_length_and_gives_what_eager_execution_gives(channels, rng):
    images = rng.integers(0, 256, (7, 12, 20, channels)).astype(np.uint8)
    compiled, eager = Augment(EVERYTHING, seed=5), Augment(EVERYTHING, seed=5)
    shape = tf.TensorSpec((None, 12, 20, channels), tf.uint8)
    step = tf.function(lambda batch: compiled(batch, training=True), input_signature=[shape])
    for length in (7, 3, 1):
        changed = step(images[:length]).numpy()
        assert changed.shape == (length, 12, 20, channels)
        np.testing.assert_allclose(changed, eager(images[:length], training=True), atol=0.05)
    assert step.experimental_get_tracing_count() == 1


def test_boxes_and_masks_move_with_their_images():
    masks = np.zeros((3, 32, 64, 1), np.float32)
    masks[:, 12:20, 24:40] = 255
    boxes = np.tile(np.array([[[24, 12, 16, 8]]], np.float32), (3, 1, 1))
    changed, movement = Augment(AugmentationSettings(rotation=20, elastic=(0, 0.02), fill="zero")).change(masks)
    moved = ops.convert_to_numpy(warp(masks, movement, fill="zero", interpolation="nearest"))[..., 0]
    hulls = ops.convert_to_numpy(move_boxes(boxes, movement))[:, 0]
    shown = ops.convert_to_numpy(changed)[..., 0]
    for photo, mask, (x, y, width, height) in zip(shown, moved, hulls, strict=True):
        assert np.mean((photo > 127.5) == (mask > 127.5)) > 0.97
        rows, columns = np.nonzero(mask)
        assert (columns.min(), rows.min()) == pytest.approx((x, y), abs=1.5)
        assert (columns.max() + 1, rows.max() + 1) == pytest.approx((x + width, y + height), abs=1.5)


def test_a_mask_channel_moves_with_its_image_and_is_black_beyond_the_edge(rng):
    photo = rng.uniform(50, 200, (4, 16, 16, 1)).astype(np.float32)
    settings = AugmentationSettings(rotation=45, shift=0.3, fill="mean")
    changed = ops.convert_to_numpy(Augment(settings)(np.concatenate([photo, photo], axis=-1), training=True))
    mask = changed[..., 1]
    assert (mask == 0).any()
    whole = mask >= 50  # where the photo is seen, and its edge is not blended with black
    np.testing.assert_allclose(changed[..., 0][whole & inner(whole)], mask[whole & inner(whole)], atol=1e-2)
    np.testing.assert_allclose(changed[mask == 0][:, 0].min(), photo.mean(axis=(1, 2, 3)).min(), atol=1e-2)


def inner(shown):
    """Pixels whose neighbours are all shown too."""
    return ndimage.binary_erosion(shown, np.ones((1, 3, 3)))


def test_images_are_float32_also_in_a_model_of_mixed_precision(images):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        layer = Augment(WILD, seed=2)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    pixels = images.astype(np.float32) + 0.123  # which 16 bits cannot hold
    changed = layer(pixels, training=True)
    assert keras.backend.standardize_dtype(changed.dtype) == "float32"
    assert np.array_equal(changed, Augment(WILD, seed=2)(pixels, training=True))


def test_no_compiler_is_asked_for_a_kernel_that_it_lacks(images):
    layer = Augment(WILD)
    layer(images, training=True)
    step = tf.function(lambda batch: layer(batch, training=True), jit_compile=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="ImageProjectiveTransform"):  # else the flag can go
        step(images)
    assert not layer.supports_jit


def test_example_rows_show_the_whole_policy_and_each_change_alone(rng):
    photos = rng.integers(0, 256, (3, 12, 20, 3)).astype(np.uint8)
    rows = example_rows(photos, ["a", "b", "c"], EVERYTHING, seed=1)
    alone = ["rotation", "shear", "zoom", "shift", "elastic", "flip"]
    alone += ["mixup", "blur", "jpeg", "local_contrast", "noise", "gamma", "hue_saturation"]
    assert [row.caption for row in rows] == ["a", "b", "c", *(f"{name} alone" for name in alone)]
    for row, photo in zip(rows, [*photos, *[photos[0]] * len(alone)], strict=True):
        assert row.images.shape == (1 + NUM_DRAWS, 12, 20, 3)
        assert row.images.dtype == np.uint8
        assert np.array_equal(row.images[0], photo)
        assert all(not np.array_equal(drawn, photo) for drawn in row.images[1:]), row.caption


def test_photos_that_cannot_be_read_are_passed_over(photo_folder):
    for photo in sorted((photo_folder / "Mara").glob("*.jpg")):
        photo.write_bytes(b"not a photo")
    preprocessing = PreprocessingSettings(height=16, width=24)
    images, names = sample_photos(from_folder(photo_folder), preprocessing, seed=0)
    assert images.shape == (3, 16, 24, 1)
    assert len(set(names)) == 3
    assert not any(name.startswith("Mara") for name in names)
    for photo in photo_folder.rglob("*.jpg"):
        photo.write_bytes(b"not a photo")
    with pytest.raises(ImageError, match="the file must be a photo"):
        sample_photos(from_folder(photo_folder), preprocessing, seed=0)


SMALL = ["--set", "preprocessing.height=16", "--set", "preprocessing.width=24"]


def test_the_program_draws_a_sheet_of_the_settings(run_program, photo_folder, tmp_path):
    out = tmp_path / "sheet.png"
    arguments = ("--photos", photo_folder, "--out", out, *SMALL, "--set", "augmentation.changes=[{kind: blur}]")
    code, said, err = run_program("data", "augmentations", *arguments)
    assert code == 0, err
    assert said.strip() == str(out)
    with Image.open(out) as sheet:
        few = sheet.size
    more = ("--photos", photo_folder, "--out", out, *SMALL, "--preset", "solovyev")
    assert run_program("data", "augmentations", *more)[0] == 0
    with Image.open(out) as sheet:
        assert sheet.size[0] == few[0]
        assert sheet.size[1] > few[1]  # more changes, more rows


def test_the_program_draws_a_sheet_for_each_preset(run_program, photo_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("siamese.settings.presets.PRESETS", {name: PRESETS[name] for name in ("piotte", "park")})
    arguments = ("--photos", photo_folder, "--out", tmp_path / "sheets", *SMALL, "--preset", "all")
    code, _, err = run_program("data", "augmentations", *arguments)
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == ["park.png", "piotte.png"]


def test_the_program_knows_only_published_presets(run_program, photo_folder, tmp_path):
    arguments = ("--photos", photo_folder, "--out", tmp_path / "sheet.png", "--preset", "nobody")
    code, _, err = run_program("data", "augmentations", *arguments)
    assert code == 2
    assert "`augmentation.preset` is wrong" in err
    assert not (tmp_path / "sheet.png").exists()
