"""What a score means: calibrated probabilities, the verdict on a pair, and the threshold of the new individual."""

from siamese.decision.answer import Decision, Verdict
from siamese.decision.cuts import DifferentPairs, MatchCut
from siamese.decision.fit import (
    BOTH_KINDS,
    MATCH_RATES,
    ONLY_NEW,
    OWN_LEFT_OUT,
    Pairs,
    fit_decision,
    listed_curve,
    split_pairs,
)
from siamese.decision.growth import GrowthModel, fit_growth, num_answering, replay_growth
from siamese.decision.rules import NUM_STACKED, RULES, NewThreshold
from siamese.decision.scan import ThresholdScan, choose_threshold, scan_thresholds
from siamese.decision.verification import Verification

__all__ = [
    "BOTH_KINDS",
    "MATCH_RATES",
    "NUM_STACKED",
    "ONLY_NEW",
    "OWN_LEFT_OUT",
    "RULES",
    "Decision",
    "DifferentPairs",
    "GrowthModel",
    "MatchCut",
    "NewThreshold",
    "Pairs",
    "ThresholdScan",
    "Verdict",
    "Verification",
    "choose_threshold",
    "fit_decision",
    "fit_growth",
    "listed_curve",
    "num_answering",
    "replay_growth",
    "scan_thresholds",
    "split_pairs",
]
