"""The page of a finished run: its model is asked again, and what it answers is explained and shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from siamese.collection import INSPECTION
from siamese.errors import SiameseError
from siamese.evaluation.evaluate import Evaluation
from siamese.evaluation.output import EvaluationTables, evaluation_tables
from siamese.examination import AskedRun, Examination, ask_run, examine_asked
from siamese.explanations.evidence import comparator_surface, evidence_of_match, last_maps
from siamese.explanations.maximisation import maximise_features
from siamese.explanations.occlusion import occlusion_map
from siamese.files import write_atomically
from siamese.manifest import Manifest
from siamese.report.answers import answer_kinds, answers_section, guide_section
from siamese.report.curves import curve_plots
from siamese.report.doubts import doubtful_names
from siamese.report.embedding_map import embedding_map
from siamese.report.findings import confused_pairs, confusion_section, doubts_section, hubs_section
from siamese.report.hubs import find_hubs
from siamese.report.model_plots import model_section
from siamese.report.numbers import answers_table, numbers_section
from siamese.report.page import Mark, Row, Section, Tile, page_html, plots_html, text_html
from siamese.report.photos import Photos
from siamese.report.sheets import sheet_rows
from siamese.report.why import ExplainedMatch, FeaturePicture, features_section, why_section
from siamese.report.words import cautions, plain_summary
from siamese.runs import read_run
from siamese.scoring import Embedder
from siamese.scoring.consumers import BestColumns, mirrored
from siamese.scoring.consumers import Tile as ScoreTile
from siamese.store import open_store
from siamese.views import mean_tiles

PAGE = "index.html"
EXPLAINED_RIGHT, EXPLAINED_WRONG = 4, 2
NUM_FEATURES = 6
USUAL_PHOTOS = 256  # photos of other animals whose mean score a match is compared with
MOST_COMPARED = 8_000  # photos searched for doubtful names: 32 million pairs, under a minute


def write_run_page(run: Path, *, on_progress: Callable[[int, int], None] | None = None) -> Path:
    """Asks the model of a finished run for its test photos and writes `report/index.html`.

    Everything is made again from the run's model, store, manifest, catalog and metrics. Photos are shown from their
    files while these are there, else as the store holds them.

    Args:
        run: the folder of a finished training.
        on_progress: called with the number of photos embedded and in all.

    Returns:
        Where the page is.

    Raises:
        SiameseError: a part of the run is missing or was changed, or it has no test photos.
        DiskError: the page cannot be written; an earlier one is untouched.
    """
    told = read_metrics(run)
    asked = ask_run(run, on_progress=on_progress)
    examined = examine_asked(asked, run / INSPECTION)
    metrics = {**told, **examined.evaluation.metrics}  # the words and the tables tell of the same answers
    tables = evaluation_tables(examined.evaluation, examined.decision, examined.groups)
    settings = asked.matcher.model.settings
    with open_store(run / "store.h5", settings.preprocessing) as store:
        shown = RunPage(asked, examined, tables, metrics, Photos(store, settings.preprocessing), run)
        text = page_html(
            f"Report of {run.resolve().name}",
            plain_summary(tables.metrics, metrics),
            cautions(tables.metrics, metrics),
            [*metrics.get("warnings", ()), *asked.leaks.sentences(), *examined.notes],
            list(shown.sections()),
            shape=(settings.preprocessing.height, settings.preprocessing.width),
        )
    page = run / "report" / PAGE
    write_atomically(page, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
    return page


def read_metrics(run: Path) -> dict[str, Any]:
    """Reads the metrics that a finished training left.

    Raises:
        SiameseError: there are none.
    """
    path = run / "report" / "metrics.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SiameseError(f"{path}: there must be a report. Received: {error}. Train this run to its end.") from error


@dataclass
class RunPage:
    """What the page is made of, section by section."""

    asked: AskedRun
    examined: Examination
    tables: EvaluationTables
    metrics: dict[str, Any]
    photos: Photos
    run: Path
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.asked.matcher.model.settings.training.seed)

    @property
    def evaluation(self) -> Evaluation:
        """The judged answers."""
        return self.examined.evaluation

    def sections(self) -> Iterator[Section]:
        """Yields the sections in their order on the page."""
        yield numbers_section(self.tables, self.metrics)
        yield from self._answers()
        yield from self._why()
        pairs = confused_pairs(self.evaluation)
        if len(pairs):
            yield confusion_section(pairs, self._confused)
        yield self._hubs()
        yield self._doubts()
        yield self._maps()
        yield self._curves()
        card = self.run / "model" / "model_card.md"
        yield Section("Model card", "", (text_html(card.read_text(encoding="utf-8")),))

    @cached_property
    def nearest(self) -> np.ndarray:
        """`(num_queries,)` catalog row of the most similar photo with a name, -1 where none may answer."""
        named = self.asked.known.identity != ""
        return _best_columns(self.asked.scores, lambda query: self.asked.allowed[query] & named)

    @cached_property
    def own(self) -> np.ndarray:
        """`(num_queries,)` catalog row of the most similar photo of the right animal, -1 where none may answer."""
        known, asked = self.asked.known.identity, self.asked.asked.identity
        return _best_columns(
            self.asked.scores,
            lambda query: self.asked.allowed[query] & (known == asked[query]) & (asked[query] != ""),
        )

    def _tile(self, photos: Manifest, row: int, mark: Mark = "", note: str = "") -> Tile:
        name, image_id = photos.identity[row] or "no name", photos.image_ids[row]
        lines = (note, image_id) if note else (image_id,)
        return Tile(self.photos.address(photos, row), f"photo {image_id}, of {name}", name, lines, mark)

    def _query_tile(self, query: int) -> Tile:
        return self._tile(self.asked.asked, query, "query")

    def _catalog_tile(self, row: int, mark: Mark = "", note: str = "") -> Tile:
        return self._tile(self.asked.known, row, mark, note)

    def _answers(self) -> Iterator[Section]:
        yield guide_section()
        for kind in answer_kinds(self.evaluation):
            rows = sheet_rows(
                self.evaluation,
                kind.sample(self.rng),
                query_images=lambda index: self.photos.read(self.asked.asked, index[0])[None],
                catalog_images=lambda index: self.photos.read(self.asked.known, index[0])[None],
                catalog_ids=self.asked.known.image_ids,
            )
            yield answers_section(kind, rows, self.evaluation, self._missed)

    def _missed(self, query: int) -> Tile | None:
        """Returns the right animal's photo where the answers do not hold it."""
        place = int(self.evaluation.queries["place"].iloc[query])
        if not place or self.evaluation.truth[query] in self.evaluation.ranking.identities[query]:
            return None
        score = self.evaluation.queries["own_score"].iloc[query]
        return self._catalog_tile(int(self.own[query]), "right", f"place {place}, score {score:.2f}")

    def _confused(self, query: int) -> Row:
        wrong, own = int(self.nearest[query]), int(self.own[query])
        scores = self.asked.scores[query]
        return Row(
            (
                self._query_tile(query),
                self._catalog_tile(wrong, "wrong", f"score {scores[wrong]:.2f}"),
                self._catalog_tile(own, "right", f"score {scores[own]:.2f}"),
            )
        )

    def _why(self) -> Iterator[Section]:
        chosen = self._explained_queries()
        if not len(chosen):
            return
        pairs = [self._explain(int(query)) for query in chosen]
        yield why_section([match for match, _ in pairs])
        right = [evidence for match, evidence in pairs if match.truth == match.identity]
        if right:
            yield features_section(self._feature_pictures(np.mean(right, axis=0)))

    def _explained_queries(self) -> np.ndarray:
        """Draws right and wrong matches of known animals, the threshold left aside."""
        known = self.evaluation.is_known & (self.nearest >= 0)
        is_right = self.evaluation.truth == np.where(known, self.asked.known.identity[self.nearest], "")
        kinds = ((known & is_right, EXPLAINED_RIGHT), (known & ~is_right, EXPLAINED_WRONG))
        drawn = [
            self.rng.choice(np.flatnonzero(mask), size=min(most, int(mask.sum())), replace=False)
            for mask, most in kinds
        ]
        return np.concatenate([np.sort(some) for some in drawn])

    def _explain(self, query: int) -> tuple[ExplainedMatch, np.ndarray]:
        """Explains a query's best match; returns the evidence of each feature beside it."""
        model, row = self.asked.matcher.model, int(self.nearest[query])
        asked, known = self.asked.asked, self.asked.known
        image, match_image = self.photos.stored(asked, query), self.photos.stored(known, row)
        photo, match = self._embedder.embed(lambda index: np.stack([image, match_image])[index], 2)
        others = self._plain(self.asked.catalog[self._others(query)])
        evidence = evidence_of_match(model.comparator, photo, match, others)
        maps = last_maps(model.encoder, np.stack([image, match_image]))
        hidden = occlusion_map(self._embedder, model.comparator, image, match)
        explained = ExplainedMatch(
            query_id=str(asked.image_ids[query]),
            truth=str(self.evaluation.truth[query]),
            identity=str(known.identity[row]),
            match_id=str(known.image_ids[row]),
            query=self.photos.read(asked, query),
            match=self.photos.read(known, row),
            score=hidden.score,
            usual=hidden.score - float(evidence.sum()),
            fall=hidden.fall,
            query_evidence=maps.spread(evidence, 0),
            match_evidence=maps.spread(evidence, 1),
            stripe_evidence=evidence.reshape(maps.stripes, -1).sum(axis=1),
        )
        return explained, evidence

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(self.asked.matcher.model.encoder)

    def _plain(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns the first of the views that stand side by side: that of the photo as it stands, not turned."""
        return embeddings[:, : self.asked.matcher.model.encoder.output_shape[-1]]

    def _others(self, query: int) -> np.ndarray:
        """Draws catalog photos of other animals; without any, all photos."""
        others = np.flatnonzero(self.asked.known.identity != self.asked.asked.identity[query])
        others = others if len(others) else np.arange(len(self.asked.known))
        return np.sort(self.rng.choice(others, size=min(USUAL_PHOTOS, len(others)), replace=False))

    def _feature_pictures(self, evidence: np.ndarray) -> list[FeaturePicture]:
        strongest = np.argsort(-evidence, kind="stable")[:NUM_FEATURES]
        images = maximise_features(self.asked.matcher.model.encoder, strongest)
        return [
            FeaturePicture(int(feature), float(evidence[feature]), image)
            for feature, image in zip(strongest, images, strict=True)
        ]

    def _hubs(self) -> Section:
        known, found = self.asked.known.identity, self.nearest >= 0
        names = np.where(found, known[self.nearest], "")
        is_wrong = found & self.evaluation.counted & (names != self.asked.asked.identity)
        hubs = find_hubs(self.nearest, is_wrong, int((known != "").sum()))
        return hubs_section(
            hubs,
            answers_table(self.evaluation.ranking, known),
            self._catalog_tile,
            lambda row: tuple(map(self._query_tile, np.flatnonzero(is_wrong & (self.nearest == row)).tolist())),
        )

    def _doubts(self) -> Section:
        """Compares the named photos of both sides with one another, whole animals drawn by lot where there are many."""
        parts = ((self.asked.asked, self.asked.queries), (self.asked.known, self.asked.catalog))
        names = np.concatenate([photos.identity for photos, _ in parts])
        ids = np.concatenate([photos.image_ids for photos, _ in parts])
        first = np.zeros(len(ids), dtype=bool)
        first[np.unique(ids, return_index=True)[1]] = True  # photos that answer each other stand on both sides
        rows = _some_animals(names, np.flatnonzero((names != "") & first), self.rng)
        embeddings = np.concatenate([embeddings for _, embeddings in parts])[rows]
        doubts = self._doubtful(names[rows], embeddings)

        def tile(place: int) -> Tile:
            row = int(rows[place])
            num_asked = len(self.asked.asked)
            photos, row = (self.asked.asked, row) if row < num_asked else (self.asked.known, row - num_asked)
            return self._tile(photos, row)

        return doubts_section(doubts, len(rows), tile)

    def _doubtful(self, names: np.ndarray, embeddings: np.ndarray) -> pd.DataFrame:
        own, other = BestColumns(len(names), 1), BestColumns(len(names), 1)
        code = pd.factorize(names)[0]
        matcher = self.asked.matcher
        num_views = len(matcher.views.groups)
        for tile in mirrored(mean_tiles(matcher.model.comparator, embeddings, num_views=num_views)):
            same = code[tile.rows, None] == code[None, tile.columns]
            itself = np.arange(len(code))[tile.rows, None] == np.arange(len(code))[None, tile.columns]
            for best, allowed in ((own, same & ~itself), (other, ~same)):
                best.add(ScoreTile(tile.rows, tile.columns, np.where(allowed, tile.scores, np.float32(-np.inf))))
        best_other = other.result()
        return doubtful_names(
            names,
            own.result().scores[:, 0],
            best_other.columns[:, 0],
            best_other.scores[:, 0],
            self.examined.decision.identity_probability,
        )

    def _maps(self) -> Section:
        embeddings = np.concatenate([self.asked.catalog, self.asked.queries])
        identity = np.concatenate([self.asked.known.identity, self.asked.asked.identity])
        is_query = np.arange(len(identity)) >= len(self.asked.known)
        surface = comparator_surface(self.asked.matcher.model.comparator, embeddings)
        return model_section(embedding_map(embeddings, identity), identity, is_query, surface)

    def _curves(self) -> Section:
        explanation = "How the answers depend on the threshold, and how the training went."
        return Section("Curves", explanation, (plots_html(curve_plots(self.evaluation, read_run(self.run).history)),))


def _best_columns(scores: np.ndarray, allowed: Callable[[int], np.ndarray]) -> np.ndarray:
    """Returns the best allowed column of each row, the first of equals, -1 without any; a row at a time."""
    best = np.full(len(scores), -1)
    for row in range(len(scores)):
        columns = np.flatnonzero(allowed(row))
        if len(columns):
            best[row] = columns[np.argmax(scores[row, columns])]
    return best


def _some_animals(names: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keeps the photos of as many animals, drawn by lot, as `MOST_COMPARED` allows."""
    if len(rows) <= MOST_COMPARED:
        return rows
    animals, counts = np.unique(names[rows].astype(str), return_counts=True)
    order = rng.permutation(len(animals))
    kept = animals[order[np.cumsum(counts[order]) <= MOST_COMPARED]]
    return rows[np.isin(names[rows].astype(str), kept)]
