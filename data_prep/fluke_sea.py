"""The sea behind a fluke: waves in perspective, and sometimes a horizon with sky and coast."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from data_prep.fluke_animal import cloud

TILE = 512  # side of a periodic patch of sea, pixels
NUM_TILES = 8

# Colours of the sea from the dark side of a wave to its crest; white ones are scans of overexposed film.
SEAS = (
    ((10, 25, 48), (40, 75, 115), (120, 150, 180)), ((15, 45, 85), (50, 110, 160), (150, 190, 220)),
    ((30, 42, 50), (85, 98, 105), (165, 172, 175)), ((8, 48, 62), (30, 110, 128), (140, 200, 205)),
    ((60, 66, 72), (135, 142, 146), (205, 208, 210)), ((130, 134, 138), (205, 208, 212), (250, 250, 250)),
    ((180, 184, 188), (232, 234, 236), (255, 255, 255)), ((70, 100, 140), (135, 165, 195), (215, 225, 235)),
)  # fmt: skip


@lru_cache(maxsize=NUM_TILES)
def _sea_tile(index: int) -> Image.Image:
    """Shade of a patch of open sea, grey, doubled in both directions so that any window of one tile can be cut."""
    rng = np.random.default_rng([7, index])
    frequency = np.fft.fftfreq(TILE) * TILE
    along, across = np.meshgrid(frequency, frequency)
    size = np.hypot(along, across) + 1e-9
    wind = rng.uniform(-0.5, 0.5)
    towards = np.abs(np.sin(wind) * along + np.cos(wind) * across) / size
    amplitude = np.exp(-((rng.uniform(3, 8) / size) ** 2)) * size ** -rng.uniform(1.6, 2.0) * (0.12 + towards**2)
    height = np.fft.ifft2(amplitude * np.exp(2j * np.pi * rng.random((TILE, TILE)))).real
    slope = np.gradient(height, axis=0) + 0.4 * np.gradient(height, axis=1)
    shade = slope / slope.std() + 0.5 * height / height.std()
    tile = np.clip(128 + 42 * (shade + 0.25 * (shade**2 - 1)), 0, 255).astype(np.uint8)
    return Image.fromarray(np.tile(tile, (2, 2)))


def draw_sea(rng: np.random.Generator, size: tuple[int, int], nearest: float) -> np.ndarray:
    """Sea up to the top of the picture, or in some pictures up to a horizon.

    Args:
        rng: source of chance.
        size: width and height, pixels.
        nearest: row that a horizon stays above.

    Returns:
        `(height, width, 3)` float32, 0 to 255.
    """
    shade = np.asarray(_sea_window(rng, size, rng.uniform(150, 400), Image.Resampling.BILINEAR), np.float32)
    shade = 0.65 * shade + 0.35 * np.asarray(_sea_window(rng, size, 500.0, Image.Resampling.NEAREST), np.float32)
    table = _sea_colours(rng)
    canvas = np.take(table, shade.astype(np.uint8), axis=0)
    glow = np.linspace(rng.uniform(0.9, 1.25), 1, size[1], dtype=np.float32)[:, None, None]
    canvas *= glow
    if rng.random() < 0.16:
        _paint_sky(rng, canvas, min(rng.uniform(0.04, 0.35) * size[1], nearest - 4))
    return canvas


def _sea_window(
    rng: np.random.Generator, size: tuple[int, int], near: float, resample: Image.Resampling
) -> Image.Image:
    """A window of a tile in perspective: `near` tile pixels wide at the bottom, wider towards the top."""
    far = min(TILE - 1.0, near * rng.uniform(1.0, 1.6))
    depth = min(TILE - 1.0, near * size[1] / size[0] * rng.uniform(1.8, 4))
    left, top = rng.uniform(0, TILE, 2)
    middle = left + far / 2
    quad = (left, top, middle - near / 2, top + depth, middle + near / 2, top + depth, left + far, top)
    return _sea_tile(int(rng.integers(NUM_TILES))).transform(size, Image.Transform.QUAD, quad, resample)


def _sea_colours(rng: np.random.Generator) -> np.ndarray:
    """Colour of each of 256 shades, `(256, 3)` float32."""
    dark, middle, light = np.array(SEAS[rng.integers(len(SEAS))], np.float32) * rng.uniform(0.85, 1.1)
    rough, crest = rng.uniform(0.35, 1.0), rng.uniform(1.5, 3.5)
    shade = (np.arange(256) - 128) / 42 * rough
    stops = np.stack([dark, middle, light, np.full(3, 248)])
    bands = [np.interp(shade, [-1.6, 0, 1.3, crest], stops[:, band]) for band in range(3)]
    return np.stack(bands, axis=1).astype(np.float32)


def _paint_sky(rng: np.random.Generator, canvas: np.ndarray, horizon: float) -> None:
    height, width = canvas.shape[:2]
    if horizon < 2:
        return
    row, column = np.arange(height)[:, None], np.arange(width)[None, :]
    line = horizon + rng.normal(0, 0.03) * (column - width / 2)
    sky = np.array([190, 205, 222]) * rng.uniform(0.75, 1.2) + rng.normal(0, 8, 3)
    coast = line - (rng.random() < 0.35) * np.abs(cloud(rng, 2, width, (2, 6), 5)[0]) * 0.12 * height
    mist = 0.5 * np.exp(-np.maximum(row - line, 0) / (0.08 * height + 1))
    canvas += ((sky - canvas) * mist[..., None]).astype(np.float32)
    canvas[row < line] = sky * 0.5
    canvas[row < coast] = sky
