"""Factorised comparator scores: the logit as an inner product of one vector for each image.

The comparator adds up w_d g(a_d, b_d) over the features d, with one symmetric g. Under the values that feature d takes,
g(u, v) = p_d(u) + p_d(v) + sum_r s_r f_r(u) f_r(v): the additive part is one number for each image, whatever its form,
and the rest falls off fast. One table of g serves all features: its leading eigenfunctions span g, and inside that span
each feature gets its own small eigen-decomposition and as many columns as its |w_d| and its values deserve.

What was tried, on a comparator near the end of the flukes recipe (512 features; half of the photos fitted, pairs of the
other half; error = RMS error of the logits / their standard deviation):

| form | columns | error |
|---|---|---|
| even nodes, not weighted, one rank for all features | 1,536 / 4,096 | 0.053 / 0.086 |
| nodes at the quantiles, weighted by frequency | 1,536 / 4,096 | 0.051 / 0.020 |
| the same, additive part apart | 1,024 / 4,096 | 0.046 / 0.020 |
| the same, frequencies weighted by w_d^2 | 1,024 / 4,096 | 0.033 / 0.019 |
| even nodes, own values and ranks for each feature | 512 / 768 / 1,024 | 0.024 / 0.010 / 0.006 |
| this, then the columns of all features decomposed together | 128 / 512 / 768 | 0.047 / 0.016 / 0.012 |

Nodes at the quantiles stop at 0.02, because linear interpolation is too coarse where values are rare. Features of
little weight get no column, which prunes them without a threshold. The joint decomposition wins only where an error of
5 % is good enough. This module is the form before it, with the shares below mixed in: on the finished model 512 / 805 /
1,024 columns give 0.025 / 0.010 / 0.007. bfloat16 adds little (0.0102 at 805 columns), since the additive part stays
apart in float32, and scores 1.7 times as many pairs a second on a CPU with matrix units (AMX).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from siamese.errors import SiameseError
from siamese.models.comparator import Comparator
from siamese.scoring.consumers import Tile
from siamese.scoring.tiles import check_embeddings, comparator_weights, reference_evidence, score_pairs

NUM_NODES = 769  # of the table of g; with fewer the interpolation is what limits the error
NUM_FUNCTIONS = 16  # eigenfunctions of g that all features share
MARGIN = 0.25  # the table reaches so far beyond the values seen, as a share of their range
# Shares mixed into the frequencies of each feature: those of all features, and in these an even one. They keep the
# error small at values that the fitted images never took; on the flukes they cost a few columns in a hundred.
POOLED, EVEN = 0.05, 0.1
FIT_IMAGES, CHECK_IMAGES, CHECK_PAIRS = 2000, 1000, 4096
ENCODE_BATCH = 512
COLUMN_STEP = 256  # columns are filled up to a multiple, so that each round's other number needs no new compilation
BLOCK = (1024, 8192)  # queries and catalog images of one product
SQUARE = 2048  # the same where the queries are scored against each other

Storage = Literal["float32", "bfloat16"]


@dataclass(frozen=True, eq=False)
class FactorisedComparator:
    """A comparator as an inner product; `factorise` makes one.

    Attributes:
        low: feature value of the first node of the tables.
        step: distance of two nodes.
        feature: `(num_columns,)` the feature that each column reads.
        tables: `(num_columns, num_nodes)` float32, values of each column at the nodes, linear between them.
        signs: `(num_columns,)` float32, 1 or -1; they enter on the query's side.
        additive: `(embed_dim, num_nodes)` float32, what each feature adds to any score of the image.
        bias: added to every score.
        storage: number format of the columns in the product.
        spread: standard deviation of the exact logits of the pairs the error was measured on.
        error: RMS error of the logits / spread, on pairs of images that were not fitted, rounding included.
        largest_error: largest error / spread of those pairs.
    """

    low: float
    step: float
    feature: np.ndarray
    tables: np.ndarray
    signs: np.ndarray
    additive: np.ndarray
    bias: float
    storage: Storage
    spread: float
    error: float
    largest_error: float

    @property
    def num_columns(self) -> int:
        """Columns of the product, the two additive ones not counted."""
        return len(self.feature)

    def covers(self, embeddings: np.ndarray) -> bool:
        """Tells whether the tables reach all values: those fitted and a quarter of their range on both sides."""
        high = self.low + self.step * (self.tables.shape[1] - 1)
        return not embeddings.size or bool(embeddings.min() >= self.low and embeddings.max() <= high)

    def catalog_vectors(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns `(num_images, num_columns + 2)` float32; their inner product with query vectors is the logit.

        Any index for inner products can hold them.

        Raises:
            SiameseError: a value lies outside of the tables.
        """
        columns, additive = self.encode(embeddings)
        return np.column_stack([columns, additive, np.ones_like(additive)])

    def query_vectors(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns `(num_images, num_columns + 2)` float32, the other side of `catalog_vectors`."""
        columns, additive = self.encode(embeddings)
        return np.column_stack([columns * self.signs, np.ones_like(additive), additive + np.float32(self.bias)])

    def encode(self, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the columns without signs, `(num_images, num_columns)`, and the additive part, `(num_images,)`.

        Raises:
            SiameseError: a value lies outside of the tables.
        """
        self._check(embeddings)
        columns = np.empty((len(embeddings), self.num_columns), np.float32)
        additive = np.empty(len(embeddings), np.float32)
        missing = -self.num_columns % COLUMN_STEP
        feature, tables = np.pad(self.feature, (0, missing)), np.pad(self.tables, ((0, missing), (0, 0)))
        constants = [tf.constant(array) for array in (feature, tables, self.additive)]
        for start in range(0, len(embeddings), ENCODE_BATCH):
            part = np.asarray(embeddings[start : start + ENCODE_BATCH], np.float32)
            full = np.pad(part, ((0, ENCODE_BATCH - len(part)), (0, 0)))
            found = _encode(full, np.float32(self.low), np.float32(self.step), *constants)
            columns[start : start + len(part)] = found[0][: len(part), : self.num_columns]
            additive[start : start + len(part)] = found[1][: len(part)]
        return columns, additive

    def score_tiles(self, queries: np.ndarray, catalog: np.ndarray | None = None) -> Iterator[Tile]:
        """Gives approximate logits block by block, like `siamese.scoring.score_tiles`.

        Args:
            queries: `(num_queries, embed_dim)` floats. Not changed.
            catalog: `(num_catalog, embed_dim)` floats, or None for the queries themselves: the upper triangle alone.

        Yields:
            Tiles of up to 1024 x 8192, or 2048 x 2048 without a catalog.

        Raises:
            SiameseError: a value lies outside of the tables.
        """
        left = self.operands(queries, query=True)
        yield from product_tiles(
            left, self.operands(queries if catalog is None else catalog, query=False), catalog is None
        )

    def operands(self, embeddings: np.ndarray, *, query: bool) -> list[Any]:
        """Gives one side of `product_tiles`: whole vectors, or the additive part apart, which bfloat16 would spoil."""
        if self.storage == "float32":
            return [tf.constant(self.query_vectors(embeddings) if query else self.catalog_vectors(embeddings))]
        columns, additive = self.encode(embeddings)
        signed, shift = (columns * self.signs, additive + np.float32(self.bias)) if query else (columns, additive)
        return [tf.cast(tf.constant(signed), self.storage), tf.constant(shift)]

    def _check(self, embeddings: np.ndarray) -> None:
        check_embeddings(embeddings, self.additive[:, :1].T)
        if not self.covers(embeddings):
            high = self.low + self.step * (self.tables.shape[1] - 1)
            raise SiameseError(
                f"Factorised scores need feature values from {self.low:.4g} to {high:.4g}. Received: values from "
                f"{embeddings.min():.4g} to {embeddings.max():.4g}. Factorise with these embeddings among the sample."
            )


def factorise(
    comparator: Comparator,
    embeddings: np.ndarray,
    *,
    max_error: float = 0.01,
    num_columns: int | None = None,
    storage: Storage = "float32",
    seed: int = 0,
) -> FactorisedComparator:
    """Writes a comparator as an inner product with as few columns as a stated error allows.

    Half of the images (at most 2,000) are fitted, pairs of others (at most 1,000 images) measure the error.

    Args:
        comparator: a trained `Comparator`; other layers have no such form.
        embeddings: `(num_images, embed_dim)` floats of real images, at least 8; both sides of a later score should be
            like them.
        max_error: largest RMS error of the logits, as a share of their standard deviation.
        num_columns: takes so many columns instead, whatever the error.
        storage: number format of the columns in the product. bfloat16 is faster where the CPU has matrix units for it.
        seed: chooses the images and the pairs.

    Returns:
        The factorised comparator, with the error that was measured.

    Raises:
        SiameseError: the comparator is another layer, there are too few images, or no number of columns is good enough.
    """
    _check_input(comparator, embeddings)
    order = np.random.default_rng(seed).permutation(len(embeddings))
    fit, check = order[: len(order) // 2][:FIT_IMAGES], order[len(order) // 2 :][:CHECK_IMAGES]
    whole = _fit(comparator, embeddings[fit], (float(embeddings.min()), float(embeddings.max())), storage)
    exact, errors = _errors(comparator, whole, embeddings[check], seed)
    spread = float(exact.std())
    rms = np.sqrt(np.mean(np.square(errors), axis=0)) / spread
    if num_columns is None:
        good = np.flatnonzero(rms <= max_error)
        if not len(good):
            raise SiameseError(
                f"`max_error` must be within reach. Received: {max_error}; with {len(rms) - 1} columns the error is "
                f"{rms.min():.4f}. Allow more, or score exactly."
            )
        num_columns = int(good[0])
    count = min(num_columns, whole.num_columns)
    largest = float(np.abs(errors[:, count]).max()) / spread
    return replace(
        whole,
        feature=whole.feature[:count],
        tables=whole.tables[:count],
        signs=whole.signs[:count],
        spread=spread,
        error=float(rms[count]),
        largest_error=largest,
    )


def _check_input(comparator: Comparator, embeddings: np.ndarray) -> None:
    if not isinstance(comparator, Comparator):
        raise SiameseError(
            f"Only a `Comparator` can be factorised. Received: {type(comparator).__name__}. Score exactly instead."
        )
    check_embeddings(embeddings, embeddings)
    if len(embeddings) < 8:
        raise SiameseError(
            f"`embeddings` must hold at least 8 images. Received: {len(embeddings)}. Score so few exactly."
        )


def _fit(
    comparator: Comparator, embeddings: np.ndarray, value_range: tuple[float, float], storage: Storage
) -> FactorisedComparator:
    """Returns the factorised comparator with all columns, the strongest first."""
    *shared, weight, bias = comparator_weights(comparator)
    w = weight[:, 0]
    margin = MARGIN * max(value_range[1] - value_range[0], 1e-6)
    nodes = np.linspace(value_range[0] - margin, value_range[1] + margin, NUM_NODES)
    frequency = _frequencies(embeddings, nodes)
    table = reference_evidence(shared, nodes[:, None], nodes[None])
    functions, eigenvalues = _eigenfunctions(table, np.square(w) @ frequency / max(np.square(w).sum(), 1e-30))
    columns, strength = _feature_columns(functions, eigenvalues, frequency)  # (embed_dim, r, num_nodes), (embed_dim, r)
    strength = strength * w[:, None]
    additive = frequency @ table
    additive -= 0.5 * np.sum(additive * frequency, axis=1, keepdims=True)
    order = np.argsort(-np.abs(strength).ravel(), kind="stable")
    feature = np.repeat(np.arange(len(w)), strength.shape[1])[order]
    tables = columns.reshape(-1, NUM_NODES)[order] * np.sqrt(np.abs(strength).ravel()[order])[:, None]
    return FactorisedComparator(
        low=float(nodes[0]),
        step=float(nodes[1] - nodes[0]),
        feature=feature.astype(np.int32),
        tables=tables.astype(np.float32),
        signs=np.where(strength.ravel()[order] < 0, -1, 1).astype(np.float32),
        additive=(additive * w[:, None]).astype(np.float32),
        bias=float(bias[0]),
        storage=storage,
        spread=np.nan,
        error=np.nan,
        largest_error=np.nan,
    )


def _frequencies(embeddings: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Returns `(embed_dim, num_nodes)`: how often each feature takes the value of a node, shared by the two nearest."""
    embed_dim, num_nodes = embeddings.shape[1], len(nodes)
    place = (embeddings.astype(np.float64) - nodes[0]) / (nodes[1] - nodes[0])
    cell = np.clip(place.astype(int), 0, num_nodes - 2)
    flat, share = (cell + num_nodes * np.arange(embed_dim)).ravel(), (place - cell).ravel()
    counts = np.bincount(flat, 1 - share, embed_dim * num_nodes) + np.bincount(flat + 1, share, embed_dim * num_nodes)
    own = counts.reshape(embed_dim, num_nodes) / len(embeddings)
    everywhere = (1 - EVEN) * own.mean(axis=0) + EVEN / num_nodes
    return (1 - POOLED) * own + POOLED * everywhere


def _eigenfunctions(table: np.ndarray, frequency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the functions `(num_nodes, r)` and eigenvalues `(r,)` that span g without its additive part."""
    mean = table @ frequency
    rest = table - mean[:, None] - mean[None] + frequency @ mean
    root = np.sqrt(frequency)
    with threadpool_limits(1, user_api="blas"):  # more wait for each other where the machine is busy: seconds for 0.05
        eigenvalues, vectors = np.linalg.eigh(root[:, None] * rest * root)
    chosen = np.argsort(-np.abs(eigenvalues), kind="stable")[:NUM_FUNCTIONS]
    return vectors[:, chosen] / root[:, None], eigenvalues[chosen]


def _feature_columns(
    functions: np.ndarray, eigenvalues: np.ndarray, frequency: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decomposes g again under each feature's own frequencies, inside the span of the functions.

    Returns:
        Columns `(embed_dim, r, num_nodes)` of mean 0 and variance 1, and their eigenvalues `(embed_dim, r)`.
    """
    num_functions = len(eigenvalues)
    mean = frequency @ functions
    products = (functions[:, :, None] * functions[:, None]).reshape(len(functions), -1)
    covariance = (frequency @ products).reshape(-1, num_functions, num_functions) - mean[:, :, None] * mean[:, None]
    variance, axes = np.linalg.eigh(covariance)
    variance = np.maximum(variance, 1e-9 * variance[:, -1:] + 1e-30)
    root = (axes * np.sqrt(variance)[:, None]) @ axes.transpose(0, 2, 1)
    inverse = (axes / np.sqrt(variance)[:, None]) @ axes.transpose(0, 2, 1)
    strength, turn = np.linalg.eigh((root * eigenvalues) @ root)
    mix = inverse @ turn
    columns = mix.transpose(0, 2, 1) @ functions.T - (mean[:, None] @ mix).transpose(0, 2, 1)
    return columns, strength


def _errors(
    comparator: Comparator, whole: FactorisedComparator, embeddings: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns exact logits of sampled pairs, and their errors with 0, 1, 2, ... columns, rounded as the product is."""
    rng = np.random.default_rng([seed, 1])
    rows = rng.integers(0, len(embeddings), CHECK_PAIRS)
    columns = (rows + rng.integers(1, len(embeddings), CHECK_PAIRS)) % len(embeddings)
    exact = score_pairs(comparator, embeddings, embeddings, rows, columns)
    vectors, additive = whole.encode(embeddings)
    vectors = _rounded(vectors, whole.storage)
    missing = exact - additive[rows] - additive[columns] - np.float32(whole.bias)
    errors = np.empty((CHECK_PAIRS, whole.num_columns + 1), np.float32)
    errors[:, 0] = -missing
    for part in np.array_split(np.arange(CHECK_PAIRS), CHECK_PAIRS // 128):
        terms = vectors[rows[part]] * whole.signs * vectors[columns[part]]
        errors[part, 1:] = _rounded(np.cumsum(terms, axis=1), whole.storage) - missing[part, None]
    return exact, errors


def _rounded(values: np.ndarray, storage: Storage) -> np.ndarray:
    return tf.cast(tf.cast(values, storage), tf.float32).numpy()


@tf.function(jit_compile=True)
def _encode(embeddings: Any, low: Any, step: Any, feature: Any, tables: Any, additive: Any) -> tuple[Any, Any]:
    """Reads each image's columns and its additive part from the tables."""
    place = tf.transpose((embeddings - low) / step)  # an image after the other, so that a row of a table stays in cache
    columns = _interpolated(tf.gather(place, feature), tables)
    return tf.transpose(columns), tf.reduce_sum(_interpolated(place, additive), axis=0)


def _interpolated(place: Any, tables: Any) -> Any:
    """Returns for each row of `place`, in steps, the values of its row of `tables`."""
    num_tables, num_nodes = tables.shape
    cell = tf.clip_by_value(tf.cast(place, tf.int32), 0, num_nodes - 2)
    index = cell + num_nodes * tf.range(num_tables)[:, None]
    flat = tf.reshape(tables, [-1])
    left, right = tf.gather(flat, index), tf.gather(flat, index + 1)
    return left + (place - tf.cast(cell, tf.float32)) * (right - left)


def product_tiles(left: Sequence[Any], right: Sequence[Any], symmetric: bool) -> Iterator[Tile]:
    """Multiplies the two sides of a factorised score block by block.

    Args:
        left: query vectors `(num_queries, width)`; or their columns and, apart, their additive part.
        right: the catalog's side, likewise.
        symmetric: whether both are the same images; then only the upper triangle is given.

    Yields:
        Tiles of up to 1024 x 8192, or 2048 x 2048.
    """
    height, width = (SQUARE, SQUARE) if symmetric else BLOCK
    for start in range(0, len(left[0]), height):
        rows = slice(start, min(start + height, len(left[0])))
        for first in range(start if symmetric else 0, len(right[0]), width):
            columns = slice(first, min(first + width, len(right[0])))
            blocks = [part[rows] for part in left], [part[columns] for part in right]
            yield Tile(rows, columns, _product(*blocks).numpy())


@tf.function(reduce_retracing=True)
def _product(left: list[Any], right: list[Any]) -> Any:
    scores = tf.matmul(left[0], right[0], transpose_b=True)
    if len(left) == 1:
        return scores
    return tf.cast(scores, tf.float32) + left[1][:, None] + right[1]
