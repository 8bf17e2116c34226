"""Draws the animal: outline, pigmentation, scars and barnacles of one humpback fluke, seen flat from its ventral side.

Fluke coordinates: x runs along the span, -1 at the left tip, +1 at the right tip; y runs down the picture, 0 near the
tips, about 0.3 at the notch and 0.7 where the stalk begins. Proportions follow 426 real flukes with their tips marked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.interpolate import CubicSpline, PchipInterpolator

TEXTURE_LEFT, TEXTURE_TOP = -1.12, -0.30
TEXTURE_WIDTH, TEXTURE_HEIGHT = 2.24, 1.30  # fluke units covered by the texture
MIRROR = np.array([-1.0, 1.0])
PenAt = Callable[[np.ndarray], ImageDraw.ImageDraw]  # the pen that shows at a place: dark on white skin, light on dark


@dataclass(frozen=True)
class FlukeIdentity:
    """One animal, drawn once and then photographed often.

    Attributes:
        outline: `(num_points, 2)` polygon in fluke coordinates: notch, right tip, stalk, left tip and back.
        keypoints: `(3, 2)` left tip, notch, right tip in fluke coordinates.
        texture: `(height, width, 3)` uint8; channels are albedo, cover (255 inside the outline) and barnacles.
        pigmentation: "white", "mixed", "dark" or "black".
    """

    outline: np.ndarray
    keypoints: np.ndarray
    texture: np.ndarray
    pigmentation: str


@dataclass(frozen=True)
class _Half:
    """One lobe, drawn as the right one: both edges as `(num_points, 2)` from notch to tip and from tip to stalk."""

    trailing: np.ndarray
    leading: np.ndarray


@dataclass(frozen=True)
class _Kind:
    """A pigmentation class: how often it occurs, its level of white, how much patches add, how bright white gets."""

    share: float
    level: float
    patch_gain: float
    strength: tuple[float, float]


# Shares: 40-50 % of real flukes are mostly dark; fewer here, since the catalog photos are small.
KINDS = {
    "white": _Kind(0.26, 0.75, 1.5, (0.85, 1.0)),
    "mixed": _Kind(0.38, 0.0, 1.6, (0.85, 1.0)),
    "dark": _Kind(0.24, -0.85, 1.6, (0.6, 1.0)),
    "black": _Kind(0.12, -1.3, 1.4, (0.35, 0.7)),
}


def draw_identity(rng: np.random.Generator, *, texture_width: int = 563) -> FlukeIdentity:
    """Draws a new animal.

    Args:
        rng: the only source of chance; the same state gives the same animal.
        texture_width: width of the texture, pixels; about 1.1 times the width of the photos to be drawn.

    Example:
    >>> draw_identity(np.random.default_rng(3), texture_width=64).texture.shape
    (37, 64, 3)
    """
    kind = str(rng.choice(list(KINDS), p=[kind.share for kind in KINDS.values()]))
    right, left = _draw_halves(rng)
    outline = np.concatenate(
        [right.trailing, right.leading, (left.leading * MIRROR)[::-1], (left.trailing * MIRROR)[::-1]]
    )
    keypoints = np.stack([left.trailing[-1] * MIRROR, right.trailing[0], right.trailing[-1]])
    texture = _draw_texture(rng, KINDS[kind], outline, right, left, texture_width)
    return FlukeIdentity(outline, keypoints, texture, kind)


def to_texture(points: np.ndarray, texture_width: int) -> np.ndarray:
    """Turns fluke coordinates `(..., 2)` into texture pixels."""
    return (points - (TEXTURE_LEFT, TEXTURE_TOP)) * (texture_width / TEXTURE_WIDTH)


def cloud(
    rng: np.random.Generator, height: int, width: int, cells: tuple[float, float], octaves: int = 4, rough: float = 0.5
) -> np.ndarray:
    """Smooth random field `(height, width)` about zero, the sum of random arrays of growing fineness.

    Args:
        rng: source of chance.
        height: rows, pixels.
        width: columns, pixels.
        cells: rows and columns of the coarsest array, whose values have unit variance; each octave doubles them.
        octaves: number of arrays.
        rough: amplitude of each octave, as a share of the one before.
    """
    shape = [max(2, round(cell)) for cell in cells]
    field = rng.standard_normal(shape, dtype=np.float32)
    for octave in range(1, octaves):
        shape = [2 * side for side in shape]
        field = resize(field, *shape) + rng.standard_normal(shape, dtype=np.float32) * np.float32(rough**octave)
    return resize(field, height, width)


def resize(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretches a float32 field to another number of rows and columns."""
    return np.asarray(Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC))


# ---- outline


def _draw_halves(rng: np.random.Generator) -> tuple[_Half, _Half]:
    """Right and left lobe: one shape for the animal, small differences between its sides."""
    shape = {
        "notch": rng.uniform(0.21, 0.33), "lip": rng.uniform(0.06, 0.15), "gap": rng.uniform(0.02, 0.06),
        "bulge": rng.normal(0, 0.035), "hook": rng.uniform(-0.01, 0.07), "chord": rng.uniform(0.80, 1.05),
        "jagged": rng.uniform(0.003, 0.010),
    }  # fmt: skip
    return _draw_half(rng, shape), _draw_half(rng, shape)


def _draw_half(rng: np.random.Generator, shape: dict[str, float]) -> _Half:
    wave = rng.normal(0, 0.016, 8)
    bulge, hook, tip = shape["bulge"], shape["hook"], np.array([rng.uniform(0.95, 1.0), rng.normal(-0.05, 0.03)])
    top = shape["notch"] - shape["lip"]
    control_x = np.array([0, shape["gap"], 0.14, 0.3, 0.48, 0.66, 0.83, 0.93]) * tip[0]
    fall = np.array([0, 0, 0.08, 0.30, 0.52, 0.72, 0.92, 1.0])  # from the lip beside the notch to the tip
    control_y = top + fall * (tip[1] - top) - bulge * np.sin(np.pi * fall) + wave
    control_y[:2] = shape["notch"], top
    control_y[-2:] += hook * np.array([0.6, 1.0])  # the tip curves up like a horn
    x = np.linspace(0, 1, 150) ** 1.15 * tip[0]
    y = PchipInterpolator(np.append(control_x, tip[0]), np.append(control_y, tip[1]))(x)
    fade = np.minimum(1, np.minimum(x / 0.05, (tip[0] - x) / 0.05))  # notch and tip stay where the key points say
    y += fade * (_nicks(rng, x) + _serration(rng, x, shape["jagged"]))
    return _Half(np.stack([x, y], axis=1), _leading_edge(rng, tip, shape["chord"]))


def _nicks(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """A handful of cuts and teeth in the trailing edge."""
    count = rng.integers(3, 9)
    centre, width = rng.uniform(0.06, 0.95, (count, 1)), rng.uniform(0.015, 0.06, (count, 1))
    depth = rng.uniform(0.01, 0.045, (count, 1)) * rng.choice([1.0, 1.0, -0.6], (count, 1))
    return (depth * np.clip(1 - ((x - centre) / width) ** 2, 0, 1)).sum(axis=0)


def _serration(rng: np.random.Generator, x: np.ndarray, amplitude: float) -> np.ndarray:
    knots = np.linspace(0, 1, 90)
    envelope = np.interp(knots, np.linspace(0, 1, 6), rng.uniform(0.3, 1.6, 6))
    return np.interp(x, knots, rng.standard_normal(90) * amplitude * envelope)


def _leading_edge(rng: np.random.Generator, tip: np.ndarray, chord: float) -> np.ndarray:
    inner = np.array(
        [
            [0.995, 0.03],
            [0.95, 0.16],
            [0.86, 0.28],
            [0.72, 0.40],
            [0.48, 0.53],
            [0.25, 0.64],
            [0.135, 0.74],
            [0.12, 1.0],
        ]
    )
    points = inner * (1, chord) + rng.normal(0, 0.010, inner.shape)
    points[0, 0] = max(points[0, 0], tip[0] + 0.005)
    points[-2:] = inner[-2:]
    points = np.concatenate([tip[None], points])
    steps = np.cumsum(np.r_[0, np.hypot(*np.diff(points, axis=0).T)])
    return np.asarray(CubicSpline(steps, points)(np.linspace(0, steps[-1], 60)))


# ---- texture


def _draw_texture(
    rng: np.random.Generator, kind: _Kind, outline: np.ndarray, right: _Half, left: _Half, width: int
) -> np.ndarray:
    height = round(width * TEXTURE_HEIGHT / TEXTURE_WIDTH)
    x, y = _fluke_grid(height, width)
    chord = _chord_fraction(x, y, right, left)
    white = _draw_pigment(rng, kind, x, y, chord)
    cover = _fill(outline, height, width)
    dark, light = rng.uniform(22, 40), rng.uniform(185, 225)
    albedo = dark + (light - dark) * rng.uniform(*kind.strength) * white
    albedo += 5 * cloud(rng, height, width, (20, 40), 2) * (0.3 + white)
    albedo, barnacles = _draw_marks(rng, albedo, white, width)
    return np.stack([np.clip(albedo, 0, 255), cover, barnacles], axis=-1).astype(np.uint8)


def _fluke_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    x = TEXTURE_LEFT + (np.arange(width, dtype=np.float32) + 0.5) * np.float32(TEXTURE_WIDTH / width)
    y = TEXTURE_TOP + (np.arange(height, dtype=np.float32) + 0.5) * np.float32(TEXTURE_HEIGHT / height)
    return x[None, :], y[:, None]


def _chord_fraction(x: np.ndarray, y: np.ndarray, right: _Half, left: _Half) -> np.ndarray:
    """0 on the trailing edge, 1 on the leading edge, for each pixel."""
    edges = []
    for half, side in ((left, -x[0]), (right, x[0])):
        lead = half.leading[np.argsort(half.leading[:, 0])]
        edges.append((np.interp(side, *half.trailing.T), np.interp(side, *lead.T)))
    top, bottom = (np.where(x[0] < 0, edges[0][part], edges[1][part]).astype(np.float32) for part in (0, 1))
    return (y - top) / np.maximum(bottom - top, 0.08)


def _draw_pigment(rng: np.random.Generator, kind: _Kind, x: np.ndarray, y: np.ndarray, chord: np.ndarray) -> np.ndarray:
    """Share of white of each pixel: sides, patches, dark centre and rims and ragged noise, through a sigmoid."""
    height, width = chord.shape
    field = rng.uniform(0.3, 0.6) * cloud(rng, height, width, (5, 9), 6, 0.62)
    field += resize(_draw_plan(rng, kind, x[:, 2::4], y[2::4]), height, width)
    field -= rng.uniform(0.5, 2.0) * np.exp(-np.maximum(chord, 0) / np.float32(rng.uniform(0.03, 0.13)))
    field -= rng.uniform(0.0, 1.2) * np.exp(-np.maximum(1 - chord, 0) / np.float32(rng.uniform(0.02, 0.1)))
    return 1 / (1 + np.exp(np.clip(-field / np.float32(rng.uniform(0.05, 0.2)), -30, 30)))


def _draw_plan(rng: np.random.Generator, kind: _Kind, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The smooth part of the pigmentation, on a coarse grid: sides, centre, tips, patches."""
    right_share = 1 / (1 + np.exp(-(x + rng.normal(0, 0.02)) / np.float32(0.04)))
    left_level, right_level = kind.level + rng.normal(0, 0.25, 2)
    field = left_level + (right_level - left_level) * right_share
    field = field - rng.uniform(0.6, 2.4) * np.exp(-((x / np.float32(rng.uniform(0.12, 0.4))) ** 2))
    field = field + rng.normal(0, 0.5) * np.clip((np.abs(x) - 0.7) / 0.3, 0, 1)
    return (field + _draw_patches(rng, kind.patch_gain, x, y)).astype(np.float32)


def _draw_patches(rng: np.random.Generator, gain: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """White and dark patches, each an ellipse with its own place, size and direction; the two sides have their own."""
    field = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for _ in range(rng.integers(12, 21)):
        centre, angle = _place(rng), np.float32(rng.uniform(0, np.pi))
        long, short = np.float32(rng.uniform(0.06, 0.2)), np.float32(rng.uniform(0.04, 0.1))
        a = ((x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)) / long
        b = ((y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle)) / short
        field += np.float32(rng.choice([-1, 1]) * gain * rng.uniform(0.6, 1.2)) * np.exp(-(a * a + b * b))
    return field


def _fill(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cover of the outline with smooth edges, `(height, width)` 0..255."""
    picture = Image.new("L", (2 * width, 2 * height))
    ImageDraw.Draw(picture).polygon([tuple(point) for point in to_texture(outline, 2 * width)], fill=255)
    return np.asarray(picture.reduce(2))


def _draw_marks(
    rng: np.random.Generator, albedo: np.ndarray, white: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scars, rings and dots on the skin, barnacles at the tips; returns the new albedo and the barnacle layer."""
    size = albedo.shape[::-1]
    layers = {name: Image.new("L", size) for name in ("light", "dark", "barnacles")}
    pens = {name: ImageDraw.Draw(layer) for name, layer in layers.items()}
    unit = width / TEXTURE_WIDTH

    def pen_at(place: np.ndarray) -> ImageDraw.ImageDraw:
        column, row = np.clip(to_texture(place, width).astype(int), 0, np.array(size) - 1)
        return pens["dark"] if white[row, column] > 0.5 else pens["light"]

    _draw_scars(rng, pen_at, unit, width)
    _draw_rings(rng, pen_at, unit, width)
    _draw_dots(rng, pen_at, width)
    _draw_barnacles(rng, pens["barnacles"], width)
    inks = np.asarray(Image.merge("RGB", tuple(layers.values())).filter(ImageFilter.BoxBlur(0.6)), np.float32) / 255
    light, dark, barnacles = inks[..., 0], inks[..., 1], inks[..., 2]
    return albedo * (1 - dark) * (1 - light) + 28 * dark * (1 - light) + 205 * light, barnacles * 255


def _place(rng: np.random.Generator) -> np.ndarray:
    """A point on the skin, in fluke coordinates."""
    x = rng.uniform(-0.93, 0.93)
    return np.array([x, np.interp(abs(x), [0, 1], [0.47, 0.08]) + rng.uniform(-0.15, 0.18)])


def _circle(place: np.ndarray, radius: float, width: int) -> list[float]:
    """The corners Pillow wants for a circle in fluke coordinates."""
    return [*to_texture(place - radius, width), *to_texture(place + radius, width)]


def _draw_scars(rng: np.random.Generator, pen_at: PenAt, unit: float, width: int) -> None:
    along = np.linspace(0, 1, 8)[:, None]
    for _ in range(rng.integers(2, 8)):
        start, angle, length, bend = (
            _place(rng),
            rng.uniform(0, 2 * np.pi),
            rng.uniform(0.08, 0.42),
            rng.normal(0, 0.06),
        )
        copies = int(rng.integers(3, 5)) if rng.random() < 0.15 else 1  # rakes of an orca's teeth
        thickness, ink = max(1, round(rng.uniform(0.005, 0.016) * unit)), int(rng.uniform(120, 255))
        direction, normal = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        for copy in range(copies):
            line = start + along * length * direction + (bend * along * (1 - along) + 0.035 * copy) * normal
            pen_at(line[4]).line([tuple(p) for p in to_texture(line, width)], fill=ink, width=thickness, joint="curve")


def _draw_rings(rng: np.random.Generator, pen_at: PenAt, unit: float, width: int) -> None:
    """Round scars that barnacles leave."""
    for _ in range(rng.poisson(4)):
        place, radius = _place(rng), rng.uniform(0.012, 0.03)
        ink, thickness = int(rng.uniform(120, 230)), max(1, round(0.008 * unit))
        pen_at(place).ellipse(_circle(place, radius, width), outline=ink, width=thickness)


def _draw_dots(rng: np.random.Generator, pen_at: PenAt, width: int) -> None:
    """Loose dots and up to three swarms of them."""
    swarms = [(_place(rng), rng.uniform(0.06, 0.3)) for _ in range(rng.integers(0, 4))]
    places = [_place(rng) for _ in range(rng.poisson(6))]
    places += [
        centre + rng.normal(0, spread, 2) * (1, 0.6) for centre, spread in swarms for _ in range(rng.integers(10, 60))
    ]
    for place in places:
        radius = rng.uniform(0.003, 0.008) if rng.random() < 0.7 else rng.uniform(0.008, 0.016)
        pen_at(place).ellipse(_circle(place, radius, width), fill=int(rng.uniform(140, 240)))


def _draw_barnacles(rng: np.random.Generator, pen: ImageDraw.ImageDraw, width: int) -> None:
    """Lumps on the tips of some animals."""
    for side in (-1, 1):
        for _ in range(rng.poisson(12) * int(rng.random() < 0.4)):
            place, radius = np.array([side * rng.uniform(0.88, 1.0), rng.normal(0.0, 0.05)]), rng.uniform(0.008, 0.02)
            pen.ellipse(_circle(place, radius, width), fill=int(rng.uniform(120, 255)))
