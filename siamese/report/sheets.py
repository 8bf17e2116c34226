"""Picture sheets: queries beside their best matches, for a person who knows the animals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from siamese.errors import SiameseError
from siamese.evaluation.evaluate import Evaluation
from siamese.files import write_atomically
from siamese.identity_scores import NEW_INDIVIDUAL

Colour = tuple[int, int, int]
GREEN: Colour = (0, 140, 95)  # apart from the red for colour-blind eyes in lightness and hue; the mark says it again
RED: Colour = (206, 56, 40)
INK: Colour = (33, 37, 41)
SOFT: Colour = (104, 112, 120)
LINE: Colour = (222, 226, 230)
PLATE: Colour = (231, 237, 243)
PAPER: Colour = (255, 255, 255)

TILE_AREA = 38_000  # pixels of a picture on the sheet: 276 x 138 for a fluke, 195 x 195 for a square drawing
FRAME = 5
BADGE = 26
GAP = 26
MARGIN = 44
LEGEND_WIDTH = 1360
NARROWEST = 216  # pixels for "threshold -10.05  ·  > 99 %", even under a picture that stands upright
CAPTION_SIZE, HEADING_SIZE, TITLE_SIZE = 15, 15, 24
LINE_HEIGHT = 20
CAPTION_HEIGHT = 3 * LINE_HEIGHT + 8
SMOOTH = 4  # marks are drawn so many times larger and shrunk, so that their edges are smooth

TICK = [[(0.27, 0.53), (0.44, 0.69), (0.74, 0.34)]]  # strokes, as shares of the badge's side
CROSS = [[(0.32, 0.32), (0.68, 0.68)], [(0.68, 0.32), (0.32, 0.68)]]


@dataclass(frozen=True, eq=False)
class SheetMatch:
    """One answer to a query.

    Attributes:
        identity: the identity answered, or `NEW_INDIVIDUAL`.
        score: its score; the threshold for the new individual.
        probability: calibrated probability, nan where there is none.
        right: whether it is the right answer.
        image: `(height, width, channels)` uint8 catalog photo; None for the new individual.
        image_id: the catalog photo's id.
    """

    identity: str
    score: float
    probability: float
    right: bool
    image: np.ndarray | None = None
    image_id: str = ""


@dataclass(frozen=True, eq=False)
class SheetRow:
    """A query and its answers, best first.

    Attributes:
        image_id: the query's id.
        truth: its identity; "" for a new individual.
        image: `(height, width, channels)` uint8.
        matches: the answers.
    """

    image_id: str
    truth: str
    image: np.ndarray
    matches: tuple[SheetMatch, ...]


def sample_queries(evaluation: Evaluation, count: int, *, rng: np.random.Generator) -> np.ndarray:
    """Draws queries for a sheet, good and bad alike, known and new as they come; returns ascending indices."""
    counted = np.flatnonzero(evaluation.counted)
    return np.sort(rng.choice(counted, size=min(count, len(counted)), replace=False))


def sheet_rows(
    evaluation: Evaluation,
    queries: np.ndarray,
    *,
    query_images: Callable[[np.ndarray], np.ndarray],
    catalog_images: Callable[[np.ndarray], np.ndarray],
    catalog_ids: np.ndarray,
) -> list[SheetRow]:
    """Gathers what a sheet shows.

    Args:
        evaluation: rankings and truths.
        queries: `(n,)` indices of the queries to show.
        query_images: gives the photos `(n, height, width, channels)` uint8 of query indices.
        catalog_images: gives the photos of catalog rows.
        catalog_ids: `(num_catalog,)` image ids.
    """
    return [
        SheetRow(
            image_id=str(evaluation.ranking.query_ids[query]),
            truth=str(evaluation.truth[query]),
            image=query_images(np.array([query]))[0],
            matches=_matches(evaluation, int(query), catalog_images, catalog_ids),
        )
        for query in queries
    ]


def query_sheet(path: Path, rows: Sequence[SheetRow], *, title: str = "Queries and their best matches") -> None:
    """Draws each query with its matches to the right: framed green with a tick if right, red with a cross if not.

    Args:
        path: where the picture goes; the ending names the format, such as `.png`.
        rows: at least one.
        title: heading of the sheet.

    Raises:
        SiameseError: there is nothing to draw, or an image is not uint8 of one or three channels.
        DiskError: the file cannot be written.
    """
    if not rows:
        raise SiameseError("A sheet must show at least one query. Received: none. Ask for a query that was ranked.")
    num_matches = max(len(row.matches) for row in rows)
    layout = _layout_for(rows[0].image, num_matches + 1, len(rows), lead=GAP, head=142, captioned=CAPTION_HEIGHT)
    sheet = Image.new("RGB", (max(layout.size[0], LEGEND_WIDTH), layout.size[1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_legend(sheet, draw, title)
    _draw_headings(draw, layout, num_matches)
    for index, row in enumerate(rows):
        _draw_row(sheet, draw, layout, index, row)
    write_atomically(path, lambda unfinished: sheet.save(unfinished))


def contact_sheet(path: Path, images: Sequence[np.ndarray], captions: Sequence[str], columns: int = 6) -> None:
    """Draws images in rows, each with a caption below it.

    Args:
        path: where the picture goes; the ending names the format, such as `.png`.
        images: `(height, width, channels)` uint8 each; they may differ in size.
        captions: one each, shortened where it is too long; a line break starts a second line.
        columns: images in a row.

    Raises:
        SiameseError: there is nothing to draw, captions are missing, or an image is not uint8.
        DiskError: the file cannot be written.
    """
    if not len(images) or len(images) != len(captions) or columns < 1:
        raise SiameseError(
            "A contact sheet must have at least one image, one caption each and one column. "
            f"Received: {len(images)} images, {len(captions)} captions, columns={columns}. Give one caption per image."
        )
    columns = min(columns, len(images))
    lines = max(caption.count("\n") + 1 if caption else 0 for caption in captions)
    layout = _layout_for(
        images[0], columns, math.ceil(len(images) / columns), lead=0, head=MARGIN, captioned=lines * LINE_HEIGHT + 6
    )
    sheet = Image.new("RGB", layout.size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        corner = layout.corner(index // columns, index % columns)
        sheet.paste(_fitted(image, layout.tile), corner)
        _draw_caption(draw, layout, corner, [(line, INK, False) for line in caption.split("\n")])
    write_atomically(path, lambda unfinished: sheet.save(unfinished))


@dataclass(frozen=True)
class _Layout:
    """Where tiles lie, in pixels: a grid whose first column stands `lead` further away from the others."""

    tile: tuple[int, int]
    grid: tuple[int, int]  # columns, rows
    lead: int
    head: int
    captioned: int

    @property
    def step(self) -> tuple[int, int]:
        return max(self.tile[0], NARROWEST) + GAP, self.tile[1] + self.captioned + GAP

    @property
    def size(self) -> tuple[int, int]:
        columns, rows = self.grid
        return 2 * MARGIN + columns * self.step[0] - GAP + self.lead, self.head + rows * self.step[1] + MARGIN - GAP

    def corner(self, row: int, column: int) -> tuple[int, int]:
        return MARGIN + column * self.step[0] + (self.lead if column else 0), self.head + row * self.step[1]

    @property
    def caption_width(self) -> int:
        return max(self.tile[0], NARROWEST)


def _layout_for(image: np.ndarray, columns: int, rows: int, *, lead: int, head: int, captioned: int) -> _Layout:
    height, width = image.shape[:2]
    aspect = min(max(width / height, 0.5), 4.0)
    tile_width = round(math.sqrt(TILE_AREA * aspect))
    return _Layout((tile_width, round(tile_width / aspect)), (columns, rows), lead, head, captioned)


def _matches(
    evaluation: Evaluation, query: int, catalog_images: Callable[[np.ndarray], np.ndarray], catalog_ids: np.ndarray
) -> tuple[SheetMatch, ...]:
    ranking, right = evaluation.ranking, evaluation.truth[query] or NEW_INDIVIDUAL
    matches = []
    for place in np.flatnonzero(ranking.identities[query] != ""):
        row = int(ranking.catalog_rows[query, place])
        identity = str(ranking.identities[query, place])
        matches.append(
            SheetMatch(
                identity=identity,
                score=float(ranking.scores[query, place]),
                probability=float(ranking.probabilities[query, place]),
                right=identity == right,
                image=catalog_images(np.array([row]))[0] if row >= 0 else None,
                image_id=str(catalog_ids[row]) if row >= 0 else "",
            )
        )
    return tuple(matches)


def _draw_legend(sheet: Image.Image, draw: ImageDraw.ImageDraw, title: str) -> None:
    draw.text((MARGIN, 26), title, INK, _font(TITLE_SIZE, bold=True))
    left, middle = MARGIN, 82
    for right, words in ((True, "right answer"), (False, "wrong answer")):
        draw.rectangle(_swatch(left, middle), fill=PLATE, outline=GREEN if right else RED, width=FRAME)
        badge = _badge(right).resize((18, 18), Image.Resampling.LANCZOS)
        sheet.paste(badge, (left + 19, middle - 9), badge)
        left = _draw_words(draw, left + 66, middle, words) + 28
    draw.rectangle(_swatch(left, middle), fill=PLATE)
    draw.text((left + 28, middle), "new", INK, _font(13, bold=True), anchor="mm")
    words = "new individual: stands before the first score below the threshold"
    left = _draw_words(draw, left + 66, middle, words) + 28
    _draw_words(draw, left, middle, "score: higher is more alike; %: probability", SOFT)


def _swatch(left: int, middle: int) -> tuple[int, int, int, int]:
    return left, middle - 17, left + 56, middle + 16


def _draw_words(draw: ImageDraw.ImageDraw, left: int, middle: int, words: str, colour: Colour = INK) -> int:
    """Writes words and returns where they end."""
    font = _font(CAPTION_SIZE)
    draw.text((left, middle), words, colour, font, anchor="lm")
    return left + math.ceil(font.getlength(words))


def _draw_headings(draw: ImageDraw.ImageDraw, layout: _Layout, num_matches: int) -> None:
    names = ["query and its identity", "best match", "2nd", "3rd", *(f"{rank}th" for rank in range(4, num_matches + 1))]
    for column, name in enumerate(names[: num_matches + 1]):
        left, top = layout.corner(0, column)
        draw.text((left + layout.tile[0] // 2, top - 12), name, SOFT, _font(HEADING_SIZE), anchor="ms")
    left = layout.corner(0, 1)[0] - (GAP + layout.lead) // 2
    draw.line((left, layout.head, left, layout.size[1] - MARGIN), LINE, 2)


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, layout: _Layout, index: int, row: SheetRow) -> None:
    corner = layout.corner(index, 0)
    if index:
        line = corner[1] - GAP // 2
        draw.line((MARGIN, line, layout.size[0] - MARGIN, line), LINE, 1)
    sheet.paste(_fitted(row.image, layout.tile), corner)
    truth = row.truth or "new individual"
    _draw_caption(draw, layout, corner, [(truth, INK, True), (row.image_id, SOFT, False)])
    for column, match in enumerate(row.matches, start=1):
        _draw_match(sheet, draw, layout, layout.corner(index, column), match)


def _draw_match(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, layout: _Layout, corner: tuple[int, int], match: SheetMatch
) -> None:
    left, top = corner
    right, bottom = left + layout.tile[0], top + layout.tile[1]
    if match.image is None:
        draw.rectangle((left, top, right - 1, bottom - 1), fill=PLATE)
        middle = (left + right) // 2, (top + bottom) // 2
        draw.multiline_text(middle, "new\nindividual", INK, _font(22, bold=True), anchor="mm", align="center")
    else:
        sheet.paste(_fitted(match.image, layout.tile), corner)
    colour = GREEN if match.right else RED
    draw.rectangle((left - FRAME, top - FRAME, right + FRAME - 1, bottom + FRAME - 1), outline=colour, width=FRAME)
    badge = _badge(match.right)
    sheet.paste(badge, (right - BADGE - 4, top + 4), badge)
    _draw_caption(draw, layout, corner, _match_lines(match))


def _match_lines(match: SheetMatch) -> list[tuple[str, Colour, bool]]:
    if match.image is None:
        numbers = f"threshold {match.score:.2f}{percent_words(match.probability)}"
        return [("new individual", INK, True), (numbers, INK, False)]
    numbers = f"score {match.score:.2f}{percent_words(match.probability)}"
    return [(match.identity, INK, True), (numbers, INK, False), (match.image_id, SOFT, False)]


def percent_words(probability: float) -> str:
    """Words for a probability, never a false certainty.

    >>> percent_words(0.973), percent_words(0.9999), percent_words(0.0001), percent_words(float("nan"))
    ('  ·  97 %', '  ·  > 99 %', '  ·  < 1 %', '')
    """
    if math.isnan(probability):
        return ""
    if not 0.01 <= probability <= 0.99:
        return "  ·  > 99 %" if probability > 0.5 else "  ·  < 1 %"
    return f"  ·  {100 * probability:.0f} %"


def _draw_caption(
    draw: ImageDraw.ImageDraw, layout: _Layout, corner: tuple[int, int], lines: list[tuple[str, Colour, bool]]
) -> None:
    left = corner[0] + layout.tile[0] // 2
    for index, (words, colour, bold) in enumerate(lines):
        font = _font(CAPTION_SIZE, bold=bold)
        top = corner[1] + layout.tile[1] + FRAME + 6 + index * LINE_HEIGHT
        draw.text((left, top), _shortened(words, font, layout.caption_width), colour, font, anchor="ma")


def _shortened(words: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Returns the words with as much of their middle left out as it takes to fit: ends tell image ids apart."""
    if font.getlength(words) <= width:
        return words
    kept = len(words) - 1
    while kept > 2 and font.getlength(without_middle(words, kept)) > width:
        kept -= 1
    return without_middle(words, kept)


def without_middle(words: str, kept: int) -> str:
    """Returns the first and last characters of a word, so many in all, around a mark for what is left out.

    >>> without_middle("Balinese/character01", 11)
    'Balin…cter01'
    """
    return words[: kept // 2] + "…" + words[len(words) - (kept - kept // 2) :]


def _fitted(image: np.ndarray, tile: tuple[int, int]) -> Image.Image:
    """Returns the image enlarged or shrunk into a tile, centred on a plate of the sheet's grey if its shape differs."""
    photo = _as_photo(image)
    scale = min(tile[0] / photo.width, tile[1] / photo.height)
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    if abs(size[0] - tile[0]) <= 2 and abs(size[1] - tile[1]) <= 2:
        return photo.resize(tile, Image.Resampling.LANCZOS)
    plate = Image.new("RGB", tile, PLATE)
    plate.paste(photo.resize(size, Image.Resampling.LANCZOS), ((tile[0] - size[0]) // 2, (tile[1] - size[1]) // 2))
    return plate


def _as_photo(image: np.ndarray) -> Image.Image:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise SiameseError(
            "An image on a sheet must be uint8 of shape (height, width, 1 or 3). "
            f"Received: {image.dtype} of shape {image.shape}. Read it from an image store."
        )
    return Image.fromarray(np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image)


@cache
def _badge(right: bool) -> Image.Image:
    """Returns a tick or a cross, white on a disc of the frame's colour."""
    side = BADGE * SMOOTH
    badge = Image.new("RGBA", (side, side), (*PAPER, 0))
    draw = ImageDraw.Draw(badge)
    draw.ellipse((0, 0, side - 1, side - 1), fill=PAPER)
    draw.ellipse((SMOOTH, SMOOTH, side - 1 - SMOOTH, side - 1 - SMOOTH), fill=GREEN if right else RED)
    for stroke in TICK if right else CROSS:
        draw.line([(x * side, y * side) for x, y in stroke], PAPER, 3 * SMOOTH, joint="curve")
    return badge.resize((BADGE, BADGE), Image.Resampling.LANCZOS)


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Returns DejaVu Sans as it comes with matplotlib, so that sheets look the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
