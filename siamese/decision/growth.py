"""How the best of N scores grows with the catalog: the rate at which new individuals are named, for any N."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta
from sklearn.isotonic import IsotonicRegression

from siamese.decision.cuts import FEWEST_IDENTITIES, TAILS, check_rate
from siamese.errors import SiameseError

TAIL_SHARE, FEWEST_IN_TAIL = 0.003, 30  # scores that teach the tail
PRIOR_SCORES = 150  # of an exponential tail, beside those seen: 0 left thresholds too low on four collections
NUM_KNOTS, NUM_LEVELS = 65, 30
FEWEST_NAMED = 10  # queries above a level, for what it teaches about how hits gather on a few queries
NUM_REPLAYS, PART = 100, 0.2  # the catalog grows fourfold within a replay
MOST_QUERIES, MOST_IDENTITIES = 1500, 1500  # in a replay
BISECTIONS = 50
SMALLEST_RATE = 1e-6  # beyond it a threshold has no end
FARTHEST = 2**20  # scales of the tail beyond the last score
EVEN = 1e6  # a shape from which hits fall evenly on all queries


@dataclass(frozen=True)
class GrowthModel:
    """Tells the false-positive identification rate (ISO/IEC 19795-1) of a threshold in a catalog of N individuals.

    A query of a new individual is named when one of N scores reaches the threshold. Each score does with the chance p,
    which differs between queries: a blurred photo looks like many. With p gamma-distributed over the queries (mean p,
    shape a), the share of queries named is 1 - (1 + N p / a)^-a; for large a, 1 - exp(-N p), as if queries were alike.
    Both p and a depend on the threshold alone, so they hold for every N. Beyond the scores seen, p falls like a
    generalised Pareto tail (Pickands 1975).

    Attributes:
        num_identities: individuals in the catalog it was fitted on.
        scores: `(n,)` rising scores.
        log_shares: `(n,)` log of the share of all scores that reach each of them.
        tail_scale: scale of the tail beyond the last of `scores`, in score units.
        tail_shape: its shape; under 0 the scores have an end.
        levels: `(m,)` rising thresholds.
        log_shapes: `(m,)` log of the shape a at each of them.
    """

    num_identities: int
    scores: tuple[float, ...]
    log_shares: tuple[float, ...]
    tail_scale: float
    tail_shape: float
    levels: tuple[float, ...]
    log_shapes: tuple[float, ...]

    def rate(self, threshold: float, num_identities: int) -> float:
        """Returns the share of new individuals' queries that are named in a catalog of `num_identities`."""
        hits = num_identities * self._share(threshold)
        return float(_share_named(hits, math.exp(np.interp(threshold, self.levels, self.log_shapes))))

    def threshold(self, rate: float, num_identities: int) -> float:
        """Returns the threshold that names this share of new individuals' queries.

        Args:
            rate: share of the queries of new individuals, between 0 and 1; 0 gives a score far beyond all.
            num_identities: individuals in the catalog.

        Raises:
            SiameseError: the rate lies outside of 0 to 1.
        """
        check_rate("rate", rate)
        low, step = self.scores[0] - 1, self.tail_scale
        high = self.scores[-1] + step
        while self.rate(high, num_identities) > rate and step < FARTHEST * self.tail_scale:
            high, step = high + step, 2 * step
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            if self.rate(middle, num_identities) > rate:
                low = middle
            else:
                high = middle
        return high

    def shift(self, rate: float, num_before: int, num_identities: int) -> float:
        """Returns what to add to a threshold, so that its rate stays as the catalog grows or shrinks.

        Args:
            rate: share of new individuals' queries that are named.
            num_before: individuals in the catalog before.
            num_identities: and now.
        """
        kept = min(max(rate, SMALLEST_RATE), 1 - SMALLEST_RATE)
        return self.threshold(kept, num_identities) - self.threshold(kept, num_before)

    def _share(self, threshold: float) -> float:
        end = self.scores[-1]
        if threshold <= end:
            return math.exp(np.interp(threshold, self.scores, self.log_shares))
        beyond, last = (threshold - end) / self.tail_scale, math.exp(self.log_shares[-1])
        if abs(self.tail_shape) < 1e-6:
            return last * math.exp(-beyond)
        return last * max(0.0, 1 + self.tail_shape * beyond) ** (-1 / self.tail_shape)


def num_answering(catalog_identity: np.ndarray, allowed: np.ndarray | None = None) -> int:
    """Returns how many individuals of a catalog may answer a query, the median over the queries.

    Args:
        catalog_identity: `(num_catalog,)` names; "" counts as nobody.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.

    Example:
    >>> num_answering(np.array(["ann", "bob", "ann", ""], dtype=object))
    2
    """
    code = np.unique(catalog_identity.astype(str), return_inverse=True)[1]
    named = catalog_identity != ""
    if allowed is None or allowed.all() or not len(allowed):
        return len(np.unique(code[named]))
    return int(np.median([len(np.unique(code[row & named])) for row in allowed]))


def fit_growth(scores: np.ndarray) -> GrowthModel:
    """Fits the model to scores of queries with individuals that they do not show.

    Args:
        scores: `(num_queries, num_identities)` identity scores, -inf for a query's own individual and for what may not
            answer it. Not changed.

    Raises:
        SiameseError: fewer than two scores are there.
    """
    finite = np.isfinite(scores)
    values = np.sort(scores[finite]).astype(np.float64)
    if len(values) < 2:
        raise SiameseError(
            "Growth must be learnt from queries and individuals that they do not show. "
            f"Received: {len(values)} scores. Give more validation photos."
        )
    num_identities = max(1, round(finite.sum() / max(1, np.count_nonzero(finite.any(axis=1)))))
    num_tail = min(max(FEWEST_IN_TAIL, round(TAIL_SHARE * len(values))), len(values) // 2)
    body = len(values) - num_tail  # the first score of the tail, where the body ends
    shares = np.geomspace(1, num_tail / len(values), NUM_KNOTS)
    knots = values[np.clip(np.round(len(values) * (1 - shares)).astype(np.int64), 0, body)]
    knots, first = np.unique(knots, return_index=True)
    excess = values[body:] - values[body]
    shape = _tail_shape(excess) * num_tail / (num_tail + PRIOR_SCORES)
    levels, shapes = _shapes(values, np.sort(scores[finite.any(axis=1)].max(axis=1)).astype(np.float64), num_identities)
    return GrowthModel(
        num_identities,
        tuple(knots.tolist()),
        tuple(np.log(shares[first]).tolist()),
        max(float(excess.mean() * (1 - shape)), 1e-6),
        shape,
        tuple(levels.tolist()),
        tuple(np.log(shapes).tolist()),
    )


def replay_growth(
    scores: np.ndarray, query_code: np.ndarray, catalog_code: np.ndarray, *, rate: float, seed: int = 0
) -> tuple[float, float]:
    """Returns the 95 % interval of a stated rate for new individuals in a catalog that grew.

    A replay fits the model on a random fifth of the individuals, as queries and as catalog, sets the threshold for
    the catalog of the other four fifths, and counts how many queries of those are named in it. Replays cannot show
    what no individual shows, so the interval is never narrower than that of as many independent trials as individuals
    were asked about.

    Args:
        scores: as for `fit_growth`.
        query_code: `(num_queries,)` individual of each query.
        catalog_code: `(num_identities,)` individual of each column, in the same codes.
        rate: the stated share.
        seed: of the fifths.
    """
    rng = np.random.default_rng(seed)
    rows, columns = (
        np.sort(rng.permutation(len(code))[:most])
        for code, most in ((query_code, MOST_QUERIES), (catalog_code, MOST_IDENTITIES))
    )
    scores, query_code, catalog_code = scores[np.ix_(rows, columns)], query_code[rows], catalog_code[columns]
    codes = np.union1d(query_code, catalog_code)
    shares = []
    for _ in range(NUM_REPLAYS if len(codes) >= FEWEST_IDENTITIES else 0):
        chosen = rng.permutation(codes)[: round(PART * len(codes))]
        asked, known = np.isin(query_code, chosen), np.isin(catalog_code, chosen)
        own, others = scores[np.ix_(asked, known)], scores[np.ix_(~asked, ~known)]
        if np.isfinite(own).sum() >= 2 and others.size:
            size = round(float(np.isfinite(others).sum(axis=1).mean()))
            shares.append(np.mean(others.max(axis=1) >= fit_growth(own).threshold(rate, size)))
    if not shares:
        return 0.0, 1.0
    low, high = np.quantile(shares, TAILS)
    least, most = _interval_of_trials(rate, len(np.unique(query_code)))
    return float(min(low, least)), float(max(high, most))


def _interval_of_trials(rate: float, num_trials: int) -> tuple[float, float]:
    """Returns the interval of a rate that so many independent individuals show (Clopper and Pearson 1934)."""
    hits = rate * num_trials
    low = beta.ppf(TAILS[0], hits, num_trials - hits + 1) if hits > 0 else 0.0
    high = beta.ppf(TAILS[1], hits + 1, num_trials - hits) if hits < num_trials else 1.0
    return float(low), float(high)


def _share_named(hits: np.ndarray | float, shape: np.ndarray | float) -> np.ndarray:
    return -np.expm1(-shape * np.log1p(hits / shape))


def _shapes(values: np.ndarray, best: np.ndarray, num_identities: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns levels, and at each the shape that gives the share of queries named in the catalog seen.

    Shapes never rise: a higher threshold would otherwise name more in a larger catalog. What is pooled where they would
    is 1 / shape, the variance of p over its squared mean.
    """
    fewest = min(FEWEST_NAMED, max(1, len(best) // 3))
    levels = np.unique(np.linspace(np.quantile(best, 0.1), best[-fewest], NUM_LEVELS))
    hits = num_identities * (1 - np.searchsorted(values, levels, side="left") / len(values))
    named = 1 - np.searchsorted(best, levels, side="left") / len(best)
    low, high = np.full(len(levels), -math.log(EVEN)), np.full(len(levels), math.log(EVEN))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_uneven = _share_named(hits, np.exp(middle)) < named
        low, high = np.where(too_uneven, middle, low), np.where(too_uneven, high, middle)
    uneven = np.exp(-(low + high) / 2)
    return levels, 1 / IsotonicRegression().fit_transform(levels, uneven)


def _tail_shape(excess: np.ndarray) -> float:
    """Returns the shape of a generalised Pareto tail by probability-weighted moments (Hosking and Wallis 1987)."""
    if len(excess) < 3 or excess[-1] <= excess[0]:
        return 0.0
    place = np.arange(len(excess))[::-1] / (len(excess) - 1)  # share of the others that lie higher
    mean, weighted = excess.mean(), np.mean(excess * place)
    return float(np.clip(2 - mean / max(mean - 2 * weighted, 1e-12), -1, 0.4))
