"""Whether probabilities mean what they say: log loss, expected calibration error, reliability."""

from __future__ import annotations

import numpy as np
import pandas as pd

from siamese.errors import SiameseError

NUM_BINS = 10  # of one width, as in Guo et al. 2017


def log_losses(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """Returns `(n,)` minus the logarithm of the probability that was given to what happened.

    The mean is scikit-learn's `log_loss`. Probabilities are kept off 0 and 1 by the step of their type, as there.

    Args:
        y_true: `(n,)` 1 where it happened and 0 where not; or, for several classes, the column that is right.
        y_prob: `(n,)` probabilities that it happens; or `(n, num_classes)`, rows that add up to 1.

    Raises:
        SiameseError: shapes do not fit, or a probability lies outside 0 to 1.

    Example:
    >>> log_losses([1, 0], [0.5, 0.5]).round(4)
    array([0.6931, 0.6931])
    >>> log_losses([2], [[0.25, 0.25, 0.5]]).round(4)
    array([0.6931])
    """
    truth, prob = np.asarray(y_true), np.asarray(y_prob)
    if prob.ndim == 1:
        truth, prob = _checked(truth, prob)
        prob = np.stack([1 - prob, prob], axis=1)
    _check_classes(truth, prob)
    given = prob[np.arange(len(prob)), truth.astype(np.int64)]
    step = np.finfo(prob.dtype).eps if prob.dtype.kind == "f" else np.finfo(np.float64).eps
    return -np.log(np.clip(given.astype(np.float64), step, 1 - step))


def log_loss(y_true: np.ndarray, y_prob: np.ndarray) -> float:
    """Returns the mean of `log_losses`, nan of nothing.

    Args:
        y_true: `(n,)` 1 where it happened and 0 where not; or, for several classes, the column that is right.
        y_prob: `(n,)` probabilities that it happens; or `(n, num_classes)`, rows that add up to 1.

    Example:
    >>> round(log_loss([1, 0], [0.9, 0.2]), 4)
    0.1643
    """
    losses = log_losses(y_true, y_prob)
    return float(losses.mean()) if len(losses) else float("nan")


def expected_calibration_error(y_true: np.ndarray, y_prob: np.ndarray, *, num_bins: int = NUM_BINS) -> float:
    """Returns the mean distance of stated probability and observed share, over bins of one width, by their size.

    Naeini et al. 2015 and Guo et al. 2017. It is never negative, so that with few values chance alone lifts it.

    Args:
        y_true: `(n,)` 1 where it happened and 0 where not.
        y_prob: `(n,)` probabilities that it happens.
        num_bins: bins between 0 and 1.

    Raises:
        SiameseError: shapes differ, a probability lies outside 0 to 1, or there is no bin.

    Example:
    >>> round(expected_calibration_error([1, 0, 1, 1], [0.7, 0.7, 0.7, 0.7]), 3)
    0.05
    """
    table = reliability(y_true, y_prob, num_bins=num_bins)
    size = table["num"].sum()
    return float((table["num"] * (table["probability"] - table["share"]).abs()).sum() / size) if size else float("nan")


def reliability(y_true: np.ndarray, y_prob: np.ndarray, *, num_bins: int = NUM_BINS) -> pd.DataFrame:
    """Sets stated probabilities against what was observed, as scikit-learn's `calibration_curve` does.

    Args:
        y_true: `(n,)` 1 where it happened and 0 where not.
        y_prob: `(n,)` probabilities that it happens.
        num_bins: bins of one width between 0 and 1.

    Returns:
        A row for each bin that is not empty: bin, probability (the mean stated), share (observed), num.

    Example:
    >>> print(reliability([1, 0], [0.75, 0.85], num_bins=2).to_string(index=False))
     bin  probability  share  num
       1          0.8    0.5    2
    """
    truth, prob = _checked(np.asarray(y_true), np.asarray(y_prob))
    code = bin_codes(prob, num_bins)
    grouped = pd.DataFrame({"bin": code, "probability": prob, "share": truth.astype(np.float64)}).groupby("bin")
    table = grouped.mean()
    return table.assign(num=grouped.size()).reset_index()


def bin_codes(y_prob: np.ndarray, num_bins: int) -> np.ndarray:
    """Returns `(n,)` the bin of each probability; a probability on an edge falls into the lower bin."""
    if num_bins < 1:
        raise SiameseError(f"`num_bins` must be at least 1. Received: num_bins={num_bins}. Ten are usual.")
    return np.searchsorted(np.linspace(0, 1, num_bins + 1)[1:-1], y_prob, side="left")


def _checked(truth: np.ndarray, prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if prob.ndim != 1 or truth.shape != prob.shape:
        raise SiameseError(
            "`y_true` and `y_prob` must hold one value each. "
            f"Received: shapes {truth.shape} and {prob.shape}. Give both for the same answers."
        )
    _check_range(prob)
    return truth.astype(bool), prob


def _check_range(prob: np.ndarray) -> None:
    if not np.all((prob >= 0) & (prob <= 1)):
        raise SiameseError("`y_prob` must lie between 0 and 1. Received: other values or NaN. Calibrate the scores.")


def _check_classes(truth: np.ndarray, prob: np.ndarray) -> None:
    if prob.ndim != 2 or truth.shape != prob.shape[:1] or not np.all((truth >= 0) & (truth < prob.shape[1])):
        raise SiameseError(
            "`y_true` must hold one column of `y_prob` for each row. "
            f"Received: shapes {truth.shape} and {prob.shape}. Number the classes from 0 in the order of the columns."
        )
    _check_range(prob)
    if not np.allclose(prob.sum(axis=1), 1, atol=1e-5):
        raise SiameseError("The rows of `y_prob` must add up to 1. Received: other sums. Divide each row by its sum.")
