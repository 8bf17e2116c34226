"""Scores of several models of the same queries become one table: means, renormalised probabilities, votes.

Scores of different models live on different scales, so each table may be converted before it is blended. The new
individual is one more column in all of this. An identity that may not answer in one model may not answer in the blend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

import numpy as np
from scipy.special import expit, softmax
from scipy.stats import rankdata

from siamese.errors import SiameseError
from siamese.identity_scores import IdentityScores, best_of_rows, row_blocks
from siamese.open_scores import OpenScores
from siamese.settings.ensemble import BlendMethod, ScoreConversion

EPSILON = 1e-4  # added to each blended probability (deepsense.io 2015)
NUM_VOTES = 5  # identities that a model votes for (2nd place, humpback 2019)
NEW_VOTE = 0.185  # probability that each model votes with for the new individual (2nd place)


@dataclass(frozen=True)
class Scale:
    """What the scores of one model mean.

    Attributes:
        slope: log odds of "this identity is the right one" per score unit, as `Decision.identity_slope`.
        intercept: log odds at score 0, as `Decision.identity_intercept`.
        temperature: factor of the log odds within a softmax; over 1 is surer.
    """

    slope: float = 1.0
    intercept: float = 0.0
    temperature: float = 1.0

    def log_odds(self, cells: np.ndarray) -> np.ndarray:
        """Returns calibrated log odds; -inf stays."""
        may = cells > -np.inf
        return np.where(may, self.slope * np.where(may, cells, 0) + self.intercept, -np.inf)


def _none(cells: np.ndarray, scale: Scale) -> np.ndarray:
    return cells


def _probability(cells: np.ndarray, scale: Scale) -> np.ndarray:
    return expit(scale.log_odds(cells))


def _softmax(cells: np.ndarray, scale: Scale) -> np.ndarray:
    """Shares 1 among those that may answer and the new individual (7th place: softmax(c x logits))."""
    odds = scale.temperature * scale.log_odds(cells)
    odds[np.max(odds, axis=1) == -np.inf] = 0  # where nobody may answer; any number will do
    return softmax(odds, axis=1)


def _rank(cells: np.ndarray, scale: Scale) -> np.ndarray:
    """1 / rank, so that places far behind hardly count; equals share the better rank."""
    return 1 / rankdata(-cells, method="min", axis=1)


def _triple_log(cells: np.ndarray, scale: Scale) -> np.ndarray:
    """Pleskov's 1 / (1 + log(1 + log(1 + d))). The distance d is -log of the calibrated probability.

    That is 0 for a sure match and grows, once a match is unlikely, with each unit of log odds.
    """
    distance = np.logaddexp(0, -scale.log_odds(cells))
    return 1 / (1 + np.log1p(np.log1p(distance)))


# From `(num_queries, num_identities + 1)` float64 scores, the new individual last, to others that are higher for the
# more alike. What stood at -inf is put back there.
CONVERSIONS: dict[ScoreConversion, Callable[[np.ndarray, Scale], np.ndarray]] = {
    "none": _none,
    "probability": _probability,
    "softmax": _softmax,
    "rank": _rank,
    "triple_log": _triple_log,
}


def convert(scores: OpenScores, conversion: ScoreConversion, scale: Scale) -> OpenScores:
    """Brings the scores of a model to a scale that models share.

    The order within a query stays, as far as float32 can tell the results apart.

    Args:
        scores: of one model. Not changed.
        conversion: one of `CONVERSIONS`.
        scale: the model's own; `rank` and `none` do not read it.

    Raises:
        SiameseError: the conversion is unknown.

    Example:
    >>> from siamese.identity_scores import IdentityScores
    >>> table = IdentityScores(np.array(["ann", "bob"], dtype=object), np.array([[4.0, 2.0]]), np.array([[0, 1]]))
    >>> found = convert(OpenScores(table, np.array([1.0])), "rank", Scale())
    >>> found.table.scores.tolist(), found.new.round(2).tolist()
    ([[1.0, 0.5]], [0.33])
    """
    if conversion not in CONVERSIONS:
        raise SiameseError(f"`conversion` must be one of {', '.join(CONVERSIONS)}. Received: {conversion}.")
    return _changed(scores, lambda cells: CONVERSIONS[conversion](cells, scale))


def _changed(scores: OpenScores, change: Callable[[np.ndarray], np.ndarray]) -> OpenScores:
    """Changes the scores of each query, that of the new individual last among them; -inf stays.

    All are rounded alike, so that an identity and the new individual that tie go on to tie.
    """
    table, new = np.empty(scores.table.scores.shape, np.float32), np.empty(len(scores.new), np.float32)
    for rows in row_blocks(table):
        cells = np.column_stack([scores.table.scores[rows], scores.new[rows]]).astype(np.float64)
        changed = np.where(cells > -np.inf, change(cells), -np.inf)
        table[rows], new[rows] = changed[:, :-1], changed[:, -1]
    return scores.with_scores(table, new.astype(np.float64))


def blend_mean(models: Sequence[OpenScores], weights: Sequence[float]) -> OpenScores:
    """Takes the weighted mean of the scores (Piotte: 0.45 and 0.55; Park and Austin: equal weights).

    Args:
        models: scores of the same queries with the same identities, whose catalogs list their photos alike. Not
            changed.
        weights: `(num_models,)` numbers from 0 on; their sum does not matter.

    Returns:
        Scores; the catalog photo shown for an identity is that of the model with most weight.

    Raises:
        SiameseError: queries, identities or weights do not fit.

    Example:
    >>> from siamese.identity_scores import IdentityScores
    >>> names, photos = np.array(["ann", "bob"], dtype=object), np.array([[0, 1]])
    >>> models = [
    ...     OpenScores(IdentityScores(names, np.array([row], np.float32), photos), np.array([1.0]))
    ...     for row in ([4.0, 0.0], [0.0, 2.0])
    ... ]
    >>> found = blend_mean(models, [3, 1])
    >>> found.table.scores.tolist(), found.new.tolist()
    ([[3.0, 0.5]], [1.0])
    """
    shares = check_models(models, weights)
    parts = [model.table.scores for model in models]
    return _joined(models, shares, parts, [model.new for model in models])


def blend_renormalised(models: Sequence[OpenScores], weights: Sequence[float]) -> OpenScores:
    """Takes the weighted mean of probabilities, adds `EPSILON` and divides by the sum over the query (deepsense.io).

    The sum runs over the identities that may answer and the new individual. Theirs were three networks, 2:1:1.

    Args:
        models: probabilities of the same queries, such as `convert` makes. Not changed.
        weights: as for `blend_mean`.

    Raises:
        SiameseError: as `blend_mean`, or a value is no probability.
    """
    blended = blend_mean(models, weights)
    _check_probabilities(models)
    return _changed(blended, _shares)


def _shares(probabilities: np.ndarray) -> np.ndarray:
    """Adds `EPSILON` and makes the sum of each row 1."""
    raised = np.where(probabilities > -np.inf, probabilities + EPSILON, 0)
    total = raised.sum(axis=1, keepdims=True)
    return raised / np.where(total > 0, total, 1)


def blend_vote(models: Sequence[OpenScores], weights: Sequence[float]) -> OpenScores:
    """Lets each model vote for its five best identities, with their probabilities times its weight (Shen, 2nd place).

    The new individual gets 0.185 of each model that places it. An identity that nobody votes for has 0.

    Args:
        models: probabilities of the same queries, such as `convert` makes. Not changed.
        weights: as for `blend_mean`; Shen gave 1 to plain models and 2 to those trained with pseudo-labels.

    Raises:
        SiameseError: as `blend_mean`, or a value is no probability.
    """
    shares = check_models(models, weights)
    _check_probabilities(models)
    votes = [_votes(model.table.scores) for model in models]
    return _joined(models, shares, votes, [np.where(model.new > -np.inf, NEW_VOTE, -np.inf) for model in models])


METHODS: dict[BlendMethod, Callable[[Sequence[OpenScores], Sequence[float]], OpenScores]] = {
    "mean": blend_mean,
    "renormalised": blend_renormalised,
    "vote": blend_vote,
}


@dataclass(frozen=True)
class Blend:
    """How several models answer together.

    Attributes:
        names: of the models.
        weights: of each; they sum to 1.
        scales: of each.
        method: one of `METHODS`.
        conversion: one of `CONVERSIONS`, done to each model first.
        new_shift: added to the blended score of the new individual, which the models' thresholds give; so the place
            of the new individual moves on with theirs where catalogs grow.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    scales: tuple[Scale, ...]
    method: BlendMethod = "mean"
    conversion: ScoreConversion = "none"
    new_shift: float = 0.0

    def of(self, models: Mapping[str, OpenScores]) -> OpenScores:
        """Blends the scores of the models, each under its name.

        Args:
            models: scores of the same queries; further ones are left aside. Not changed.

        Raises:
            SiameseError: a model is missing, or queries or identities do not fit.
        """
        scores = METHODS[self.method](self.converted(models), self.weights)
        return OpenScores(scores.table, scores.new + self.new_shift)

    def converted(self, models: Mapping[str, OpenScores]) -> list[OpenScores]:
        """Returns the converted scores of each model, in the order of `names`; see `of`."""
        missing = sorted(set(self.names) - set(models))
        if missing:
            raise SiameseError(
                f"`models` must hold the scores of {', '.join(self.names)}. Missing: {', '.join(missing)}. "
                "Score the queries with every model of the blend."
            )
        named = zip(self.names, self.scales, strict=True)
        return [convert(models[name], self.conversion, scale) for name, scale in named]

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Blend:
        """Makes the blend that `to_dict` wrote.

        Raises:
            SiameseError: a value is missing, unknown or not of its kind.
        """
        try:
            parts = dict(values)
            blend = cls(
                **parts
                | {"names": tuple(parts["names"]), "weights": tuple(map(float, parts["weights"]))}
                | {"scales": tuple(Scale(**scale) for scale in parts["scales"])}
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SiameseError(
                f"A blend must hold {', '.join(field.name for field in fields(cls))}, as it was saved. "
                f"Received: {error}. Fit it again."
            ) from error
        if blend.method not in get_args(BlendMethod) or blend.conversion not in get_args(ScoreConversion):
            raise SiameseError(
                f"A blend must be one of {', '.join(METHODS)} after one of {', '.join(CONVERSIONS)}. Received: "
                f"{blend.method} after {blend.conversion}. Update siamese."
            )
        return blend


def check_models(models: Sequence[OpenScores], weights: Sequence[float]) -> np.ndarray:
    """Returns the weights with sum 1, or raises a `SiameseError` where models or weights do not fit together."""
    check_same_questions(models)
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (len(models),) or not np.isfinite(given).all() or given.min() < 0 or given.max() <= 0:
        raise SiameseError(
            f"`weights` must hold a number from 0 on for each of the {len(models)} models, not all of them 0. "
            f"Received: {given.tolist()}. 1 for each weighs them alike."
        )
    return given / given.sum()


def check_same_questions(models: Sequence[OpenScores]) -> None:
    """Raises a `SiameseError` unless all models scored as many queries with the same identities."""
    if not models:
        raise SiameseError("At least one model must be blended. Received: none. Give the scores of two or more.")
    names, num_queries = models[0].table.names.tolist(), len(models[0].new)
    for number, model in enumerate(models[1:], start=2):
        if len(model.new) != num_queries:
            raise SiameseError(
                f"Models must have scored the same queries. Received: {num_queries} queries of model 1, "
                f"{len(model.new)} of model {number}. Ask every model about the same photos, in one order."
            )
        others = model.table.names.tolist()
        if others != names:
            differ = sorted(set(names) ^ set(others)) or sorted(names)
            raise SiameseError(
                f"Models must know the same identities, in one order. Received: {differ[0]!r} "
                f"{'in only one' if set(names) != set(others) else 'at another place'} of models 1 and {number}. "
                "Score the queries with the same catalog."
            )


def _joined(
    models: Sequence[OpenScores], shares: np.ndarray, parts: Sequence[np.ndarray], new: Sequence[np.ndarray]
) -> OpenScores:
    """Adds up tables by their shares; -inf in one of them is -inf, even at share 0."""
    scores = np.empty(parts[0].shape, np.float32)
    for rows in row_blocks(scores):
        scores[rows] = _weighted_sum([part[rows] for part in parts], shares)
    heaviest = models[int(np.argmax(shares))]
    photos = np.where(scores > -np.inf, heaviest.table.best_image, -1)
    # Rounded like the scores, see `_changed`.
    placed = _weighted_sum(new, shares).astype(np.float32).astype(np.float64)
    return OpenScores(IdentityScores(heaviest.table.names, scores, photos), placed)


def _weighted_sum(parts: Sequence[np.ndarray], shares: np.ndarray) -> np.ndarray:
    total, may = np.zeros(parts[0].shape), np.ones(parts[0].shape, dtype=bool)
    for part, share in zip(parts, shares, strict=True):
        may &= part > -np.inf
        total += share * np.where(part > -np.inf, part, 0)
    return np.where(may, total, -np.inf)


def _votes(probabilities: np.ndarray) -> np.ndarray:
    """Keeps the five best of each row; the others get 0, and -inf stays."""
    votes = np.where(probabilities > -np.inf, np.float32(0), -np.inf).astype(np.float32)
    columns = best_of_rows(probabilities, min(NUM_VOTES, probabilities.shape[1]))
    np.put_along_axis(votes, columns, np.take_along_axis(probabilities, columns, axis=1), axis=1)
    return votes


def _check_probabilities(models: Sequence[OpenScores]) -> None:
    for number, model in enumerate(models, start=1):
        values = model.table.scores
        low = values.min(initial=0, where=values > -np.inf)
        high = values.max(initial=0)
        if low < 0 or high > 1:
            raise SiameseError(
                f"Votes and renormalised means must be made of probabilities. Received: {low if low < 0 else high:g} "
                f"of model {number}. Convert its scores by `probability` or `softmax` first."
            )
