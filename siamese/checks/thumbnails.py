"""Thumbnails: photos small enough to stand by the hundred in one page."""

from __future__ import annotations

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from siamese.errors import ImageError
from siamese.images import opened, upright
from siamese.markup import data_address

SIDE = 240  # pixels of the longer side
MOST_BYTES = 9_000  # of one thumbnail; 300 of them, written as text, stay under 4 MB
QUALITIES = (74, 55, 35, 15)


def read_thumbnails(paths: Iterable[str]) -> dict[str, str]:
    """Makes a data address of each photo, as an `<img>` of a page takes it.

    Args:
        paths: the photos; equal ones are read once.

    Returns:
        Address by path; a photo that cannot be read, or that is gone by now, has none.
    """
    different = list(dict.fromkeys(paths))
    with ThreadPoolExecutor() as threads:
        made = threads.map(thumbnail, different)
        return {path: address for path, address in zip(different, made, strict=True) if address}


def thumbnail(path: Path | str) -> str:
    """Shrinks a photo to at most 240 pixels a side and 9,000 bytes of JPEG; returns its data address, "" without one.

    Args:
        path: the photo.
    """
    try:
        with opened(path) as photo:
            photo.draft("RGB", (2 * SIDE, 2 * SIDE))
            small = upright(photo, 3)
            small.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    except ImageError:
        return ""
    return jpeg_address(small)


def jpeg_address(image: Image.Image) -> str:
    """Encodes a picture as JPEG, as well as `MOST_BYTES` allow; returns its data address."""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    return data_address("image/jpeg", buffer.getvalue())
