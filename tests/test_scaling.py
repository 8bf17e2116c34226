import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from siamese.errors import SettingsError
from siamese.models.averaging import reestimate_batch_norm
from siamese.models.encoder import Stripes, build_encoder
from siamese.models.scaling import Resize, at_scale
from siamese.settings import EncoderSettings

TINY = EncoderSettings(
    stem_filters=3, stem_kernel=3, stem_pool=False, stem_convolutions=0, widths=(4, 6), bottlenecks=(2, 3), depth=1
)


def make_encoder(shape=(16, 32, 1), stripes=1):
    keras.utils.set_random_seed(8)
    return build_encoder(shape, TINY.model_copy(update={"stripes": stripes}))


def draw_images(rng, count=5, shape=(16, 32, 1)):
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def by_pillow(images, height, width):
    planes = np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3]).astype(np.float32)
    resized = [np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BILINEAR)) for p in planes]
    return np.moveaxis(np.stack(resized).reshape(len(images), -1, height, width), 1, -1)


# resizing


def test_half_of_an_image_averages_its_pixels_with_a_triangle():
    ramp = np.array([0, 0, 0, 80, 80, 80], np.uint8).reshape(1, 1, 6, 1)
    resized = keras.ops.convert_to_numpy(Resize(1, 3)(ramp))
    np.testing.assert_allclose(resized.ravel(), [0, 40, 80], atol=80 / 7 + 1e-3)
    assert resized.ravel()[1] == pytest.approx(40)


@pytest.mark.parametrize("size", [(8, 16), (7, 11), (24, 40), (16, 32), (5, 32)])
def test_images_are_resized_as_the_store_resizes_them(rng, size):
    images = draw_images(rng, shape=(16, 32, 3))
    before = images.copy()
    resized = keras.ops.convert_to_numpy(Resize(*size)(images))
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, by_pillow(images, *size), atol=1e-3)
    assert np.array_equal(images, before)


def test_resizing_compiles():
    images = np.arange(128, dtype=np.uint8).reshape(1, 8, 16, 1)
    layer = Resize(4, 8)
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled(images), layer(images), atol=1e-3)


# the encoder at another scale


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.25])
@pytest.mark.parametrize("stripes", [1, 2])
def test_the_scaled_encoder_is_one_built_for_the_resized_images(rng, scale, stripes):
    encoder, images = make_encoder(stripes=stripes), draw_images(rng)
    size = (round(16 * scale), round(32 * scale))
    built = make_encoder((*size, 1), stripes)
    built.set_weights(encoder.get_weights())
    found = at_scale(encoder, scale)(images).numpy()
    np.testing.assert_allclose(found, built(by_pillow(images, *size)).numpy(), rtol=1e-3, atol=1e-3)
    assert np.abs(found - encoder(images).numpy()).max() > 0.01


def test_sizes_are_rounded_to_whole_pixels():
    assert at_scale(make_encoder((17, 33, 1)), 0.7).get_layer("resize").output.shape == (None, 12, 23, 1)


def test_the_scaled_encoder_has_the_weights_of_the_first():
    encoder = make_encoder()
    scaled = at_scale(encoder, 0.5)
    assert [id(weight) for weight in scaled.weights] == [id(weight) for weight in encoder.weights]
    assert scaled.input_shape == encoder.input_shape
    assert scaled.output_shape == encoder.output_shape


def test_scale_one_is_the_encoder_itself():
    encoder = make_encoder()
    assert at_scale(encoder, 1.0) is encoder
    assert at_scale(encoder, 1.01) is encoder


def test_the_first_encoder_gives_and_saves_the_same_numbers_afterwards(tmp_path, rng):
    encoder, images = make_encoder(stripes=2), draw_images(rng)
    before = encoder(images).numpy()
    at_scale(encoder, 0.5)(images)
    np.testing.assert_array_equal(encoder(images).numpy(), before)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(loaded(images).numpy(), before)


def test_one_optimiser_trains_the_weights_at_any_scale(rng):
    encoder, optimizer = make_encoder(), keras.optimizers.Adam(0.01)
    optimizer.build(encoder.trainable_variables)
    images, target = draw_images(rng, 6), np.ones((6, 6), np.float32)
    for scale in (0.5, 0.75, 1.0):
        scaled = at_scale(encoder, scale)
        scaled.compile(optimizer, loss="mse")
        before = [weight.numpy().copy() for weight in encoder.weights]
        scaled.fit(images, target, batch_size=6, verbose=0)
        assert all(not np.array_equal(old, new.numpy()) for old, new in zip(before, encoder.weights, strict=True))
    assert int(optimizer.iterations) == 3


def test_batch_statistics_can_be_those_of_the_scaled_images(rng):
    encoder, images = make_encoder(), draw_images(rng, 6)
    scaled = at_scale(encoder, 0.5)
    seen = scaled(images, training=True).numpy()
    reestimate_batch_norm(scaled, lambda index: images[index], 6, 6)
    np.testing.assert_allclose(scaled(images, training=False).numpy(), seen, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "stripes", "scale", "sentence"),
    [
        ((16, 32, 1), 1, 0.2, "at least 4 pixels high and 4 wide.*Received: image_scale=0.2, which makes them 3 x 6"),
        ((16, 32, 1), 4, 0.7, "at least 4 pixels high and 25 wide.*which makes them 11 x 22. Take a larger scale"),
    ],
)
def test_images_that_get_too_small_are_refused(shape, stripes, scale, sentence):
    with pytest.raises(SettingsError, match=sentence):
        at_scale(make_encoder(shape, stripes), scale)


def is_refused(make, *args):
    try:
        make(*args)
    except SettingsError:
        return True
    return False


@pytest.mark.parametrize("stripes", [1, 3, 4])
def test_a_width_is_allowed_where_an_encoder_of_it_can_be_built(stripes):
    encoder = make_encoder((64, 32, 1), stripes)
    for width in (3, 4, 16, 17, 24, 25):
        assert is_refused(at_scale, encoder, width / 32) == is_refused(make_encoder, (64, width, 1), stripes), width


# stripes


def test_stripes_of_five_columns_share_the_middle_one():
    columns = np.arange(5.0).reshape(1, 1, 5, 1)
    assert [stripe.numpy().ravel().tolist() for stripe in map(tf.convert_to_tensor, Stripes(2)(columns))] == [
        [0, 1, 2],
        [2, 3, 4],
    ]


@given(width=st.integers(1, 40), data=st.data())
@settings(max_examples=60)
def test_stripes_cover_the_map_and_mirror_with_it(width, data):
    count = data.draw(st.integers(1, width))
    columns = np.arange(width).reshape(1, 1, width, 1)
    stripes = [keras.ops.convert_to_numpy(stripe).ravel() for stripe in Stripes(count)(columns)]
    mirrored = [keras.ops.convert_to_numpy(stripe).ravel() for stripe in Stripes(count)(columns[:, :, ::-1])]
    assert sorted(set(np.concatenate(stripes).tolist())) == list(range(width))
    assert all(np.array_equal(a[::-1], b) for a, b in zip(stripes, mirrored[::-1], strict=True))
    assert max(map(len, stripes)) - min(map(len, stripes)) <= 1
    assert all(left[-1] - right[0] in (-1, 0) for left, right in itertools.pairwise(stripes))
    if width % count == 0:
        assert np.array_equal(stripes, columns.reshape(count, -1))


def test_an_encoder_takes_stripes_that_do_not_divide_its_last_map(rng):
    encoder = make_encoder(stripes=3)
    assert encoder.get_layer("stripes").input.shape[2] == 4
    assert encoder(draw_images(rng)).shape == (5, 3 * 6)
