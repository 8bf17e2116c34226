"""Why two photos match: what must not be hidden, and where the features that speak for the match were seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siamese.report.heat import heat_overlay
from siamese.report.page import Mark, Row, Section, Tile, rows_html
from siamese.report.photos import picture_address

EXPLANATION = (
    "For some photos: what the model looked at. Orange speaks for the match, blue against it; each map has its own "
    "scale. Hidden: a grey box slid over the photo, and the score fell where it hid what the match rests on. Features: "
    "the model compares two photos feature by feature, and each adds a part of the score; what it adds beyond the part "
    "it adds for photos of other animals is laid over the places where the feature was seen. A map that lies on water, "
    "sky or the edge of the photo is a warning: the model may know the picture and not the animal. A map shows roughly "
    "where, and not why."
)


@dataclass(frozen=True, eq=False)
class ExplainedMatch:
    """A query with the photo that was its best match, and what speaks for the match.

    Attributes:
        query_id: image id of the query.
        truth: its identity.
        identity: the identity answered.
        match_id: image id of the matched photo.
        query: `(height, width, channels)` uint8, to look at.
        match: likewise.
        score: of both.
        usual: mean score of the query with photos of other animals.
        fall: `(rows, columns)` fall of the score where a box hid the query.
        query_evidence: `(rows, columns)` evidence of the features, where the query shows them.
        match_evidence: likewise in the matched photo.
        stripe_evidence: `(stripes,)` evidence summed over the features of each upright stripe, from left to right.
    """

    query_id: str
    truth: str
    identity: str
    match_id: str
    query: np.ndarray
    match: np.ndarray
    score: float
    usual: float
    fall: np.ndarray
    query_evidence: np.ndarray
    match_evidence: np.ndarray
    stripe_evidence: np.ndarray


@dataclass(frozen=True, eq=False)
class FeaturePicture:
    """What one feature of the embedding answers to most.

    Attributes:
        feature: its place in the embedding.
        evidence: mean evidence that it gave to the right matches that are explained, score units.
        image: `(height, width, channels)` uint8.
    """

    feature: int
    evidence: float
    image: np.ndarray


def why_section(matches: Sequence[ExplainedMatch]) -> Section:
    """Shows matches with their maps.

    Args:
        matches: right ones and wrong ones.
    """
    return Section("Why: what the matches rest on", EXPLANATION, (rows_html(_row(match) for match in matches),))


def features_section(pictures: Sequence[FeaturePicture]) -> Section:
    """Shows the images that raise single features most.

    Args:
        pictures: the features that carried most evidence.
    """
    tiles = tuple(
        Tile(
            picture_address(picture.image),
            f"pattern that raises feature {picture.feature}",
            f"feature {picture.feature}",
            (f"evidence {picture.evidence:+.2f}",),
        )
        for picture in pictures
    )
    explanation = (
        "The features that carried most evidence, on average, in the right matches above, each with an image that was "
        "changed step by step, from noise, to raise it. They hint at edges and spots that a feature answers to; much "
        "of them is what no photo shows."
    )
    return Section("What single features look for", explanation, (rows_html([Row(tiles)]),))


def _row(match: ExplainedMatch) -> Row:
    mark: Mark = "right" if match.truth == match.identity else "wrong"
    truth = match.truth or "not in the catalog"
    asked, matched = f"photo {match.query_id}, of {truth}", f"photo {match.match_id}, of {match.identity}"
    maps = (
        ("Hidden", f"{asked}: fall of the score where a box hides it", match.query, match.fall, _fallen(match.fall)),
        ("Features, photo asked", f"{asked}: evidence of features", match.query, match.query_evidence, ""),
        ("Features, match", f"{matched}: evidence of features", match.match, match.match_evidence, ""),
    )
    tiles = (
        Tile(picture_address(match.query), asked, truth, (match.query_id,), "query"),
        Tile(picture_address(match.match), matched, match.identity, (f"score {match.score:.2f}", match.match_id), mark),
        *(
            Tile(picture_address(heat_overlay(photo, values)), alt, title, (note,) if note else ())
            for title, alt, photo, values, note in maps
        ),
    )
    return Row(tiles, note=_stripes(match))


def _fallen(fall: np.ndarray) -> str:
    return f"falls by up to {fall.max():.2f}" if fall.max() > 0 else "falls nowhere"


def _stripes(match: ExplainedMatch) -> str:
    words = (
        f"Score {match.score:.2f}, where photos of other animals get {match.usual:.2f} on average: "
        f"{match.stripe_evidence.sum():+.2f}."
    )
    if len(match.stripe_evidence) > 1:
        parts = ", ".join(f"{part:+.2f}" for part in match.stripe_evidence)
        words += f" By upright stripe of the photo, from left to right: {parts}."
    return words
