"""What a store will cost: room on the disk and time, measured on a sample of the photos."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siamese.manifest import Manifest
from siamese.settings import PreprocessingSettings
from siamese.store import decoded_photos, free_bytes, image_bytes

BYTES_BESIDE = 64  # of a photo beside its image: its name, the name's place and whether it is stored


@dataclass(frozen=True)
class StorePlan:
    """What building a store will take.

    Attributes:
        num_photos: photos that will be decoded.
        bytes_per_image: size of one stored image.
        file_bytes: size of the store, about.
        photos_per_second: photos decoded in a second, on all cores.
        seconds: time to decode all of them, about.
        free_bytes: free space of the disk the store will stand on.
    """

    num_photos: int
    bytes_per_image: int
    file_bytes: int
    photos_per_second: float
    seconds: float
    free_bytes: int

    def sentence(self) -> str:
        """Returns the plan in words.

        Example:
        >>> StorePlan(25_361, 8192, 209_380_416, 400.0, 63.4, 80 * 10**9).sentence()
        '25,361 photos will take 0.21 GB (8,192 bytes each; 80.00 GB are free) and about 2 minutes (400 photos/s).'
        """
        minutes = max(1, -int(-self.seconds // 60))
        return (
            f"{self.num_photos:,} photos will take {self.file_bytes / 1e9:.2f} GB ({self.bytes_per_image:,} bytes "
            f"each; {self.free_bytes / 1e9:.2f} GB are free) and about {minutes} "
            f"minute{'s' if minutes > 1 else ''} ({self.photos_per_second:,.0f} photos/s)."
        )


def plan_store(
    manifest: Manifest,
    path: Path | str,
    settings: PreprocessingSettings,
    *,
    num_photos: int | None = None,
    sample: int = 200,
) -> StorePlan:
    """Decodes a sample of the photos, as `build_store` would, and tells what all of them will take.

    Args:
        manifest: the photos, at least one.
        path: where the store will stand; nothing is written.
        settings: size, channels, crop and contrast.
        num_photos: size of the collection to plan for, when the manifest holds only a part of it.
        sample: number of photos decoded, drawn with a fixed seed; all of them when there are fewer.
    """
    num_photos = len(manifest) if num_photos is None else num_photos
    rows = np.random.default_rng(0).permutation(len(manifest))[:sample].tolist()
    start = time.perf_counter()
    for _ in decoded_photos(manifest, settings, rows):
        pass
    rate = len(rows) / (time.perf_counter() - start)
    size = image_bytes(settings)
    file_bytes = num_photos * (size + BYTES_BESIDE)
    return StorePlan(num_photos, size, file_bytes, rate, num_photos / rate, free_bytes(Path(path)))
