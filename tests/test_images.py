import ast
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from siamese.contrast import normalise_contrast
from siamese.errors import ImageError
from siamese.images import TURNS, crop_region, opened, prepare_array, prepare_image, read_image, upright, upright_size
from siamese.settings import PreprocessingSettings

SQUARE = PreprocessingSettings(height=32, width=32, margin=0)


def half_and_half(size=(64, 32)):
    """Left half black, right half white."""
    image = Image.new("L", size, 0)
    image.paste(255, (size[0] // 2, 0, size[0], size[1]))
    return image


def save(image, path, **options):
    image.save(path, **options)
    return path


def test_read_image_gives_grey_or_colour_bytes(tmp_path, draw_photo):
    photo = draw_photo(tmp_path / "a.png", size=(30, 20))
    assert read_image(photo, 1).shape == (20, 30, 1)
    assert read_image(photo, 3).shape == (20, 30, 3)
    assert read_image(photo, 3).dtype == np.uint8
    np.testing.assert_array_equal(read_image(photo, 3), np.asarray(Image.open(photo)))


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("orientation", [1, *TURNS])
def test_read_image_turns_photos_upright(tmp_path, ending, mode, orientation):
    upright = half_and_half().convert(mode)
    back = {
        Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
        Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    }
    turn = TURNS.get(orientation)
    as_stored = upright if turn is None else upright.transpose(back.get(turn, turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = save(as_stored, tmp_path / f"a.{ending}", exif=exif)
    seen = read_image(photo, 1)[..., 0].astype(int)
    assert seen.shape == (32, 64)
    assert seen[:, :28].max() < 20
    assert seen[:, 36:].min() > 235


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_prepare_image_counts_the_box_in_the_upright_photo(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    photo = save(half_and_half((640, 320)).transpose(Image.Transpose.ROTATE_90), tmp_path / f"a.{ending}", exif=exif)
    assert prepare_image(photo, (0, 0, 310, 320), SQUARE).max() < 20
    assert prepare_image(photo, (330, 0, 310, 320), SQUARE).min() > 235


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_read_image_keeps_the_range_of_wide_photos(tmp_path, dtype):
    ramp = np.linspace(0, 65535, 256).astype(dtype).reshape(16, 16)
    seen = read_image(save(Image.fromarray(ramp), tmp_path / "a.tif"), 1)
    np.testing.assert_array_equal(seen.ravel(), np.arange(256))


def test_read_image_scales_numbers_beyond_sixteen_bits_by_the_largest(tmp_path):
    ramp = np.linspace(0, 2**20, 256).astype(np.int32).reshape(16, 16)
    np.testing.assert_array_equal(
        read_image(save(Image.fromarray(ramp), tmp_path / "a.tif"), 1).ravel(), np.arange(256)
    )


def test_read_image_reads_sixteen_bit_png(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    np.testing.assert_array_equal(
        read_image(save(Image.fromarray(ramp), tmp_path / "a.png"), 1).ravel(), np.arange(256)
    )


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("1", "png"), ("L", "jpg"), ("P", "png"), ("RGB", "gif"), ("RGBA", "png"), ("CMYK", "jpg"), ("LA", "png")],
)
def test_read_image_reads_every_usual_mode(tmp_path, mode, ending):
    photo = save(half_and_half().convert("RGB").convert(mode), tmp_path / f"a.{ending}")
    for channels in (1, 3):
        seen = read_image(photo, channels)
        assert seen.shape == (32, 64, channels)
        assert seen[:, :28].max() < 20
        assert seen[:, 36:].min() > 235


def test_read_image_shows_colours_of_a_palette(tmp_path):
    photo = save(
        Image.new("RGB", (8, 8), (200, 40, 90)).convert("P", palette=Image.Palette.ADAPTIVE), tmp_path / "a.png"
    )
    assert read_image(photo, 3)[0, 0].tolist() == [200, 40, 90]


def test_read_image_puts_transparent_places_on_white(tmp_path):
    photo = save(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), tmp_path / "a.png")
    assert read_image(photo, 1).min() == 255


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, and rightly so
def test_read_image_reads_a_photo_whose_exif_is_damaged(tmp_path):
    photo = save(half_and_half().convert("RGB"), tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert read_image(photo, 1).shape == (32, 64, 1)


def test_read_image_refuses_a_photo_that_was_cut_short(tmp_path, draw_photo):
    photo = draw_photo(tmp_path / "a.jpg", size=(200, 200))
    photo.write_bytes(photo.read_bytes()[:-400])
    with pytest.raises(ImageError, match=r"a\.jpg: the photo must be readable. Received: .*truncated"):
        read_image(photo, 1)
    with pytest.raises(ImageError, match="truncated"):
        prepare_image(photo, None, SQUARE)


def test_read_image_says_why_a_file_is_no_photo(tmp_path):
    (tmp_path / "a.jpg").write_text("not a photo")
    (tmp_path / "b.jpg").touch()
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(ImageError, match=f"{name}: the file must be a photo"):
            read_image(tmp_path / name, 1)
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "c.jpg", 1)


def test_read_image_refuses_a_decompression_bomb(tmp_path):
    photo = save(Image.new("1", (20_000, 10_000)), tmp_path / "bomb.png")
    assert photo.stat().st_size < 100_000
    with pytest.raises(ImageError, match="too large"):
        read_image(photo, 1)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_is_known_before_a_photo_is_decoded(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    with opened(save(Image.new("RGB", (30, 20)), tmp_path / f"a.{ending}", exif=exif)) as image:
        size = upright_size(image)
        assert size == upright(image, 3).size == ((30, 20) if orientation < 5 else (20, 30))


def test_what_goes_wrong_with_an_opened_photo_is_told_with_its_path(tmp_path, draw_photo):
    photo = draw_photo(tmp_path / "a.png")
    sentence = r"a\.png: the photo must be readable. Received: no more patience\."
    with pytest.raises(ImageError, match=sentence), opened(photo):
        raise TimeoutError("no more patience")


def test_heic_photos_are_read_where_their_reader_is_installed(tmp_path):
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = save(half_and_half((64, 32)).convert("RGB"), tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    script = "import sys; from siamese.images import read_image; print(read_image(sys.argv[1], 1)[..., 0].tolist())"
    answer = subprocess.run([sys.executable, "-c", script, str(photo)], capture_output=True, text=True, check=True)
    seen = np.array(ast.literal_eval(answer.stdout))
    assert seen.shape == (64, 32)
    assert seen[:28].max() < 20
    assert seen[36:].min() > 235
    assert prepare_image(photo, (0, 36, 32, 28), SQUARE).min() > 235


def test_without_their_reader_heic_photos_are_of_an_unknown_kind(tmp_path):
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed").register_heif_opener()
    photo = save(half_and_half().convert("RGB"), tmp_path / "a.heic")
    script = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from siamese.images import read_image\n"
        "try: read_image(sys.argv[1], 1)\n"
        "except ValueError as error: print(type(error).__name__, error)"
    )
    answer = subprocess.run([sys.executable, "-c", script, str(photo)], capture_output=True, text=True, check=True)
    assert "ImageError" in answer.stdout
    assert "a.heic: the file must be a photo" in answer.stdout


def test_crop_region_adds_the_margin_and_one_pixel_on_the_far_sides():
    assert crop_region(1000, 1000, (100, 200, 200, 100), 0.05, None) == (90, 195, 311, 306)


def test_crop_region_is_clipped_to_the_photo_before_it_grows():
    assert crop_region(300, 200, (0, 0, 300, 100), 0.05, 1.0) == (0, -97, 300, 203)


def test_crop_region_says_when_the_box_lies_outside():
    with pytest.raises(ImageError, match=r"within the photo of 100 x 50 pixels. Received: \(200, 0, 10, 10\)"):
        crop_region(100, 50, (200, 0, 10, 10), 0.05, None)


sides = st.integers(1, 5000)


@st.composite
def boxes_within(draw):
    width, height = draw(sides), draw(sides)
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return width, height, (x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


@given(boxes_within(), st.floats(0, 1), st.floats(0.1, 10))
def test_crop_region_holds_the_box_and_has_the_shape_asked_for(case, margin, anisotropy):
    width, height, (x, y, box_width, box_height) = case
    left, top, right, bottom = crop_region(width, height, (x, y, box_width, box_height), margin, anisotropy)
    assert left <= x
    assert top <= y
    assert right >= x + box_width
    assert bottom >= y + box_height
    assert (right - left) / (bottom - top) == pytest.approx(anisotropy)


@given(boxes_within(), st.floats(0, 1))
def test_crop_region_stays_in_the_photo_without_anisotropy(case, margin):
    width, height, box = case
    left, top, right, bottom = crop_region(width, height, box, margin, None)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@given(boxes_within(), st.floats(0.1, 10))
def test_crop_region_grows_one_direction_about_its_middle(case, anisotropy):
    width, height, box = case
    small, grown = (np.array(crop_region(width, height, box, 0.05, shape)) for shape in (None, anisotropy))
    np.testing.assert_allclose(small[:2] + small[2:], grown[:2] + grown[2:], atol=1e-6)
    assert np.isclose(small[[0, 2]], grown[[0, 2]]).all() or np.isclose(small[[1, 3]], grown[[1, 3]]).all()


def test_prepare_image_cuts_the_box_out(tmp_path):
    photo = save(half_and_half(), tmp_path / "a.png")
    assert prepare_image(photo, (34, 0, 16, 16), SQUARE).min() == 255
    assert prepare_image(photo, (0, 0, 16, 16), SQUARE).max() == 0


def test_prepare_image_takes_the_whole_photo_without_a_box(tmp_path, draw_photo):
    photo = draw_photo(tmp_path / "a.png")
    without = prepare_image(photo, None, SQUARE)
    assert without.shape == (32, 32, 1)
    np.testing.assert_array_equal(without, prepare_image(photo, np.full(4, np.nan), SQUARE))


def test_prepare_image_fills_beyond_the_edge_with_the_mean(tmp_path):
    photo = save(half_and_half(), tmp_path / "a.png")
    seen = prepare_image(photo, None, SQUARE.model_copy(update={"anisotropy": 1.0}))[..., 0]
    assert seen[0].tolist() == [128] * 32
    assert seen[-1].tolist() == [128] * 32
    assert seen[16, 0] == 0
    assert seen[16, -1] == 255


def test_prepare_image_fills_each_channel_with_its_own_mean(tmp_path):
    photo = save(Image.new("RGB", (64, 32), (10, 100, 200)), tmp_path / "a.png")
    settings = SQUARE.model_copy(update={"anisotropy": 1.0, "channels": 3})
    assert (prepare_image(photo, None, settings) == [10, 100, 200]).all()


def test_prepare_image_averages_fine_stripes_away(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
    seen = prepare_image(save(Image.fromarray(stripes), tmp_path / "a.png"), None, SQUARE)
    assert np.abs(seen[:, 1:-1].astype(int) - 127).max() <= 2  # the outermost columns lack one neighbour


@pytest.mark.parametrize("size", [(1201, 799), (2000, 1000), (531, 1877)])
@pytest.mark.parametrize("channels", [1, 3])
def test_prepare_image_sees_the_same_whether_a_jpeg_decodes_smaller_or_not(tmp_path, rng, size, channels):
    noise = Image.fromarray(rng.integers(0, 256, (size[1] // 6, size[0] // 6, 3), dtype=np.uint8))
    photo = save(noise.resize(size, Image.Resampling.BICUBIC), tmp_path / "a.jpg", quality=95)
    whole = save(Image.open(photo), tmp_path / "a.png")  # PNG has no smaller decoding
    settings = SQUARE.model_copy(update={"channels": channels, "anisotropy": 1.5})
    for box in (None, (100, 90, 400, 500), (100, 90, 140, 140)):
        difference = prepare_image(photo, box, settings).astype(int) - prepare_image(whole, box, settings)
        assert (
            np.abs(difference).mean() < 2
        )  # of a contrast of 255; colour is stored at half size, so never quite the same
        assert np.abs(difference).max() <= 12


def quarters():
    """Grey 0 and 80 above, 160 and 240 below: every turn of it looks different."""
    return Image.fromarray(np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((40, 60), np.uint8)))


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (0, [[0, 80], [160, 240]]),
        (90, [[160, 0], [240, 80]]),
        (180, [[240, 160], [80, 0]]),
        (270, [[80, 240], [0, 160]]),
    ],
)
def test_prepare_image_turns_the_photo_clockwise(tmp_path, rotation, expected):
    photo = save(quarters(), tmp_path / "a.png")
    seen = prepare_image(photo, None, SQUARE, rotation)[..., 0]
    assert seen[8::16, 8::16].tolist() == expected


@pytest.mark.parametrize("ending", ["jpg", "tif"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_rotation_does_what_turning_photo_and_box_beforehand_does(tmp_path, rng, ending, orientation, rotation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = Image.fromarray(rng.integers(0, 256, (30, 40), dtype=np.uint8)).resize((480, 360))
    photo = save(noise, tmp_path / f"a.{ending}", exif=exif)
    standing = read_image(photo, 1)[..., 0]
    turned = save(Image.fromarray(np.rot90(standing, -rotation // 90)), tmp_path / "turned.png")
    settings = PreprocessingSettings(height=40, width=60, margin=0.1, anisotropy=2.0)
    for box in (None, (60, 48, 240, 132), (0, 0, 300, 120), (-12, 180, 120, 180)):
        expected = prepare_image(turned, corners_turned(box, standing.shape, rotation), settings)
        difference = np.abs(prepare_image(photo, box, settings, rotation).astype(int) - expected)
        assert difference.max() <= (16 if ending == "jpg" else 1)  # a JPEG decodes smaller
        assert difference.mean() < 1


def corners_turned(box, shape, rotation):
    """The box around the turned corners: another way to the same, by complex numbers about the photo's middle."""
    if box is None:
        return None
    x, y, width, height = box
    middle = complex(shape[1], shape[0]) / 2
    turn = {0: 1, 90: 1j, 180: -1, 270: -1j}[rotation]  # y points down, so this is clockwise
    new_middle = middle if rotation in (0, 180) else complex(middle.imag, middle.real)
    corners = [(complex(*corner) - middle) * turn + new_middle for corner in ((x, y), (x + width, y + height))]
    left, right = sorted(corner.real for corner in corners)
    top, bottom = sorted(corner.imag for corner in corners)
    return left, top, right - left, bottom - top


def test_the_shape_of_the_crop_is_that_of_the_turned_photo(tmp_path):
    photo = save(quarters(), tmp_path / "a.png")  # 120 wide, 80 high
    settings = SQUARE.model_copy(update={"anisotropy": 2.0})
    lying, standing = (prepare_image(photo, None, settings, rotation)[..., 0] for rotation in (0, 90))
    # The mean, 120, fills what the crop shows beyond the photo.
    assert np.flatnonzero(lying[8] < 100)[[0, -1]].tolist() == [4, 27]  # 120 of 160 columns
    assert np.flatnonzero(np.abs(standing[8].astype(int) - 120) > 20)[[0, -1]].tolist() == [11, 21]  # 80 of 240


@pytest.mark.parametrize("rotation", [45, -90, 360])
def test_prepare_image_refuses_other_rotations(tmp_path, draw_photo, rotation):
    with pytest.raises(ImageError, match=f"a.png: `rotation` must be 0, 90, 180 or 270. Received: {rotation}"):
        prepare_image(draw_photo(tmp_path / "a.png"), None, SQUARE, rotation)


@pytest.mark.parametrize("contrast", ["global", "local", "clahe"])
@pytest.mark.parametrize("channels", [1, 3])
def test_contrast_is_normalised_after_the_resize(tmp_path, draw_photo, contrast, channels):
    photo = draw_photo(tmp_path / "a.png")
    plain = SQUARE.model_copy(update={"channels": channels})
    settings = plain.model_copy(update={"contrast": contrast})
    expected = normalise_contrast(prepare_image(photo, None, plain), contrast)
    assert (expected != prepare_image(photo, None, plain)).any()
    np.testing.assert_array_equal(prepare_image(photo, None, settings), expected)
    np.testing.assert_array_equal(prepare_array(read_image(photo, 3), settings), expected)
    np.testing.assert_array_equal(prepare_array(prepare_image(photo, None, plain), settings), expected)
