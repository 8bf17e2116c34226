"""First stages of a search: each lists for a query the catalog images of the highest factorised scores.

The product compares a query with every image; so does `faiss`, without keeping the whole score matrix of a block. The
other two look at a part of the catalog only. Both were made for distances, and a graph built on inner products finds
little here: of 20,000 images the five best of only 7 % (usearch) and 34 % (faiss HNSW) of the queries. So each catalog
vector gets one more value that makes all of them equally long; then the largest inner product is the smallest distance
(Bachrach et al. 2014, "Speeding up the Xbox recommender system"), and usearch's graph finds 99 %.

Of 100,000 images (838 columns, shortlists of 20, two cores) the product answers 850 to 1,400 queries a second. faiss,
with the same recall, answers 1.3 times as many, but 0.8 times as many where another program takes one of the cores.
faiss_ivf answers 1.2 to 1.4 times as many and finds 98.9 %, usearch twice as many and finds 83 %. Opening the last two
takes 2 to 5 and 14 to 18 times as long as making the vectors, so they are for larger catalogs that are asked often.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np

from siamese.errors import MissingPackage, SiameseError
from siamese.scoring.consumers import Allowed, Best, best_of_tiles
from siamese.scoring.factorised import FactorisedComparator, product_tiles

# faiss: its exact index; faiss_ivf: looks into the nearest of many clusters; usearch: walks a graph (HNSW).
FirstStageName = Literal["product", "faiss", "faiss_ivf", "usearch"]
LISTS_PER_ROOT, SHARE_OF_LISTS = 4, 1 / 32  # clusters: four times the root of the catalog's size, as faiss advises
TRAINING_PER_LIST, TRAINING_PASSES = 40, 6  # images and passes to find the clusters
GRAPH_EDGES, GRAPH_WIDTH = 32, 256  # neighbours of an image; images a walk keeps in view
MORE = 4  # so many times the images are fetched where too few may answer

Fetch: TypeAlias = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class FirstStage(Protocol):
    """Lists catalog images for queries; `open_first_stage` makes one."""

    @property
    def factorised(self) -> FactorisedComparator:
        """The comparator whose scores it lists by."""

    @property
    def num_images(self) -> int:
        """Images of the catalog."""

    @property
    def is_exact(self) -> bool:
        """Whether it misses no image."""

    def best(self, queries: np.ndarray, k: int, allowed: Allowed | None = None) -> Best:
        """Returns k catalog images of each query, `(num_queries, embed_dim)`, with their factorised scores."""


def open_first_stage(name: FirstStageName, factorised: FactorisedComparator, catalog: np.ndarray) -> FirstStage:
    """Makes a first stage over the vectors of a catalog; it can serve many searches.

    Args:
        name: `product` needs nothing more; `faiss`, `faiss_ivf` and `usearch` need those packages.
        factorised: the comparator as an inner product.
        catalog: `(num_catalog, embed_dim)` floats, at least one image. Not changed.

    Returns:
        The first stage.

    Raises:
        MissingPackage: the package is not installed.
        SiameseError: there is no such first stage, or a value lies outside of the tables.
    """
    if name == "product":
        return ProductStage(factorised, factorised.operands(catalog, query=False))
    if name not in INDEXES:
        raise SiameseError(
            f"`first_stage` must be one of {', '.join(get_args(FirstStageName))}. Received: {name}. Choose one of them."
        )
    package, build = INDEXES[name]
    fetch = build(_imported(package, name), factorised.catalog_vectors(catalog))
    return IndexStage(factorised, len(catalog), name == "faiss", fetch)


@dataclass(frozen=True, eq=False)
class ProductStage:
    """Multiplies queries and catalog block by block; see `FirstStage`."""

    factorised: FactorisedComparator
    catalog: list[Any]
    is_exact = True

    @property
    def num_images(self) -> int:
        """Images of the catalog."""
        return len(self.catalog[0])

    def best(self, queries: np.ndarray, k: int, allowed: Allowed | None = None) -> Best:
        """Returns the k best catalog images of each query."""
        tiles = product_tiles(self.factorised.operands(queries, query=True), self.catalog, symmetric=False)
        return best_of_tiles(tiles, len(queries), k, allowed)


@dataclass(frozen=True, eq=False)
class IndexStage:
    """Asks an index of another package; see `FirstStage`."""

    factorised: FactorisedComparator
    num_images: int
    is_exact: bool
    fetch: Fetch

    def best(self, queries: np.ndarray, k: int, allowed: Allowed | None = None) -> Best:
        """Returns up to k catalog images of each query; an index cannot leave images out, so more are fetched."""
        best = Best(np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32))
        vectors = self.factorised.query_vectors(queries)
        rows, count = np.arange(len(queries)), min(k, self.num_images)
        while len(rows):
            columns, scores = self.fetch(vectors[rows], count)
            stands = columns >= 0 if allowed is None else _standing(allowed, rows, columns, self.num_images)
            order = np.lexsort((columns, -scores, ~stands), axis=1)[:, :k]
            kept = np.take_along_axis(stands, order, axis=1)
            best.columns[rows, : order.shape[1]] = np.where(kept, np.take_along_axis(columns, order, axis=1), -1)
            best.scores[rows, : order.shape[1]] = np.where(kept, np.take_along_axis(scores, order, axis=1), -np.inf)
            if count == self.num_images:
                break
            rows, count = rows[stands.sum(axis=1) < k], min(MORE * count, self.num_images)
        return best


def _standing(allowed: Allowed, rows: np.ndarray, columns: np.ndarray, num_images: int) -> np.ndarray:
    """Returns which of the fetched images may answer, asked row by row: the memory holds one row of the catalog."""
    everything = slice(0, num_images)
    may = [allowed(slice(row, row + 1), everything)[0, found] for row, found in zip(rows, columns, strict=True)]
    return np.array(may) & (columns >= 0)


def _imported(package: str, name: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingPackage(
            f"The first stage {name} needs the package {package.split('.')[0]}. Received: none. "
            "Install it with `pip install faiss-cpu usearch`, or take the first stage product."
        ) from error


def _faiss(faiss: Any, vectors: np.ndarray) -> Fetch:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries, count: _swapped(index.search(queries, count))


def _faiss_ivf(faiss: Any, vectors: np.ndarray) -> Fetch:
    vectors = _equally_long(vectors)
    num_lists = max(1, min(int(LISTS_PER_ROOT * len(vectors) ** 0.5), len(vectors) // TRAINING_PER_LIST))
    clusters = faiss.IndexFlatL2(vectors.shape[1])
    index = faiss.IndexIVFFlat(clusters, vectors.shape[1], num_lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical, index.cp.niter = False, TRAINING_PASSES
    index.train(vectors[np.random.default_rng(0).permutation(len(vectors))[: TRAINING_PER_LIST * num_lists]])
    index.add(vectors)
    index.nprobe = int(np.ceil(SHARE_OF_LISTS * num_lists))
    return lambda queries, count: _swapped(index.search(_lengthened(queries, 0), count))


def _usearch(usearch: Any, vectors: np.ndarray) -> Fetch:
    vectors = _equally_long(vectors)
    index = usearch.Index(ndim=vectors.shape[1], metric="l2sq", dtype="bf16", connectivity=GRAPH_EDGES)
    index.add(np.arange(len(vectors)), vectors)
    index.expansion_search = GRAPH_WIDTH
    length = float(np.square(vectors[0]).sum())

    def fetch(queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        asked = _lengthened(np.vstack([queries, queries[:1]]), 0)  # for a single row it would return another type
        found = index.search(asked, count)
        there = np.arange(count) < found.counts[:-1, None]
        distances = np.where(there, found.distances[:-1], 0)  # behind them the memory is as it was
        scores = (np.square(queries).sum(axis=1, keepdims=True) + length - distances) / 2
        return np.where(there, found.keys[:-1].astype(np.int64), -1), np.where(there, scores, -np.inf)

    return fetch


INDEXES: dict[str, tuple[str, Callable[[Any, np.ndarray], Fetch]]] = {
    "faiss": ("faiss", _faiss),
    "faiss_ivf": ("faiss", _faiss_ivf),
    "usearch": ("usearch.index", _usearch),
}


def _swapped(found: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    scores, columns = found
    return columns, np.where(columns < 0, np.float32(-np.inf), scores)


def _equally_long(vectors: np.ndarray) -> np.ndarray:
    squares = np.square(vectors).sum(axis=1)
    return _lengthened(vectors, np.sqrt(squares.max() - squares))


def _lengthened(vectors: np.ndarray, value: np.ndarray | float) -> np.ndarray:
    return np.column_stack([vectors, np.broadcast_to(np.asarray(value, np.float32), len(vectors))])
