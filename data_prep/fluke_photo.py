"""Photographs an animal: pose, sea, water over the fluke, light, lens. `draw_photo` is the function a notebook wants.

Picture coordinates are pixels, x to the right, y down. The fluke is a sheet curled along its span, turned by yaw, pitch
and roll and seen in perspective; the curl makes one lobe round and the other long when the whale is seen from the side.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from data_prep.fluke_animal import TEXTURE_WIDTH, FlukeIdentity, cloud, to_texture
from data_prep.fluke_sea import draw_sea

CENTRE = np.array([0.0, 0.3])  # the fluke turns about this point, in fluke coordinates

# Width x height and how many of the challenge's 33,321 photos are near it; extreme ones last.
PHOTO_SIZES = (
    (1050, 700, 5400), (1050, 600, 3600), (1050, 450, 2300), (1050, 525, 2000), (1050, 350, 1000), (1050, 300, 1000),
    (700, 500, 900), (1050, 400, 900), (1050, 250, 600), (1050, 750, 500), (900, 600, 500), (1000, 652, 400),
    (700, 400, 300), (900, 450, 300), (1050, 200, 250), (1050, 800, 200), (1800, 700, 150), (1050, 140, 50),
    (700, 700, 60), (525, 700, 40),
)  # fmt: skip


@dataclass(frozen=True)
class Pose:
    """How the fluke stands: angles in degrees, distance in half spans, curl and flex of the lobes, left first."""

    roll: float
    yaw: float
    pitch: float
    distance: float
    curl: tuple[float, float]
    flex: tuple[float, float]


@dataclass(frozen=True)
class Light:
    """Light and lens. Gains are factors, angles degrees, blur pixels, haze, noise and glare shares of the range."""

    exposure: float
    contrast: float
    gamma: float
    pigment: float
    left_right: float
    top_down: float
    haze: float
    blur: float
    noise: float
    warmth: float


@dataclass(frozen=True)
class Photo:
    """A photo and the truth about it.

    Attributes:
        image: `(height, width, 3)` uint8; a grey photo has equal channels.
        box: x, y, width, height of the fluke above water, pixels.
        keypoints: `(4, 2)` left tip, notch, right tip and base at the waterline, pixels; left as seen when upright.
        outline: `(num_points, 2)` polygon of the fluke above water, pixels.
        truth: pose, light and the rest by name, numbers and strings.
    """

    image: np.ndarray
    box: np.ndarray
    keypoints: np.ndarray
    outline: np.ndarray
    truth: dict[str, Any]


def draw_photo(
    identity: FlukeIdentity,
    rng: np.random.Generator,
    *,
    width: int = 512,
    difficulty: float = 1.0,
    grey: bool = False,
    upside_down: bool = False,
    companion: FlukeIdentity | None = None,
    caption: bool = False,
) -> Photo:
    """Photographs `identity` once.

    Args:
        identity: the animal.
        rng: the only source of chance; the same state gives the same photo.
        width: width of the commonest photos, pixels (1050 in the challenge); the others are in proportion.
        difficulty: scales the ranges of pose, light and water; 0 is a studio, 1 the challenge.
        grey: whether all channels are equal.
        upside_down: whether the photo is turned by 180 degrees.
        companion: a second animal, farther away.
        caption: whether a strip with a catalogue's text stands below the sea.
    """
    pose, light = _draw_pose(rng, difficulty), _draw_light(rng, difficulty)
    sunk = _draw_depth(rng, difficulty)
    low, high = _visible(identity, pose, sunk)
    size = _draw_size(rng, width, aspect=(high[0] - low[0]) / (high[1] - low[1]))
    view = _frame(rng, identity, pose, sunk, size)
    canvas = draw_sea(rng, size, float(view.waterline.min()))
    if companion is not None:
        _paint_companion(rng, canvas, companion, light, size, difficulty)
    _paint_fluke(rng, canvas, identity, view, light)
    _paint_water(rng, canvas, view, difficulty)
    canvas = _develop(rng, canvas, light, grey)
    if caption:
        canvas = _add_caption(rng, canvas)
    photo = Photo(
        canvas, view.box(size), view.keypoints, view.outline, _truth(pose, light, grey, upside_down, companion)
    )
    return _turn(photo) if upside_down else photo


# ---- pose and light


def _draw_pose(rng: np.random.Generator, difficulty: float) -> Pose:
    def angle(centre: float, spread: float, limit: float) -> float:
        return float(np.clip(centre + difficulty * rng.normal(0, spread), -limit, limit))

    curl = 0.14 + difficulty * rng.uniform(-0.14, 0.18, 2)
    return Pose(
        roll=angle(0, 7, 25), yaw=angle(0, 20, 38), pitch=angle(16, 30, 60),
        distance=float(30 / (1 + difficulty * rng.uniform(0.2, 4))),
        curl=tuple(np.clip(curl, 0, 0.32).tolist()), flex=tuple((difficulty * rng.normal(0, 0.07, 2)).tolist()),
    )  # fmt: skip


def _draw_light(rng: np.random.Generator, difficulty: float) -> Light:
    def ratio(spread: float) -> float:
        return float(np.exp(np.clip(difficulty * rng.normal(0, spread), -0.9, 0.9)))

    return Light(
        exposure=ratio(0.15), contrast=ratio(0.22), gamma=ratio(0.22), pigment=min(1.0, 1.05 * ratio(0.3)),
        left_right=float(difficulty * rng.normal(0, 0.25)), top_down=float(difficulty * rng.normal(0, 0.25)),
        haze=float(min(0.5, difficulty * rng.exponential(0.055))), warmth=float(difficulty * rng.normal(0, 0.06)),
        blur=float(min(3, difficulty * rng.exponential(0.6))), noise=float(difficulty * rng.exponential(0.015)),
    )  # fmt: skip


def _draw_depth(rng: np.random.Generator, difficulty: float) -> float:
    """How far the fluke is out of the water: the height of the waterline at its middle, in fluke coordinates."""
    return 0.68 - difficulty * min(0.28, rng.exponential(0.1)) + rng.uniform(-0.05, 0.08)


def _draw_size(rng: np.random.Generator, width: int, aspect: float) -> tuple[int, int]:
    """Width and height of a photo; people crop, so one that is wider than the fluke's aspect is often drawn again."""
    weights = np.array([size[2] for size in PHOTO_SIZES], float)
    choices = rng.choice(len(PHOTO_SIZES), 3, p=weights / weights.sum())
    fitting = [choice for choice in choices if PHOTO_SIZES[choice][0] < aspect * PHOTO_SIZES[choice][1]]
    full_width, full_height, _ = PHOTO_SIZES[(fitting or choices)[0]]
    height = full_height * (np.exp(rng.normal(0, 0.08)) if rng.random() < 0.3 else 1) * width / 1050
    return max(16, round(full_width * width / 1050)), max(16, round(height) + int(rng.integers(-1, 2)))


# ---- geometry


def _bend(points: np.ndarray, pose: Pose) -> np.ndarray:
    """The sheet in space `(n, 3)`, turned by the pose, about the fluke's centre."""
    x, y = points[:, 0], points[:, 1]
    reach = np.minimum(np.abs(x), 1.3)
    y = y - CENTRE[1] - reach * np.where(x < 0, *pose.flex)
    z = reach * reach * np.where(x < 0, *pose.curl)
    yaw, pitch, roll = np.radians([pose.yaw, pose.pitch, pose.roll])
    y, z = y * np.cos(pitch) - z * np.sin(pitch), y * np.sin(pitch) + z * np.cos(pitch)
    x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
    return np.stack([x * np.cos(roll) - y * np.sin(roll), x * np.sin(roll) + y * np.cos(roll), z], axis=1)


def project(points: np.ndarray, pose: Pose) -> np.ndarray:
    """Fluke coordinates `(n, 2)` to picture directions `(n, 2)`, in half spans about the centre."""
    space = _bend(points, pose)
    return space[:, :2] / (1 + space[:, 2:] / pose.distance)


def unproject(targets: np.ndarray, pose: Pose) -> np.ndarray:
    """The fluke coordinates `(n, 2)` whose projection is `targets`, by Newton's method."""
    points, step = targets + CENTRE, 1e-4
    for _ in range(7):
        value = project(points, pose)
        along_x = (project(points + (step, 0), pose) - value) / step
        along_y = (project(points + (0, step), pose) - value) / step
        gap = targets - value
        scale = along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0]
        scale = np.where(np.abs(scale) < 0.1, 0.1, scale)
        move_x = (gap[:, 0] * along_y[:, 1] - gap[:, 1] * along_y[:, 0]) / scale
        move_y = (gap[:, 1] * along_x[:, 0] - gap[:, 0] * along_x[:, 1]) / scale
        points = points + np.clip(np.stack([move_x, move_y], axis=1), -0.5, 0.5)
    return points


@dataclass(frozen=True)
class _View:
    """Where the fluke lies in the picture: pixels per half span, offset, waterline per column, visible outline."""

    pose: Pose
    scale: float
    offset: np.ndarray
    waterline: np.ndarray
    outline: np.ndarray
    keypoints: np.ndarray

    def box(self, size: tuple[int, int]) -> np.ndarray:
        low = np.clip(self.outline.min(axis=0), 0, size)
        high = np.clip(self.outline.max(axis=0), 0, size)
        return np.concatenate([low, high - low])


def _visible(identity: FlukeIdentity, pose: Pose, sunk: float) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest x and y of the fluke above a flat sea, in half spans."""
    outline, level = project(identity.outline, pose), project(np.array([[0.0, sunk]]), pose)[0, 1]
    dry = np.minimum(outline, (np.inf, level))
    return dry.min(axis=0), dry.max(axis=0)


def _frame(rng: np.random.Generator, identity: FlukeIdentity, pose: Pose, sunk: float, size: tuple[int, int]) -> _View:
    """Points the camera: most boxes fill the width of a photo, as the challenge's 33,321 boxes do."""
    low, high = _visible(identity, pose, sunk)
    share = 0.98 - min(0.5, rng.gamma(1.1, 0.055))
    scale = min(share * size[0] / (high[0] - low[0]), rng.uniform(0.75, 0.95) * size[1] / (high[1] - low[1]))
    room = np.maximum(0, np.array(size) - scale * (high - low)) / 2
    middle = np.array(size) * 0.5 + np.clip(rng.normal((0, -0.03), (0.03, 0.06)) * size, -room, room * (1, 0.8))
    offset = middle - scale * (low + high) / 2
    waterline = _draw_waterline(rng, size, high[1] * scale + offset[1], scale)
    outline = project(identity.outline, pose) * scale + offset
    water_at = np.interp(outline[:, 0], np.arange(size[0]), waterline)
    outline[:, 1] = np.minimum(outline[:, 1], water_at)
    keypoints = project(np.concatenate([identity.keypoints, [[0.0, sunk]]]), pose) * scale + offset
    keypoints[3, 1] = np.interp(keypoints[3, 0], np.arange(size[0]), waterline)
    return _View(pose, scale, offset, waterline, outline, keypoints)


def _draw_waterline(rng: np.random.Generator, size: tuple[int, int], level: float, scale: float) -> np.ndarray:
    """Row of the sea's surface in front of the fluke for each column, pixels."""
    knots = np.linspace(0, size[0], 9)
    swell = rng.normal(0, 0.025 * scale, 9) + rng.normal(0, 0.03) * (knots - size[0] / 2)
    return level + np.interp(np.arange(size[0]), knots, swell) + 0.012 * scale * cloud(rng, 2, size[0], (2, 40), 2)[0]


# ---- fluke


def _paint_fluke(
    rng: np.random.Generator, canvas: np.ndarray, identity: FlukeIdentity, view: _View, light: Light
) -> None:
    """Warps the texture into the picture, lights it and lays it over the sea, above the waterline only."""
    height, width = canvas.shape[:2]
    low = np.maximum(np.floor(view.outline.min(axis=0)) - 2, 0).astype(int)
    high = np.minimum(np.ceil(view.outline.max(axis=0)) + 3, (width, height)).astype(int)
    if (high - low).min() < 4:
        return
    skin, places = _warp(identity, view, low, high)
    albedo, cover, barnacles = (np.asarray(band, np.float32) for band in skin.split())
    shade = _shade(places, light, high - low)
    lit = (28 + (albedo - 28) * light.pigment) * shade + _sheen(rng, shade.shape)
    colour = lit[..., None] * np.array([1 - light.warmth * 0.5, 1.0, 1 + 0.06 + light.warmth * 0.5], np.float32)
    colour += (barnacles / 255)[..., None] * (np.array([175, 140, 95], np.float32) * shade[..., None] - colour)
    row = np.arange(low[1], high[1], dtype=np.float32)[:, None]
    dry = np.clip((view.waterline[low[0] : high[0]].astype(np.float32) - row) / 2.5 + 0.5, 0, 1)
    region = canvas[low[1] : high[1], low[0] : high[0]]
    region += (colour - region) * (cover / 255 * dry)[..., None]


def _warp(identity: FlukeIdentity, view: _View, low: np.ndarray, high: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The texture in the window from `low` to `high`, and the fluke coordinates of a coarse grid over it."""
    texture = identity.texture
    shrink = int(np.clip(texture.shape[1] / TEXTURE_WIDTH / view.scale, 1, 8))
    picture = Image.fromarray(texture) if shrink == 1 else Image.fromarray(texture).reduce(shrink)
    columns = np.linspace(low[0], high[0], max(3, (high[0] - low[0]) // 36)).round().astype(int)
    rows = np.linspace(low[1], high[1], max(3, (high[1] - low[1]) // 36)).round().astype(int)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1)
    places = unproject((grid.reshape(-1, 2) - view.offset) / view.scale, view.pose).reshape(grid.shape)
    source = to_texture(places, texture.shape[1]) / shrink
    mesh = [
        ((columns[j] - low[0], rows[i] - low[1], columns[j + 1] - low[0], rows[i + 1] - low[1]),
         (*source[i, j], *source[i + 1, j], *source[i + 1, j + 1], *source[i, j + 1]))
        for i in range(len(rows) - 1) for j in range(len(columns) - 1)
    ]  # fmt: skip
    warped = picture.transform(tuple(high - low), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
    return warped, places


def _shade(places: np.ndarray, light: Light, size: np.ndarray) -> np.ndarray:
    """Light that falls on each pixel of the window: a side light, and brighter or darker towards the tips' height."""
    x, y = places[..., 0], places[..., 1]
    keel = 0.12 * np.exp(-((x / 0.08) ** 2))
    coarse = (1 + light.left_right * np.tanh(2 * x) + light.top_down * (0.35 - y) / 0.4 + keel).astype(np.float32)
    return np.clip(np.asarray(Image.fromarray(coarse).resize(tuple(size), Image.Resampling.BILINEAR)), 0.25, 1.8)


def _sheen(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Light mirrored by the wet skin, grey levels."""
    return np.maximum(0, cloud(rng, shape[0], shape[1], (2, 4), 3) - rng.uniform(0.0, 1.5)) * np.float32(
        rng.exponential(7)
    )


def _paint_companion(
    rng: np.random.Generator,
    canvas: np.ndarray,
    companion: FlukeIdentity,
    light: Light,
    size: tuple[int, int],
    difficulty: float,
) -> None:
    """A second animal, smaller and to one side; it has no box."""
    view = _frame(rng, companion, _draw_pose(rng, difficulty), _draw_depth(rng, difficulty), size)
    shift = np.array([rng.choice([-1, 1]) * rng.uniform(0.2, 0.45) * size[0], -0.05 * size[1]])
    centre, ratio = view.outline.mean(axis=0), rng.uniform(0.35, 0.6)
    small = _View(
        view.pose, view.scale * ratio, centre + (view.offset - centre) * ratio + shift,
        centre[1] + (view.waterline - centre[1]) * ratio + shift[1],
        centre + (view.outline - centre) * ratio + shift, centre + (view.keypoints - centre) * ratio + shift,
    )  # fmt: skip
    _paint_fluke(rng, canvas, companion, small, light)
    _paint_water(rng, canvas, small, difficulty)


# ---- water over the fluke


def _paint_water(rng: np.random.Generator, canvas: np.ndarray, view: _View, difficulty: float) -> None:
    """Shadow on the sea, foam along the waterline, and spray over part of the fluke in some photos."""
    height, width = canvas.shape[:2]
    reach = np.float32(0.16 * view.scale)
    top = int(np.clip(view.outline[:, 1].max() - 5 * reach, 0, height - 2))
    row, column = np.arange(top, height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    rise = (view.waterline.astype(np.float32) - row) / reach  # positive above the water
    beside = np.exp(-(((column - view.keypoints[3, 0]) / (0.6 * view.scale)) ** 2)).astype(np.float32)
    region = canvas[top:]
    shadow = np.float32(rng.uniform(0, 0.55)) * beside * np.exp(np.minimum(rise, 0) / np.float32(2)) * (rise < 0)
    region *= 1 - shadow[..., None]
    churn = cloud(rng, height - top, width, ((height - top) / 24, width / 64), 5, 0.85)
    foam = (
        rng.uniform(-2.4, 0.2)
        + rng.uniform(0.8, 2.6) * beside
        - np.where(rise > 0, 5 * rise, -1.0 * rise)
        + 0.8 * churn
    )
    if rng.random() < 0.35 * difficulty:
        foam += _splash(rng, view, column, rise)
    cover = np.clip(0.6 * foam, 0, 1) * np.float32(rng.uniform(0.7, 0.97))
    white = np.float32(rng.uniform(205, 245)) + 14 * churn
    region += (white - region.transpose(2, 0, 1)).transpose(1, 2, 0) * cover[..., None]


def _splash(rng: np.random.Generator, view: _View, column: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Spray thrown up at one place beside or before the fluke, added to the foam."""
    low, high = view.outline[:, 0].min(), view.outline[:, 0].max()
    place, spread = np.float32(rng.uniform(low, high)), np.float32(rng.uniform(0.12, 0.4) * view.scale)
    tall = np.float32(rng.uniform(1, 2.5))
    across = np.exp(-(((column - place) / spread) ** 2)) * np.float32(rng.uniform(2, 4.5))
    above, below = np.maximum(rise, 0), np.minimum(rise, 0)
    return across * (np.exp(-((above / tall) ** 2) + 0.8 * below) + np.minimum(above, 2))


# ---- light and lens


def _develop(rng: np.random.Generator, canvas: np.ndarray, light: Light, grey: bool) -> np.ndarray:
    """Blur, exposure, contrast, gamma, haze and noise; the photo as uint8."""
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    if grey:
        picture = picture.convert("L")
    if light.blur > 0.3:
        picture = picture.filter(ImageFilter.BoxBlur(light.blur * canvas.shape[1] / 512))
    level = np.clip((np.arange(256) / 255 - 0.45) * light.contrast + 0.45, 0, 1) * light.exposure
    level = np.clip(level, 0, 1) ** light.gamma
    level = level * (1 - light.haze) + 0.82 * light.haze
    table = np.clip(level * 255, 0, 255).round().astype(np.uint8).tolist()
    developed = np.asarray(picture.point(table * len(picture.getbands())))
    grain = rng.standard_normal(developed.shape[:2], dtype=np.float32) * np.float32(255 * light.noise + 1)
    if grey:
        return np.repeat(np.clip(developed + grain, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return np.clip(developed + grain[..., None], 0, 255).astype(np.uint8)


def _add_caption(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """The photo above a white strip with a catalogue's number, which says nothing about the animal."""
    height, width = canvas.shape[:2]
    strip = Image.new("RGB", (width, max(8, min(height, width // 2) // 8)), "white")
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(max(6, strip.height * 0.6))
    place = (width * rng.uniform(0.02, 0.1), strip.height * 0.1)
    pen.text(place, f"NAHWC #{rng.integers(1000, 9999)}", fill="black", font=font)
    return np.concatenate([canvas, np.asarray(strip)])


def _turn(photo: Photo) -> Photo:
    """The photo turned by 180 degrees, with its truth."""
    size = np.array(photo.image.shape[1::-1], float)
    corner = size - photo.box[:2] - photo.box[2:]
    image = np.ascontiguousarray(photo.image[::-1, ::-1])
    return Photo(image, np.r_[corner, photo.box[2:]], size - photo.keypoints, size - photo.outline, photo.truth)


def _truth(pose: Pose, light: Light, grey: bool, upside_down: bool, companion: FlukeIdentity | None) -> dict[str, Any]:
    values = {name: value for name, value in asdict(pose).items() if name not in ("curl", "flex")}
    for name in ("curl", "flex"):
        values |= {f"{name}_left": getattr(pose, name)[0], f"{name}_right": getattr(pose, name)[1]}
    return (
        values | asdict(light) | {"grey": grey, "upside_down": upside_down, "num_animals": 1 + (companion is not None)}
    )
