"""Writes a folder of broken and odd photo files with known truth, to try what a check of photos says about them.

    python -m data_prep.faults --out data/faults

writes `photos/`, `truth.csv` (path, readable, fault, and the words a check should tell) and `manifest.csv`. Nothing is
left to chance: every run writes the same files.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import ExifTags, Image

from data_prep.program import program_parser, run_program
from siamese.errors import DiskError
from siamese.files import write_atomically

SIZE = (240, 160)  # width, height of each photo, pixels
LARGE_BYTES = 300_000_000  # above the largest file that a check opens
IDENTITIES = ("Mara", "Tano", "Zuri")


@dataclass(frozen=True)
class Fault:
    """One file.

    Attributes:
        name: of the file.
        fault: what is wrong or odd with it.
        told: words that the reason, or the note, of a check holds.
        content: its bytes; none for what is no file with content.
        readable: whether its picture can be decoded.
    """

    name: str
    fault: str
    told: str
    content: bytes | None
    readable: bool = False


def list_faults() -> list[Fault]:
    """All files of the set; with `pillow_heif` installed there is one more, a sound HEIC photo."""
    return [*_cut_short(), *_damaged(), *_no_photos(), *_refused(), *_odd()]


def write_faults(folder: Path) -> Path:
    """Writes the set into `folder`, the manifest last, and returns the manifest's path.

    Raises:
        DiskError: a file could not be written.
    """
    faults = list_faults()
    try:
        (folder / "photos").mkdir(parents=True, exist_ok=True)
        for fault in faults:
            _write(folder / "photos" / fault.name, fault)
    except OSError as error:
        raise DiskError(
            f"{folder} must be a folder with room for the files. Received: {error.strerror or error}. "
            "Free some space or give another --out."
        ) from error
    truth = pd.DataFrame(
        [(f"photos/{fault.name}", int(fault.readable), fault.fault, fault.told) for fault in faults],
        columns=["path", "readable", "fault", "told"],
    )
    rows = truth[["path"]].assign(
        image_id=[fault.name for fault in faults],
        identity=[IDENTITIES[number % len(IDENTITIES)] for number in range(len(faults))],
    )
    write_atomically(folder / "truth.csv", lambda path: truth.to_csv(path, index=False))
    manifest = folder / "manifest.csv"
    write_atomically(manifest, lambda path: rows[["image_id", "path", "identity"]].to_csv(path, index=False))
    return manifest


def _write(path: Path, fault: Fault) -> None:
    if fault.content is not None:
        path.write_bytes(fault.content)
    elif fault.fault == "folder":
        path.mkdir(exist_ok=True)
    elif fault.fault == "too many bytes":
        with path.open("wb") as file:
            file.write(_encoded(_picture(90), "JPEG"))
        os.truncate(path, LARGE_BYTES)  # takes no room on most disks


# ---- pictures


def _picture(number: int) -> Image.Image:
    """A colour pattern of waves, another one for each number."""
    x, y = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(0, 1, SIZE[1]))
    waves = [
        np.sin(2 * np.pi * ((2 + (number * k) % 7) * x + (1 + (number + k) % 5) * y) + number + k) for k in (1, 2, 3)
    ]
    return Image.fromarray(np.rint(127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8))


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _jpeg(number: int, **options: Any) -> bytes:
    return _encoded(_picture(number), "JPEG", quality=90, **options)


# ---- broken files


def _cut_short() -> Iterator[Fault]:
    for number, (kind, ending) in enumerate(
        {"PNG": "png", "TIFF": "tif", "BMP": "bmp", "PPM": "ppm", "WEBP": "webp", "JPEG2000": "jp2"}.items()
    ):
        whole = _encoded(_picture(number), kind)
        told = "damaged" if kind in ("WEBP", "JPEG2000") else "cut short"
        yield Fault(f"cut.{ending}", f"half of a {kind} file", told, whole[: len(whole) // 2])
    gif = _encoded(_picture(6).quantize(64), "GIF")
    yield Fault("cut.gif", "half of a GIF file", "cut short", gif[: len(gif) // 2])
    jpeg = _jpeg(7)
    for name, share in (("third", 1 / 3), ("most", 0.9)):
        yield Fault(f"cut_{name}.jpg", f"the first {share:.0%} of a JPEG", "cut short", jpeg[: int(len(jpeg) * share)])
    # So many that its decoder has enough for all lines, and does not complain.
    zeros = jpeg[: len(jpeg) // 2] + bytes(len(jpeg))
    yield Fault("zero_end.jpg", "a JPEG whose second half is zeros", "filled with zeros", zeros)
    yield Fault("header.jpg", "the first 20 bytes of a JPEG", "beginning is damaged", jpeg[:20])


def _damaged() -> Iterator[Fault]:
    png, tiff = bytearray(_encoded(_picture(8), "PNG")), bytearray(_encoded(_picture(9), "TIFF"))
    png_sum, png_start, tiff_far = bytearray(png), bytearray(png), bytearray(tiff)
    middle = png.index(b"IDAT") + 200
    png_sum[middle : middle + 40] = bytes(40)
    png_start[:4] = b"XXXX"
    tiff_far[4:8] = struct.pack("<I", len(tiff) * 10)
    yield Fault("damaged.png", "a PNG with 40 bytes overwritten", "damaged", bytes(png_sum))
    yield Fault("no_start.png", "a PNG whose first bytes are overwritten", "beginning is damaged", bytes(png_start))
    yield Fault("far.tif", "a TIFF that points behind its end", "beginning is damaged", bytes(tiff_far))
    yield Fault("no_picture.jpg", "first and last mark of a JPEG alone", "beginning is damaged", b"\xff\xd8\xff\xd9")
    noise = bytes((7 * i * i + 13 * i + 129) % 251 | 128 for i in range(4000))
    yield Fault("noise.jpg", "bytes without a meaning", "beginning is damaged", noise)


def _no_photos() -> Iterator[Fault]:
    contents: dict[str, tuple[str, bytes]] = {
        "text.jpg": ("text", b"Fluke of Mara, seen on 3 May.\n" * 20),
        "page.jpg": ("web page", b"<!DOCTYPE html><html><body>Please log in.</body></html>\n"),
        "document.jpg": ("PDF", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n"),
        "drawing.png": ("SVG", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>\n'),
        "archive.jpg": ("ZIP", b"PK\x03\x04\x14\x00\x00\x00" + bytes(60)),
        "packed.jpg": ("gzip", b"\x1f\x8b\x08\x00" + bytes(range(60))),
        "video.jpg": ("video", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42" + bytes(200)),
        "clip.jpg": ("AVI", b"RIFF\x00\x10\x00\x00AVI LIST" + bytes(200)),
        "film.jpg": ("Matroska", b"\x1a\x45\xdf\xa3" + bytes(range(100))),
        "sound.jpg": ("sound", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(60)),
        "raw.jpg": ("raw", b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom" + bytes(200)),
        "pointer.jpg": ("Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 345\n"),
        "side_file.jpg": ("macOS", b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(60)),
        "letter.jpg": ("Office", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)),
        "phone.heic": ("HEIC", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)),
        "zeros.jpg": ("zeros", bytes(5000)),
    }
    for name, (told, content) in contents.items():
        yield Fault(name, f"{told} under the name of a photo", told, content)


def _refused() -> Iterator[Fault]:
    yield Fault("missing.jpg", "missing", "missing", None)
    yield Fault("folder.jpg", "folder", "folder", None)
    yield Fault("large.jpg", "too many bytes", "megabytes", None)
    yield Fault("empty.jpg", "zero bytes", "empty", b"")
    yield Fault("bomb.png", "a small file of 900 million pixels", "megapixels", _bomb(30_000))
    jpeg = bytearray(_jpeg(10))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    yield Fault("boast.jpg", "a JPEG whose header promises 3,600 million pixels", "megapixels", bytes(jpeg))


def _bomb(side: int) -> bytes:
    """A PNG of black and white pixels, all black, in about a hundred kilobytes."""
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    packed = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (header, packed, b"")))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


# ---- odd files that can be read


def _odd() -> Iterator[Fault]:
    for number, (name, note, make) in enumerate(_odd_kinds(), start=20):
        yield Fault(name, note or "sound", note, make(_picture(number)), readable=True)


def _odd_kinds() -> Iterator[tuple[str, str, Callable[[Image.Image], bytes]]]:
    yield "png_inside.jpg", "wrong ending", lambda image: _encoded(image, "PNG")
    yield "print.jpg", "cmyk", lambda image: _encoded(image.convert("CMYK"), "JPEG")
    yield "deep.png", "16 bits", lambda image: _encoded(_sixteen_bits(image), "PNG")
    yield "measured.tif", "floating point", lambda image: _encoded(image.convert("F"), "TIFF")
    yield "waving.gif", "animated", _animation
    yield "pages.tif", "several pages", lambda image: _encoded(image, "TIFF", save_all=True, append_images=[image])
    yield "glass.png", "transparent", lambda image: _encoded(_half_clear(image), "PNG")
    yield "few_colours.png", "palette", lambda image: _encoded(image.quantize(16), "PNG")
    yield "ink.png", "1 bit", lambda image: _encoded(image.convert("1"), "PNG")
    yield "slow_line.jpg", "progressive", lambda image: _encoded(image, "JPEG", progressive=True)
    yield "padded.jpg", "", lambda image: _encoded(image, "JPEG") + bytes(4096)
    yield "Ñandú, 1.jpg", "", lambda image: _encoded(image, "JPEG")
    for orientation in range(2, 9):
        yield f"turn_{orientation}.jpg", "turned by EXIF", _turned(orientation)
    if importlib.util.find_spec("pillow_heif"):
        yield "sound.heic", "heic", _heic


def _sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def _animation(image: Image.Image) -> bytes:
    frames = [image.rotate(turn).quantize(64) for turn in (0, 120, 240)]
    return _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def _half_clear(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _turned(orientation: int) -> Callable[[Image.Image], bytes]:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return lambda image: _encoded(image, "JPEG", exif=exif)


def _heic(image: Image.Image) -> bytes:
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=90)
    return file.getvalue()


def _run(arguments: argparse.Namespace) -> list[str]:
    manifest = write_faults(arguments.out)
    readable = [fault.readable for fault in list_faults()]
    return [f"manifest: {manifest}", f"broken: {readable.count(False)}", f"odd but readable: {readable.count(True)}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 for wrong input."""
    parser = program_parser("faults", "Writes broken and odd photo files with known truth.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="Folder of the set.")
    arguments = parser.parse_args(argv)
    return run_program(lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
