"""Two-stage search: a shortlist by factorised scores, then exact scores of the shortlist alone."""

from __future__ import annotations

import time
from dataclasses import dataclass

import keras
import numpy as np

from siamese.errors import SiameseError
from siamese.models.comparator import Comparator
from siamese.scoring.consumers import Allowed, Best, best_of_tiles
from siamese.scoring.factorised import CHECK_IMAGES, FIT_IMAGES, FactorisedComparator, factorise
from siamese.scoring.index import FirstStage, FirstStageName, open_first_stage
from siamese.scoring.tiles import check_embeddings, score_pairs, score_tiles

LENGTHS = (1, 2, 3, 4, 6, 8, 12)  # of the shortlists that are tried, in units of `top_k`
SAMPLE_QUERIES = 256


@dataclass(frozen=True)
class RecallPoint:
    """What a shortlist of one length costs and gives.

    Attributes:
        length: catalog images re-scored for each query.
        recall: share of the sampled queries whose exact best all stand in it.
        seconds: of both stages for all queries, the second one extrapolated from the sample.
    """

    length: int
    recall: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Search:
    """The best catalog images of each query, with exact scores.

    Attributes:
        columns: `(num_queries, top_k)` catalog indices, best first, equal scores by index; -1 where fewer may answer.
        scores: `(num_queries, top_k)` float32 exact logits; minus infinity where fewer may answer.
        length: catalog images re-scored for a query; the whole catalog where all was scored exactly.
        settled: `(num_queries,)` whether nothing left out could enter the answer, were no error larger than the largest
            one seen when the comparator was factorised; never after a first stage that may miss an image.
        curve: recall against seconds; empty where no length had to be chosen.
    """

    columns: np.ndarray
    scores: np.ndarray
    length: int
    settled: np.ndarray
    curve: tuple[RecallPoint, ...]


def search(
    comparator: keras.layers.Layer,
    queries: np.ndarray,
    catalog: np.ndarray,
    *,
    top_k: int = 5,
    recall: float = 0.999,
    shortlist: int | None = None,
    factorised: FactorisedComparator | None = None,
    first_stage: FirstStageName | FirstStage = "product",
    allowed: Allowed | None = None,
    seed: int = 0,
) -> Search:
    """Finds the best catalog images of each query, with exact scores, without scoring all exactly.

    The length of the shortlist is the smallest of `LENGTHS` that reaches the recall on sampled queries, doubled, for a
    sample proves no share of one in a thousand. Queries that are not settled then get the longest one. "Exact best"
    means best of the longest shortlist: scoring the sample against a large catalog would cost more than the search.
    After a first stage that may miss images (`faiss_ivf`, `usearch`) no recall can be told, and the longest is taken.

    Args:
        comparator: a `Comparator`; any other layer, or a small catalog, is scored exactly throughout.
        queries: `(num_queries, embed_dim)` floats. Not changed.
        catalog: `(num_catalog, embed_dim)` floats. Not changed.
        top_k: catalog images wanted for each query, at least 1.
        recall: wanted share of the queries whose exact best all stand in the shortlist.
        shortlist: length of the shortlist, at least `top_k`; none chooses it.
        factorised: the comparator factorised before; none does it now, on a sample of both sides.
        first_stage: a name, see `open_first_stage`; or one opened before for this catalog, which knows its factorised
            comparator.
        allowed: function from the rows and columns of a tile to a boolean table, False where a catalog image may not
            answer a query.
        seed: chooses the samples.

    Returns:
        Columns and exact scores, and how they were found.

    Raises:
        MissingPackage: the first stage needs a package that is not installed.
        SiameseError: `top_k`, `recall` or `shortlist` is out of range, the embeddings do not fit each other, or the
            first stage was opened for a catalog of another size.
    """
    check_embeddings(queries, catalog)
    _check_numbers(top_k, recall, shortlist)
    longest = shortlist or LENGTHS[-1] * top_k
    small = shortlist is None and len(catalog) <= longest
    if small or not isinstance(comparator, Comparator) or not len(queries) or not len(catalog):
        best = best_of_tiles(score_tiles(comparator, queries, catalog), len(queries), top_k, allowed)
        return Search(best.columns, best.scores, len(catalog), np.ones(len(queries), bool), ())
    start = time.perf_counter()
    if isinstance(first_stage, str):
        factorised = factorised or factorise(comparator, sample_both(queries, catalog, seed=seed), seed=seed)
        start = time.perf_counter()  # factorising is done once for a model
        first_stage = open_first_stage(first_stage, factorised, catalog)
    _check_catalog(first_stage, catalog)
    stages = _TwoStages(comparator, queries, catalog, first_stage.best(queries, longest, allowed), first_stage, top_k)
    if shortlist is not None or not first_stage.is_exact:
        best, settled = stages.rescored(np.arange(len(queries)), longest)
        return Search(best.columns, best.scores, longest, settled, ())
    curve = stages.curve(time.perf_counter() - start, seed)
    enough = [point.length for point in curve if point.recall >= recall]
    length = min(2 * enough[0], longest)
    best, settled = stages.rescored(np.arange(len(queries)), length)
    open_ = np.flatnonzero(~settled)
    again, settled[open_] = stages.rescored(open_, longest)
    best.columns[open_], best.scores[open_] = again.columns, again.scores
    return Search(best.columns, best.scores, length, settled, curve)


@dataclass(frozen=True, eq=False)
class _TwoStages:
    """What the second stage needs: the longest shortlists and the first stage they come from."""

    comparator: Comparator
    queries: np.ndarray
    catalog: np.ndarray
    listed: Best
    first_stage: FirstStage
    top_k: int

    def rescored(self, rows: np.ndarray, length: int) -> tuple[Best, np.ndarray]:
        """Returns the exact best of the first `length` listed, and whether the rest could not have entered."""
        columns = self.listed.columns[rows, :length]
        scores = np.full(columns.shape, -np.inf, np.float32)
        row, place = np.nonzero(columns >= 0)
        scores[row, place] = score_pairs(self.comparator, self.queries, self.catalog, rows[row], columns[row, place])
        order = np.lexsort((columns, -scores), axis=1)[:, : self.top_k]
        best = Best(*(np.take_along_axis(array, order, axis=1) for array in (columns, scores)))
        all_listed = (columns < 0).any(axis=1) | (columns.shape[1] >= len(self.catalog))
        factorised = self.first_stage.factorised
        bound = self.listed.scores[rows, length - 1] + factorised.largest_error * factorised.spread
        return best, self.first_stage.is_exact & (all_listed | (best.scores[:, -1] > bound))

    def curve(self, first_seconds: float, seed: int) -> tuple[RecallPoint, ...]:
        """Measures on sampled queries where their exact best stand in the shortlist."""
        num_queries, longest = self.listed.columns.shape
        rows = np.sort(np.random.default_rng(seed).permutation(num_queries)[:SAMPLE_QUERIES])
        start = time.perf_counter()
        best, _ = self.rescored(rows, longest)
        seconds_each = (time.perf_counter() - start) / longest * num_queries / len(rows)
        here = self.listed.columns[rows][:, :, None] == best.columns[:, None]
        needed = here.argmax(axis=1).max(axis=1) + 1
        lengths = [factor * self.top_k for factor in LENGTHS]
        return tuple(
            RecallPoint(length, float(np.mean(needed <= length)), first_seconds + seconds_each * length)
            for length in lengths
        )


def sample_both(queries: np.ndarray, catalog: np.ndarray, *, seed: int) -> np.ndarray:
    """Draws images of both sides to factorise a comparator with.

    Args:
        queries: `(num_queries, embed_dim)` floats.
        catalog: `(num_catalog, embed_dim)` floats.
        seed: of the draw.

    Returns:
        Up to 3,000 images of each side and those that hold its extreme values, so that the tables cover all.
    """
    rng = np.random.default_rng([seed, 2])
    parts = []
    for side in (queries, catalog):
        drawn = rng.permutation(len(side))[: FIT_IMAGES + CHECK_IMAGES]
        extremes = [side.min(axis=1).argmin(), side.max(axis=1).argmax()]
        parts.append(side[np.unique(np.concatenate([drawn, extremes]))])
    return np.concatenate(parts)


def _check_numbers(top_k: int, recall: float, shortlist: int | None) -> None:
    if top_k < 1:
        raise SiameseError(f"`top_k` must be at least 1. Received: top_k={top_k}. Ask for one image or more.")
    if not 0 < recall <= 1:
        raise SiameseError(f"`recall` must be over 0 and at most 1. Received: recall={recall}. Give a share, as 0.999.")
    if shortlist is not None and shortlist < top_k:
        raise SiameseError(
            f"`shortlist` must be at least `top_k`. Received: shortlist={shortlist}, top_k={top_k}. Make it longer."
        )


def _check_catalog(first_stage: FirstStage, catalog: np.ndarray) -> None:
    if first_stage.num_images != len(catalog):
        raise SiameseError(
            "`first_stage` must be opened for the catalog that is searched. Received: a first stage of "
            f"{first_stage.num_images} images, a catalog of {len(catalog)}. Open it again."
        )
