"""Cuts that a stated share of scores reaches, and what that share may be among individuals never seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siamese.errors import SiameseError

NUM_REPLAYS = 200  # the 2.5 % tails then hold five of them each
MOST_REPLAYED = 500_000  # pairs in a replay; of more, a random part
FEWEST_IDENTITIES = 10  # with fewer individuals the halves say nothing
TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class MatchCut:
    """A pair's score from which to say "same", chosen for a false-match rate.

    Attributes:
        rate: the share of pairs of different individuals that may be called the same.
        score: the cut.
        reached: the share of the pairs seen that are; under `rate` where no score parts that many.
        low: lower end of the 95 % interval of that share among as many individuals, none of them seen before.
        high: its upper end.
    """

    rate: float
    score: float
    reached: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class DifferentPairs:
    """Scores of pairs of two individuals.

    Attributes:
        scores: `(num_pairs,)` floats, rising.
        codes: `(2, num_pairs)` the individuals of each pair, codes from 0.
        num_identities: how many codes there are; not each of them must have a pair.
    """

    scores: np.ndarray
    codes: np.ndarray
    num_identities: int

    def __len__(self) -> int:
        return len(self.scores)

    def cuts(self, rates: Sequence[float], *, seed: int = 0) -> list[MatchCut]:
        """Returns for each rate the lowest cut with at most that share of the pairs above it, and its interval.

        Pairs share individuals, and a few individuals are in most false matches, so pairs are no independent trials.
        The interval replays what a user does: on a random half of the individuals the cut is chosen, on the pairs of
        the other half the share is counted; its ends are the 2.5 % and 97.5 % quantiles of the shares. So it holds for
        new individuals at least half as many, and tells both of chance in the choice and of chance in what comes.

        With fewer than `FEWEST_IDENTITIES` individuals nothing is known, and the interval is that from 0 to 1.

        Args:
            rates: shares of the pairs that may lie above.
            seed: of the halves.

        Raises:
            SiameseError: there is no pair.

        Example:
        >>> codes = np.array([[0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]])
        >>> DifferentPairs(np.arange(6.0), codes, num_identities=4).cuts([0.5])[0].score
        2.5
        """
        if not len(self):
            raise SiameseError(
                "A cut must be chosen among pairs of different individuals. Received: none. "
                "Give photos of two individuals or more that may answer each other."
            )
        replayed = self._replayed(rates, np.random.default_rng(seed))
        cuts = []
        for rate, shares in zip(rates, replayed, strict=True):
            low, high = np.quantile(shares, TAILS) if len(shares) else (0.0, 1.0)
            score = cut_with_share_above(self.scores, rate)
            cuts.append(MatchCut(rate, score, self.share_above(score), float(min(low, rate)), float(max(high, rate))))
        return cuts

    def share_above(self, cut: float) -> float:
        """Returns the share of the pairs that reach a cut; nan without pairs."""
        return (len(self) - num_below(self.scores, cut)) / len(self) if len(self) else math.nan

    def _replayed(self, rates: Sequence[float], rng: np.random.Generator) -> np.ndarray:
        """Returns `(num_rates, num_replays)` shares; no replay where individuals are too few."""
        pairs = self._thinned(rng)
        halves = (rng.permutation(self.num_identities) < self.num_identities // 2 for _ in range(NUM_REPLAYS))
        enough = np.count_nonzero(np.bincount(self.codes.ravel())) >= FEWEST_IDENTITIES
        shares = [pairs._replay(half, rates) for half in halves] if enough else []
        return np.array([each for each in shares if each]).reshape(-1, len(rates)).T

    def _thinned(self, rng: np.random.Generator) -> DifferentPairs:
        kept: slice | np.ndarray = slice(None)
        if len(self) > MOST_REPLAYED:
            kept = np.sort(rng.choice(len(self), MOST_REPLAYED, replace=False))
        scores = self.scores[kept].astype(np.float64)  # once, not in each replay
        return DifferentPairs(scores, self.codes[:, kept], self.num_identities)

    def _replay(self, half: np.ndarray, rates: Sequence[float]) -> list[float]:
        """Returns the shares above one half's cuts among the other half's pairs; [] where a half has no pair."""
        num_inside = half[self.codes[0]].view(np.int8) + half[self.codes[1]].view(np.int8)
        own, others = np.flatnonzero(num_inside == 2), np.flatnonzero(num_inside == 0)
        if not len(own) or not len(others):
            return []
        below = [num_below(self.scores, cut_with_share_above(self.scores[own], rate)) for rate in rates]
        return [(len(others) - int(np.searchsorted(others, index))) / len(others) for index in below]


def check_rate(name: str, rate: float) -> None:
    """Raises a `SiameseError` unless a rate lies from 0 to 1."""
    if not 0 <= rate <= 1:
        raise SiameseError(f"`{name}` must lie between 0 and 1. Received: {name}={rate}. 0.01 is usual.")


def cut_with_share_above(scores: np.ndarray, share: float) -> float:
    """Returns the lowest cut with at most that share of the rising scores above it, halfway to the next lower score.

    Example:
    >>> cut_with_share_above(np.array([1.0, 2.0, 3.0, 4.0]), 0.25)
    3.5
    """
    scores = scores.astype(np.float64, copy=False)
    allowed = int(np.floor(share * len(scores) + 1e-9))
    if allowed == 0:
        return above(scores[-1])
    if allowed == len(scores):
        return float(scores[0])
    kept = np.searchsorted(scores, scores[-allowed - 1], side="right")  # scores equal to the last one out stay out too
    return between(scores[kept - 1], scores[kept]) if kept < len(scores) else above(scores[-1])


def cut_with_share_below(scores: np.ndarray, share: float) -> float:
    """Returns the highest cut with at most that share of the rising scores under it."""
    return -cut_with_share_above(-scores[::-1], share)


def num_below(scores: np.ndarray, cut: float) -> int:
    """Returns how many of the rising scores lie under a cut."""
    return int(np.searchsorted(scores.astype(np.float64, copy=False), cut, side="left"))


def between(low: float, high: float) -> float:
    """Returns the middle of two scores, above the lower one even where floats leave no room."""
    middle = low + (high - low) / 2
    return float(middle if middle > low else high)


def above(score: float) -> float:
    """Returns the next float32 above a score."""
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))
