"""Rules for the threshold of the new individual, all in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from siamese.decision.cuts import cut_with_share_above, num_below
from siamese.decision.growth import BISECTIONS, SMALLEST_RATE, GrowthModel
from siamese.decision.scan import choose_threshold
from siamese.identity_scores import IdentityScores
from siamese.settings import DecisionSettings, ThresholdRule

NUM_STACKED = 4  # best scores that the stacked rule reads (Pleskov, humpback 2019)
WITH_NEW = ("scan", "singleton", "stacked")  # rules that learn from known and new queries


@dataclass(frozen=True, eq=False)
class Validation:
    """The queries that choose a threshold.

    Attributes:
        table: their scores with the catalog's identities.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new.
        num_photos: `(num_identities,)` photos of each identity of the table.
        growth: how the best score of a new individual depends on the catalog; None without such scores.
    """

    table: IdentityScores
    truth: np.ndarray
    num_photos: np.ndarray
    growth: GrowthModel | None

    @property
    def is_new(self) -> np.ndarray:
        """`(num_queries,)` bool."""
        return self.table.columns_of(self.truth) < 0

    @property
    def is_known(self) -> np.ndarray:
        """`(num_queries,)` bool: some photo of the query's own identity may answer."""
        return self.table.ranks_of(self.truth) > 0


@dataclass(frozen=True)
class NewThreshold:
    """The score under which to answer "new individual"; some rules move it for each query.

    Attributes:
        score: the threshold.
        singleton_shift: added where the best identity has a single photo.
        weights: of the stacked rule, one for each of the best scores but the first, one for the log of the number of
            photos of the best identity, in score units of the best score; () for the other rules.
    """

    score: float
    singleton_shift: float = 0.0
    weights: tuple[float, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it is the same for all queries."""
        return not self.singleton_shift and not self.weights

    @property
    def slope(self) -> float:
        """How far `score` moves where all of the best scores rise by 1, as in a larger catalog."""
        return 1 + sum(self.weights[:-1])

    def of(self, scores: np.ndarray, num_photos: np.ndarray) -> np.ndarray:
        """Returns `(num_queries,)` thresholds.

        Args:
            scores: `(num_queries, k)` scores of the best identities, best first, -inf where there are fewer.
            num_photos: `(num_queries, k)` photos of each of them in the catalog.

        Example:
        >>> NewThreshold(5.0, singleton_shift=1.0).of(np.array([[9.0], [9.0]]), np.array([[1], [7]])).tolist()
        [6.0, 5.0]
        """
        single = num_photos[:, 0] == 1
        threshold = self.score + np.where(single, self.singleton_shift, 0.0)
        return threshold - _features(scores, num_photos) @ np.array(self.weights) if self.weights else threshold


def by_scan(validation: Validation, settings: DecisionSettings) -> NewThreshold:
    """Takes the threshold with the highest MAP@5."""
    return NewThreshold(choose_threshold(validation.table, validation.truth))


def by_rate(validation: Validation, settings: DecisionSettings) -> NewThreshold:
    """Lets the stated share of new individuals' queries be named; above every score where nothing tells of them."""
    growth = validation.growth
    if growth is None:
        return by_scan(validation, settings)
    return NewThreshold(growth.threshold(settings.named_rate, growth.num_identities))


def by_balance(validation: Validation, settings: DecisionSettings) -> NewThreshold:
    """Calls known queries new as often as it names new individuals."""
    growth = validation.growth
    best = np.sort(validation.table.best()[validation.is_known])
    if growth is None or not len(best):
        return by_rate(validation, settings)
    low, high = best[0], max(best[-1], growth.threshold(SMALLEST_RATE, growth.num_identities))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if num_below(best, middle) / len(best) < growth.rate(middle, growth.num_identities):
            low = middle
        else:
            high = middle
    return NewThreshold(float(high))


def by_share_new(validation: Validation, settings: DecisionSettings) -> NewThreshold:
    """Calls the stated share of the queries new, those with the lowest best scores."""
    best = np.sort(validation.table.best())
    best = best[best > -np.inf]
    return NewThreshold(cut_with_share_above(best, 1 - settings.share_new))


def by_singleton(validation: Validation, settings: DecisionSettings) -> NewThreshold:
    """Scans apart the queries whose best identity has a single photo (Austin, humpback 2019)."""
    single = validation.num_photos[validation.table.best_columns(1)[:, 0]] == 1
    together = choose_threshold(validation.table, validation.truth)
    scores = [
        choose_threshold(validation.table.select(rows), validation.truth[rows])
        if (validation.is_new & rows).any() and (validation.is_known & rows).any()
        else together
        for rows in (~single, single)
    ]
    return NewThreshold(scores[0], singleton_shift=scores[1] - scores[0])


def by_stacking(validation: Validation, settings: DecisionSettings) -> NewThreshold:
    """Lets a logistic regression tell known from new by the best scores, and scans what it says.

    It is linear, so gaps between scores are in it. Its verdict is turned into a threshold for the best score.
    """
    columns = validation.table.best_columns(NUM_STACKED)
    scores = np.take_along_axis(validation.table.scores, columns, axis=1).astype(np.float64)
    counted = (validation.is_known | validation.is_new) & (scores[:, 0] > -np.inf)
    if len(np.unique(validation.is_known[counted])) < 2:
        return by_scan(validation, settings)
    features = _features(scores[counted], validation.num_photos[columns[counted]])
    inputs = np.column_stack([scores[counted, 0], features])
    spread = inputs.std(axis=0)
    spread[spread <= 1e-9 * np.abs(inputs).max(axis=0)] = np.inf  # what never changes tells nothing
    model = LogisticRegression(max_iter=1000).fit((inputs - inputs.mean(axis=0)) / spread, validation.is_known[counted])
    first, *others = model.coef_[0] / spread
    if first <= 0:  # it would name whom the scores speak against
        return by_scan(validation, settings)
    weights = np.array(others) / first
    moved = validation.table.select(counted)
    shifted = moved.scores + (features @ weights)[:, None].astype(np.float32)
    table = IdentityScores(moved.names, shifted, moved.best_image)
    return NewThreshold(choose_threshold(table, validation.truth[counted]), weights=tuple(weights.tolist()))


RULES: Mapping[ThresholdRule, Callable[[Validation, DecisionSettings], NewThreshold]] = {
    "scan": by_scan,
    "rate": by_rate,
    "balanced": by_balance,
    "share_new": by_share_new,
    "singleton": by_singleton,
    "stacked": by_stacking,
}


def _features(scores: np.ndarray, num_photos: np.ndarray) -> np.ndarray:
    """Returns `(num_queries, NUM_STACKED)`: the scores behind the best one, and the log of its number of photos.

    Where the catalog has fewer identities the last score stands for those that are missing, 0 where there is none.
    """
    columns = np.minimum(np.arange(1, NUM_STACKED), scores.shape[1] - 1)
    behind = scores[:, columns]
    for place in range(behind.shape[1]):
        before = behind[:, place - 1] if place else scores[:, 0]
        behind[:, place] = np.where(behind[:, place] > -np.inf, behind[:, place], before)
    behind[behind == -np.inf] = 0
    return np.column_stack([behind, np.log(np.maximum(num_photos[:, 0], 1))])
