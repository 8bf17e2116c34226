"""Fixtures shared by the tests: chance, and a small folder of real photos."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image, ImageDraw

# A busy machine is no failure.
settings.register_profile("siamese", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("siamese")


@pytest.fixture
def rng():
    return np.random.default_rng(20180718)


@pytest.fixture
def draw_photo():
    """`draw_photo(path, size=(96, 64), seed=0)` draws a photo and returns its path."""
    return _draw_photo


def _draw_photo(path: Path, *, size: tuple[int, int] = (96, 64), seed: int = 0) -> Path:
    """Draws a photo that has its own pattern for each seed, and saves it in the format of its ending."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(rng.integers(60, 200, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = rng.integers(0, size[0]), rng.integers(0, size[1])
        draw.ellipse((left, top, left + size[0] // 4, top + size[1] // 4), fill=tuple(rng.integers(0, 256, 3).tolist()))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture
def photo_folder(tmp_path):
    """Nine JPEGs: three of Mara, three of Tano, two of Zuri, and one of an unknown individual."""
    folder = tmp_path / "photos"
    names = ["Mara/1", "Mara/2", "Mara/3", "Tano/1", "Tano/2", "Tano/3", "Zuri/1", "Zuri/2", "stranger"]
    for seed, name in enumerate(names):
        _draw_photo(folder / f"{name}.jpg", seed=seed)
    return folder
