"""The best negatives of every image, kept while tiles of scores stream by; no matrix of all pairs is ever held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

BLOCK = 256  # rows and columns looked at in one go, so that they stay in the processor's cache
DENSE_SHARE = 8  # once an eighth of the cells may enter, noise is drawn for all of them: cheaper than picking
THINNED = 8  # of 256 cells enter the mid ranks, so that m of them are spread over the first 32 m ranks
SLACK = 2.0**-20  # float32 sums of score, price and noise are off by less


class ScoreTile(Protocol):
    """A rectangle of the score matrix: `rows` and `columns` are slices, `scores` is `(num_rows, num_columns)`."""

    @property
    def rows(self) -> slice:
        """The images of the rows."""

    @property
    def columns(self) -> slice:
        """The images of the columns."""

    @property
    def scores(self) -> np.ndarray:
        """`(num_rows, num_columns)` float32, higher is more alike."""


class PairScores(Protocol):
    """Where the scores of a round come from. Scores are symmetric: score(a, b) = score(b, a)."""

    def tiles(self) -> Iterable[ScoreTile]:
        """Returns tiles that cover the upper triangle, or the whole square, of the score matrix."""

    def within(self, index: np.ndarray) -> np.ndarray:
        """Returns the `(count, count)` scores of some images among each other."""

    def pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Returns the `(num_pairs,)` scores of given pairs."""


@dataclass(frozen=True)
class MatrixTile:
    """A tile cut from a matrix in memory."""

    rows: slice
    columns: slice
    scores: np.ndarray


@dataclass(frozen=True)
class MatrixScores:
    """Scores that stand in memory as a whole, for small collections.

    Attributes:
        matrix: `(num_images, num_images)` symmetric floats.
        tile_size: rows and columns of a tile.
    """

    matrix: np.ndarray
    tile_size: int = 4096

    def tiles(self) -> Iterator[MatrixTile]:
        """Returns the tiles on and above the diagonal."""
        starts = range(0, len(self.matrix), self.tile_size)
        for row in starts:
            for column in starts[row // self.tile_size :]:
                rows, columns = slice(row, row + self.tile_size), slice(column, column + self.tile_size)
                yield MatrixTile(rows, columns, self.matrix[rows, columns])

    def within(self, index: np.ndarray) -> np.ndarray:
        """Returns the `(count, count)` scores of some images among each other."""
        return self.matrix[np.ix_(index, index)]

    def pairs(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Returns the `(num_pairs,)` scores of given pairs."""
        return self.matrix[left, right]


class PairNoise:
    """K times uniform noise that is a pure function of the seed and the two images.

    The codes of the two images are mixed by a 32-bit hash (lowbias32 of Wellons' hash-prospector, 2018), so a pair has
    the same noise in whatever tile and order it comes, and (i, j) and (j, i) have independent noise (Piotte 2018).
    The upper 24 bits of a pair's hash make the noise; the lower 8 say whether the pair belongs to the mid ranks.

    Attributes:
        width: K, in score units.
    """

    def __init__(self, keys: np.ndarray, *, width: float, seed: Sequence[int]):
        """Prepares the codes.

        Args:
            keys: `(num_images,)` non-negative integers below 2^32 that name the images, whatever their order.
            width: K, the noise runs from 0 up to it.
            seed: non-negative integers, such as the run's seed and the round.
        """
        salt = np.random.SeedSequence(list(seed)).generate_state(2)
        self.width = width
        self._left, self._right = (_mixed(keys.astype(np.uint32) ^ part) for part in salt)

    def hashed(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Returns the 32-bit hash of each pair; the two index arrays broadcast against each other."""
        return _mixed(self._left[left] ^ self._right[right])

    def of(self, hashed: np.ndarray) -> np.ndarray:
        """Returns the float32 noise that belongs to a hash, from 0 up to but not including K."""
        return (hashed >> np.uint32(8)).astype(np.float32) * np.float32(self.width * 2.0**-24)


def _mixed(bits: np.ndarray) -> np.ndarray:
    """Hashes `uint32` numbers in place."""
    shifted = np.right_shift(bits, np.uint32(16))
    bits ^= shifted
    bits *= np.uint32(0x7FEB352D)
    bits ^= np.right_shift(bits, np.uint32(15), out=shifted)
    bits *= np.uint32(0x846CA68B)
    bits ^= np.right_shift(bits, np.uint32(16), out=shifted)
    return bits


@dataclass(frozen=True)
class Candidates:
    """The best negatives of every image.

    Attributes:
        column: `(num_images, num_candidates)` integers, best first; -1 where there are no more.
        score: `(num_images, num_candidates)` float32.
        noisy: `(num_images, num_candidates)` float32, score plus noise.
        lowest: `(num_images,)` float32, what the last candidate was chosen by: score plus noise minus price.
    """

    column: np.ndarray
    score: np.ndarray
    noisy: np.ndarray
    lowest: np.ndarray


def collect_candidates(
    tiles: Iterable[ScoreTile],
    identity: np.ndarray,
    noise: PairNoise,
    *,
    num_candidates: int,
    num_mid_ranks: int = 0,
    prices: np.ndarray | None = None,
) -> tuple[Candidates, Candidates]:
    """Keeps the k best negatives of each image by score + noise - price, in memory that does not grow with n².

    A cell whose score could not enter with the largest noise is passed over before its noise is drawn; the result is
    that of drawing it for all. Ties are broken by the hash of the pair, so neither the size nor the order of the tiles
    matters. Cells below the diagonal are passed over, those above count for both images.

    Args:
        tiles: tiles that cover the upper triangle or the whole square of a symmetric score matrix.
        identity: `(num_images,)` codes; equal codes, and two negative ones, are never candidates.
        noise: the noise of the pairs.
        num_candidates: k.
        num_mid_ranks: how many to keep, beside the best, from the mid ranks: the best m of a sample of the pairs, 8 of
            256 or as many as give m of n, so they are spread evenly over the first 32 m ranks.
        prices: `(num_images,)` floats subtracted from the scores of each column, None for none.

    Returns:
        The best candidates, and those of the mid ranks.

    Raises:
        ValueError: a score is not finite, or the tiles leave pairs out.

    Example:
    >>> scores = np.array([[0, 9, 5], [9, 0, 7], [5, 7, 0]], np.float32)
    >>> noise = PairNoise(np.arange(3), width=0, seed=[0])
    >>> tiles = MatrixScores(scores).tiles()
    >>> collect_candidates(tiles, np.array([0, 0, 1]), noise, num_candidates=1)[0].column.tolist()
    [[2], [2], [1]]
    """
    count = len(identity)
    cells = _Cells(np.maximum(identity, -1), noise, None if prices is None else prices.astype(np.float32))
    best = _Kept(count, num_candidates)
    mid_ranks = _Kept(count, num_mid_ranks, mid_rank_share(count, num_mid_ranks))
    num_seen = 0
    for tile in tiles:
        _check_finite(tile.scores)
        num_seen += _num_above(tile.rows, tile.columns, count)
        for row, column, block in _blocks(tile):
            mirrored = np.ascontiguousarray(block.T)
            for kept in (best, mid_ranks) if num_mid_ranks else (best,):
                cells.offer(kept, row, column, block, upper=True)
                cells.offer(kept, column, row, mirrored, upper=False)
    if num_seen != count * (count - 1) // 2:
        raise ValueError(
            f"`tiles` must cover the {count * (count - 1) // 2} pairs of {count} images once. Received: {num_seen}."
        )
    return best.sorted(noise), mid_ranks.sorted(noise)


def mid_rank_share(num_images: int, num_mid_ranks: int) -> int:
    """Returns how many of 256 hash values put a pair into the mid ranks of an image."""
    return min(256, max(THINNED, -(-256 * num_mid_ranks // max(num_images, 1))))


def _check_finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores.sum()):
        raise ValueError("`scores` must be finite: a score is infinite or not a number. Lower the learning rate.")


def _num_above(rows: slice, columns: slice, count: int) -> int:
    """Counts the cells of a tile above the diagonal."""
    row, column_stop = np.arange(count)[rows], min(columns.stop, count)
    return int(np.maximum(column_stop - np.maximum(columns.start, row + 1), 0).sum())


def _blocks(tile: ScoreTile) -> Iterator[tuple[int, int, np.ndarray]]:
    """Cuts a tile into blocks, each with its first row and column, leaving out those below the diagonal."""
    for row in range(0, tile.scores.shape[0], BLOCK):
        for column in range(0, tile.scores.shape[1], BLOCK):
            block = np.ascontiguousarray(tile.scores[row : row + BLOCK, column : column + BLOCK], np.float32)
            first_row, first_column = tile.rows.start + row, tile.columns.start + column
            if first_column + block.shape[1] > first_row + 1:
                yield first_row, first_column, block


@dataclass(frozen=True)
class _Cells:
    """What decides whether a cell of the score matrix may become a candidate."""

    identity: np.ndarray
    noise: PairNoise
    prices: np.ndarray | None

    def offer(self, kept: _Kept, first_row: int, first_column: int, scores: np.ndarray, *, upper: bool) -> None:
        """Offers a block of scores to the candidates of its rows; those of its columns come with the mirrored one."""
        num_rows, num_columns = scores.shape
        rows, columns = first_row + np.arange(num_rows), first_column + np.arange(num_columns)
        value = scores if self.prices is None else scores - self.prices[columns]
        cell, hashed, value = self._entering(value, kept.lowest[rows], rows, columns)
        row, column = rows[cell // num_columns], columns[cell % num_columns]
        keep = (self.identity[row] != self.identity[column]) & ((column > row) == upper)
        if kept.share < 256:
            keep &= (hashed & np.uint32(255)) < kept.share
        order = _sortable(value[keep]).astype(np.uint64) << np.uint64(32) | hashed[keep]
        kept.add(row[keep], column[keep], order, scores.ravel()[cell[keep]])

    def _entering(
        self, value: np.ndarray, lowest: np.ndarray, rows: np.ndarray, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Finds the cells whose value with noise reaches the lowest one kept: flat place, hash, value with noise."""
        width = self.noise.width
        with_most_noise = lowest - width - SLACK * (np.abs(lowest) + width)
        possible = value >= with_most_noise[:, None].astype(np.float32)
        if DENSE_SHARE * np.count_nonzero(possible) > possible.size:
            hashed = self.noise.hashed(rows[:, None], columns)
            value = value + self.noise.of(hashed)
            cell = np.flatnonzero(value >= lowest[:, None])
            return cell, hashed.ravel()[cell], value.ravel()[cell]
        cell = np.flatnonzero(possible)
        row = cell // len(columns)
        hashed = self.noise.hashed(rows[row], columns[cell % len(columns)])
        value = value.ravel()[cell] + self.noise.of(hashed)
        enters = value >= lowest[row]
        return cell[enters], hashed[enters], value[enters]


class _Kept:
    """The best cells of each row so far, in no order, with room for one block more.

    Attributes:
        share: of 256 values of a hash, how many enter.
        lowest: `(num_rows,)` float32; no cell below it can still be among the best.
    """

    def __init__(self, num_rows: int, num_best: int, share: int = 256) -> None:
        self.num_best, self.share = min(num_best, num_rows), share
        shape = (num_rows, self.num_best + BLOCK if self.num_best else 0)
        self._order = np.zeros(shape, np.uint64)  # the value, then the hash; 0 is empty
        self._column, self._score = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        self._filled = np.zeros(num_rows, np.intp)
        self.lowest = np.full(num_rows, -np.inf, np.float32)

    def add(self, row: np.ndarray, column: np.ndarray, order: np.ndarray, score: np.ndarray) -> None:
        """Adds cells sorted by row, at most as many a row as a block has columns."""
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        rows, counts = row[starts], np.diff(starts, append=len(row))
        self._cut(rows[self._filled[rows] + counts > self._order.shape[1]])
        place = self._filled[row] + np.arange(len(row)) - np.repeat(starts, counts)
        self._order[row, place], self._column[row, place], self._score[row, place] = order, column, score
        self._filled[rows] += counts

    def _cut(self, rows: np.ndarray) -> None:
        """Leaves the best of full rows."""
        if not len(rows):
            return
        best = np.argpartition(self._order[rows], -self.num_best, axis=1)[:, -self.num_best :]
        tables: tuple[np.ndarray, ...] = (self._order, self._column, self._score)
        for table in tables:
            table[rows, : self.num_best] = table[rows[:, None], best]
        self._order[rows, self.num_best :] = 0
        self._filled[rows] = self.num_best
        self.lowest[rows] = _value(self._order[rows, : self.num_best].min(axis=1))

    def sorted(self, noise: PairNoise) -> Candidates:
        """Returns the best cells of each row, best first."""
        self._cut(np.flatnonzero(self._filled > self.num_best))
        best_first = np.argsort(self._order[:, : self.num_best], axis=1)[:, ::-1]
        tables: tuple[np.ndarray, ...] = (self._order, self._column, self._score)
        order, column, score = (np.take_along_axis(table, best_first, axis=1) for table in tables)
        empty = order == 0
        lowest = np.where(empty, np.inf, _value(order)).min(axis=1, initial=np.inf)
        noisy = score + noise.of(order.astype(np.uint32))
        return Candidates(np.where(empty, -1, column), score, noisy, lowest)


def _sortable(value: np.ndarray) -> np.ndarray:
    """Turns float32 into `uint32` of the same order, never 0."""
    bits = (value + np.float32(0)).view(np.uint32)  # -0 becomes 0
    return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))


def _value(order: np.ndarray) -> np.ndarray:
    """Returns the float32 that stands in the upper half of an order."""
    bits = (order >> np.uint64(32)).astype(np.uint32)
    return np.where(bits >> np.uint32(31), bits ^ np.uint32(1 << 31), ~bits).view(np.float32)
