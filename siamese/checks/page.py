"""The page: what a check found, in words, plots and photos, in one HTML file that asks nothing of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from siamese.checks.check import CollectionCheck
from siamese.checks.findings import counted, percent
from siamese.checks.page_style import STYLE
from siamese.checks.plots import dates_plot, measure_plot, photos_per_identity_plot, sizes_plot
from siamese.checks.sheets import Sheet, Strip, Tile, choose_sheets
from siamese.checks.statistics import MEASURES
from siamese.checks.thumbnails import read_thumbnails
from siamese.markup import html_document, html_text, svg_address

MOST_UNREADABLE = 100
LEVEL_NAMES = {"serious": "Put right first", "look": "Look at", "know": "Good to know"}
DEFINITIONS = {
    "Individual": "a different name in the column identity; photos without a name show unknown individuals.",
    "Copies": "photo files whose perceptual hashes are equal or near and whose pictures agree when compared, also "
    "resized or recompressed; copies of copies are one group. The largest file is kept, the first among equals.",
    "Burst": "photos of one individual taken within seconds of each other, or whose perceptual hashes are near.",
    "Perceptual hash": "64 bits that describe the coarse pattern of a photo (pHash).",
    "Grey": "all colour channels are equal in every pixel.",
    "Brightness": "mean over all pixels and channels of the upright photo, 0 (black) to 255.",
    "Contrast": "standard deviation over all pixels and channels of the upright photo, in grey levels.",
    "Sharpness": "variance of the Laplacian of the grey photo, reduced until no side is over 512 pixels; compare it "
    "within a collection only. The last bar of its plot holds all sharper ones.",
    "Odd shapes": "width divided by height, furthest from that of the middle photo.",
    "Sides": "values of the column split: train, catalog, validation, test.",
}


def page_html(check: CollectionCheck) -> str:
    """Writes the page of a check.

    Args:
        check: what was found.

    Returns:
        A whole HTML document with its pictures in it, under 5 MB whatever the collection.
    """
    sheets = choose_sheets(check) if check.findings["with_photos"] else []
    thumbnails = read_thumbnails(tile.path for sheet in sheets for strip in sheet.strips for tile in strip.tiles)
    parts = [
        f"<header><h1>Collection check</h1>{_opening(check.findings)}</header>",
        _findings(check.findings["findings"]),
        _plots(check),
        _sides(check.findings["sides"]),
        *(_sheet(sheet, thumbnails) for sheet in sheets),
        _unreadable(check.unreadable),
        _definitions(),
    ]
    return html_document("Collection check", STYLE, parts)


def _opening(numbers: Mapping[str, Any]) -> str:
    identities, photos = numbers["identities"], numbers["photos"]
    sentences = [
        f"{counted(identities['num_rows'], 'row')} with {counted(photos['num_files'], 'photo file')}: "
        f"{counted(identities['num_identities'], 'individual')} by name, "
        f"and {counted(identities['num_unknown'], 'photo')} of unknown ones."
    ]
    if identities["num_identities"]:
        largest = identities["largest"]
        share = percent(identities["under_six_share"], 1)
        sentences.append(
            f"Half of the individuals have at most {identities['median']:.0f} photos, {share} have fewer than six; "
            f"the most, {largest['num_photos']:,}, has {largest['identity']}."
        )
    if numbers["dates"]["num_dated"]:
        dates = numbers["dates"]
        sentences.append(
            f"{counted(dates['num_dated'], 'photo')} {'is' if dates['num_dated'] == 1 else 'are'} dated, "
            f"from {dates['first'][:10]} to {dates['last'][:10]}."
        )
    if not numbers["with_photos"]:
        sentences.append("The photos themselves were not looked at.")
    return f"<p class='lead'>{html_text(' '.join(sentences), 2000)}</p>"


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "<section><h2>What was found</h2><p>Nothing that needs your attention.</p></section>"
    items = "".join(
        f'<li class="{finding["level"]}"><span class="level">{LEVEL_NAMES[finding["level"]]}</span>'
        f"<p><strong>{html_text(finding['found'], 3000)}</strong> {html_text(finding['why'])} "
        f"<span class='advice'>{html_text(finding['advice'])}</span></p></li>"
        for finding in findings
    )
    return f'<section><h2>What was found</h2><ul class="findings">{items}</ul></section>'


def _plots(check: CollectionCheck) -> str:
    figures = "".join(
        f"<figure><figcaption>{title}</figcaption><img alt='{title}' src='{svg_address(svg)}'></figure>"
        for title, svg in _drawn(check)
    )
    return f'<section><h2>The collection in numbers</h2><div class="plots">{figures}</div></section>' if figures else ""


def _drawn(check: CollectionCheck) -> Iterator[tuple[str, str]]:
    facts, numbers = check.facts, check.findings
    readable = facts["reason"] == ""
    if numbers["identities"]["num_identities"]:
        yield "Photos per individual", photos_per_identity_plot(numbers["identities"])
    sized = facts[readable & (facts["width"] > 0)] if "width" in facts else facts.iloc[:0]
    if len(sized):
        yield f"Sizes of {counted(len(sized), 'photo')}", sizes_plot(sized)
    if "contrast" in facts and readable.any():
        first = np.unique(check.file, return_index=True)[1]
        side = facts["path"].copy()
        side[:] = check.manifest.column("split")[first]
        for name in MEASURES:
            yield name.capitalize(), measure_plot(facts.loc[readable, name], name, side[readable])
    if numbers["dates"]["by_month"]:
        yield "Photos over time", dates_plot(numbers["dates"]["by_month"])


def _sides(sides: Mapping[str, Any]) -> str:
    """A table of train against test (and the others), so that a difference between them meets the eye."""
    if len(sides) < 2:
        return ""
    rows = {
        "photos": [f"{side['identities']['num_rows']:,}" for side in sides.values()],
        "individuals": [f"{side['identities']['num_identities']:,}" for side in sides.values()],
        "photos of unknown ones": [f"{side['identities']['num_unknown']:,}" for side in sides.values()],
        "individuals with one photo": [_share(side["identities"]["single_share"]) for side in sides.values()],
        "grey photos": [_share(side["photos"].get("grey_share")) for side in sides.values()],
        "contrast (median)": [_median(side["photos"].get("contrast")) for side in sides.values()],
        "brightness (median)": [_median(side["photos"].get("brightness")) for side in sides.values()],
        "commonest size": [_commonest(side["photos"].get("sizes")) for side in sides.values()],
    }
    head = "".join(f"<th>{html_text(side)}</th>" for side in sides)
    body = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{value}</td>' for value in values)}</tr>"
        for name, values in rows.items()
        if any(values)
    )
    return (
        "<section><h2>Side against side</h2><p>Results carry over only where the sides of the split look alike.</p>"
        f'<div class="wide"><table><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div></section>'
    )


def _share(share: float | None) -> str:
    return "" if share is None else percent(share, 1)


def _median(measure: Mapping[str, Any] | None) -> str:
    return f"{measure['percentiles']['50']:.1f}" if measure and measure["percentiles"] else ""


def _commonest(sizes: Mapping[str, Any] | None) -> str:
    if not sizes or not sizes["commonest"]:
        return ""
    first = sizes["commonest"][0]
    return f"{first['width']} x {first['height']}"


def _sheet(sheet: Sheet, thumbnails: Mapping[str, str]) -> str:
    strips = "".join(_strip(strip, thumbnails) for strip in sheet.strips)
    more = f"<p class='more'>{html_text(sheet.more)}</p>" if sheet.more else ""
    layout = "groups" if sheet.grouped else "singles"
    return (
        f"<section><h2>{html_text(sheet.title)}</h2><p>{html_text(sheet.explanation)}</p>"
        f'<div class="{layout}">{strips}</div>{more}</section>'
    )


def _strip(strip: Strip, thumbnails: Mapping[str, str]) -> str:
    heading = f"<h3>{html_text(strip.heading)}</h3>" if strip.heading else ""
    tiles = "".join(_tile(tile, thumbnails.get(tile.path, "")) for tile in strip.tiles)
    more = f"<div class='tile rest'><span>and {strip.num_more:,} more</span></div>" if strip.num_more else ""
    return f'<div class="strip">{heading}<div class="tiles">{tiles}{more}</div></div>'


def _tile(tile: Tile, address: str) -> str:
    image_id = html_text(tile.image_id)
    picture = f"<img alt='{image_id}' src='{address}'>" if address else "<span>no longer readable</span>"
    mark = "<em>kept</em>" if tile.kept else ""
    return (
        f'<figure class="tile{" kept" if tile.kept else ""}"><div class="plate">{picture}{mark}</div>'
        f'<figcaption><b>{html_text(tile.identity)}</b><span title="{image_id}">{image_id}</span>'
        f"<span>{html_text(tile.note)}</span></figcaption></figure>"
    )


def _unreadable(unreadable: Mapping[str, str]) -> str:
    if not unreadable:
        return ""
    shown = list(unreadable.items())[:MOST_UNREADABLE]
    rows = "".join(f"<tr><th>{html_text(image_id)}</th><td>{html_text(reason)}</td></tr>" for image_id, reason in shown)
    more = len(unreadable) - len(shown)
    rest = f"<p class='more'>{counted(more, 'more photo')} in quarantine.csv.</p>" if more else ""
    return (
        "<section><h2>Photos that cannot be read</h2>"
        f'<div class="wide"><table class="reasons"><tbody>{rows}</tbody></table></div>{rest}</section>'
    )


def _definitions() -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{meaning}</dd>" for name, meaning in DEFINITIONS.items())
    return f"<section><h2>What the words mean</h2><dl>{rows}</dl></section>"
