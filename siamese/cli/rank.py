"""`siamese rank`: who is on each photo, as a table or as a challenge's submission."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siamese.cli.options import AsJson, ModelFolder
from siamese.cli.quiet import quiet_import
from siamese.cli.submission import checked_submission
from siamese.cli.tables import give_table, tell_quarantine
from siamese.errors import SiameseError

if TYPE_CHECKING:
    import numpy as np

    from siamese.open_scores import OpenScores


class Format(StrEnum):
    """What `rank` writes."""

    table = "table"
    humpback = "humpback"
    happywhale = "happywhale"
    animalclef2025 = "animalclef2025"
    animalclef2026 = "animalclef2026"


def rank(
    model: ModelFolder,
    queries: Annotated[Path, typer.Option(help="Photos to name: a photo, a folder or a manifest.")],
    catalog: Annotated[Path, typer.Option(help="Known photos: a saved catalog, a folder or a manifest.")],
    out: Annotated[Path | None, typer.Option(help="CSV file to write; without it the table is printed.")] = None,
    top_k: Annotated[int, typer.Option(help="Answers for each query.", min=1)] = 5,
    together: Annotated[
        str | None, typer.Option(help="Column, as encounter: photos that share a value get one answer.")
    ] = None,
    known_labels: Annotated[
        Path | None, typer.Option(help="CSV with Image and Id: photos whose individual is known; it goes first.")
    ] = None,
    duplicate_identities: Annotated[
        Path | None, typer.Option(help="CSV with Id and SubId: names of one animal; they follow the first answer.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Table, or a challenge's submission.")] = Format.table,
    sample: Annotated[Path | None, typer.Option(help="The challenge's sample submission, to check against.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rank the individuals of a catalog for each photo, with the place of a new individual."""
    import siamese

    _check_form(form, sample, together)
    after = _steps(known_labels, duplicate_identities)
    with quiet_import():
        matcher = siamese.load(model)
        from siamese.postprocessing import count_predictions
    known = matcher.catalog(catalog)
    ranking = matcher.rank(queries, known, top_k=top_k, together=together, after=after)
    if form is Format.table:
        frame = ranking.to_frame(known.image_ids)
    else:
        frame = checked_submission(matcher, queries, known, ranking, form.value, sample)
    tell_quarantine(matcher.quarantine)
    if matcher.drift and matcher.drift.sentence:
        print(matcher.drift.sentence, file=sys.stderr)
    print(count_predictions(ranking, known.names).sentence, file=sys.stderr)
    give_table(frame, out, as_json)


def _check_form(form: Format, sample: Path | None, together: str | None) -> None:
    if sample and form is Format.table:
        raise SiameseError(
            f"A sample must belong to a submission. Received: {sample}. Leave it out, or choose --format."
        )
    if together and form is not Format.table:
        raise SiameseError(
            f"A submission must answer for each photo. Received: --together {together}. "
            "Leave it out, or write the table."
        )


def _steps(
    known_labels: Path | None, duplicate_identities: Path | None
) -> Callable[[OpenScores, np.ndarray], OpenScores] | None:
    """Returns what the lists do to the scores, None without lists; they are read before anything slow begins."""
    from siamese.formats.duplicate_names import read_duplicate_groups
    from siamese.postprocessing import put_duplicates_behind, put_known_first, read_known_labels

    if known_labels is None and duplicate_identities is None:
        return None
    groups = read_duplicate_groups(duplicate_identities) if duplicate_identities else []
    labels = read_known_labels(known_labels) if known_labels else {}

    return lambda scores, image_ids: put_duplicates_behind(put_known_first(scores, image_ids, labels), groups)
