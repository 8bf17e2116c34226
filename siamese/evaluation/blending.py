"""Chooses how several models answer together, on validation queries, and says whether that is more than luck."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, product
from math import comb
from typing import Any, TypeAlias

import numpy as np

from siamese.blends import METHODS, Blend, Scale, check_same_questions
from siamese.decision import scan_thresholds
from siamese.errors import SiameseError
from siamese.evaluation.bootstrap import individual_codes
from siamese.evaluation.comparison import Comparison, compare_values
from siamese.evaluation.openset import LISTED
from siamese.evaluation.ranking_steps import answer_values
from siamese.identity_scores import IdentityScores, check_length
from siamese.open_scores import OpenScores
from siamese.ranking import reciprocal_ranks
from siamese.settings.ensemble import PROBABILITIES, EnsembleSettings

SEED = 0  # of the parts of the individuals
ROUNDING = 1e-9  # MAP@5 of another blend must be higher by more than this
NOT_PLACED = (
    "Known and new queries are needed to place the new individual; without both, it stands where the models' own "
    "thresholds put it, and MAP@5 does not count it."
)

Weights: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class FittedBlend:
    """The blend to use, and what the validation queries say for it.

    Attributes:
        blend: what to use: `fitted` where it is better than equal weights for more than luck, else `equal`.
        fitted: the best of all blends that were tried.
        equal: the best of those with equal weights.
        best_single: name of the best model.
        against_equal: MAP@5 of equal weights and of fitted ones.
        against_single: MAP@5 of the best model and of the blend to use.
        placed: whether the queries told where to place the new individual; MAP@5 counts it then.
    """

    blend: Blend
    fitted: Blend
    equal: Blend
    best_single: str
    against_equal: Comparison
    against_single: Comparison
    placed: bool

    @property
    def is_within_noise(self) -> bool:
        """Whether equal weights may be as good, so that they are used."""
        return not self.against_equal.low > 0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in words; the first two say what to trust."""
        fit, ensemble = self.against_equal, self.against_single
        weights = ", ".join(
            f"{name} {weight:.2f}" for name, weight in zip(self.fitted.names, self.fitted.weights, strict=True)
        )
        told_by = f"by {_gain(fit)} against equal ones, on queries that did not choose"
        weighed = (
            f"The fit is within noise: choosing weights ({weights}) changes MAP@5 {told_by}. Equal weights are used."
            if self.is_within_noise
            else f"The fitted weights ({weights}) are used: choosing them changes MAP@5 {told_by}."
        )
        if ensemble.low > 0:
            verdict = "is better than"
        elif ensemble.high < 0:
            verdict = "is worse than"
        else:
            verdict = "cannot be told from"
        told = f"The ensemble {verdict} the best single model ({self.best_single}): MAP@5 {_gain(ensemble)}."
        if self.placed:
            return weighed, told
        return weighed, told, NOT_PLACED

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {**asdict(self), "is_within_noise": self.is_within_noise, "sentences": list(self.sentences)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FittedBlend:
        """Makes what `to_dict` wrote.

        Raises:
            SiameseError: a value is missing, or a part of a blend or comparison is unknown.
        """
        try:
            return cls(
                blend=Blend.from_dict(values["blend"]),
                fitted=Blend.from_dict(values["fitted"]),
                equal=Blend.from_dict(values["equal"]),
                best_single=str(values["best_single"]),
                against_equal=Comparison(**values["against_equal"]),
                against_single=Comparison(**values["against_single"]),
                placed=bool(values["placed"]),
            )
        except (KeyError, TypeError) as error:
            raise SiameseError(
                f"A fitted blend must hold what was saved of it. Received: {error}. Fit it again."
            ) from error


def _gain(found: Comparison) -> str:
    return f"{found.difference:+.4f} (95 % interval {found.low:+.4f} to {found.high:+.4f})"


def fit_blend(
    models: Mapping[str, OpenScores],
    truth: np.ndarray,
    *,
    scales: Mapping[str, Scale] | None = None,
    identity: np.ndarray | None = None,
    settings: EnsembleSettings | None = None,
) -> FittedBlend:
    """Chooses method, conversion, weights and the place of the new individual, by MAP@5 of validation queries.

    Everything of `settings` is tried, with weights on a grid; for each blend the new individual gets its best place
    anew. Of equally good blends the first is taken, and of weights those nearest to equal ones. The best of many always
    looks better than it is. So the gain is told from queries that did not choose: the individuals are divided into
    parts, each part is answered by what all the others choose, and equal weights likewise. The 95 % interval is that of
    a bootstrap over individuals. Every blend is made once, so the cost grows with blends x queries x identities.

    One model may stand under several names: the 7th place of humpback 2019 mixed its softmax with its neighbours'
    scores. Give the first one through `convert`, and leave `none` as the only conversion.

    Args:
        models: scores of the validation queries by the name of each model. Not changed.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new. Known queries that
            nothing of their own may answer are left out.
        scales: what the scores of each model mean; None takes them as log odds.
        identity: `(num_queries,)` names that tell which queries belong together; None takes the truth.
        settings: what to try; None takes the defaults.

    Raises:
        SiameseError: there are not two models, they do not fit together, one does not place the new individual, or
            there are not two individuals to ask about.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> names, nobody_new = np.array(list("abcdefgh"), dtype=object), np.full(8, -9.0)
    >>> good, bad = (OpenScores(identity_scores(size * np.eye(8), names), nobody_new) for size in (1, -2))
    >>> tried = EnsembleSettings(methods=["mean"], conversions=["none"])
    >>> found = fit_blend({"good": good, "bad": bad}, names, settings=tried)
    >>> found.best_single, found.fitted.weights, found.is_within_noise
    ('good', (0.7, 0.3), False)
    """
    settings = settings or EnsembleSettings()
    asked = _questions(models, truth, identity)
    tried = try_blends(asked, tuple((scales or {}).get(name, Scale()) for name in models), settings)
    folds = individual_folds(asked.identity, asked.is_new, settings.folds)

    equal = [one for one in tried if len(set(one.blend.weights)) == 1]
    alone = best_blend([one for one in tried if one.is_plain and max(one.blend.weights) == 1]).weights
    single = [one for one in tried if one.is_plain and one.blend.weights == alone]
    of_single, of_equal, of_fitted = (cross_fitted(some, folds) for some in (single, equal, tried))
    against_equal = compare_values(of_equal, of_fitted, asked.identity)
    is_better = against_equal.low > 0
    return FittedBlend(
        blend=best_blend(tried if is_better else equal),
        fitted=best_blend(tried),
        equal=best_blend(equal),
        best_single=tuple(models)[int(np.argmax(alone))],
        against_equal=against_equal,
        against_single=compare_values(of_single, of_fitted if is_better else of_equal, asked.identity),
        placed=asked.placed,
    )


@dataclass(frozen=True, eq=False)
class Questions:
    """Validation queries as every model scored them.

    Attributes:
        models: scores by the name of each model.
        truth: `(num_queries,)` right identities; "" or one that the catalog lacks means new.
        identity: `(num_queries,)` names that tell which queries belong together.
        placed: whether MAP@5 counts the new individual.
    """

    models: Mapping[str, OpenScores]
    truth: np.ndarray
    identity: np.ndarray
    placed: bool

    @property
    def is_new(self) -> np.ndarray:
        """`(num_queries,)` bool."""
        return next(iter(self.models.values())).table.columns_of(self.truth) < 0

    def select(self, rows: np.ndarray) -> Questions:
        """Returns some of the queries."""
        models = {name: OpenScores(scores.table.select(rows), scores.new[rows]) for name, scores in self.models.items()}
        return Questions(models, self.truth[rows], self.identity[rows], self.placed)


@dataclass(frozen=True, eq=False)
class TriedBlend:
    """A blend, and of its scores what MAP@5 depends on, so that hundreds of them can be kept.

    Attributes:
        blend: with the new individual where the models place it.
        listed: `(num_queries, LISTED + 1)` scores of the best identities over that of the new individual, best first,
            under the names of their places; the last one is that of the right identity where it stands behind.
        truth: `(num_queries,)` place of the right identity, by name; "" means new.
        placed: whether MAP@5 counts the new individual.
        is_plain: whether nothing was converted, and the mean taken.
    """

    blend: Blend
    listed: IdentityScores
    truth: np.ndarray
    placed: bool

    @property
    def is_plain(self) -> bool:
        """Whether nothing was converted, and the mean taken."""
        return (self.blend.method, self.blend.conversion) == ("mean", "none")

    def values(self, new_shift: float) -> np.ndarray:
        """Returns what each query adds to MAP@5 with the new individual moved."""
        return answer_values(self.listed, self.truth, new_shift if self.placed else None)["map5"]

    def best(self, rows: np.ndarray | slice = slice(None)) -> tuple[float, float]:
        """Returns the highest MAP@5 of some queries that moving the new individual can reach, and how far to move."""
        listed, truth = self.listed.select(rows), self.truth[rows]
        if not self.placed:
            return float(np.mean(reciprocal_ranks(listed.ranks_of(truth), k=LISTED))), 0.0
        scan = scan_thresholds(listed, truth, top_k=LISTED)
        return float(scan.values.max()), scan.best_threshold()


def try_blends(asked: Questions, scales: tuple[Scale, ...], settings: EnsembleSettings) -> list[TriedBlend]:
    """Blends the scores in every way of the settings with every set of weights, and each model alone.

    Args:
        asked: the queries.
        scales: what the scores of each model mean.
        settings: what to try.
    """
    names = tuple(asked.models)
    grid = weight_grid(len(names), steps=settings.weight_steps, most=settings.most_weights)
    alone = [weights for weights in grid if max(weights) == 1]
    tried = []
    for way in (*_ways(names, scales, settings), None):
        chosen = way or Blend(names, grid[0], scales)
        parts = chosen.converted(asked.models)
        for weights in grid if way else alone:
            blend = replace(chosen, weights=weights)
            listed, truth = _listed(METHODS[blend.method](parts, weights), asked.truth)
            tried.append(TriedBlend(blend, listed, truth, asked.placed))
    return tried


def best_blend(tried: Sequence[TriedBlend], rows: np.ndarray | slice = slice(None)) -> Blend:
    """Returns the blend with the highest MAP@5, the first of equals, with the new individual at its best place.

    Args:
        tried: at least one.
        rows: queries that choose; all without it.
    """
    number, shift = _choice(tried, rows)
    return replace(tried[number].blend, new_shift=shift)


def cross_fitted(tried: Sequence[TriedBlend], folds: np.ndarray) -> np.ndarray:
    """Returns `(num_queries,)` what each query adds to MAP@5 by the blend that the other parts choose.

    Args:
        tried: at least one.
        folds: `(num_queries,)` int, the part of each query.
    """
    values = np.empty(len(folds))
    for fold in np.unique(folds):
        number, shift = _choice(tried, folds != fold)
        values[folds == fold] = tried[number].values(shift)[folds == fold]
    return values


def _choice(tried: Sequence[TriedBlend], rows: np.ndarray | slice) -> tuple[int, float]:
    """Returns the number of the best blend and how far it moves the new individual."""
    found = [one.best(rows) for one in tried]
    values = np.array([value for value, _ in found])
    number = int(np.argmax(values > values.max() - ROUNDING))
    return number, found[number][1]


def _listed(scores: OpenScores, truth: np.ndarray) -> tuple[IdentityScores, np.ndarray]:
    """Returns the fields `listed` and `truth` of a `TriedBlend`."""
    table = scores.table
    columns, own = table.best_columns(LISTED), table.columns_of(truth)
    is_own = np.zeros((len(own), LISTED), dtype=bool)
    is_own[:, : columns.shape[1]] = columns == own[:, None]
    found = is_own.any(axis=1)
    best = np.full((len(own), LISTED + 1), -np.inf)
    best[:, : columns.shape[1]] = np.take_along_axis(table.scores, columns, axis=1)
    best[:, LISTED] = np.where(found, -np.inf, table.scores_of(truth))
    places = np.array([str(place) for place in range(LISTED + 1)], dtype=object)
    place = np.where(found, np.argmax(is_own, axis=1), LISTED)
    above_new = (best - scores.new[:, None]).astype(np.float32)
    nobody = np.full(best.shape, -1, dtype=np.int32)
    return IdentityScores(places, above_new, nobody), np.where(own < 0, "", places[place]).astype(object)


def weight_grid(num_models: int, *, steps: int, most: int) -> list[Weights]:
    """Lists sets of weights that sum to 1: equal ones first, then a grid, those nearest to equal ones first.

    Args:
        num_models: at least one.
        steps: of the grid from 0 to 1, fewer where the grid would hold more than `most` sets.
        most: sets of the grid at most, but always each model alone.

    Example:
    >>> weight_grid(2, steps=4, most=100)
    [(0.5, 0.5), (0.75, 0.25), (0.25, 0.75), (1.0, 0.0), (0.0, 1.0)]
    """
    while steps > 1 and comb(steps + num_models - 1, num_models - 1) > most:
        steps -= 1
    # A set of weights is where to put the bars between `steps` stars.
    bars = np.array(list(combinations(range(steps + num_models - 1), num_models - 1)), dtype=np.int64)
    ends = np.pad(bars, ((0, 0), (1, 1)), constant_values=(-1, steps + num_models - 1))
    grid = (np.diff(ends, axis=1)[::-1] - 1) / steps
    equal = np.full(num_models, 1 / num_models)
    far = np.round(np.abs(grid - equal).sum(axis=1), 9)
    grid = grid[np.argsort(far, kind="stable")]
    return list(dict.fromkeys(tuple(row) for row in [equal.tolist(), *grid.tolist()]))


def individual_folds(identity: np.ndarray, is_new: np.ndarray, num_folds: int) -> np.ndarray:
    """Divides queries into parts, all queries of an individual in one, known and new ones spread alike.

    Args:
        identity: `(num_queries,)` names; "" is a further individual each.
        is_new: `(num_queries,)` bool, queries of new individuals.
        num_folds: parts, fewer where there are fewer individuals.

    Returns:
        `(num_queries,)` int, the part of each query.
    """
    code = individual_codes(identity)
    _, first = np.unique(code, return_index=True)
    drawn = np.random.default_rng(SEED).permutation(len(first))
    order = drawn[np.argsort(is_new[first][drawn], kind="stable")]
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % min(num_folds, len(first))
    return fold[code]


def _ways(names: tuple[str, ...], scales: tuple[Scale, ...], settings: EnsembleSettings) -> Iterator[Blend]:
    """Gives the methods with conversions and temperatures to try, in their order."""
    equal = (1 / len(names),) * len(names)
    for method, conversion in product(settings.methods, settings.conversions):
        if method == "mean" or conversion in PROBABILITIES:
            for temperature in settings.temperatures if conversion == "softmax" else (1.0,):
                scaled = tuple(replace(scale, temperature=temperature) for scale in scales)
                yield Blend(names, equal, scaled, method, conversion)


def _questions(models: Mapping[str, OpenScores], truth: np.ndarray, identity: np.ndarray | None) -> Questions:
    """Returns the queries that count, checked."""
    if len(models) < 2:
        raise SiameseError(
            f"At least two models must be blended. Received: {len(models)}. Rank with one model as it is."
        )
    check_same_questions(list(models.values()))
    table = next(iter(models.values())).table
    truth = check_length("truth", truth, len(table.scores))
    identity = truth if identity is None else check_length("identity", identity, len(truth))
    for name, scores in models.items():
        if not np.isfinite(scores.new).all():
            raise SiameseError(
                f"Every model must say from which score a query is of a new individual. Received: none of {name}. "
                "Give its decision's threshold."
            )
    is_new = table.columns_of(truth) < 0
    is_known = np.all([scores.table.ranks_of(truth) > 0 for scores in models.values()], axis=0)
    placed = bool(is_new.any() and is_known.any())
    asked = Questions(models, truth, identity, placed).select(is_new | is_known)
    if len(set(individual_codes(asked.identity))) < 2:
        raise SiameseError(
            "Weights must be fitted on queries of at least two individuals that can be answered. Received: "
            f"{len(asked.truth)} queries. Give more validation photos."
        )
    return asked
