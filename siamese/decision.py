"""What a score means: calibrated probabilities, the verdict on a pair, and the threshold of the new individual."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from siamese.errors import ModelFolderError, SiameseError
from siamese.ranking import IdentityScores, check_length, check_scores, check_top_k, identity_scores

Verdict = Literal["same", "different", "unsure"]
MOST_FITTED = 100_000  # scores of different pairs that enter a fit, evenly spread over the sorted ones and weighted
LISTED = 5  # identities of each query whose probabilities are calibrated: those a ranking shows, and MAP@5 counts

BOTH_KINDS = "known and new queries"
OWN_LEFT_OUT = "known queries, asked again with their own identity left out, for want of new ones"
ONLY_NEW = "new queries alone: above every score seen, for want of known ones"


@dataclass(frozen=True)
class Decision:
    """How scores become answers; fitted on validation queries and kept with the model.

    Attributes:
        threshold: identity score; a best score below it means a new individual.
        pair_slope: logistic slope, per score unit, that turns a pair's score into a probability.
        pair_intercept: its intercept. It holds for a pair that is as likely the same animal as not beforehand.
        identity_slope: logistic slope for the scores of listed identities.
        identity_intercept: its intercept. It holds for queries of which as many are new as in the validation.
        same_above: pair score from which the verdict is "same".
        different_below: pair score under which the verdict is "different"; never above `same_above`.
        false_match_rate: share of the different validation pairs that were called the same; nan without such pairs.
        false_non_match_rate: share of the same pairs that were called different; nan without such pairs.
        num_pairs_same: validation pairs of one animal.
        num_pairs_different: validation pairs of two animals.
        num_known: validation queries whose individual is in the catalog.
        num_new: validation queries whose individual is not.
        threshold_rule: in words, which queries chose the threshold.
    """

    threshold: float
    pair_slope: float
    pair_intercept: float
    identity_slope: float
    identity_intercept: float
    same_above: float
    different_below: float
    false_match_rate: float = math.nan
    false_non_match_rate: float = math.nan
    num_pairs_same: int = 0
    num_pairs_different: int = 0
    num_known: int = 0
    num_new: int = 0
    threshold_rule: str = "given"

    def pair_probability(self, scores: np.ndarray) -> np.ndarray:
        """Returns the probability, of the shape of `scores`, that the two photos show the same animal."""
        return expit(self.pair_slope * np.asarray(scores, dtype=np.float64) + self.pair_intercept)

    def identity_probability(self, scores: np.ndarray) -> np.ndarray:
        """Returns the probability, of the shape of `scores`, that a listed identity is the right one."""
        return expit(self.identity_slope * np.asarray(scores, dtype=np.float64) + self.identity_intercept)

    def verdict(self, score: float) -> Verdict:
        """Says of a pair's score whether it means the same animal.

        Example:
        >>> decision = Decision(0.0, 1.0, 0.0, 1.0, 0.0, same_above=2.0, different_below=-1.0)
        >>> [decision.verdict(score) for score in (2.0, 0.0, -1.5)]
        ['same', 'unsure', 'different']
        """
        score = float(score)  # a float32 would round the cuts to its own precision
        if score >= self.same_above:
            return "same"
        return "different" if score < self.different_below else "unsure"

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; a rate that could not be measured is None."""
        return {name: None if _is_nan(value) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """Makes the decision that `to_dict` wrote.

        Raises:
            ModelFolderError: a value is missing, unknown or not a number.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ModelFolderError(
                f"A decision must hold {sorted(names)}. Missing: {sorted(names - set(values))}; "
                f"unknown: {sorted(set(values) - names)}. Save the model again."
            )
        return cls(**{name: _typed(name, values[name]) for name in names})


@dataclass(frozen=True, eq=False)
class ThresholdScan:
    """MAP@k for every threshold there is: it changes at the cuts alone.

    Attributes:
        cuts: `(n,)` ascending scores.
        values: `(n + 1,)` MAP@k; `values[i]` holds for thresholds above `cuts[i - 1]` and up to `cuts[i]`.
    """

    cuts: np.ndarray
    values: np.ndarray

    def at(self, thresholds: np.ndarray) -> np.ndarray:
        """Returns MAP@k for each threshold."""
        return self.values[np.searchsorted(self.cuts, thresholds, side="left")]

    def best_threshold(self) -> float:
        """Returns a threshold with the highest MAP@k: the middle of the widest stretch that reaches it.

        The stretches without end, "nobody is new" and "everybody is new", win only where they alone are best.
        """
        if not len(self.cuts):
            return 0.0
        beyond = max(1.0, float(self.cuts[-1] - self.cuts[0]))
        edges = np.concatenate([[self.cuts[0] - beyond], self.cuts, [self.cuts[-1] + beyond]])
        width = np.diff(edges)
        width[[0, -1]] = 0
        best = self.values.max()
        stretch = int(np.argmax(np.where(self.values == best, width, -1)))
        return _between(edges[stretch], edges[stretch + 1])


def scan_thresholds(identity_scores: IdentityScores, truth: np.ndarray, *, top_k: int = 5) -> ThresholdScan:
    """Computes MAP@k for all thresholds at once, exactly.

    A known query at rank r gains 1/r while its own score reaches the threshold, and 1/(r + 1) when not; a new query
    gains 1/(1 + number of scores that reach it). So the sum changes only at those scores, by steps that are added up.

    Args:
        identity_scores: scores of the queries with the catalog's identities.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new. A known query
            none of whose own photos may answer is left out.
        top_k: length of the ranking.

    Raises:
        SiameseError: shapes do not fit.
    """
    check_top_k(top_k)
    gain = np.append(np.append(0.0, 1 / np.arange(1, top_k + 1)), 0.0)  # gain[rank]; behind the ranking nothing
    new = identity_scores.columns_of(truth) < 0
    known_cuts, known_steps, start = _known_steps(identity_scores, truth, gain)
    new_cuts, new_steps, new_start = _new_steps(identity_scores.select(new), gain)
    num_queries = int(new.sum() + (identity_scores.ranks_of(truth) > 0).sum())
    cuts, at = np.unique(np.concatenate([known_cuts, new_cuts]), return_inverse=True)
    steps = np.bincount(at, weights=np.concatenate([known_steps, new_steps]), minlength=len(cuts))
    values = (start + new_start + np.append(0.0, np.cumsum(steps))) / max(1, num_queries)
    return ThresholdScan(cuts, np.round(values, 12))  # equal sums that were added in another order stay equal


def choose_threshold(identity_scores: IdentityScores, truth: np.ndarray, *, top_k: int = 5) -> float:
    """Returns the score under which to answer "new individual", by the highest MAP@k over all queries.

    Args:
        identity_scores: scores of the validation queries with the catalog's identities.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new.
        top_k: length of the ranking.

    Example:
    >>> from siamese.ranking import identity_scores
    >>> table = identity_scores(np.array([[8.0], [2.0]]), np.array(["ann"], dtype=object))
    >>> choose_threshold(table, ["ann", ""])
    5.0
    """
    return scan_thresholds(identity_scores, truth, top_k=top_k).best_threshold()


def fit_decision(
    pair_scores: np.ndarray,
    catalog_identity: np.ndarray,
    truth: np.ndarray,
    *,
    allowed: np.ndarray | None = None,
    false_match_rate: float = 0.01,
    false_non_match_rate: float = 0.05,
) -> Decision:
    """Fits thresholds and probabilities on validation queries.

    Without new queries each known one is asked a second time with its own identity left out, so that the threshold
    still learns what a new individual looks like; without known ones the threshold lies above every score seen.
    `threshold_rule` says which of these happened.

    Args:
        pair_scores: `(num_queries, num_catalog)` floats, higher is more alike. Not changed.
        catalog_identity: `(num_catalog,)` names; photos of unknown individuals ("") take no part.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.
        false_match_rate: share of the different pairs that may be called the same.
        false_non_match_rate: share of the same pairs that may be called different.

    Raises:
        SiameseError: shapes do not fit, a rate lies outside 0 to 1, or there is no pair to learn from.
    """
    for name, rate in (("false_match_rate", false_match_rate), ("false_non_match_rate", false_non_match_rate)):
        if not 0 <= rate <= 1:
            raise SiameseError(f"`{name}` must lie between 0 and 1. Received: {name}={rate}. 0.01 is usual.")
    table = identity_scores(pair_scores, catalog_identity, allowed=allowed)
    same, different = _split_pairs(pair_scores, catalog_identity, truth, allowed)
    threshold, rule = _threshold_by_rule(table, truth)
    pair_slope, pair_intercept = _fit_logistic(same, different, balanced=True)
    identity_slope, identity_intercept = _fit_logistic(*_split_listed(table, truth), balanced=False)
    same_above, different_below = _verdict_cuts(same, different, false_match_rate, false_non_match_rate)
    return Decision(
        threshold=threshold,
        pair_slope=pair_slope,
        pair_intercept=pair_intercept,
        identity_slope=identity_slope,
        identity_intercept=identity_intercept,
        same_above=same_above,
        different_below=different_below,
        false_match_rate=_share(len(different) - _num_below(different, same_above), different),
        false_non_match_rate=_share(_num_below(same, different_below), same),
        num_pairs_same=len(same),
        num_pairs_different=len(different),
        num_known=int(np.sum(table.ranks_of(truth) > 0)),
        num_new=int(np.sum(table.columns_of(truth) < 0)),
        threshold_rule=rule,
    )


def _known_steps(table: IdentityScores, truth: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns where a known query loses a rank to the new individual, what that changes, and the sum before."""
    ranks = table.ranks_of(truth)
    listed = (ranks > 0) & (ranks < len(gain) - 1)
    ranks = ranks[listed]
    return table.scores_of(truth)[listed], gain[ranks + 1] - gain[ranks], float(gain[ranks].sum())


def _new_steps(table: IdentityScores, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns where the new individual overtakes an identity, what that changes for new queries, and the sum before."""
    top_k = len(gain) - 2
    best = np.take_along_axis(table.scores, table.best_columns(top_k), axis=1).astype(np.float64)
    query, column = np.nonzero(best > -np.inf)
    start = gain[np.sum(best > -np.inf, axis=1) + 1].sum()
    return best[query, column], gain[column + 1] - gain[column + 2], float(start)


def _threshold_by_rule(table: IdentityScores, truth: np.ndarray) -> tuple[float, str]:
    truth = check_length("truth", truth, len(table.scores))
    known = np.flatnonzero(table.ranks_of(truth) > 0)
    if not len(known):
        return choose_threshold(table, truth), ONLY_NEW
    if np.any(table.columns_of(truth) < 0):
        return choose_threshold(table, truth), BOTH_KINDS
    left_out = table.scores[known].copy()
    left_out[np.arange(len(known)), table.columns_of(truth)[known]] = -np.inf
    twice = IdentityScores(
        table.names,
        np.concatenate([table.scores, left_out]),
        np.concatenate([table.best_image, table.best_image[known]]),
    )
    return choose_threshold(twice, np.concatenate([truth, np.full(len(known), "", dtype=object)])), OWN_LEFT_OUT


def _split_pairs(
    scores: np.ndarray, catalog_identity: np.ndarray, truth: np.ndarray, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sorted scores of same and of different pairs."""
    check_scores(scores, len(catalog_identity), allowed)
    codes = {"": -1}
    catalog = np.array([codes.setdefault(name, len(codes)) for name in catalog_identity], dtype=np.int64)
    query = np.array([codes.get(name, -2) for name in truth], dtype=np.int64)
    same = query[:, None] == catalog[None, :]
    counted = np.isfinite(scores) & (catalog >= 0)  # an unknown individual's photo proves neither same nor different
    if allowed is not None:
        counted &= allowed
    if not counted.any():
        raise SiameseError(
            "A decision must be fitted on at least one pair of a query and a catalog photo that may answer it. "
            f"Received: scores of shape {scores.shape}, none allowed. Give more validation photos."
        )
    return np.sort(scores[same & counted]), np.sort(scores[~same & counted])


def _split_listed(table: IdentityScores, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sorted scores of right and of wrong identities among the best of each query."""
    columns = table.best_columns(LISTED)
    best = np.take_along_axis(table.scores, columns, axis=1)
    right = columns == table.columns_of(truth)[:, None]
    unanswerable = (table.columns_of(truth) >= 0) & (table.ranks_of(truth) == 0)
    listed = (best > -np.inf) & ~unanswerable[:, None]
    return np.sort(best[right & listed]), np.sort(best[~right & listed])


def _fit_logistic(positive: np.ndarray, negative: np.ndarray, *, balanced: bool) -> tuple[float, float]:
    """Returns slope and intercept of a logistic curve; a constant where the scores teach no rising one.

    The targets are Platt's (1999): (n + 1) / (n + 2) in place of 1, so that separable scores get a finite slope.

    Args:
        positive: sorted scores of the right ones.
        negative: sorted scores of the wrong ones.
        balanced: whether both kinds weigh the same in sum.
    """
    num_positive, num_negative = len(positive), len(negative)
    share = 0.5 if balanced else (num_positive + 1) / (num_positive + num_negative + 2)
    if not num_positive or not num_negative:
        return 0.0, float(logit((num_positive + 1) / (num_positive + num_negative + 2)))
    kinds = [_thinned(positive), _thinned(negative)]
    scores = np.concatenate(kinds).astype(np.float64)
    truth = np.repeat([(num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2)], [len(kind) for kind in kinds])
    mass = [0.5, 0.5] if balanced else [num_positive, num_negative]
    weights = np.repeat([mass[i] / len(kind) for i, kind in enumerate(kinds)], [len(kind) for kind in kinds])
    centre, scale = scores.mean(), scores.std()
    if scale == 0:
        return 0.0, float(logit(share))
    slope, intercept = _weighted_logistic((scores - centre) / scale, truth, weights / weights.mean())
    if slope <= 0:
        return 0.0, float(logit(share))
    return float(slope / scale), float(intercept - slope * centre / scale)


def _weighted_logistic(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Fits probabilities, not only zeros and ones: each score enters once as right and once as wrong, by weight."""
    model = LogisticRegression(C=1e6, solver="newton-cholesky", max_iter=1000)
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


def _verdict_cuts(
    same: np.ndarray, different: np.ndarray, false_match_rate: float, false_non_match_rate: float
) -> tuple[float, float]:
    """Returns `same_above` and `different_below`; kinds that stand well apart meet halfway, and nothing is unsure."""
    same_above = _cut_with_share_above(different, false_match_rate) if len(different) else _above(same[-1])
    different_below = -_cut_with_share_above(-same[::-1], false_non_match_rate) if len(same) else float(different[0])
    if different_below > same_above:
        same_above = different_below = _between(same_above, different_below)
    return float(same_above), float(different_below)


def _cut_with_share_above(scores: np.ndarray, share: float) -> float:
    """Returns the lowest cut with at most that share of the sorted scores above it, halfway to the next lower score."""
    scores = scores.astype(np.float64)
    allowed = int(np.floor(share * len(scores) + 1e-9))
    if allowed == 0:
        return _above(scores[-1])
    if allowed == len(scores):
        return float(scores[0])
    kept = np.searchsorted(scores, scores[-allowed - 1], side="right")  # scores equal to the last one out stay out too
    return _between(scores[kept - 1], scores[kept]) if kept < len(scores) else _above(scores[-1])


def _num_below(scores: np.ndarray, cut: float) -> int:
    return int(np.searchsorted(scores.astype(np.float64), cut, side="left"))


def _share(count: int, scores: np.ndarray) -> float:
    return count / len(scores) if len(scores) else math.nan


def _between(low: float, high: float) -> float:
    """Returns the middle of two scores, above the lower one even where floats leave no room."""
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)


def _above(score: float) -> float:
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _typed(name: str, value: Any) -> Any:
    """Returns a value read from JSON as its field's type."""
    if name == "threshold_rule":
        return str(value)
    if value is None and name.endswith("_rate"):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelFolderError(f"`{name}` of a decision must be a number. Received: {value!r}. Save the model again.")
    return int(value) if name.startswith("num_") else float(value)
