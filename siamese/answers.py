"""Ranks the identities of a catalog for each query, in memory that does not grow with queries x catalog."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import keras
import numpy as np
import pandas as pd

from siamese.catalog import Catalog
from siamese.decision import Decision
from siamese.errors import SiameseError
from siamese.ranking import (
    BLOCK_CELLS,
    NEW_INDIVIDUAL,
    Ranking,
    check_top_k,
    identity_scores,
    rank_identities,
    rank_photos,
)
from siamese.scoring import TILE, Allowed, FirstStage, factorise, open_first_stage, sample_both, score_matrix, search

EXACT_PAIRS = 4_000_000  # on two cores, exact scores of so many take 5 to 8 seconds, the search takes 2 to 3
PHOTOS_PER_ANSWER = 4  # an individual's photos stand together: five individuals need more than five photos
MORE = 4  # so many times the photos are asked for where those before show too few individuals


def rank_catalog(
    comparator: keras.layers.Layer, asked: Catalog, known: Catalog, decision: Decision, *, top_k: int = 5
) -> Ranking:
    """Ranks for each query the identities of a catalog; a photo does not answer itself.

    Up to `EXACT_PAIRS` all pairs are scored. Above, `search` finds the best photos, more of them until they show as
    many individuals as are wanted; their scores are the same, to the last bit, and a photo is missed as rarely as
    there. A comparator that cannot be factorised scores all pairs, however many.

    Args:
        comparator: any layer from two embeddings to a logit.
        asked: the queries; their identities are not read.
        known: the catalog; photos of unknown individuals ("") answer nothing.
        decision: the threshold of the new individual, and the probabilities.
        top_k: length of a ranking, the new individual included.

    Returns:
        `Ranking` with k = `top_k`; its catalog rows are those of `known`.

    Raises:
        SiameseError: `top_k` is under 1, or an identity is called like the new individual.
    """
    check_top_k(top_k)
    options = {"threshold": decision.threshold, "top_k": top_k, "probability": decision.identity_probability}
    codes = pd.factorize(np.concatenate([asked.image_ids, known.image_ids]))[0]  # numbers compare faster than names
    itself = codes[: len(asked)], codes[len(asked) :]
    if len(asked) * len(known) > EXACT_PAIRS:
        rows = np.flatnonzero(known.identity != "")
        named = known.select(rows)
        try:
            factorised = factorise(comparator, sample_both(asked.embeddings, named.embeddings, seed=0))
        except SiameseError:  # another layer, or one whose table of g would be too coarse
            return _rank_exactly(comparator, asked, known, itself, options)
        stage = open_first_stage("product", factorised, named.embeddings)
        ranking = _rank_by_search(comparator, asked, named, (itself[0], itself[1][rows]), stage, options)
        return replace(ranking, catalog_rows=np.append(rows, -1).astype(np.int32)[ranking.catalog_rows])
    return _rank_exactly(comparator, asked, known, itself, options)


def _rank_exactly(
    comparator: keras.layers.Layer,
    asked: Catalog,
    known: Catalog,
    itself: tuple[np.ndarray, np.ndarray],
    options: dict[str, Any],
) -> Ranking:
    """Scores all pairs, a block of queries after the other."""
    height = max(1, BLOCK_CELLS // max(1, len(known)) // TILE) * TILE
    parts = []
    for start in range(0, max(1, len(asked)), height):
        rows = slice(start, start + height)
        scores = score_matrix(comparator, asked.embeddings[rows], known.embeddings)
        table = identity_scores(scores, known.identity, allowed=itself[0][rows, None] != itself[1])
        parts.append(rank_identities(table, query_ids=asked.image_ids[rows], **options))
    return _joined(parts)


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
    return _joined(parts).select(np.argsort(np.concatenate(order)))


def _other_photos(asked: np.ndarray, known: np.ndarray) -> Allowed:
    return lambda rows, columns: asked[rows, None] != known[columns]


def _joined(parts: list[Ranking]) -> Ranking:
    return Ranking(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Ranking)))
