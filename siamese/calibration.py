"""Scores become probabilities: logistic, Platt's or isotonic curves, chosen on individuals they were not fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from siamese.errors import SiameseError

CalibrationKind: TypeAlias = Literal["platt", "logistic", "isotonic"]
KINDS: tuple[CalibrationKind, ...] = get_args(CalibrationKind)  # the first wins where none is better
MOST_FITTED = 20_000  # scores of one kind that enter a fit, evenly spread over the sorted ones and weighted
MOST_KNOTS = 64  # of an isotonic curve that is kept
NUM_HALVINGS = 4  # of the individuals, to choose a kind


@dataclass(frozen=True)
class Calibration:
    """A rising curve from scores to probabilities.

    Attributes:
        kind: how it was fitted.
        slope: per score unit, of a logistic curve.
        intercept: its log odds at score 0.
        knots: (score, log odds) of an isotonic curve, both rising; () for a logistic one. It is flat beyond its ends.
    """

    kind: str
    slope: float = 0.0
    intercept: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    def probability(self, scores: np.ndarray, *, prior: float = 0.5) -> np.ndarray:
        """Returns probabilities of the shape of `scores`.

        Args:
            scores: floats.
            prior: share of right ones expected beforehand, over that of the fit as 0.5: a pair picked out of 100
                photos of 50 animals is the same animal in some 1 of 100 cases.

        Example:
        >>> Calibration("platt", slope=1.0).probability(np.array([0.0, 2.2]), prior=0.1).round(2).tolist()
        [0.1, 0.5]
        """
        if not 0 < prior < 1:
            raise SiameseError(f"`prior` must lie between 0 and 1. Received: prior={prior}. 0.5 leaves both as likely.")
        scores = np.asarray(scores, dtype=np.float64)
        if self.knots:
            log_odds = np.interp(scores, *np.transpose(self.knots))
        else:
            log_odds = self.slope * scores + self.intercept
        return expit(log_odds + logit(prior))


def fit_calibration(
    positive: np.ndarray, negative: np.ndarray, *, kind: CalibrationKind = "platt", balanced: bool = True
) -> Calibration:
    """Fits a curve to the scores of right and wrong answers; a constant where they teach no rising one.

    `platt` aims at (n + 1) / (n + 2) in place of 1, so that separable scores get a finite slope (Platt 1999),
    `logistic` at 1. `isotonic` is the best rising step function (Zadrozny and Elkan 2002), its steps joined by straight
    lines and kept off 0 and 1 by Platt's targets.

    Args:
        positive: sorted scores of the right ones.
        negative: sorted scores of the wrong ones.
        kind: `platt`, `logistic` or `isotonic`.
        balanced: whether both weigh the same in sum; else each by its number.

    Raises:
        SiameseError: the kind is unknown.

    Example:
    >>> curve = fit_calibration(np.array([1.0, 2.0, 3.0]), np.array([-3.0, -2.0, -1.0]))
    >>> curve.probability(np.array([-2.0, 0.0, 2.0])).round(2).tolist()
    [0.22, 0.5, 0.78]
    """
    if kind not in KINDS:
        raise SiameseError(f"`kind` must be one of {', '.join(KINDS)}. Received: {kind}. {KINDS[0]} is usual.")
    num_positive, num_negative = len(positive), len(negative)
    share = (num_positive + 1) / (num_positive + num_negative + 2)
    if not num_positive or not num_negative:
        return Calibration(kind, intercept=float(logit(share)))
    constant = Calibration(kind, intercept=float(logit(0.5 if balanced else share)))
    kinds = [_thinned(positive), _thinned(negative)]
    sizes = [len(values) for values in kinds]
    scores = np.concatenate(kinds).astype(np.float64)
    mass = [0.5, 0.5] if balanced else [num_positive, num_negative]
    weights = np.repeat([mass[0] / sizes[0], mass[1] / sizes[1]], sizes)
    softened = [(num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2)]
    if kind == "isotonic":
        curve = _isotonic(scores, np.repeat([1.0, 0.0], sizes), weights, softened)
        return curve if len(curve.knots) > 1 else constant
    targets = np.repeat([1.0, 0.0] if kind == "logistic" else softened, sizes)
    centre, scale = scores.mean(), scores.std()
    if scale == 0:
        return constant
    slope, intercept = _weighted_logistic((scores - centre) / scale, targets, weights / weights.mean())
    if slope <= 0:
        return constant
    return Calibration(kind, float(slope / scale), float(intercept - slope * centre / scale))


def choose_kind(
    positive: np.ndarray,
    negative: np.ndarray,
    positive_code: np.ndarray,
    negative_codes: np.ndarray,
    *,
    rng: np.random.Generator,
) -> CalibrationKind:
    """Returns the kind of curve with the least log loss on individuals that it was not fitted on.

    Curves are fitted to the pairs within one half of the individuals and judged on those within the other half.

    Args:
        positive: `(num_positive,)` scores of pairs of one individual.
        negative: `(num_negative,)` scores of pairs of two.
        positive_code: `(num_positive,)` individual of each pair, codes from 0.
        negative_codes: `(2, num_negative)` its individuals.
        rng: draws the halves.
    """
    num_codes = int(max(positive_code.max(initial=0), negative_codes.max(initial=0))) + 1
    losses = np.zeros(len(KINDS))
    for _ in range(NUM_HALVINGS):
        half = rng.permutation(num_codes) < num_codes // 2
        (fitted, wrong), (judged, others) = (
            (np.sort(positive[side[positive_code]]), np.sort(negative[side[negative_codes].all(axis=0)]))
            for side in (half, ~half)
        )
        if min(map(len, (fitted, wrong, judged, others))):
            curves = (fit_calibration(fitted, wrong, kind=kind) for kind in KINDS)
            losses += [_log_loss(curve, judged, others) for curve in curves]
    return KINDS[int(np.argmin(np.round(losses, 6)))]


def _log_loss(curve: Calibration, positive: np.ndarray, negative: np.ndarray) -> float:
    with np.errstate(divide="ignore"):  # a probability of 0 that was wrong costs infinitely much
        right, wrong = np.log(curve.probability(positive)), np.log1p(-curve.probability(negative))
    return float(-right.mean() - wrong.mean())


def _isotonic(scores: np.ndarray, targets: np.ndarray, weights: np.ndarray, ends: list[float]) -> Calibration:
    model = IsotonicRegression(out_of_bounds="clip").fit(scores, targets, sample_weight=weights)
    x, odds = model.X_thresholds_, logit(np.clip(model.y_thresholds_, ends[1], ends[0]))
    kept = np.unique(np.linspace(0, len(x) - 1, MOST_KNOTS).round().astype(np.int64))
    if odds[0] == odds[-1]:
        return Calibration("isotonic")
    return Calibration("isotonic", knots=tuple(zip(x[kept].tolist(), odds[kept].tolist(), strict=True)))


def _weighted_logistic(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Fits probabilities, not only zeros and ones: each score enters once as right and once as wrong, by weight."""
    model = LogisticRegression(C=1e6, solver="newton-cholesky", max_iter=1000)
    with threadpool_limits(1, user_api="blas"):  # more wait for each other where the machine is busy
        model.fit(
            np.tile(scores, 2)[:, None],
            np.repeat([1, 0], len(scores)),
            sample_weight=np.concatenate([weights * truth, weights * (1 - truth)]),
        )
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _thinned(scores: np.ndarray) -> np.ndarray:
    """Returns at most `MOST_FITTED` of the sorted scores, evenly spread."""
    if len(scores) <= MOST_FITTED:
        return scores
    return scores[np.linspace(0, len(scores) - 1, MOST_FITTED).round().astype(np.int64)]
