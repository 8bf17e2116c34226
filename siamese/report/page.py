"""The page of a run: sentences, tables, plots and photos in one HTML file that asks nothing of the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from siamese.checks.page_style import STYLE
from siamese.markup import html_document, html_text, svg_address
from siamese.report.page_style import REPORT_STYLE

Mark = Literal["", "query", "right", "wrong"]
MARK_WORDS: Mapping[Mark, str] = {"query": "asked", "right": "right", "wrong": "wrong"}
LONGEST = 3000  # characters of a paragraph


@dataclass(frozen=True)
class Tile:
    """A picture with a few words below it.

    Attributes:
        address: data address of the picture; "" shows `blank` in its place.
        alt: what the picture shows, for those who cannot see it.
        title: first line.
        lines: further lines.
        mark: how it is framed.
        blank: words in the place of a picture.
    """

    address: str
    alt: str
    title: str
    lines: tuple[str, ...] = ()
    mark: Mark = ""
    blank: str = "no picture"


@dataclass(frozen=True)
class Row:
    """Tiles that belong together.

    Attributes:
        tiles: from left to right.
        heading: above them; "" for none.
        note: below them; "" for none.
    """

    tiles: tuple[Tile, ...]
    heading: str = ""
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: heading.
        explanation: what is shown and how to read it.
        parts: HTML, such as `table_html`, `rows_html` and `plots_html` make.
    """

    title: str
    explanation: str
    parts: tuple[str, ...] = ()


def page_html(
    title: str,
    lead: str,
    cautions: Sequence[str],
    warnings: Sequence[str],
    sections: Iterable[Section],
    *,
    shape: tuple[int, int],
) -> str:
    """Writes the page.

    Args:
        title: of the page.
        lead: the paragraph on top.
        cautions: what the model cannot do.
        warnings: what may spoil its results, each a sentence.
        sections: in their order.
        shape: height and width of the pictures of photos, which all have one shape.

    Returns:
        A whole HTML document with its pictures in it.
    """
    header = f"<header><h1>{html_text(title)}</h1><p class='lead'>{html_text(lead, LONGEST)}</p></header>"
    parts = [
        header,
        _listed("What it cannot do", "look", cautions),
        _listed("What may spoil these results", "serious", warnings),
    ]
    plates = f".answer .plate {{ aspect-ratio: {shape[1]} / {shape[0]}; }}"
    return html_document(title, STYLE + REPORT_STYLE + plates, [*parts, *(_section(section) for section in sections)])


def table_html(table: pd.DataFrame, caption: str = "", *, words: str = "") -> str:
    """Writes a table of texts; the first column names the rows.

    Args:
        table: what stands in the cells, formatted already.
        caption: above it.
        words: name of a column that holds sentences.

    Example:
    >>> table_html(pd.DataFrame({"who": ["ann"], "photos": ["3"]})).count("<td>")
    1
    """
    kind = [" class='text'" if name == words else "" for name in table.columns]
    head = "".join(
        f"<th scope='col'{text}>{html_text(str(name))}</th>" for name, text in zip(table.columns, kind, strict=True)
    )
    body = "".join(
        f"<tr><th scope='row'>{html_text(str(row[0]))}</th>"
        + "".join(f"<td{text}>{html_text(str(cell))}</td>" for cell, text in zip(row[1:], kind[1:], strict=True))
        + "</tr>"
        for row in table.itertuples(index=False)
    )
    above = f"<caption>{html_text(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def plots_html(plots: Iterable[tuple[str, str, str]]) -> str:
    """Writes plots side by side where there is room: title, SVG text and what it shows, in words, of each."""
    figures = "".join(
        f"<figure><figcaption>{html_text(title)}</figcaption>"
        f"<img alt='{html_text(shows)}' src='{svg_address(svg)}'></figure>"
        for title, svg, shows in plots
    )
    return f'<div class="plots">{figures}</div>'


def rows_html(rows: Iterable[Row]) -> str:
    """Writes rows of photos."""
    return f'<div class="answers">{"".join(_row(row) for row in rows)}</div>'


def text_html(text: str) -> str:
    """Writes text as it stands, its lines kept."""
    return f"<pre class='card'>{html_text(text, 20 * LONGEST)}</pre>"


def _section(section: Section) -> str:
    explanation = f"<p>{html_text(section.explanation, LONGEST)}</p>" if section.explanation else ""
    return f"<section><h2>{html_text(section.title)}</h2>{explanation}{''.join(section.parts)}</section>"


def _listed(title: str, level: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f'<li class="{level}"><p>{html_text(sentence, LONGEST)}</p></li>' for sentence in sentences)
    return f'<section><h2>{title}</h2><ul class="findings">{items}</ul></section>'


def _row(row: Row) -> str:
    heading = f"<h3>{html_text(row.heading)}</h3>" if row.heading else ""
    note = f"<p class='more'>{html_text(row.note)}</p>" if row.note else ""
    tiles = "".join(_tile(tile) for tile in row.tiles)
    return f'<div class="answer">{heading}<div class="tiles">{tiles}</div>{note}</div>'


def _tile(tile: Tile) -> str:
    alt = html_text(tile.alt)
    picture = f"<img alt='{alt}' src='{tile.address}'>" if tile.address else f"<span>{html_text(tile.blank)}</span>"
    mark = f"<em>{MARK_WORDS[tile.mark]}</em>" if tile.mark else ""
    lines = "".join(f"<span title='{html_text(line)}'>{html_text(line)}</span>" for line in tile.lines)
    return (
        f'<figure class="tile {tile.mark}"><div class="plate">{picture}{mark}</div>'
        f"<figcaption><b>{html_text(tile.title)}</b>{lines}</figcaption></figure>"
    )
