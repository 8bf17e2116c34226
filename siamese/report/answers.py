"""The answers on the page: hits, near misses, misses, and what went wrong with new animals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from siamese.evaluation.evaluate import Evaluation
from siamese.evaluation.openset import LISTED
from siamese.ranking import NEW_INDIVIDUAL
from siamese.report.page import Mark, Row, Section, Tile, rows_html
from siamese.report.photos import picture_address
from siamese.report.sheets import SheetMatch, SheetRow, percent_words

SHOWN = 4  # rows of each kind
GUIDE = (
    "Each row below starts with a photo that the model was asked about. The answers follow, best first: of each animal "
    "its photo that is most alike, the score of the two photos (higher is more alike) and the probability that it is "
    "the animal. The answer new individual stands before the first animal whose score is under the threshold."
)
KINDS = (
    ("Hits", "The right name came first."),
    ("Near misses", "The right name is among the first five names, but not the first."),
    ("Misses", "The right name is not among the first five; the last photo shows the animal asked for."),
    ("Called new by mistake", "The right animal is the most similar one, but its score is under the threshold."),
    (
        "New animals that were called new",
        "The catalog does not hold these animals; no score reached the threshold.",
    ),
    ("New animals that got a name", "The catalog does not hold these animals; the answer should be new."),
)


@dataclass(frozen=True, eq=False)
class AnswerKind:
    """Queries that were answered in one way.

    Attributes:
        title: of their section.
        explanation: what they are.
        queries: `(num,)` indices of all of them.
    """

    title: str
    explanation: str
    queries: np.ndarray

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Draws the few that are shown, ascending."""
        return np.sort(rng.choice(self.queries, size=min(SHOWN, len(self.queries)), replace=False))


def guide_section() -> Section:
    """Says how the sections of the answers are read."""
    return Section("The answers", GUIDE)


def answer_kinds(evaluation: Evaluation) -> list[AnswerKind]:
    """Divides the queries by how they were answered; kinds that did not occur are left out.

    Args:
        evaluation: of `evaluate`.
    """
    queries = evaluation.queries
    known, place, answer = evaluation.is_known, queries["place"].to_numpy(), queries["answer"].to_numpy()
    called_new = answer == NEW_INDIVIDUAL
    masks = (
        known & (place == 1) & ~called_new,
        known & (place > 1) & (place <= LISTED),
        known & (place > LISTED),
        known & (place == 1) & called_new,
        evaluation.is_new & called_new,
        evaluation.is_new & ~called_new,
    )
    found = [AnswerKind(*words, np.flatnonzero(mask)) for words, mask in zip(KINDS, masks, strict=True)]
    return [kind for kind in found if len(kind.queries)]


def answers_section(
    kind: AnswerKind, rows: list[SheetRow], evaluation: Evaluation, own_tile: Callable[[int], Tile | None]
) -> Section:
    """Shows some queries of one kind with their answers.

    Args:
        kind: of `answer_kinds`.
        rows: of `sheet_rows`, for the queries of `kind.sample`.
        evaluation: the same.
        own_tile: gives the right animal's photo for a query that does not find it among its answers, None for others.
    """
    place = {name: index for index, name in enumerate(evaluation.ranking.query_ids)}
    shown = [_row(row, own_tile(place[row.image_id])) for row in rows]
    number = f"{len(kind.queries):,} of {int(evaluation.counted.sum()):,} photos; {len(shown)} drawn by lot."
    return Section(kind.title, f"{kind.explanation} {number}", (rows_html(shown),))


def _row(row: SheetRow, own: Tile | None) -> Row:
    truth = row.truth or "not in the catalog"
    asked = Tile(picture_address(row.image), f"photo {row.image_id}, of {truth}", truth, (row.image_id,), "query")
    tiles = [asked, *(_match(match) for match in row.matches), *([own] if own else [])]
    return Row(tuple(tiles))


def _match(match: SheetMatch) -> Tile:
    mark: Mark = "right" if match.right else "wrong"
    probability = percent_words(match.probability)
    if match.image is None:
        line = f"threshold {match.score:.2f}{probability}"
        return Tile("", "", "new individual", (line,), mark, blank="new individual")
    lines = (f"score {match.score:.2f}{probability}", match.image_id)
    alt = f"photo {match.image_id}, of {match.identity}"
    return Tile(picture_address(match.image), alt, match.identity, lines, mark)
