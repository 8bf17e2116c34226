"""How well scores tell pairs of one animal from pairs of two: ROC, AUC, equal error rate, TAR at a stated FAR.

Equal scores enter together, as one threshold takes them, so that the ROC crosses them in a straight line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.errors import SiameseError

ROUNDING = 1e-12  # shares of weights are sums in floats; a rate of exactly the limit stays within it


@dataclass(frozen=True, eq=False)
class Roc:
    """Shares of the pairs accepted at each threshold; the first accepts nothing, the last everything.

    Attributes:
        false_accept_rate: `(num_points,)` share of the different pairs that score as high or higher; nan without any.
        true_accept_rate: `(num_points,)` share of the same pairs that score as high or higher; nan without any.
        thresholds: `(num_points,)` scores, falling from infinity.
        num_different: different pairs, or their weight.
        num_same: same pairs, or their weight.
    """

    false_accept_rate: np.ndarray
    true_accept_rate: np.ndarray
    thresholds: np.ndarray
    num_different: float
    num_same: float


@dataclass(frozen=True)
class AcceptRate:
    """The share of the same pairs that is accepted where at most a stated share of the different ones is.

    Attributes:
        far: the stated false accept rate.
        tar: true accept rate.
        threshold: score from which a pair is accepted; infinity accepts none.
        num_different: different pairs that it rests on.
    """

    far: float
    tar: float
    threshold: float
    num_different: float

    @property
    def enough(self) -> bool:
        """Whether there are so many different pairs that the stated rate means at least one of them."""
        return self.num_different * self.far >= 1 - ROUNDING

    def sentence(self) -> str:
        """Tells the rate in plain words, and what is missing where there are too few pairs.

        >>> AcceptRate(0.001, 0.5, 2.0, 200).sentence()
        'TAR at FAR 0.1 % needs at least 1,000 different pairs. There are 200, so it is the rate at no false accept.'
        """
        name = f"TAR at FAR {100 * self.far:g} %"
        if self.enough:
            return f"{name}: {self.tar:.1%}, over {self.num_different:,.0f} different pairs."
        return (
            f"{name} needs at least {np.ceil(1 / self.far):,.0f} different pairs. There are {self.num_different:,.0f}, "
            "so it is the rate at no false accept."
        )


def roc_curve(y_true: np.ndarray, y_score: np.ndarray, *, sample_weight: np.ndarray | None = None) -> Roc:
    """Returns the ROC with a point for each distinct score, as scikit-learn's with `drop_intermediate=False`.

    Args:
        y_true: `(num_pairs,)` 1 for a pair of one animal, 0 for one of two.
        y_score: `(num_pairs,)` floats, higher is more alike. Not changed.
        sample_weight: `(num_pairs,)` weights; none counts each pair once.

    Raises:
        SiameseError: the shapes differ, or a score is NaN.

    Example:
    >>> roc_curve([1, 0, 1, 0], [4.0, 3.0, 3.0, 1.0]).true_accept_rate
    array([0. , 0.5, 1. , 1. ])
    """
    same, scores, weights = _checked(y_true, y_score, sample_weight)
    order = np.argsort(-scores, kind="stable")
    scores, same, weights = scores[order], same[order], weights[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], len(scores) > 0))  # of each group of equal scores
    accepted = [np.append(0.0, np.cumsum(weights * kind)[last]) for kind in (~same, same)]
    totals = [float(kind[-1]) for kind in accepted]
    false, true = (_shares(kind, total) for kind, total in zip(accepted, totals, strict=True))
    return Roc(false, true, np.append(np.inf, scores[last]), *totals)


def roc_auc(y_true: np.ndarray, y_score: np.ndarray, *, sample_weight: np.ndarray | None = None) -> float:
    """Returns the area under the ROC: how often a same pair scores over a different one, equal ones counting half.

    Args:
        y_true: `(num_pairs,)` 1 for a pair of one animal, 0 for one of two.
        y_score: `(num_pairs,)` floats, higher is more alike.
        sample_weight: `(num_pairs,)` weights; none counts each pair once.

    Returns:
        The area, nan where one kind is missing.

    Example:
    >>> roc_auc([1, 0, 0], [2.0, 2.0, 1.0])
    0.75
    """
    roc = roc_curve(y_true, y_score, sample_weight=sample_weight)
    return float(area(roc.false_accept_rate, roc.true_accept_rate))


def equal_error_rate(y_true: np.ndarray, y_score: np.ndarray, *, sample_weight: np.ndarray | None = None) -> float:
    """Returns the rate at which as large a share of the different pairs is accepted as of the same pairs is refused.

    Where no threshold makes the two equal, the ROC is followed in a straight line from one point to the next.

    Args:
        y_true: `(num_pairs,)` 1 for a pair of one animal, 0 for one of two.
        y_score: `(num_pairs,)` floats, higher is more alike.
        sample_weight: `(num_pairs,)` weights; none counts each pair once.

    Returns:
        The rate, nan where one kind is missing.

    Example:
    >>> equal_error_rate([1, 1, 0, 0], [4.0, 2.0, 3.0, 1.0])
    0.5
    """
    roc = roc_curve(y_true, y_score, sample_weight=sample_weight)
    return float(equal_error(roc.false_accept_rate, roc.true_accept_rate))


def tar_at_far(
    y_true: np.ndarray, y_score: np.ndarray, *, far: float = 0.01, sample_weight: np.ndarray | None = None
) -> AcceptRate:
    """Returns the largest true accept rate that a threshold with at most the stated false accept rate reaches.

    Nothing is interpolated: the threshold exists. With fewer than 1 / `far` different pairs, `enough` is false.

    Args:
        y_true: `(num_pairs,)` 1 for a pair of one animal, 0 for one of two.
        y_score: `(num_pairs,)` floats, higher is more alike.
        far: the stated rate, over 0 and at most 1.
        sample_weight: `(num_pairs,)` weights; none counts each pair once.

    Raises:
        SiameseError: the shapes differ, a score is NaN, or the rate lies outside 0 to 1.

    Example:
    >>> tar_at_far([1, 1, 0, 0], [4.0, 2.0, 3.0, 1.0], far=0.5).tar
    1.0
    """
    return accept_rate(roc_curve(y_true, y_score, sample_weight=sample_weight), far)


def accept_rate(roc: Roc, far: float) -> AcceptRate:
    """Reads the true accept rate at a stated false accept rate off a ROC."""
    if not 0 < far <= 1:
        raise SiameseError(f"`far` must be over 0 and at most 1. Received: far={far}. 0.01 is usual.")
    tar = float(true_rate_at(roc.false_accept_rate, roc.true_accept_rate, far))
    first = int(np.argmax(roc.true_accept_rate == tar))  # nan equals nothing, so that nothing is accepted
    return AcceptRate(far, tar, float(roc.thresholds[first]), roc.num_different)


def area(false_rate: np.ndarray, true_rate: np.ndarray) -> np.ndarray:
    """Returns the area under each curve; the points lie on the last axis and rise from 0 to 1."""
    found = np.trapezoid(true_rate, false_rate, axis=-1)
    return np.where(np.isnan(false_rate + true_rate).any(axis=-1), np.nan, found)


def equal_error(false_rate: np.ndarray, true_rate: np.ndarray) -> np.ndarray:
    """Returns where each curve crosses false rate = 1 - true rate; the points lie on the last axis."""
    gap = false_rate + true_rate - 1
    after = np.argmax(gap >= 0, axis=-1)[..., None]
    (low, high), (start, end) = (
        (np.take_along_axis(values, np.maximum(after - 1, 0), -1), np.take_along_axis(values, after, -1))
        for values in (gap, false_rate)
    )
    share = np.divide(-low, high - low, out=np.zeros_like(low), where=high > low)
    return np.where(np.isnan(gap).any(axis=-1), np.nan, (start + share * (end - start))[..., 0])


def true_rate_at(false_rate: np.ndarray, true_rate: np.ndarray, far: float) -> np.ndarray:
    """Returns the largest true rate of the points of each curve whose false rate is at most `far`."""
    highest = np.max(np.where(false_rate <= far + ROUNDING, true_rate, 0.0), axis=-1)
    return np.where(np.isnan(false_rate + true_rate).any(axis=-1), np.nan, highest)


def _checked(
    y_true: np.ndarray, y_score: np.ndarray, sample_weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    same, scores = np.asarray(y_true, dtype=bool), np.asarray(y_score, dtype=np.float64)
    weights = np.ones(scores.shape) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if scores.ndim != 1 or not same.shape == scores.shape == weights.shape:
        raise SiameseError(
            "`y_true`, `y_score` and `sample_weight` must hold one value per pair. "
            f"Received: shapes {same.shape}, {scores.shape} and {weights.shape}. Give all for the same pairs."
        )
    if np.isnan(scores).any():
        raise SiameseError("`y_score` must be numbers. Received: NaN. Score the pairs again; a NaN has no place.")
    return same, scores, weights


def _shares(accepted: np.ndarray, total: float) -> np.ndarray:
    return accepted / total if total > 0 else np.full(len(accepted), np.nan)
