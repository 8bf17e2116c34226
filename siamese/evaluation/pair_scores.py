"""What the scores of photos say, pair by pair: average precision of each query, and same pairs against different ones.

The matrix is read once, a few queries at a time, so that memory beside it does not grow with its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from siamese.errors import SiameseError
from siamese.evaluation.bootstrap import effective_size, individual_codes
from siamese.evaluation.retrieval import precision_of_row
from siamese.evaluation.verification import Roc, area, equal_error, true_rate_at
from siamese.identity_scores import BLOCK_CELLS, check_length, check_scores

# Points of the ROC. With fewer distinct scores of same pairs the ROC is exact; with more, it is exact at so many of
# them, evenly spread, and straight between, so that a true accept rate is at most 1/2048 too low.
MOST_THRESHOLDS = 2048


@dataclass(frozen=True, eq=False)
class PairCounts:
    """How many pairs of each individual asked for score above a threshold, and how many at least as high.

    Attributes:
        thresholds: `(num_thresholds,)` falling scores, all of them scores of same pairs.
        same: `(num_individuals, 2 * num_thresholds + 2)` pairs of one animal: none, then for each threshold those above
            it and those at least as high, then all.
        different: the same for pairs of two animals.
    """

    thresholds: np.ndarray
    same: np.ndarray
    different: np.ndarray

    @property
    def size(self) -> float:
        """Individuals that the same pairs rest on, see `effective_size`; of different pairs there are many more."""
        return effective_size(self.same[:, -1])

    def roc(self) -> Roc:
        """Returns the ROC over all pairs."""
        false, true = (rates[0] for rates in self._rates(np.ones((1, len(self.same)))))
        ends = np.concatenate([[np.inf], np.repeat(self.thresholds, 2), [-np.inf]])
        ends[1:-1:2] = np.nextafter(ends[1:-1:2], np.inf)  # above a threshold: at least the next higher number
        return Roc(false, true, ends, float(self.different[:, -1].sum()), float(self.same[:, -1].sum()))

    def numbers(self, counts: np.ndarray, *, fars: Sequence[float] = ()) -> dict[str, np.ndarray]:
        """Returns AUC, equal error rate and TAR at each stated FAR, for individuals that count so often.

        Args:
            counts: `(num_draws, num_individuals)` floats; ones give the numbers over all pairs.
            fars: false accept rates.

        Returns:
            `auc_pairs`, `equal_error_rate` and `tar_at_far_<rate>`, `(num_draws,)` each; see `verification`.
        """
        false, true = self._rates(counts)
        rates = {f"tar_at_far_{far:g}": true_rate_at(false, true, far) for far in fars}
        return {"auc_pairs": area(false, true), "equal_error_rate": equal_error(false, true), **rates}

    def _rates(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        false, true = counts @ self.different, counts @ self.same
        return _shares(false), _shares(true)


@dataclass(frozen=True, eq=False)
class PairScores:
    """What one reading of a score matrix gives.

    Attributes:
        average_precision: `(num_queries,)` over all right photos, see `retrieval.average_precision`; nan without any.
        num_right: `(num_queries,)` photos of the right individual that may answer.
        counts: same and different pairs by threshold.
    """

    average_precision: np.ndarray
    num_right: np.ndarray
    counts: PairCounts


def read_pair_scores(
    scores: np.ndarray,
    catalog_identity: np.ndarray,
    identity: np.ndarray,
    *,
    allowed: np.ndarray | None = None,
) -> PairScores:
    """Reads a score matrix once and keeps what the metrics of photos and pairs need.

    Args:
        scores: `(num_queries, num_catalog)` floats, higher is more alike; -inf may not answer. Not changed.
        catalog_identity: `(num_catalog,)` names; photos of unknown individuals ("") are in no pair.
        identity: `(num_queries,)` names; "" is a further individual each, and all its pairs are different ones.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.

    Raises:
        SiameseError: shapes do not fit, or a score is NaN.

    Example:
    >>> read = read_pair_scores(np.array([[3.0, 2.0, 1.0]]), np.array(["ann", "bob", "ann"]), ["ann"])
    >>> read.average_precision.round(3), read.counts.numbers(np.ones((1, 1)))["auc_pairs"]
    (array([0.833]), array([0.5]))
    """
    names = np.asarray(catalog_identity, dtype=object)
    check_scores(scores, len(names), allowed)
    identity = check_length("identity", identity, len(scores))
    own = _own_scores(scores, names, identity, allowed)
    thresholds = _thresholds(own)
    code = individual_codes(identity)
    same, different = (np.zeros((int(code.max(initial=-1)) + 1, 2 * len(thresholds) + 2)) for _ in range(2))
    precision = np.full(len(scores), np.nan)
    for query, row in enumerate(_sorted_rows(scores, np.flatnonzero(names != ""), allowed)):
        right, listed = _at_thresholds(own[query], thresholds), _at_thresholds(row, thresholds)
        same[code[query]] += right
        different[code[query]] += listed - right
        precision[query] = precision_of_row(own[query], row)
    counts = PairCounts(thresholds[::-1].astype(np.float64), same, different)
    return PairScores(precision, np.array([len(row) for row in own], dtype=np.int64), counts)


def query_blocks(scores: np.ndarray, *, num_blocks: int = 1) -> Iterator[slice]:
    """Gives slices of queries, `num_blocks` times as many as are worked on at once; at least one slice."""
    height = max(1, num_blocks * BLOCK_CELLS // max(1, scores.shape[1]))
    for start in range(0, max(1, len(scores)), height):
        yield slice(start, start + height)


def _shares(accepted: np.ndarray) -> np.ndarray:
    total = accepted[:, -1:]
    return np.divide(accepted, total, out=np.full(accepted.shape, np.nan), where=total > 0)


def _own_scores(
    scores: np.ndarray, names: np.ndarray, identity: np.ndarray, allowed: np.ndarray | None
) -> list[np.ndarray]:
    """Returns for each query the sorted scores of the photos of its own individual that may answer."""
    columns = _columns_by_name(names)
    own = []
    for query, name in enumerate(identity):
        mine = columns.get(name, np.empty(0, dtype=np.int64))
        row = scores[query, mine]
        may = row > -np.inf if allowed is None else (row > -np.inf) & allowed[query, mine]
        own.append(np.sort(row[may]))
    return own


def _columns_by_name(names: np.ndarray) -> dict[str, np.ndarray]:
    known, member = np.unique(names[names != ""].astype(str), return_inverse=True)
    columns = np.flatnonzero(names != "")[np.argsort(member, kind="stable")]
    return dict(zip(known, np.split(columns, np.cumsum(np.bincount(member))[:-1]), strict=True)) if len(known) else {}


def _thresholds(own: list[np.ndarray]) -> np.ndarray:
    """Returns rising scores of same pairs: all of them, or `MOST_THRESHOLDS` evenly spread."""
    distinct = np.unique(np.concatenate(own)) if own else np.empty(0)
    if len(distinct) <= MOST_THRESHOLDS:
        return distinct
    return distinct[np.linspace(0, len(distinct) - 1, MOST_THRESHOLDS).round().astype(np.int64)]


def _sorted_rows(scores: np.ndarray, columns: np.ndarray, allowed: np.ndarray | None) -> Iterator[np.ndarray]:
    """Gives each query's scores in rising order, those that may answer alone."""
    everything = len(columns) == scores.shape[1]
    for rows in query_blocks(scores):
        block = np.array(scores[rows]) if everything else np.take(scores[rows], columns, axis=1)
        if allowed is not None:
            block[~(allowed[rows] if everything else np.take(allowed[rows], columns, axis=1))] = -np.inf
        block.sort(axis=1)  # NaN comes last
        if block.shape[1] and np.isnan(block[:, -1]).any():
            raise SiameseError("`scores` must be numbers. Received: NaN. Score the photos again; a NaN has no rank.")
        for row in block:
            yield row[np.searchsorted(row, -np.inf, side="right") :]


def _at_thresholds(row: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns how many of the rising scores stand above, and at or above, each threshold, the highest one first."""
    above, at_least = (np.searchsorted(row, thresholds, side=side) for side in ("right", "left"))
    counts = np.empty(2 * len(thresholds) + 2)
    counts[0], counts[-1] = 0, len(row)
    counts[1:-1:2], counts[2:-1:2] = len(row) - above[::-1], len(row) - at_least[::-1]
    return counts
