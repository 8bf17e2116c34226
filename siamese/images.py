"""One photo: read, turn upright, crop, resize, even out its contrast."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageStat, UnidentifiedImageError

from siamese.contrast import normalise_contrast
from siamese.errors import ImageError
from siamese.settings import PreprocessingSettings

MODES = {1: "L", 3: "RGB"}
# What turns a photo upright for each value of the EXIF tag "orientation" (Exif 2.32, section 4.6.4).
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
# What turns an upright photo clockwise; Pillow counts the other way round.
ROTATIONS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}


@contextmanager
def opened(path: Path | str) -> Iterator[Image.Image]:
    """Opens a photo with Pillow, HEIC too where `pillow_heif` is installed; its pixels are not decoded yet.

    Whatever a decoder raises on opening, or later within the `with` statement, becomes a sentence.

    Args:
        path: the photo.

    Raises:
        ImageError: the photo is missing, damaged, cut short, or far too large; the sentence says which.
    """
    _register_heif()
    try:
        # Given a path, Pillow 13 maps an uncompressed TIFF into memory with its sides exchanged if it lies on its side.
        with open(path, "rb") as file, Image.open(file) as image:
            yield image
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: the file must be a photo. Received: a kind of file Pillow does not know.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: the photo is too large to be opened safely. {error}") from error
    except Exception as error:  # on damaged files the decoders raise nearly every kind of error
        raise ImageError(f"{path}: the photo must be readable. Received: {error or type(error).__name__}.") from error


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Returns width and height of an opened photo as it stands upright, from its header alone."""
    width, height = image.size
    # A TIFF tells its upright size itself, and turns itself when it is loaded.
    sideways = image.format != "TIFF" and _orientation(image) in SIDEWAYS
    return (height, width) if sideways else (width, height)


def upright(image: Image.Image, channels: int) -> Image.Image:
    """Decodes an opened photo, turns it upright by its EXIF tag, and makes it 8 bits of grey (1) or colour (3).

    Wide integers become 8 bits by their full range, transparent places become white.
    """
    image.load()
    turn = TURNS.get(_orientation(image))
    image = image if turn is None else image.transpose(turn)
    return _eight_bits(image).convert(MODES[channels])


def read_image(path: Path | str, channels: int) -> np.ndarray:
    """Reads a photo of any kind that Pillow knows and turns it upright.

    Photos of 16 bits become 8 bits by their full range, transparent places become white.

    Args:
        path: the photo.
        channels: 1 for grey, 3 for colour.

    Returns:
        `(height, width, channels)` uint8.

    Raises:
        ImageError: the photo is missing, damaged, cut short, or far too large; the sentence says which.
    """
    with opened(path) as image:
        return _as_array(upright(image, channels))


def crop_region(
    width: float, height: float, box: Sequence[float] | None, margin: float, anisotropy: float | None
) -> tuple[float, float, float, float]:
    """Region of a photo that is kept: the box with a margin, clipped, then grown to a fixed shape.

    Piotte's crop of 2018: one more pixel on the far sides, and the growth may leave the photo.

    Args:
        width: of the photo, pixels.
        height: of the photo, pixels.
        box: x, y, width, height in pixels; none takes the whole photo, without margin.
        margin: added to each side, as a share of the box's width or height.
        anisotropy: width / height to grow to; none keeps the box.

    Returns:
        left, top, right, bottom in pixels, floats.

    Raises:
        ImageError: the box lies outside of the photo.

    Example:
    >>> crop_region(100, 100, (20, 40, 40, 20), 0.05, None)
    (18.0, 39.0, 63.0, 62.0)
    >>> crop_region(100, 50, None, 0.05, 1.0)
    (0.0, -25.0, 100.0, 75.0)
    """
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if box is not None:
        x, y, box_width, box_height = map(float, box)
        left, right = max(left, x - margin * box_width), min(right, x + (1 + margin) * box_width + 1)
        top, bottom = max(top, y - margin * box_height), min(bottom, y + (1 + margin) * box_height + 1)
    if left >= right or top >= bottom:
        raise ImageError(
            f"The box must lie within the photo of {width:g} x {height:g} pixels. Received: {box}. "
            "Check that boxes are x, y, width, height in pixels of the upright photo."
        )
    return _grow((left, top, right, bottom), anisotropy)


def prepare_image(
    path: Path | str, box: Sequence[float] | None, settings: PreprocessingSettings, rotation: int = 0
) -> np.ndarray:
    """Makes the one image that training, ranking and notebooks see of a photo.

    What a crop shows beyond the photo's edge is filled with the photo's mean. The resize is antialiased, and the
    contrast is normalised last.

    Args:
        path: the photo.
        box: x, y, width, height in pixels of the upright photo; none or NaN takes the whole photo.
        settings: size, channels, crop and contrast; they refer to the photo after its rotation.
        rotation: 0, 90, 180 or 270 degrees by which the upright photo, box and all, turns clockwise.

    Returns:
        `(settings.height, settings.width, settings.channels)` uint8.

    Raises:
        ImageError: the photo cannot be read, the box lies outside of it, or there is no such rotation.
    """
    box = None if box is None or np.isnan(box).any() else box
    with opened(path) as image:
        size, box = _turned(upright_size(image), box, rotation)
        region = crop_region(*size, box, settings.margin, settings.anisotropy)
        scale = _decode_smaller(image, region, settings)
        left, top, right, bottom = (edge * scale for edge in region)
        photo = upright(image, settings.channels)
        photo = photo.transpose(ROTATIONS[rotation]) if rotation else photo
        cut = _cut(photo, (left, top, right, bottom), (settings.width, settings.height))
        return normalise_contrast(_as_array(cut), settings.contrast)


def prepare_array(image: np.ndarray, settings: PreprocessingSettings) -> np.ndarray:
    """Makes of an image in memory what `prepare_image` makes of a photo without a box.

    Args:
        image: `(height, width)` or `(height, width, channels)`, 0 to 255; one of the stored size is not cropped.
        settings: size, channels, crop and contrast.

    Returns:
        `(settings.height, settings.width, settings.channels)` uint8.

    Raises:
        ImageError: the array is not an image.
    """
    flat = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if flat.ndim not in (2, 3) or (flat.ndim == 3 and flat.shape[2] != 3) or 0 in flat.shape:
        raise ImageError(
            "An image array must have the shape (height, width), (height, width, 1) or (height, width, 3). "
            f"Received: shape {image.shape}. Give several images as one array (num_images, height, width, channels)."
        )
    photo = upright(Image.fromarray(np.clip(flat, 0, 255).astype(np.uint8)), settings.channels)
    size = (settings.width, settings.height)
    if photo.size != size:
        photo = _cut(photo, crop_region(*photo.size, None, settings.margin, settings.anisotropy), size)
    return normalise_contrast(_as_array(photo), settings.contrast)


@functools.cache
def _register_heif() -> None:
    """Teaches Pillow HEIC, the photos of iPhones, where the optional package is installed."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:  # such photos are then of a kind that Pillow does not know
        return


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block says nothing; the pixels may still be sound
        return 1


def _decode_smaller(image: Image.Image, region: Sequence[float], settings: PreprocessingSettings) -> float:
    """Lets a JPEG decode at 1/2, 1/4 or 1/8 where the crop keeps twice the pixels it needs; returns that scale.

    The decoder averages whole blocks, and the factor of two left over is what the antialiased resize works on.
    """
    left, top, right, bottom = region
    spare = min((right - left) / (2 * settings.width), (bottom - top) / (2 * settings.height))
    steps = min(3, int(math.log2(spare))) if spare >= 2 else 0
    width, height = image.size
    drafted = image.draft(MODES[settings.channels], (width >> steps, height >> steps))  # None for other formats
    return 1.0 if drafted is None else drafted[1][2] / width


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _scaled_to_bytes(image)
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    return image


def _scaled_to_bytes(image: Image.Image) -> Image.Image:
    """Wide integers and floats, whose range Pillow's own conversion would clip at 255."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    largest = (
        65535
        if image.mode.startswith("I;16")
        else next((top for top in (1, 255, 65535) if values.max() <= top), values.max())
    )
    return Image.fromarray(np.clip(np.rint(values * (255 / largest)), 0, 255).astype(np.uint8))


def _turned(
    size: tuple[int, int], box: Sequence[float] | None, rotation: int
) -> tuple[tuple[int, int], Sequence[float] | None]:
    """Size (width, height) and box of a photo after so many degrees clockwise."""
    if rotation not in (0, *ROTATIONS):
        raise ImageError(f"`rotation` must be 0, 90, 180 or 270. Received: {rotation}. Correct the manifest.")
    for _ in range(rotation // 90):
        width, height = size
        size = (height, width)
        if box is not None:
            x, y, box_width, box_height = box
            box = (height - y - box_height, x, box_height, box_width)
    return size, box


def _grow(region: tuple[float, float, float, float], anisotropy: float | None) -> tuple[float, float, float, float]:
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    if anisotropy is None:
        return region
    wider = max(0.0, anisotropy * height - width) / 2
    taller = max(0.0, width / anisotropy - height) / 2
    return left - wider, top - taller, right + wider, bottom + taller


def _cut(image: Image.Image, region: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
    """Resizes a region, in pixels of `image`, to `size` (width, height)."""
    left, top, right, bottom = region
    slack = 1e-6  # pixels; what rounding alone may lie outside
    if min(left, top) < -slack or right > image.width + slack or bottom > image.height + slack:
        x, y = math.floor(left), math.floor(top)
        canvas = Image.new(image.mode, (math.ceil(right) - x, math.ceil(bottom) - y), _mean_colour(image))
        canvas.paste(image, (-x, -y))
        image, (left, top, right, bottom) = canvas, (left - x, top - y, right - x, bottom - y)
    inside = (max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
    return image.resize(size, Image.Resampling.BILINEAR, box=inside)


def _mean_colour(image: Image.Image) -> tuple[int, ...]:
    return tuple(round(mean) for mean in ImageStat.Stat(image).mean)


def _as_array(image: Image.Image) -> np.ndarray:
    pixels = np.array(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels
