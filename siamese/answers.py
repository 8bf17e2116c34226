"""Ranks the identities of a catalog for each query, in memory that does not grow with queries x catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pandas as pd

from siamese.catalog import Catalog
from siamese.decision import NUM_STACKED, Decision
from siamese.encounters import Encounters
from siamese.errors import SiameseError
from siamese.identity_scorer import IdentityScorer, score_identities
from siamese.identity_scores import NEW_INDIVIDUAL
from siamese.ranking import Ranking, check_top_k, join_rankings, rank_identities, rank_photos
from siamese.scoring import Allowed, FirstStage, factorise, open_first_stage, sample_both, search
from siamese.settings import RankingSettings

EXACT_PAIRS = 4_000_000  # on two cores, exact scores of so many take 5 to 8 seconds, the search takes 2 to 3
PHOTOS_PER_ANSWER = 4  # an individual's photos stand together: five individuals need more than five photos
MORE = 4  # so many times the photos are asked for where those before show too few individuals


def rank_catalog(
    comparator: keras.layers.Layer,
    asked: Catalog,
    known: Catalog,
    decision: Decision,
    *,
    top_k: int = 5,
    settings: RankingSettings | None = None,
    together: Encounters | None = None,
) -> Ranking:
    """Ranks for each query the identities of a catalog; a photo does not answer itself.

    Up to `EXACT_PAIRS` all pairs are scored. Above, `search` finds the best photos, more of them until they show as
    many individuals as are wanted; their scores are the same, to the last bit, and a photo is missed as rarely as
    there. A comparator that cannot be factorised scores all pairs, however many, and so do other settings than the
    best photo of one view, and photos that are asked about together.

    Args:
        comparator: any layer from two embeddings to a logit.
        asked: the queries; their identities are not read.
        known: the catalog; photos of unknown individuals ("") answer nothing.
        decision: the threshold of the new individual, moved to the catalog's size, and the probabilities.
        top_k: length of a ranking, the new individual included.
        settings: how the score of an individual is made; the decision must have been fitted under them.
        together: which queries get one answer; no photo of them answers them. None asks about each alone.

    Returns:
        `Ranking` with k = `top_k`; its catalog rows are those of `known`, its ids those of the queries or encounters.

    Raises:
        SiameseError: `top_k` is under 1, an identity is called like the new individual, or queries and catalog hold
            other views.
    """
    check_top_k(top_k)
    known.check_views(asked.views)
    settings = settings or RankingSettings()
    threshold = decision.new_threshold(known.identity)
    listed = max(top_k, NUM_STACKED) if callable(threshold) else top_k
    options = {"threshold": threshold, "top_k": listed, "probability": decision.identity_probability}
    if together:
        return _rank_together(comparator, asked, known, together, settings, options).first(top_k)
    return _rank(comparator, asked, known, settings, options).first(top_k)


def _rank(
    comparator: keras.layers.Layer, asked: Catalog, known: Catalog, settings: RankingSettings, options: dict[str, Any]
) -> Ranking:
    codes = pd.factorize(np.concatenate([asked.image_ids, known.image_ids]))[0]  # numbers compare faster than names
    itself = codes[: len(asked)], codes[len(asked) :]
    if len(asked) * len(known) > EXACT_PAIRS and settings.best_photo_decides and len(known.views) == 1:
        rows = np.flatnonzero(known.identity != "")
        named = known.select(rows)
        try:
            factorised = factorise(comparator, sample_both(asked.embeddings, named.embeddings, seed=0))
        except SiameseError:  # another layer, or one whose table of g would be too coarse
            return _rank_exactly(IdentityScorer(comparator, known, settings), asked, itself, options)
        stage = open_first_stage("product", factorised, named.embeddings)
        ranking = _rank_by_search(comparator, asked, named, (itself[0], itself[1][rows]), stage, options)
        return replace(ranking, catalog_rows=np.append(rows, -1).astype(np.int32)[ranking.catalog_rows])
    return _rank_exactly(IdentityScorer(comparator, known, settings), asked, itself, options)


def _rank_exactly(
    scorer: IdentityScorer, asked: Catalog, itself: tuple[np.ndarray, np.ndarray], options: dict[str, Any]
) -> Ranking:
    """Scores all pairs, a block of queries after the other."""
    tables = scorer.tables(asked, _other_photos(*itself))
    return join_rankings([rank_identities(table, query_ids=asked.image_ids[rows], **options) for rows, table in tables])


def _rank_together(
    comparator: keras.layers.Layer,
    asked: Catalog,
    known: Catalog,
    together: Encounters,
    settings: RankingSettings,
    options: dict[str, Any],
) -> Ranking:
    """Gives each encounter one answer; the memory holds queries x identities."""
    row = pd.Index(asked.image_ids).get_indexer(known.image_ids)
    encounter_of_known = np.append(together.member, -1)[row]
    allowed = _other_photos(together.member, encounter_of_known)
    table = score_identities(comparator, asked, known, settings, allowed=allowed)
    return rank_identities(together.combine(table, settings.together), query_ids=together.names, **options)


def _rank_by_search(
    comparator: keras.layers.Layer,
    asked: Catalog,
    known: Catalog,
    itself: tuple[np.ndarray, np.ndarray],
    first_stage: FirstStage,
    options: dict[str, Any],
) -> Ranking:
    """Asks for more photos of a query until those left out cannot change its ranking."""
    num_identities = len(np.unique(known.identity))
    open_, num_photos = np.arange(len(asked)), PHOTOS_PER_ANSWER * options["top_k"]
    parts, order = [], []
    while len(open_):
        num_photos = min(num_photos, len(known))
        found = search(
            comparator,
            asked.embeddings[open_],
            known.embeddings,
            top_k=num_photos,
            first_stage=first_stage,
            allowed=_other_photos(itself[0][open_], itself[1]),
        )
        photos = found.columns, found.scores
        ranking = rank_photos(*photos, known.identity, query_ids=asked.image_ids[open_], **options)
        named = np.sum((ranking.identities != "") & (ranking.identities != NEW_INDIVIDUAL), axis=1)
        everything = (found.columns[:, -1] < 0) | (named == num_identities) | (num_photos == len(known))
        done = everything | (ranking.scores[:, -1] > found.scores[:, -1])
        parts.append(ranking.select(done))
        order.append(open_[done])
        open_, num_photos = open_[~done], MORE * num_photos
    return join_rankings(parts).select(np.argsort(np.concatenate(order)))


def _other_photos(asked: np.ndarray, known: np.ndarray) -> Allowed:
    return lambda rows, columns: asked[rows, None] != known[columns]
