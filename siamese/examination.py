"""A trained model is asked again: the test photos of its run, or any photos against any catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from siamese.catalog import Catalog
from siamese.checks.inspection import facts_table, read_facts
from siamese.checks.leaks import COLUMNS, SAYINGS, Kind, LeakReport, can_tell, find_leaks
from siamese.collection import INSPECTION
from siamese.decision import Decision, num_answering
from siamese.errors import SiameseError
from siamese.evaluation.evaluate import Evaluation, evaluate
from siamese.evaluation.groups import day_groups, days_to_nearest, quarters
from siamese.finished_run import open_run
from siamese.formats import read_collection
from siamese.identity_scores import IdentityScores
from siamese.manifest import Manifest
from siamese.matcher import Matcher, load
from siamese.settings import ProtocolSettings
from siamese.splits import read_dates

WITHIN: tuple[Kind, ...] = ("copies", "bursts", "encounters")  # what may answer for the animal among the queries


@dataclass(frozen=True, eq=False)
class Examination:
    """What a model answered, and what spoils the answers.

    Attributes:
        evaluation: rankings and numbers.
        decision: the model's threshold, moved to the size of the catalog, and calibration.
        groups: the queries by viewpoint, sharpness, days to the nearest photo; those that the collection tells.
        leaks: what stands on both sides; None where the catalog tells nothing but names, or has no photos of its own.
        notes: sentences about what was left out, and what may answer for the animal within one set of photos.
    """

    evaluation: Evaluation
    decision: Decision
    groups: dict[str, np.ndarray]
    leaks: LeakReport | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class AskedRun:
    """A finished run's model, and its scores of the test photos with the photos that answer them.

    Attributes:
        matcher: the model.
        asked: the test photos.
        known: the photos that answer.
        queries: `(num_queries, embed_dim)` embeddings of the test photos.
        catalog: `(num_catalog, embed_dim)` embeddings of the others.
        scores: `(num_queries, num_catalog)` float32.
        table: scores of the identities; None where the best photo decides.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query.
        leaks: what stands on both sides of the split.
    """

    matcher: Matcher
    asked: Manifest
    known: Manifest
    queries: np.ndarray
    catalog: np.ndarray
    scores: np.ndarray
    table: IdentityScores | None
    allowed: np.ndarray
    leaks: LeakReport


def ask_run(run: Path, *, on_progress: Callable[[int, int], None] | None = None) -> AskedRun:
    """Asks the model of a run for its test photos.

    Embeddings of the known photos come from the run's catalog.

    Args:
        run: the folder of a finished training.
        on_progress: called with the number of photos embedded and in all.

    Raises:
        SiameseError: a part of the run is missing or was changed, or it has no test photos.
    """
    with open_run(run) as found:
        side = found.side("test")
        if not len(side.queries):
            raise SiameseError(f"{run}: the run must have test photos. Received: none. Train with a test side.")
        known, asked = (found.catalog(rows, on_progress=on_progress) for rows in (side.catalog, side.queries))
    photos, protocol, allowed = found.collection.manifest, found.settings.evaluation, found.allowed(side)
    return AskedRun(
        found.matcher,
        photos.select(side.queries),
        photos.select(side.catalog),
        asked.embeddings,
        known.embeddings,
        found.matcher.score(asked, known),
        found.matcher.score_identities(asked, known, allowed),
        allowed,
        find_leaks(photos, disjoint=protocol.catalog == "leave_one_out", must_differ=protocol.must_differ),
    )


def examine_run(run: Path, *, on_progress: Callable[[int, int], None] | None = None) -> Examination:
    """Asks the model of a run for its test photos, under the protocol it was trained for.

    Threshold and calibration are those of the model folder, fitted on the validation photos.

    Args:
        run: the folder of a finished training.
        on_progress: called with the number of photos embedded and in all.

    Raises:
        SiameseError: a part of the run is missing or was changed, or it has no test photos.
    """
    return examine_asked(ask_run(run, on_progress=on_progress), run / INSPECTION)


def examine_asked(asked: AskedRun, facts: Path | None = None) -> Examination:
    """Judges the answers of a run that was asked.

    Args:
        asked: of `ask_run`.
        facts: what the inspection of the photos found; None where it was not kept.
    """
    decision = asked.matcher.decision.at(num_answering(asked.known.identity, asked.allowed))
    return Examination(
        evaluation=evaluate(
            asked.scores,
            asked.known.identity,
            asked.asked.identity,
            query_ids=asked.asked.image_ids,
            decision=decision,
            allowed=asked.allowed,
            table=asked.table,
            top_k=asked.matcher.model.settings.evaluation.top_k,
        ),
        decision=decision,
        groups=_groups(asked.asked, asked.known, asked.allowed, facts),
        leaks=asked.leaks,
        notes=tuple(_notes_within(asked.asked, asked.known, asked.allowed)),
    )


def examine_model(model: Path, queries: Path, catalog: Path) -> Examination:
    """Asks a model for any photos against any catalog; a photo does not answer itself.

    The protocol of the model's training holds as far as both sides have its columns.

    Args:
        model: the model folder.
        queries: photos with their identities, in any known format.
        catalog: known photos, likewise, or a saved catalog.

    Raises:
        SiameseError: a source cannot be read, or nothing in it has a name.
    """
    matcher = load(model)
    asked_photos = read_collection(queries).manifest
    asked = matcher.catalog(asked_photos)
    stored = (catalog / "catalog.json").is_file()
    known_photos = None if stored else read_collection(catalog).manifest
    known = matcher.catalog(catalog if known_photos is None else known_photos)
    if not (known.identity != "").any():
        raise SiameseError(f"{catalog}: the catalog must say who its photos show. Received: no name. Add names.")
    asked_photos = _rows_of(asked_photos, asked.image_ids)
    known_photos = None if known_photos is None else _rows_of(known_photos, known.image_ids)
    allowed, notes = _allowed(asked, known, asked_photos, known_photos, matcher.model.settings.evaluation)
    if known_photos is None:
        notes.append("A saved catalog tells names alone: copies, bursts and encounters were not looked for.")
    else:
        notes += _notes_within(asked_photos, known_photos, allowed)
    if matcher.quarantine:
        unreadable = {path for path, _ in matcher.quarantine}  # a photo may stand on both sides
        notes.append(f"Photos left out because they cannot be read: {len(unreadable)}.")
    decision = matcher.decision.at(num_answering(known.identity, allowed))
    return Examination(
        evaluation=evaluate(
            matcher.score(asked, known),
            known.identity,
            asked.identity,
            query_ids=asked.image_ids,
            decision=decision,
            allowed=allowed,
            table=matcher.score_identities(asked, known, allowed),
        ),
        decision=decision,
        groups=_groups(asked_photos, known_photos, allowed, None),
        leaks=None if known_photos is None else _leaks(asked_photos, known_photos),
        notes=tuple(notes),
    )


def _rows_of(photos: Manifest, image_ids: np.ndarray) -> Manifest:
    return photos.select(pd.Index(photos.image_ids).get_indexer(image_ids))


def _allowed(
    asked: Catalog, known: Catalog, asked_photos: Manifest, known_photos: Manifest | None, protocol: ProtocolSettings
) -> tuple[np.ndarray, list[str]]:
    allowed, notes = asked.image_ids[:, None] != known.image_ids[None, :], []
    for column, shared in [(c, True) for c in protocol.must_share] + [(c, False) for c in protocol.must_differ]:
        if known_photos is not None and column in asked_photos.table and column in known_photos.table:
            equal = asked_photos.column(column)[:, None] == known_photos.column(column)[None, :]
            allowed &= equal == shared
        else:
            notes.append(f"The model's protocol asks for the column `{column}`, which is missing: it was left aside.")
    return allowed, notes


def _groups(asked: Manifest, known: Manifest | None, allowed: np.ndarray, facts: Path | None) -> dict[str, np.ndarray]:
    """Returns the groups of the queries that the collection can tell."""
    groups: dict[str, np.ndarray] = {}
    if (asked.column("viewpoint") != "").any():
        groups["viewpoint"] = asked.column("viewpoint")
    sharpness = _sharpness(asked, facts)
    if np.isfinite(sharpness).any():
        groups["sharpness"] = quarters(sharpness)
    if known is not None and (asked.column("date") != "").any():
        days = days_to_nearest(asked.identity, read_dates(asked), known.identity, read_dates(known), allowed=allowed)
        groups["days to the nearest photo"] = day_groups(days)
    return groups


def _sharpness(asked: Manifest, facts: Path | None) -> np.ndarray:
    """Returns the sharpness of each photo as its inspection found it, nan where it was not inspected."""
    if facts is None or not facts.is_file():
        return np.full(len(asked), np.nan)
    table = facts_table(read_facts(facts)).drop_duplicates("path", keep="last").set_index("path")
    return table["sharpness"].reindex([str(path) for path in asked.paths]).to_numpy(dtype=np.float64)


def _leaks(asked: Manifest, known: Manifest) -> LeakReport | None:
    """Looks for what the queries share with photos of the catalog that are no queries."""
    others = known.select(~np.isin(known.image_ids, asked.image_ids))
    if not len(others):
        return None
    tables = [
        photos.table.assign(path=[str(path) for path in photos.paths], split=side)
        for photos, side in ((others, "catalog"), (asked, "test"))
    ]
    return find_leaks(Manifest(pd.concat(tables, ignore_index=True), asked.root))


def _notes_within(asked: Manifest, known: Manifest, allowed: np.ndarray) -> Iterator[str]:
    """Tells what queries share with one another where they answer each other, which is no leak between two sides."""
    inside = np.isin(known.image_ids, asked.image_ids)
    if not inside.any():
        return
    for kind in WITHIN:
        values, (what, why) = asked.column(COLUMNS[kind]), SAYINGS[kind]
        alike = (values[:, None] == known.column(COLUMNS[kind])[inside]) & (values != "")[:, None]
        count = int((alike & allowed[:, inside]).any(axis=1).sum())
        if count:
            yield f"{count} of {len(asked)} queries ({count / len(asked):.0%}) may be answered by {what}: {why}."
    missing = [kind for kind in WITHIN if not can_tell(asked, kind)]
    if missing:
        yield (
            f"The queries answer each other. Not looked for among them: {', '.join(missing)}, because the manifest has "
            f"no {', '.join(f'`{COLUMNS[kind]}`' for kind in missing)}."
        )
