"""How far a number would move with other individuals: a bootstrap that draws whole individuals.

Photos of one individual are alike, so that drawing single photos would promise too much. Every number is a function of
how often each individual counts; with ones it is the number itself, with drawn counts a draw. Nothing is ranked again.
The catalog stays as it is: an interval tells of other queries, not of another catalog.

The middle 95 % of the draws alone would promise too much: of 200 individuals nearly all found right they hold the truth
in 80 %, of 10 in 20 %, and where every answer is right they are a single point. What is kept of the draws is therefore
their variance, see `interval`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from siamese.errors import SiameseError
from siamese.evaluation.probability import NUM_BINS, bin_codes

NUM_DRAWS = 1000
LEVEL = 0.95
DRAWS_AT_ONCE = 100  # of 10,000 queries: 8 MB of weights
ROUNDING = 1e-9  # a share so near to 0 or 1 is one of nothing or of everything
LEAST_FREEDOM = 0.1  # degrees of freedom; with fewer, Student's t is no finite number


@dataclass(frozen=True, eq=False)
class Measure:
    """A number as a function of how often each individual counts.

    Attributes:
        values: of `(num_draws, num_individuals)` counts, the `(num_draws,)` numbers; nan where there is none.
        size: individuals that it rests on, see `effective_size`.
        is_share: whether it lies between 0 and 1.
    """

    values: Callable[[np.ndarray], np.ndarray]
    size: float
    is_share: bool = True

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Returns `values(counts)`."""
        return self.values(counts)


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval over individuals.

    Attributes:
        value: the number itself.
        low: lower end; nan where fewer than two individuals take part.
        high: upper end.
    """

    value: float
    low: float
    high: float


def individual_codes(identity: np.ndarray) -> np.ndarray:
    """Returns `(n,)` numbers of the individuals from 0, by name; each photo of unknown name ("") is a further one.

    Example:
    >>> individual_codes(["bob", "", "ann", "bob", ""])
    array([1, 2, 0, 1, 3])
    """
    identity = np.asarray(identity, dtype=object)
    named = identity != ""
    codes = np.empty(len(identity), dtype=np.int64)
    names, codes[named] = np.unique(identity[named].astype(str), return_inverse=True)
    codes[~named] = len(names) + np.arange(np.sum(~named))
    return codes


def draw_individuals(num_individuals: int, *, num_draws: int = NUM_DRAWS, rng: np.random.Generator) -> np.ndarray:
    """Draws as many individuals as there are, with replacement, and counts how often each was drawn.

    Args:
        num_individuals: how many there are.
        num_draws: how often the set is drawn.
        rng: the only source of randomness.

    Returns:
        `(num_draws, num_individuals)` float64; each row adds up to `num_individuals`.

    Example:
    >>> draw_individuals(3, num_draws=2, rng=np.random.default_rng(0)).sum(axis=1)
    array([3., 3.])
    """
    counts = np.zeros((num_draws, num_individuals))
    for row in counts:
        row += np.bincount(rng.integers(0, num_individuals, num_individuals), minlength=num_individuals)
    return counts


def effective_size(weight: np.ndarray) -> float:
    """Returns how many individuals of one weight tell as much as these (Kish 1965); 0 without any.

    Where one individual has most of the queries, a mean over queries rests on little more than that one.

    Args:
        weight: `(num_individuals,)` how much each counts, such as its number of queries.

    Example:
    >>> effective_size([1, 1, 1, 1]), effective_size([97, 1, 1, 1]) < 1.1
    (4.0, True)
    """
    weight = np.asarray(weight, dtype=np.float64)
    return float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0


def interval(measure: Measure, counts: np.ndarray) -> Interval:
    """Returns the value of a measure and its 95 % interval over individuals.

    A share has Wilson's interval with as many trials as the variance of its draws speaks for, and Student's t with one
    degree of freedom less than its effective number of individuals (Korn and Graubard 1998 for the trials, Dean and
    Pagano 2015 for Wilson's interval with them). It is not a point where every answer is right. Any other number has
    the middle of its draws, wider by Student's t (expanded percentiles, Hesterberg 2015).

    A draw in which the number is not defined, for instance for want of a new individual, is passed over.

    Args:
        measure: made by `mean_of`, `auc_of` or the like.
        counts: as `draw_individuals` gives them.

    Example:
    >>> counts = draw_individuals(20, num_draws=200, rng=np.random.default_rng(0))
    >>> found = interval(mean_of(np.ones(20), np.arange(20)), counts)
    >>> found.value, round(found.low, 2), found.high  # 20 of 20 are right
    (1.0, 0.82, 1.0)
    """
    return intervals(lambda some: {"": measure(some)}, counts, size=measure.size, are_shares=measure.is_share)[""]


def intervals(
    measure: Callable[[np.ndarray], dict[str, np.ndarray]], counts: np.ndarray, *, size: float, are_shares: bool = True
) -> dict[str, Interval]:
    """Returns the intervals of several numbers that are worked out together; see `interval`.

    Args:
        measure: counts to `(num_draws,)` values by name.
        counts: as `draw_individuals` gives them.
        size: individuals that the numbers rest on, see `effective_size`.
        are_shares: whether they lie between 0 and 1.
    """
    starts = range(0, len(counts), DRAWS_AT_ONCE)
    drawn = [measure(counts[start : start + DRAWS_AT_ONCE]) for start in starts]
    values = measure(np.ones((1, counts.shape[1])))
    ends = _share_ends if are_shares else _middle
    found = {}
    for name, value in values.items():
        draws = np.concatenate([part[name] for part in drawn])
        draws = draws[~np.isnan(draws)]
        possible = size > 1 + ROUNDING and len(draws) and not np.isnan(value[0])
        low, high = ends(float(value[0]), draws, size) if possible else (np.nan, np.nan)
        found[name] = Interval(float(value[0]), float(low), float(high))
    return found


def _share_ends(share: float, draws: np.ndarray, size: float) -> tuple[float, float]:
    """Returns the ends of Wilson's interval (1927) for a share whose draws vary so much."""
    spread, variance = share * (1 - share), draws.var() * size / (size - 1)
    trials = size if spread < ROUNDING else spread / max(variance, np.finfo(float).tiny)
    each = _student(size) ** 2 / trials
    middle, half = share + each / 2, np.sqrt(each * (spread + each / 4))
    return max(0.0, (middle - half) / (1 + each)), min(1.0, (middle + half) / (1 + each))


def _middle(value: float, draws: np.ndarray, size: float) -> tuple[float, float]:
    tail = stats.norm.sf(np.sqrt(size / (size - 1)) * _student(size))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return low, high


def _student(size: float) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, max(size - 1, LEAST_FREEDOM)))


def mean_of(
    values: np.ndarray, code: np.ndarray, *, where: np.ndarray | None = None, are_shares: bool = True
) -> Measure:
    """Makes the measure "mean over queries".

    Args:
        values: `(num_queries,)` one number a query.
        code: `(num_queries,)` individuals, as `individual_codes` numbers them.
        where: `(num_queries,)` bool, the queries that count; none counts all.
        are_shares: whether each value lies between 0 and 1, such as right or wrong.

    Raises:
        SiameseError: there is not one individual for each value, or a share lies outside 0 to 1.
    """
    total, num = _sums(values, code, where, are_shares)
    return Measure(lambda counts: _ratio(counts @ total, counts @ num), effective_size(num), are_shares)


def balanced_mean_of(
    values: np.ndarray, code: np.ndarray, *, where: np.ndarray | None = None, are_shares: bool = True
) -> Measure:
    """Makes the measure "mean over individuals of the mean over their queries".

    Args:
        values: `(num_queries,)` one number a query.
        code: `(num_queries,)` individuals, as `individual_codes` numbers them.
        where: `(num_queries,)` bool, the queries that count; none counts all.
        are_shares: whether each value lies between 0 and 1, such as right or wrong.

    Raises:
        SiameseError: there is not one individual for each value, or a share lies outside 0 to 1.
    """
    total, num = _sums(values, code, where, are_shares)
    there = (num > 0).astype(np.float64)
    each = _ratio(total, num, empty=0.0)
    return Measure(lambda counts: _ratio(counts @ each, counts @ there), effective_size(there), are_shares)


def auc_of(y_true: np.ndarray, y_score: np.ndarray, code: np.ndarray, *, where: np.ndarray | None = None) -> Measure:
    """Makes the measure "area under the ROC over queries", equal scores counting half.

    Args:
        y_true: `(num_queries,)` bool, the kind that should score higher.
        y_score: `(num_queries,)` floats.
        code: `(num_queries,)` individuals, as `individual_codes` numbers them.
        where: `(num_queries,)` bool, the queries that count; none counts all.
    """
    kept = np.arange(len(code)) if where is None else np.flatnonzero(where)
    order = kept[np.argsort(np.asarray(y_score)[kept], kind="stable")]
    scores, positive, owner = np.asarray(y_score)[order], np.asarray(y_true)[order].astype(np.float64), code[order]
    starts = np.flatnonzero(np.append(True, scores[1:] != scores[:-1])[: len(scores)])
    size = min(effective_size(np.bincount(owner, weights=kind)) for kind in (positive, 1 - positive))

    def measure(counts: np.ndarray) -> np.ndarray:
        if not len(scores):
            return np.full(len(counts), np.nan)
        weights = counts[:, owner]
        high, low = (np.add.reduceat(weights * kind, starts, axis=1) for kind in (positive, 1 - positive))
        below = np.cumsum(low, axis=1) - low / 2
        return _ratio((high * below).sum(axis=1), high.sum(axis=1) * low.sum(axis=1))

    return Measure(measure, size)


def calibration_error_of(
    y_true: np.ndarray, y_prob: np.ndarray, code: np.ndarray, *, where: np.ndarray | None = None
) -> Measure:
    """Makes the measure "expected calibration error"; see `probability.expected_calibration_error`.

    Args:
        y_true: `(num_queries,)` 1 where it happened and 0 where not.
        y_prob: `(num_queries,)` probabilities that it happens.
        code: `(num_queries,)` individuals, as `individual_codes` numbers them.
        where: `(num_queries,)` bool, the queries that count; none counts all.
    """
    gap = np.asarray(y_true, dtype=np.float64) - y_prob
    _, num = _sums(gap, code, where, are_shares=False)
    kept = np.ones(len(code), dtype=bool) if where is None else where
    gaps = np.zeros((len(num), NUM_BINS))
    np.add.at(gaps, (code[kept], bin_codes(np.asarray(y_prob)[kept], NUM_BINS)), gap[kept])
    return Measure(lambda counts: _ratio(np.abs(counts @ gaps).sum(axis=1), counts @ num), effective_size(num))


def check_codes(values: np.ndarray, code: np.ndarray) -> None:
    """Raises a `SiameseError` unless there is one individual for each value."""
    if np.ndim(values) != 1 or np.shape(values) != np.shape(code):
        raise SiameseError(
            "`values` and individuals must hold one entry per query. "
            f"Received: shapes {np.shape(values)} and {np.shape(code)}. Give both for the same queries."
        )


def _sums(
    values: np.ndarray, code: np.ndarray, where: np.ndarray | None, are_shares: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sum of the values of each individual, and their number."""
    check_codes(values, code)
    kept = np.ones(len(code), dtype=bool) if where is None else where
    numbers = np.asarray(values, dtype=np.float64)[kept]
    if are_shares and not ((numbers >= 0) & (numbers <= 1)).all():
        raise SiameseError(
            "`values` must lie between 0 and 1, as shares do. "
            f"Received: {numbers.min():g} to {numbers.max():g}. Pass `are_shares=False` for other numbers."
        )
    length = int(code.max(initial=-1)) + 1
    total = np.bincount(code[kept], weights=numbers, minlength=length)
    return total, np.bincount(code[kept], minlength=length).astype(np.float64)


def _ratio(above: np.ndarray, below: np.ndarray, *, empty: float = np.nan) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), empty), where=below > 0)
