"""How fast a collection is checked, and in how much memory."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from siamese.checks.hashes import near_pair_blocks
from siamese.checks.inspection import inspect_photos
from siamese.settings import CheckSettings

PHOTO_SIZE = (1152, 896)  # width, height: 1.03 megapixels
NUM_PATTERNS = 16  # photos drawn; the others are these with other brightness, for drawing takes longer than decoding


def bench_data(
    *, num_photos: int = 300, num_hashes: int = 100_000, settings: CheckSettings | None = None
) -> dict[str, float]:
    """Measures the inspection of photos of one megapixel and the search for near hashes, on drawn data.

    Args:
        num_photos: JPEGs that are drawn into a temporary folder and inspected.
        num_hashes: hashes drawn at random, among which pairs within `duplicate_bits` are sought.
        settings: of the check; none takes the defaults.

    Returns:
        photos_per_s, kib_per_photo, hashes_per_s and, where the system tells it, peak_mib of the largest process.
    """
    settings = settings or CheckSettings()
    with tempfile.TemporaryDirectory() as folder:
        paths = draw_photos(Path(folder), num_photos)
        num_bytes = sum(path.stat().st_size for path in paths)
        start = time.perf_counter()
        inspect_photos(paths, settings)
        photo_seconds = time.perf_counter() - start
    hashes = np.unique(np.random.default_rng(0).integers(0, 2**64, num_hashes, dtype=np.uint64))
    start = time.perf_counter()
    for _ in near_pair_blocks(hashes, settings.duplicate_bits):
        pass
    return {
        "photos_per_s": round(num_photos / photo_seconds, 1),
        "kib_per_photo": round(num_bytes / num_photos / 1024, 1),
        "hashes_per_s": round(num_hashes / (time.perf_counter() - start)),
        **_peak(),
    }


def draw_photos(folder: Path, num_photos: int) -> list[Path]:
    """Draws JPEGs of one megapixel with detail at every scale, as photos have it, and returns their paths.

    Args:
        folder: an existing folder.
        num_photos: how many.
    """
    rng = np.random.default_rng(0)
    patterns = [_pattern(rng) for _ in range(min(NUM_PATTERNS, num_photos))]
    paths = [folder / f"{number:06d}.jpg" for number in range(num_photos)]
    for number, path in enumerate(paths):
        brighter = patterns[number % len(patterns)].point([min(255, value + number % 50) for value in range(256)] * 3)
        brighter.save(path, quality=90)
    return paths


def _pattern(rng: np.random.Generator) -> Image.Image:
    """Coloured noise whose deviation grows with the size of its grains, as in photos of nature (Field 1987)."""
    total = np.full((*PHOTO_SIZE[::-1], 3), 110.0)
    for octave in range(2, 11):
        grains = rng.normal(size=(3, 7 * 2**octave // 9, 2**octave)).astype(np.float32)
        for channel, plane in enumerate(grains):
            coarse = Image.fromarray(plane + grains[0])  # colours of a photo go together
            total[..., channel] += 60 / 1.25**octave * np.asarray(coarse.resize(PHOTO_SIZE, Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


def _peak() -> dict[str, float]:
    """Memory of the largest process so far, this one or a worker, MiB; nothing where the system does not tell it."""
    if sys.platform == "win32":
        return {}
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes on Linux
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"peak_mib": round(largest / unit, 1)}
