"""Pieces of pages in HTML that ask nothing of the network."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

MOST_TEXT = 300  # characters of one id, name or reason


def html_text(text: str, most: int = MOST_TEXT) -> str:
    """Returns text as HTML shows it, safe within quotes, cut where it is very long.

    Args:
        text: anything, such as a name that a user gave.
        most: characters kept.

    Example:
    >>> html_text("<Ann & Bob>"), html_text("abcdef", 4)
    ('&lt;Ann &amp; Bob&gt;', 'abc…')
    """
    return escape(text if len(text) <= most else text[: most - 1] + "…")


def data_address(kind: str, content: bytes) -> str:
    """Returns content as an address that stands in the page itself.

    Args:
        kind: its media type.
        content: the bytes of a file.

    Example:
    >>> data_address("text/plain", b"a")
    'data:text/plain;base64,YQ=='
    """
    return f"data:{kind};base64," + base64.b64encode(content).decode("ascii")


def svg_address(svg: str) -> str:
    """Returns a drawing as an `<img>` of a page takes it."""
    return data_address("image/svg+xml", svg.encode("utf-8"))


def html_document(title: str, style: str, parts: Iterable[str]) -> str:
    """Returns a whole page of parts that are HTML already; empty ones are left out."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{html_text(title)}</title><style>{style}</style>"
    body = "\n".join(part for part in parts if part)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{body}\n</main></body></html>\n'
