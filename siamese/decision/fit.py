"""Fits a decision on the validation queries."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from siamese.calibration import Calibration, choose_kind, fit_calibration
from siamese.decision.answer import Decision
from siamese.decision.cuts import (
    DifferentPairs,
    MatchCut,
    above,
    cut_with_share_above,
    cut_with_share_below,
    num_below,
)
from siamese.decision.growth import BISECTIONS, GrowthModel, fit_growth, replay_growth
from siamese.decision.rules import NUM_STACKED, RULES, WITH_NEW, NewThreshold, Validation
from siamese.errors import SiameseError
from siamese.identity_scores import IdentityScores, check_length, check_scores, identity_scores
from siamese.settings import DecisionSettings, ThresholdRule

LISTED = 5  # identities of each query whose probabilities are calibrated: those a ranking shows, and MAP@5 counts
MATCH_RATES = (0.001, 0.01, 0.05)  # false-match rates that every decision knows a cut for
SEED = 0  # of all replays

BOTH_KINDS = "known and new queries"
OWN_LEFT_OUT = "known queries, asked without their own identity, for want of new ones"
ONLY_NEW = "new queries alone: above every score seen, for want of known ones"
SOURCES = {
    "rate": "every query, asked without its own identity",
    "balanced": "known queries, and every query, asked without its own identity",
    "share_new": "every query",
}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Scores of validation pairs, rising, with the individuals of each as codes; a new query is one of its own.

    Attributes:
        same: `(num_same,)` scores of pairs of one individual.
        same_code: `(num_same,)` that individual.
        different: pairs of two.
    """

    same: np.ndarray
    same_code: np.ndarray
    different: DifferentPairs


def fit_decision(
    pair_scores: np.ndarray,
    catalog_identity: np.ndarray,
    truth: np.ndarray,
    *,
    allowed: np.ndarray | None = None,
    table: IdentityScores | None = None,
    settings: DecisionSettings | None = None,
) -> Decision:
    """Fits thresholds and probabilities on validation queries.

    The rules that learn from new queries give way to the rule `balanced` where there are none; it needs only scores
    with other individuals, which every query has. Without known queries the threshold lies above every score seen.
    `threshold_rule` says which of these happened.

    Args:
        pair_scores: `(num_queries, num_catalog)` floats, higher is more alike. Not changed.
        catalog_identity: `(num_catalog,)` names; photos of unknown individuals ("") take no part.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all.
        table: scores of the identities, where another rule than the best photo made them; none takes the best photo.
        settings: rates, rules and curves; None takes their defaults.

    Raises:
        SiameseError: shapes do not fit, or there is no pair to learn from.
    """
    settings = settings or DecisionSettings()
    table = table or identity_scores(pair_scores, catalog_identity, allowed=allowed)
    truth = check_length("truth", truth, len(table.scores))
    pairs = split_pairs(pair_scores, catalog_identity, truth, allowed=allowed)
    listed = listed_curve(table, truth)
    return Decision(
        **_of_pairs(pairs, settings),
        **_of_new(table, truth, catalog_identity, settings),
        identity_slope=listed.slope,
        identity_intercept=listed.intercept,
        num_known=int(np.sum(table.ranks_of(truth) > 0)),
        num_new=int(np.sum(table.columns_of(truth) < 0)),
    )


def split_pairs(
    scores: np.ndarray, catalog_identity: np.ndarray, truth: np.ndarray, *, allowed: np.ndarray | None = None
) -> Pairs:
    """Parts the pairs of one individual from those of two.

    Args:
        scores: as for `fit_decision`.
        catalog_identity: as for `fit_decision`.
        truth: as for `fit_decision`.
        allowed: as for `fit_decision`.

    Raises:
        SiameseError: shapes do not fit, or no pair may be scored.
    """
    check_scores(scores, len(catalog_identity), allowed)
    codes: dict[str | int, int] = {}
    catalog = np.array([codes.setdefault(name, len(codes)) for name in catalog_identity], dtype=np.int32)
    query = np.array([codes.setdefault(name or row, len(codes)) for row, name in enumerate(truth)], dtype=np.int32)
    named = np.asarray(catalog_identity, dtype=object) != ""
    counted = np.isfinite(scores) & named  # an unknown individual's photo proves neither same nor different
    if allowed is not None:
        counted &= allowed
    if not counted.any():
        raise SiameseError(
            "A decision must be fitted on at least one pair of a query and a catalog photo that may answer it. "
            f"Received: scores of shape {scores.shape}, none allowed. Give more validation photos."
        )
    rows, columns = np.nonzero(counted)
    values, individuals = scores[rows, columns], np.stack([query[rows], catalog[columns]])
    order = np.argsort(values, kind="stable")
    values, individuals = values[order], individuals[:, order]
    same = individuals[0] == individuals[1]
    different = DifferentPairs(values[~same], individuals[:, ~same], len(codes))
    return Pairs(values[same], individuals[0, same], different)


def _verdict_cuts(pairs: Pairs, curve: Calibration, settings: DecisionSettings) -> tuple[float, float]:
    """Returns `same_above` and `different_below`.

    Kinds that stand well apart leave room between them in which either answer keeps its rate. There the likelier one
    is given, and nothing is unsure.
    """
    same, different = pairs.same, pairs.different.scores
    same_above = cut_with_share_above(different, settings.false_match_rate) if len(different) else above(same[-1])
    different_below = (
        float(different[0]) if not len(same) else cut_with_share_below(same, settings.false_non_match_rate)
    )
    if different_below > same_above:
        same_above = different_below = _even_score(curve, same_above, different_below, settings.prior)
    return float(same_above), float(different_below)


def _even_score(curve: Calibration, low: float, high: float, prior: float) -> float:
    """Returns the score between two from which "same" is as likely as "different", the end that is nearer to it."""
    for _ in range(BISECTIONS):
        middle = low + (high - low) / 2
        if curve.probability(np.array(middle), prior=prior) < 0.5:
            low = middle
        else:
            high = middle
    return high


def _of_pairs(pairs: Pairs, settings: DecisionSettings) -> dict[str, Any]:
    """Returns the fields that tell of two photos."""
    different = pairs.different
    curve = _pair_curve(pairs, settings)
    same_above, different_below = _verdict_cuts(pairs, curve, settings)
    own, *cuts = (
        _match_cuts(different, same_above, different_below, settings)
        if len(different)
        else [MatchCut(math.nan, same_above, math.nan, math.nan, math.nan)]
    )
    return {
        "pair_slope": curve.slope,
        "pair_intercept": curve.intercept,
        "pair_knots": curve.knots,
        "calibration": curve.kind,
        "prior": settings.prior,
        "same_above": same_above,
        "different_below": different_below,
        "false_match_rate": own.reached,
        "false_match_low": own.low,
        "false_match_high": own.high,
        "false_non_match_rate": num_below(pairs.same, different_below) / len(pairs.same)
        if len(pairs.same)
        else math.nan,
        "match_cuts": tuple(cuts),
        "num_pairs_same": len(pairs.same),
        "num_pairs_different": len(different),
    }


def _match_cuts(
    different: DifferentPairs, same_above: float, different_below: float, settings: DecisionSettings
) -> list[MatchCut]:
    """Returns the cut of the verdict, then one for each rate; none lies under `different_below`.

    A rate that is generous for kinds that stand well apart would call the same what is plainly different.
    """
    rates = sorted({*MATCH_RATES, settings.false_match_rate})
    shares = [different.share_above(cut) for cut in (same_above, different_below)]
    own, lowest, *cuts = different.cuts([*shares, *rates], seed=SEED)
    lowest = replace(lowest, score=different_below)
    return [own, *(cut if cut.score >= different_below else replace(lowest, rate=cut.rate) for cut in cuts)]


def _pair_curve(pairs: Pairs, settings: DecisionSettings) -> Calibration:
    kind = settings.calibration
    if kind == "best":
        rng = np.random.default_rng(SEED)
        kind = choose_kind(pairs.same, pairs.different.scores, pairs.same_code, pairs.different.codes, rng=rng)
    return fit_calibration(pairs.same, pairs.different.scores, kind=kind)


def listed_curve(table: IdentityScores, truth: np.ndarray) -> Calibration:
    """Fits the probability that a listed identity is the right one, on right and wrong ones among the best five.

    Args:
        table: scores of validation queries with the catalog's identities.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new.
    """
    own = table.columns_of(truth)
    columns = table.best_columns(LISTED)
    best = np.take_along_axis(table.scores, columns, axis=1)
    right = columns == own[:, None]
    unanswerable = (own >= 0) & (table.ranks_of(truth) == 0)
    listed = (best > -np.inf) & ~unanswerable[:, None]
    return fit_calibration(np.sort(best[right & listed]), np.sort(best[~right & listed]), balanced=False)


def _of_new(
    table: IdentityScores, truth: np.ndarray, catalog_identity: np.ndarray, settings: DecisionSettings
) -> dict[str, Any]:
    """Returns the threshold of the new individual, and how it grows."""
    impostors = table.scores.copy()
    known = np.flatnonzero(table.columns_of(truth) >= 0)
    impostors[known, table.columns_of(truth)[known]] = -np.inf
    growth = fit_growth(impostors) if np.isfinite(impostors).sum() > 1 else None
    if growth is not None:  # a stranger faces one individual more than a known animal without its own
        answering = np.isfinite(table.scores).sum(axis=1)
        growth = replace(growth, num_identities=int(np.median(answering[answering > 0])))
    num_photos = np.unique(catalog_identity[catalog_identity != ""].astype(str), return_counts=True)[1]
    validation = Validation(table, truth, num_photos, growth)
    rule, learnt_from = _usable_rule(validation, settings.threshold_rule)
    threshold = RULES[rule](validation, settings)
    told = {
        "threshold": threshold.score,
        "singleton_shift": threshold.singleton_shift,
        "stacked_weights": threshold.weights,
        "threshold_rule": f"{rule}: {learnt_from}",
        "growth": growth,
    }
    strangers = IdentityScores(table.names, impostors, table.best_image)
    return told | _named(strangers, truth, num_photos, threshold, growth)


def _usable_rule(validation: Validation, rule: ThresholdRule) -> tuple[ThresholdRule, str]:
    """Returns the rule, or one that needs no new queries where there are none, and what it learns from."""
    if rule not in WITH_NEW:
        return rule, SOURCES[rule]
    if not validation.is_known.any():
        return "scan", ONLY_NEW
    if not validation.is_new.any():
        return ("scan", "known queries alone") if validation.growth is None else ("balanced", OWN_LEFT_OUT)
    return rule, BOTH_KINDS


def _named(
    strangers: IdentityScores,
    truth: np.ndarray,
    num_photos: np.ndarray,
    threshold: NewThreshold,
    growth: GrowthModel | None,
) -> dict[str, Any]:
    """Returns the share of new individuals that the threshold names, with its interval."""
    if growth is None:
        return {}
    if threshold.is_plain:
        rate = growth.rate(threshold.score, growth.num_identities)
    else:  # it moves with the query, which the growth of the best score knows nothing of
        columns = strangers.best_columns(NUM_STACKED)
        best = np.take_along_axis(strangers.scores, columns, axis=1)
        rate = float(np.mean(best[:, 0] >= threshold.of(best, num_photos[columns])))
    codes = {name: code for code, name in enumerate(strangers.names)}
    query = np.array([codes.setdefault(name or row, len(codes)) for row, name in enumerate(truth)])
    low, high = replay_growth(strangers.scores, query, np.arange(len(strangers.names)), rate=rate, seed=SEED)
    return {"named_rate": rate, "named_low": low, "named_high": high}
