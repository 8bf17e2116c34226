"""The decision: what a score means, and for how many strangers it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from scipy.special import expit

from siamese.calibration import Calibration
from siamese.decision.cuts import MatchCut
from siamese.decision.growth import GrowthModel
from siamese.decision.rules import NewThreshold
from siamese.errors import ModelFolderError, SiameseError

Verdict = Literal["same", "different", "unsure"]


@dataclass(frozen=True)
class Decision:
    """How scores become answers; fitted on validation queries and kept with the model.

    Attributes:
        threshold: identity score; a best score below it means a new individual. It holds for a catalog as large as the
            validation's; `new_threshold` moves it for others.
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
        threshold_rule: in words, which queries chose the threshold, and how.
        false_match_low: lower end of the 95 % interval of the false-match rate among individuals never seen.
        false_match_high: its upper end.
        match_cuts: cuts for further false-match rates, none under `different_below`.
        calibration: kind of the curve that gives a pair's probability.
        pair_knots: (score, log odds) of that curve where it is isotonic.
        prior: share of pairs of one animal among those that are asked about.
        named_rate: share of the queries of new individuals that get a name, in a catalog as large as the validation's.
        named_low: lower end of its 95 % interval, also for catalogs that grew.
        named_high: its upper end.
        growth: how that share grows with the catalog; None where nothing told of it.
        singleton_shift: what an individual with a single photo must reach beyond the threshold.
        stacked_weights: of the stacked rule; see `NewThreshold`.
        made_for: fingerprint of the preprocessing it was fitted under; "" where nothing was said.
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
    false_match_low: float = math.nan
    false_match_high: float = math.nan
    match_cuts: tuple[MatchCut, ...] = ()
    calibration: str = "platt"
    pair_knots: tuple[tuple[float, float], ...] = ()
    prior: float = 0.5
    named_rate: float = math.nan
    named_low: float = math.nan
    named_high: float = math.nan
    growth: GrowthModel | None = None
    singleton_shift: float = 0.0
    stacked_weights: tuple[float, ...] = ()
    made_for: str = ""

    def pair_probability(self, scores: np.ndarray, *, prior: float | None = None) -> np.ndarray:
        """Returns the probability, of the shape of `scores`, that the two photos show the same animal.

        Args:
            scores: pair scores.
            prior: share of pairs of one animal among those that are asked about; None takes that of the decision.
        """
        curve = Calibration(self.calibration, self.pair_slope, self.pair_intercept, self.pair_knots)
        return curve.probability(scores, prior=self.prior if prior is None else prior)

    def identity_probability(self, scores: np.ndarray) -> np.ndarray:
        """Returns the probability, of the shape of `scores`, that a listed identity is the right one."""
        return expit(self.identity_slope * np.asarray(scores, dtype=np.float64) + self.identity_intercept)

    def match_cut(self, false_match_rate: float | None = None) -> MatchCut:
        """Returns the cut for "same", with the interval of its false-match rate.

        Args:
            false_match_rate: one of the rates in `match_cuts`; None takes `same_above`.

        Raises:
            SiameseError: no cut was fitted for this rate.
        """
        if false_match_rate is None:
            rate, low, high = self.false_match_rate, self.false_match_low, self.false_match_high
            return MatchCut(rate, self.same_above, rate, low, high)
        for cut in self.match_cuts:
            if cut.rate == false_match_rate:
                return cut
        rates = ", ".join(f"{cut.rate:g}" for cut in self.match_cuts) or "none"
        raise SiameseError(
            f"`false_match_rate` must be a rate that the model was calibrated for: {rates}. "
            f"Received: false_match_rate={false_match_rate}. Choose one of them, or train with "
            "`--set decision.false_match_rate`."
        )

    def verdict(self, score: float, *, false_match_rate: float | None = None) -> Verdict:
        """Says of a pair's score whether it means the same animal.

        Args:
            score: of the pair.
            false_match_rate: as for `match_cut`.

        Example:
        >>> decision = Decision(0.0, 1.0, 0.0, 1.0, 0.0, same_above=2.0, different_below=-1.0)
        >>> [decision.verdict(score) for score in (2.0, 0.0, -1.5)]
        ['same', 'unsure', 'different']
        """
        score = float(score)  # a float32 would round the cuts to its own precision
        if score >= self.match_cut(false_match_rate).score:
            return "same"
        return "different" if score < self.different_below else "unsure"

    def at(self, num_identities: int) -> Decision:
        """Returns the decision for a catalog of so many individuals, with its threshold moved.

        The more individuals a catalog holds, the higher the best score of a stranger. The threshold moves so that as
        large a share of new individuals is named as in the validation.
        """
        if self.growth is None or num_identities == self.growth.num_identities:
            return self
        here = self.growth.num_identities
        rate = self.growth.rate(self.threshold, here) if self._rule.is_plain else self.named_rate
        moved = self.threshold + self._rule.slope * self.growth.shift(rate, here, num_identities)
        return replace(self, threshold=moved, growth=replace(self.growth, num_identities=num_identities))

    def new_threshold(
        self, catalog_identity: np.ndarray, *, num_identities: int | None = None
    ) -> float | Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Returns what `rank_identities` takes as threshold in a catalog; it moves with the catalog's size, see `at`.

        Args:
            catalog_identity: `(num_catalog,)` names; "" counts as nobody.
            num_identities: how many individuals may answer a query, where that is not all of them.

        Returns:
            A score; with rules that look at the query, a function of the names and scores listed for each.
        """
        names, num_photos = np.unique(catalog_identity[catalog_identity != ""].astype(str), return_counts=True)
        moved = self.at(len(names) if num_identities is None else num_identities)
        threshold = moved._rule
        if threshold.is_plain:
            return threshold.score
        photos_of = dict(zip(names.tolist(), num_photos.tolist(), strict=True))
        count = np.vectorize(lambda name: photos_of.get(name, 0), otypes=[np.int64])
        return lambda listed, scores: threshold.of(scores, count(listed)) if len(listed) else np.empty(0)

    @property
    def _rule(self) -> NewThreshold:
        return NewThreshold(self.threshold, self.singleton_shift, self.stacked_weights)

    def check_preprocessing(self, fingerprint: str) -> None:
        """Refuses photos prepared otherwise than those the decision was fitted on.

        Raises:
            ModelFolderError: the fingerprint is another one.
        """
        if self.made_for and self.made_for != fingerprint:
            raise ModelFolderError(
                "A decision must be used under the preprocessing it was fitted with. Received: one fitted under "
                f"{self.made_for}, photos prepared under {fingerprint}. Fit it again, or copy the whole model folder."
            )

    def under(self, fingerprint: str) -> Decision:
        """Returns the decision, bound to a preprocessing."""
        return replace(self, made_for=fingerprint)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON; a rate that could not be measured is None."""
        return {name: None if _is_nan(value) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """Makes the decision that `to_dict` wrote; what an older version did not write is left at its default.

        Raises:
            ModelFolderError: a value is missing, unknown or not of its type.
        """
        names = {field.name for field in fields(cls)}
        missing = {field.name for field in fields(cls) if field.default is MISSING} - set(values)
        if missing or not set(values) <= names:
            raise ModelFolderError(
                f"A decision must hold {sorted(names)}. Missing: {sorted(missing)}; "
                f"unknown: {sorted(set(values) - names)}. Save the model again."
            )
        return cls(**{name: _typed(name, value) for name, value in values.items()})


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _typed(name: str, value: Any) -> Any:
    """Returns a value read from JSON as its field's type."""
    if name in _PARTS:
        try:
            return _PARTS[name](value)
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            raise ModelFolderError(
                f"`{name}` of a decision must be as it was saved. Received: {error}. Save the model again."
            ) from error
    if value is None and name.endswith(("_rate", "_low", "_high")):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelFolderError(f"`{name}` of a decision must be a number. Received: {value!r}. Save the model again.")
    return int(value) if name.startswith("num_") else float(value)


def _growth(values: dict[str, Any] | None) -> GrowthModel | None:
    if values is None:
        return None
    parts: dict[str, Any] = {name: _floats(part) if isinstance(part, list) else part for name, part in values.items()}
    return GrowthModel(**parts)


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


_PARTS: dict[str, Callable[[Any], Any]] = {
    "threshold_rule": str,
    "calibration": str,
    "made_for": str,
    "match_cuts": lambda rows: tuple(MatchCut(**{"reached": row["rate"], **row}) for row in rows),
    "pair_knots": lambda rows: tuple(_floats(row) for row in rows),
    "stacked_weights": _floats,
    "growth": _growth,
}
