"""Files that are no photos, told by their first bytes."""

from __future__ import annotations

from pathlib import Path

HEAD_BYTES = 1024
NO_PHOTO = "This is not a photo but"
# First bytes of common files (Kessler's table of file signatures); the first match counts.
SIGNATURES = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (b"\x00\x00\x01\xba", "an MPEG video"),
    (b"\x00\x00\x01\xb3", "an MPEG video"),
    (b"\x00\x05\x16\x07", "a macOS side file; the photo has the same name without the dots in front"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the photo with `git lfs pull`"),
    (b"%!PS", "a PostScript drawing"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "a database"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound or a video"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
RIFF_KINDS = {b"AVI ": "an AVI video", b"WAVE": "a sound"}
# Photos may begin with, or be, plain text: GIF; PBM, PGM and PPM; XBM and XPM, which hold a C program.
PHOTO_TEXTS = ("gif8", "p1", "p2", "p3", "p4", "p5", "p6", "#define", "/* xpm")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def unreadable_kind(path: Path) -> str:
    """Returns a sentence for a file that is known not to be a photo that Pillow reads, "" for any other.

    Args:
        path: an existing file that could not be opened or decoded.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        return f"The file cannot be read: {error.strerror}."
    if not head.strip(b"\0"):
        return "The file holds nothing but zeros, as a broken copy leaves it."
    if head[4:8] == b"ftyp":
        return _of_media_box(head[8:12])
    named = next((name for start, name in SIGNATURES if head.startswith(start)), "") or _other_kind(head)
    return f"{NO_PHOTO} {named}." if named else ""


def _of_media_box(brand: bytes) -> str:
    """What a file of the MPEG-4 family is (ISO/IEC 14496-12): a photo of a phone, a raw photo, or a video."""
    if brand in HEIC_BRANDS:
        return _heic()
    if brand == b"avif":
        return "This is an AVIF photo that Pillow cannot read here; it is damaged or Pillow was built without AVIF."
    if brand == b"crx ":
        return f"{NO_PHOTO} a camera's raw file (CR3). Export it as JPEG."
    return f"{NO_PHOTO} a video (MP4 or MOV)."


def _heic() -> str:
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        return "This is a HEIC photo, which needs a reader: pip install pillow-heif."
    return "The HEIC photo is damaged or cut short."


def _other_kind(head: bytes) -> str:
    if head.startswith(b"RIFF"):
        return RIFF_KINDS.get(head[8:12], "")
    text = _as_text(head).lower()
    if "<svg" in text:
        return "an SVG drawing"
    if "<html" in text or text.startswith("<!doctype html"):
        return "a web page (HTML): perhaps the download needed a login"
    return "text" if text and not text.startswith(PHOTO_TEXTS) else ""


def _as_text(head: bytes) -> str:
    """The first bytes as text, "" where they are not."""
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < HEAD_BYTES else "ignore").lstrip("\ufeff \r\n\t")
    except UnicodeDecodeError:
        return ""
    printable = sum(letter.isprintable() or letter in "\r\n\t" for letter in text)
    return text if text and printable == len(text) and len(text.encode()) > 0.9 * len(head.strip()) else ""
