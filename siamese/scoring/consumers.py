"""What becomes of tiles of scores: the best columns of each row, or a matrix on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from siamese.errors import SiameseError
from siamese.files import write_atomically
from siamese.hdf5 import reserve, write_head

Allowed = Callable[[slice, slice], np.ndarray]
HDF5_SUFFIXES = (".h5", ".hdf5")


@dataclass(frozen=True, eq=False)
class Tile:
    """A block of the score matrix.

    Attributes:
        rows: queries of the block.
        columns: catalog images of the block.
        scores: `(num_rows, num_columns)` float32 logits.
    """

    rows: slice
    columns: slice
    scores: np.ndarray


def mirrored(tiles: Iterable[Tile]) -> Iterator[Tile]:
    """Adds to the tiles of an upper triangle those below the diagonal."""
    for tile in tiles:
        yield tile
        if tile.rows != tile.columns:
            yield Tile(tile.columns, tile.rows, tile.scores.T)


@dataclass(frozen=True, eq=False)
class Best:
    """The best catalog images of each query.

    Attributes:
        columns: `(num_queries, k)` catalog indices, best first, equal scores by index; -1 where there are fewer than k.
        scores: `(num_queries, k)` float32, higher is more alike; minus infinity where there are fewer than k.
    """

    columns: np.ndarray
    scores: np.ndarray


class BestColumns:
    """The k best columns of each row so far; blocks may come in any order, each cell once.

    Only cells that reach a row's k-th best score are sorted, and soon those are few: one comparison for most cells.

    Example:
    >>> best = BestColumns(num_rows=1, k=2)
    >>> best.add(Tile(slice(0, 1), slice(0, 3), np.array([[5.0, 1.0, 7.0]])))
    >>> best.add(Tile(slice(0, 1), slice(3, 5), np.array([[7.0, 2.0]])))
    >>> best.result().columns
    array([[2, 3]])
    """

    def __init__(self, num_rows: int, k: int) -> None:
        """Takes the number of rows and of columns to keep for each."""
        self._scores = np.full((num_rows, k), -np.inf, np.float32)
        self._columns = np.full((num_rows, k), -1, np.int64)

    def add(self, tile: Tile) -> None:
        """Takes a tile of finite scores, or of minus infinity where a column may not stand."""
        scores = tile.scores
        kept, names = self._scores[tile.rows], self._columns[tile.rows]
        k, worst = kept.shape[1], kept[:, -1]
        if scores.shape[1] > k and np.isneginf(worst).any():
            worst = np.maximum(worst, np.partition(scores, -k, axis=1)[:, -k])
        reached = scores >= np.maximum(worst, np.finfo(np.float32).min)[:, None]
        row, column = np.divmod(np.flatnonzero(reached), scores.shape[1])
        touched, place = np.unique(row, return_inverse=True)
        if len(touched):
            merged = _merge(kept[touched], names[touched], place, scores[row, column], column + tile.columns.start)
            kept[touched], names[touched] = merged

    def result(self) -> Best:
        """Returns what was kept."""
        return Best(self._columns.copy(), self._scores.copy())


def _merge(
    scores: np.ndarray, columns: np.ndarray, row: np.ndarray, new_scores: np.ndarray, new_columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k best of each row of `scores` and of the new cells, which lie in the rows `row`."""
    num_rows, k = scores.shape
    rows = np.concatenate([np.repeat(np.arange(num_rows), k), row])
    values = np.concatenate([scores.ravel(), new_scores])
    names = np.concatenate([columns.ravel(), new_columns])
    order = np.lexsort((names, -values, rows))
    first = np.searchsorted(rows[order], np.arange(num_rows))
    chosen = order[first[:, None] + np.arange(k)]
    return values[chosen], names[chosen]


def best_of_tiles(tiles: Iterable[Tile], num_rows: int, k: int, allowed: Allowed | None = None) -> Best:
    """Keeps the k best columns of each row of streaming tiles.

    Args:
        tiles: cover each cell at most once.
        num_rows: rows of the whole matrix.
        k: columns to keep for each row, at least 1.
        allowed: function from the rows and columns of a tile to a boolean table, False where a column may not stand.

    Returns:
        The best columns and their scores; equal scores stand by index.

    Raises:
        SiameseError: `k` is under 1.
    """
    if k < 1:
        raise SiameseError(f"`k` must be at least 1. Received: k={k}. Ask for one image or more.")
    best = BestColumns(num_rows, k)
    for tile in tiles:
        if allowed is not None:
            scores = np.where(allowed(tile.rows, tile.columns), tile.scores, np.float32(-np.inf))
            tile = Tile(tile.rows, tile.columns, scores)
        best.add(tile)
    return best.result()


def write_matrix(path: Path, tiles: Iterable[Tile], shape: tuple[int, int]) -> None:
    """Writes streaming tiles as a matrix on disk, which stands in its place once it is whole.

    Args:
        path: ends in `.npy` (open it with `np.load(path, mmap_mode="r")`), or in `.h5` or `.hdf5` (dataset `scores`).
        tiles: cover each cell of the matrix.
        shape: of the matrix.

    Raises:
        SiameseError: the file name has another ending.
        DiskError: the disk is full; what stood there before is untouched.
    """
    if path.suffix not in (".npy", *HDF5_SUFFIXES):
        raise SiameseError(
            f"The name of a score matrix must end in .npy, .h5 or .hdf5. Received: {path.name}. Choose one of them."
        )
    write = _write_hdf5 if path.suffix in HDF5_SUFFIXES else _write_npy
    write_atomically(path, lambda place: write(place, tiles, shape))


def _write_npy(place: Path, tiles: Iterable[Tile], shape: tuple[int, int]) -> None:
    with place.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        start = file.tell()
    _fill(place, start, tiles, shape)


def _write_hdf5(place: Path, tiles: Iterable[Tile], shape: tuple[int, int]) -> None:
    write_head(place, lambda file: reserve(file, "scores", shape, "<f4"))
    with h5py.File(place, "r") as file:
        start = file["scores"].id.get_offset()
    _fill(place, start, tiles, shape)


def _fill(place: Path, start: int, tiles: Iterable[Tile], shape: tuple[int, int]) -> None:
    """Writes tiles into the matrix that begins at byte `start` of a file."""
    num_bytes = 4 * shape[0] * shape[1]
    if not num_bytes:
        return
    with place.open("r+b") as file:
        _reserve(file.fileno(), start, num_bytes)
        matrix = np.memmap(file, "<f4", "r+", start, shape)
        for tile in tiles:
            matrix[tile.rows, tile.columns] = tile.scores
        matrix.flush()


def _reserve(file: int, start: int, num_bytes: int) -> None:
    """Takes the room beforehand: a disk that fills while it is mapped into memory kills the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, start, num_bytes)
    else:  # macOS
        for first in range(start, start + num_bytes, 2**20):
            os.pwrite(file, bytes(min(2**20, start + num_bytes - first)), first)
