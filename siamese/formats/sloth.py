"""Boxes and points that were drawn with Sloth, the annotation tool of the whale challenges (JSON)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siamese.errors import ManifestError
from siamese.formats.tables import point_text, read_json

Point = tuple[str, float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Drawing:
    """What was drawn on one photo.

    Attributes:
        filename: as the file calls the photo.
        boxes: name and x, y, width, height in pixels of each rectangle.
        points: name, x and y in pixels of each point.
    """

    filename: str
    boxes: tuple[tuple[str, Box], ...]
    points: tuple[Point, ...]


def is_sloth(content: Any) -> bool:
    """Tells whether the content of a JSON file is a Sloth list: photos of class image with their annotations."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(photo, dict) and {"filename", "annotations"} <= set(photo) for photo in content)
    )


def read_drawings(path: Path) -> list[Drawing]:
    """Reads a Sloth list.

    Raises:
        ManifestError: the file is not one, or a number is missing; names the photo.
    """
    content = read_json(path)
    if not is_sloth(content):
        raise ManifestError(
            f"{path}: the file must be a Sloth list of photos, each with `filename` and `annotations`. "
            "Received: JSON of another form. Give the file that Sloth saved."
        )
    return [_drawing(path, photo) for photo in content]


def point_names(drawings: Sequence[Drawing]) -> tuple[str, ...]:
    """Returns the names of the points, in the order of the first photo that has the most of them.

    Example:
    >>> tips = [("left", 1.0, 2.0), ("notch", 5.0, 4.0)]
    >>> point_names([Drawing("a.jpg", (), tuple(tips[:1])), Drawing("b.jpg", (), tuple(tips))])
    ('left', 'notch')
    """
    orders = [tuple(dict.fromkeys(name for name, _, _ in drawing.points)) for drawing in drawings]
    return max(orders, key=len, default=())


def points_text(drawing: Drawing, names: Sequence[str]) -> str:
    """Returns the points in the order of `names` as "x y;x y"; "" if one is missing or stands twice."""
    places = {name: point_text(x, y) for name, x, y in drawing.points}
    complete = len(places) == len(drawing.points) and all(name in places for name in names)
    return ";".join(places[name] for name in names) if complete else ""


def _drawing(path: Path, photo: dict[str, Any]) -> Drawing:
    boxes, points = [], []
    try:
        for mark in photo["annotations"]:
            name = str(mark.get("class", ""))
            if "width" in mark:
                x, y, width, height = (float(mark[key]) for key in ("x", "y", "width", "height"))
                boxes.append((name, (x, y, width, height)))
            elif "x" in mark:
                points.append((name, float(mark["x"]), float(mark["y"])))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ManifestError(
            f"{path}, photo {photo['filename']!r}: a rectangle must have x, y, width and height, and a point x and y. "
            f"Received: {error!r}. Correct the annotation."
        ) from error
    return Drawing(str(photo["filename"]), tuple(boxes), tuple(points))
