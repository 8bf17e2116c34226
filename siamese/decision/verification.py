"""The answer about two photos, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siamese.decision.answer import Verdict

VERDICT_WORDS: dict[Verdict, str] = {
    "same": "The same animal",
    "different": "Different animals",
    "unsure": "Unsure: too alike to be called different, too unlike to be called the same",
}


@dataclass(frozen=True)
class Verification:
    """Whether two photos show the same animal.

    Attributes:
        score: logit, higher is more alike.
        probability: probability of the same animal, for the prior.
        prior: share of pairs of one animal among those that are asked about.
        verdict: `same`, `different` or `unsure`.
        false_match_rate: share of pairs of different animals that get a score called `same`; nan where not measured.
        false_match_low: lower end of its 95 % interval among animals never seen.
        false_match_high: its upper end.
        false_non_match_rate: share of pairs of one animal that get a score called `different`; nan where not measured.
    """

    score: float
    probability: float
    prior: float
    verdict: Verdict
    false_match_rate: float
    false_match_low: float
    false_match_high: float
    false_non_match_rate: float

    @property
    def sentence(self) -> str:
        """The answer in plain words, and how often such an answer is wrong."""
        return (
            f"{VERDICT_WORDS[self.verdict]} (score {self.score:.2f}). Probability of the same animal: "
            f"{_percent(self.probability)}, if {_percent(self.prior)} of the pairs you ask about are. "
            f"{self._false_matches}{self._false_non_matches}"
        )

    @property
    def _false_matches(self) -> str:
        if np.isnan(self.false_match_rate):
            return "How often different animals are called the same was not measured."
        measured = f"Of pairs of different animals {_percent(self.false_match_rate)} are called the same"
        if np.isnan(self.false_match_low):
            return f"{measured}; what this may be for animals never seen was not measured."
        return (
            f"{measured}; for animals never seen this lies between {_percent(self.false_match_low)} and "
            f"{_percent(self.false_match_high)} (95 % interval)."
        )

    @property
    def _false_non_matches(self) -> str:
        if np.isnan(self.false_non_match_rate):
            return ""
        return f" Of pairs of one animal {_percent(self.false_non_match_rate)} are called different."


def _percent(share: float) -> str:
    """Writes a share in per cent with two or three digits that count, so that a rare error isn't told as none."""
    if 0.999 < share < 1:
        return "> 99.9 %"
    if 0 < share < 0.00001:
        return "< 0.001 %"
    return f"{100 * share:.{3 if share >= 0.1 else 2}g} %"
