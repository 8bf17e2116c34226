"""What one photo file tells: size, kind, light, sharpness, perceptual hash; or why it cannot be read."""

from __future__ import annotations

import math
import os
import sys
import warnings
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import imagehash
import numpy as np
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from siamese.checks.file_kinds import unreadable_kind
from siamese.errors import ImageError
from siamese.images import opened, upright, upright_size
from siamese.settings import CheckSettings

GREY_MODES = ("1", "L", "I", "F")  # Pillow's modes of one channel; all wide integers begin with I
SHARPNESS_SIDE = 512  # pixels; near the usual size of training images, so that only blur one would see there counts
SAMPLE = (64, 64)  # pixels that tell most colour photos from grey ones at once
# Memory of a worker: the libraries, and four copies of the largest photo at four bytes a pixel.
WORKER_BYTES, BYTES_PER_PIXEL = 1 << 30, 16
TOO_MUCH_MEMORY = "The photo needs more memory than one photo may take."
PLACE_NOTE = "place"
MODE_NOTES = {"1": "1 bit", "CMYK": "cmyk", "P": "palette", "F": "floating point", "I": "16 bits"}


@dataclass(frozen=True)
class PhotoFacts:
    """One row of the table of facts; a photo that cannot be read has a reason and zeros.

    Attributes:
        path: absolute path.
        num_bytes: size of the file.
        modified_ns: time of its last change, nanoseconds since 1970.
        reason: why the photo cannot be read, a sentence without the path; "" for a readable one.
        kind: format as Pillow names it, such as JPEG.
        mode: Pillow's mode of the file, such as RGB, L, CMYK, I;16, P.
        width: of the upright photo, pixels.
        height: of the upright photo, pixels.
        grey: whether all channels are equal everywhere.
        brightness: mean of the upright 8-bit photo over pixels and channels, 0 to 255.
        contrast: standard deviation over all pixels and channels of it.
        sharpness: variance of the Laplacian (4 neighbours) of the grey photo, reduced by whole blocks until no side is
            longer than 512 pixels (Pech-Pacheco et al. 2000).
        phash: 16 hexadecimal digits of `imagehash.phash` of the upright 8-bit photo.
        taken: EXIF DateTimeOriginal as ISO text, "" without one.
        notes: what is odd about the file, joined by ";".
    """

    path: str
    num_bytes: int
    modified_ns: int
    reason: str = ""
    kind: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    grey: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    sharpness: float = 0.0
    phash: str = ""
    taken: str = ""
    notes: str = ""


def photo_facts(path: str, settings: CheckSettings) -> PhotoFacts:
    """Decodes a photo and tells its facts; whatever is wrong with the file becomes their reason.

    Args:
        path: absolute path.
        settings: limits of file size and pixels.
    """
    num_bytes, modified_ns, reason = file_state(path, settings)
    if not reason:
        try:
            return _readable_facts(path, num_bytes, modified_ns, settings)
        except ImageError as error:
            reason = _reason(Path(path), error)
    return PhotoFacts(path, num_bytes, modified_ns, reason)


def file_state(path: str, settings: CheckSettings) -> tuple[int, int, str]:
    """Returns bytes, time of change in nanoseconds, and a reason where the file need not be opened ("" otherwise)."""
    try:
        state = os.stat(path)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        return 0, 0, "The file is missing." if missing else f"The file cannot be reached: {error.strerror}."
    if not os.path.isfile(path):
        return 0, state.st_mtime_ns, "This is not a file but a folder or a device."
    megabytes = state.st_size / 1e6
    reason = ""
    if state.st_size == 0:
        reason = "The file is empty: it has zero bytes."
    elif megabytes > settings.max_megabytes:
        reason = f"The file is larger than the limit of {settings.max_megabytes:g} megabytes: it has {megabytes:.0f}."
    return state.st_size, state.st_mtime_ns, reason


def _readable_facts(path: str, num_bytes: int, modified_ns: int, settings: CheckSettings) -> PhotoFacts:
    with opened(path) as image:
        width, height = upright_size(image)
        _check_pixels(width, height, settings)
        # The header must be asked before the pixels are decoded: loading a TIFF forgets its tags.
        mode, taken, notes = image.mode, _taken(image), _notes(image, path)
        photo = upright(image, 1 if mode.startswith(GREY_MODES) and not image.has_transparency_data else 3)
        _check_whole(path, image.format)
    one_channel = _one_channel(photo)
    brightness, contrast = _mean_and_deviation(one_channel or photo)
    grey_photo = one_channel or photo.convert("L")
    return PhotoFacts(
        path=path, num_bytes=num_bytes, modified_ns=modified_ns, kind=image.format or "", mode=mode,
        width=photo.width, height=photo.height, grey=one_channel is not None, brightness=brightness, contrast=contrast,
        sharpness=_sharpness(grey_photo), phash=str(imagehash.phash(grey_photo)), taken=taken, notes=";".join(notes),
    )  # fmt: skip


def _check_pixels(width: int, height: int, settings: CheckSettings) -> None:
    megapixels = width * height / 1e6
    if megapixels > settings.max_megapixels:
        raise ImageError(
            f"The photo is larger than the limit of {settings.max_megapixels:g} megapixels: "
            f"its header says {width} x {height}."
        )


def _check_whole(path: str, kind: str | None) -> None:
    """Refuses what decoders pass over in silence: they paint what is damaged grey, or as noise."""
    if kind == "PNG":
        with opened(path) as image:
            image.verify()  # the checksum of each part, which decoding leaves aside
    elif kind in ("JPEG", "MPO"):
        with open(path, "rb") as file:
            file.seek(-2, os.SEEK_END)
            if file.read() != b"\0\0":
                return
            file.seek(0)
            if not file.read().rstrip(b"\0").endswith(b"\xff\xd9"):  # the mark that ends a picture
                raise ImageError("The file is cut short: its end is filled with zeros.")


def _one_channel(photo: Image.Image) -> Image.Image | None:
    """One channel of a photo whose channels are equal everywhere; none of a colour photo."""
    if photo.mode == "L":
        return photo
    if not _equal_channels(photo.resize(SAMPLE, Image.Resampling.NEAREST)) or not _equal_channels(photo):
        return None
    return photo.getchannel(0)


def _equal_channels(photo: Image.Image) -> bool:
    red, green, blue = photo.split()
    return all(ImageChops.difference(red, other).getbbox() is None for other in (green, blue))


def _mean_and_deviation(photo: Image.Image) -> tuple[float, float]:
    counts = np.array(photo.histogram(), dtype=float).reshape(-1, 256).sum(axis=0)
    mean = counts @ np.arange(256) / counts.sum()
    return float(mean), float(math.sqrt(counts @ (np.arange(256) - mean) ** 2 / counts.sum()))


def _sharpness(grey_photo: Image.Image) -> float:
    factor = math.ceil(max(grey_photo.size) / SHARPNESS_SIDE)
    pixels = np.asarray(grey_photo.reduce(factor) if factor > 1 else grey_photo).astype(np.int16)
    if min(pixels.shape) < 3:
        return 0.0
    inside = pixels[1:-1, 1:-1]
    return float((pixels[1:-1, 2:] + pixels[1:-1, :-2] + pixels[2:, 1:-1] + pixels[:-2, 1:-1] - 4 * inside).var())


def _taken(image: Image.Image) -> str:
    try:
        text = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal, "")
        return datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").isoformat()
    except Exception:  # damaged EXIF, or a clock never set
        return ""


def _notes(image: Image.Image, path: str) -> list[str]:
    kinds = Image.registered_extensions()
    kind = "JPEG" if image.format == "MPO" else image.format  # a JPEG that holds several views
    ending = os.path.splitext(path)[1].lower()
    frames = getattr(image, "n_frames", 1) > 1 and image.format != "MPO"
    odd = {
        "wrong ending": kinds.get(ending, kind) != kind,
        MODE_NOTES.get(image.mode.split(";")[0], ""): True,
        "turned by EXIF": _is_turned(image),
        "animated": frames and image.format in ("GIF", "PNG", "WEBP", "AVIF"),
        "several pages": frames and image.format not in ("GIF", "PNG", "WEBP", "AVIF"),
        "transparent": image.has_transparency_data,
        "progressive": bool(image.info.get("progressive")),
        "heic": image.format == "HEIF",
        PLACE_NOTE: _has_place(image),
    }
    return [note for note, holds in odd.items() if note and holds]


def _has_place(image: Image.Image) -> bool:
    """Whether the file tells where the photo was taken."""
    try:
        return ExifTags.GPS.GPSLatitude in image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    except Exception:  # a damaged EXIF block tells nothing
        return False


def _is_turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    except Exception:  # a damaged EXIF block says nothing
        return False


def _reason(path: Path, error: ImageError) -> str:
    """A plain sentence for what went wrong while a photo was opened or decoded."""
    cause = error.__cause__
    while isinstance(cause, ImageError) and cause.__cause__ is not None:
        cause = cause.__cause__
    text = f"{cause}".rstrip(".") or type(cause).__name__
    if isinstance(cause, ImageError):
        return str(cause)
    if isinstance(cause, PermissionError):
        return "The file may not be read: permission denied. Ask for the right to read it."
    if isinstance(cause, MemoryError):
        return TOO_MUCH_MEMORY
    if isinstance(cause, Image.DecompressionBombError):
        return f"The photo is larger than Pillow opens safely: {text}."
    kind = unreadable_kind(path)
    if kind:
        return kind
    if isinstance(cause, UnidentifiedImageError):
        return "The file is not a photo of a known kind, or its beginning is damaged."
    if isinstance(cause, EOFError) or any(word in text.lower() for word in ("truncated", "end of file", "not enough")):
        return "The file is cut short: the picture in it ends early."
    return f"The file is damaged: its picture cannot be decoded ({text})."


def prepare_worker(settings: CheckSettings) -> None:
    """Sets the limits of a process that decodes photos and nothing else.

    It stands here because a process that starts with it need not import pandas, which takes longer than a photo.

    Args:
        settings: `max_megapixels` decides how much memory one photo may take.
    """
    Image.MAX_IMAGE_PIXELS = None  # `max_megapixels` stands in its place
    imagehash.phash(Image.new("L", (8, 8)))  # the first hash loads SciPy, on no photo's time
    warnings.simplefilter("ignore")  # what Pillow warns of is told as reason or note, or harmless
    if sys.platform == "linux":  # others do not have the module, or do not keep the limit
        import resource

        limit = WORKER_BYTES + round(BYTES_PER_PIXEL * 1e6 * settings.max_megapixels)
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
