"""Checks stated error rates: individuals are divided at random, one part calibrates, the other part tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siamese.calibration import KINDS, fit_calibration
from siamese.collection import Side
from siamese.decision import (
    MATCH_RATES,
    Decision,
    MatchCut,
    Pairs,
    fit_growth,
    num_answering,
    replay_growth,
    split_pairs,
)
from siamese.errors import SiameseError
from siamese.evaluation.probability import expected_calibration_error
from siamese.finished_run import open_run
from siamese.identity_scores import IdentityScores, identity_scores
from siamese.matcher import Matcher, load

GROWTH = 10  # times as many individuals in the catalog as in the calibration
FEWEST_IDENTITIES = 20  # two halves of ten: of fewer, an interval says nothing
FEWEST_GROWN = 100  # that may answer a query: a tenth of them are ten


@dataclass(frozen=True, eq=False)
class Labelled:
    """Scores of photos with each other.

    Attributes:
        scores: `(num_photos, num_photos)` floats.
        identity: `(num_photos,)` names.
        allowed: `(num_photos, num_photos)` bool: which photo may answer which.
    """

    scores: np.ndarray
    identity: np.ndarray
    allowed: np.ndarray

    def part(self, names: np.ndarray) -> Labelled:
        """Returns the photos of some individuals."""
        rows = np.flatnonzero(np.isin(self.identity, names))
        grid = np.ix_(rows, rows)
        return Labelled(self.scores[grid], self.identity[rows], self.allowed[grid])

    def strangers(self) -> tuple[IdentityScores, np.ndarray]:
        """Returns the photos' scores with individuals that they do not show, and each photo's own column."""
        table = identity_scores(self.scores, self.identity, allowed=self.allowed)
        own = table.columns_of(self.identity)
        scores = np.where(own[:, None] == np.arange(len(table.names)), -np.inf, table.scores)
        return IdentityScores(table.names, scores, table.best_image), own

    def pairs(self) -> Pairs:
        """Returns each pair once."""
        once = self.allowed & np.triu(np.ones(self.allowed.shape, dtype=bool), 1)
        return split_pairs(self.scores, self.identity, self.identity, allowed=once)


def bench_decision(run: Path, *, photos: Path | None = None, divisions: int = 20, seed: int = 0) -> dict[str, Any]:
    """Divides individuals again and again and counts how often the observed rate lies in the stated interval.

    Args:
        run: folder of a finished training.
        photos: labelled photos that the model never saw, a manifest or folder; None takes the photos of the run whose
            individuals it was not trained on, under its protocol.
        divisions: how many.
        seed: of the divisions.

    Returns:
        `num_photos`, `num_identities`; `match`: for each false-match rate, how many of the divisions into halves had
        the rate of the second half inside the interval that the first half stated; `growth`: the same for the rate at
        which new individuals are named, stated by a tenth of the individuals for a catalog of all of them, and what an
        unmoved threshold would give (`unmoved`), none where fewer than 100 individuals may answer a query;
        `calibration`: expected calibration error of each kind of curve on the second halves, same and different pairs
        in equal numbers; `model`: what the model's own cuts give on all these photos, and what it states, with the
        rate at which it names new individuals last. Shares and intervals are medians over the divisions.

    Raises:
        SiameseError: there are fewer than 20 individuals.
    """
    matcher = load(run / "model")
    labelled = _never_trained(run) if photos is None else _of_photos(photos, matcher)
    names = np.unique(labelled.identity)
    if len(names) < FEWEST_IDENTITIES:
        raise SiameseError(
            f"Error rates must be checked on at least {FEWEST_IDENTITIES} individuals that the model was not trained "
            f"on. Received: {len(names)}. Give --photos with more."
        )
    rows = list(_halves(labelled, divisions, seed))
    grows = num_answering(labelled.identity, labelled.allowed) >= FEWEST_GROWN
    grown = zip(*grown_rates(labelled, divisions, seed), strict=True) if grows else ()
    return {
        "num_photos": len(labelled.identity),
        "num_identities": len(names),
        "divisions": divisions,
        "match": [_summary([row[0][place] for row in rows]) for place in range(len(MATCH_RATES))],
        "growth": [_summary(list(each)) for each in grown],
        "calibration": [{"kind": kind, "ece": float(np.median([row[1][kind] for row in rows]))} for kind in KINDS],
        "model": list(of_model(matcher.decision, labelled)),
    }


def of_model(decision: Decision, labelled: Labelled) -> Iterator[dict[str, Any]]:
    """Yields what a model states of its error rates, and what photos of other individuals show.

    Args:
        decision: of the model.
        labelled: photos of individuals that it was not trained on.
    """
    pairs = labelled.pairs()
    for cut in decision.match_cuts:
        yield _told("false matches", _observed(cut, pairs))
    if decision.growth:
        table, _ = labelled.strangers()
        threshold = decision.at(num_answering(labelled.identity, labelled.allowed)).threshold
        named = float(np.mean(table.best() >= threshold))
        rate, low, high = decision.named_rate, decision.named_low, decision.named_high
        yield _told("new ones named", {"rate": rate, "observed": named, "low": low, "high": high})


def grown_rates(labelled: Labelled, divisions: int, seed: int) -> Iterator[list[dict[str, float]]]:
    """Yields for each division one dictionary a rate: what a tenth of the individuals states, and what the rest shows.

    Args:
        labelled: photos of at least `GROWTH` individuals.
        divisions: how many.
        seed: of the divisions.
    """
    rng = np.random.default_rng(seed)
    table, own = labelled.strangers()
    scores = table.scores
    for _ in range(divisions):
        few = np.sort(rng.permutation(len(table.names))[: len(table.names) // GROWTH])
        asked = np.isin(own, few)
        small, best = scores[np.ix_(asked, few)], scores[~asked].max(axis=1)
        growth = fit_growth(small)
        whole = round(float(np.isfinite(scores[~asked]).sum(axis=1).mean()))
        yield [
            {
                "rate": rate,
                "observed": float(np.mean(best >= growth.threshold(rate, whole))),
                **dict(zip(("low", "high"), replay_growth(small, own[asked], few, rate=rate, seed=seed), strict=True)),
                "unmoved": float(np.mean(best >= growth.threshold(rate, growth.num_identities))),
            }
            for rate in MATCH_RATES
        ]


def _halves(labelled: Labelled, divisions: int, seed: int) -> Iterator[tuple[list[dict[str, float]], dict[str, float]]]:
    """Yields for each division what the second half shows of the first one's cuts and curves."""
    rng = np.random.default_rng(seed)
    names = np.unique(labelled.identity)
    for _ in range(divisions):
        order = rng.permutation(names)
        first, second = (labelled.part(part).pairs() for part in np.array_split(order, 2))
        cuts = first.different.cuts(MATCH_RATES, seed=seed)
        yield [_observed(cut, second) for cut in cuts], _calibration_errors(first, second, rng)


def _observed(cut: MatchCut, pairs: Pairs) -> dict[str, float]:
    return {"rate": cut.rate, "observed": pairs.different.share_above(cut.score), "low": cut.low, "high": cut.high}


def _calibration_errors(first: Pairs, second: Pairs, rng: np.random.Generator) -> dict[str, float]:
    drawn = rng.choice(second.different.scores, min(len(second.same), len(second.different)), replace=False)
    scores, target = np.concatenate([second.same, drawn]), np.repeat([1, 0], [len(second.same), len(drawn)])
    curves = {kind: fit_calibration(first.same, first.different.scores, kind=kind) for kind in KINDS}
    return {kind: expected_calibration_error(target, curve.probability(scores)) for kind, curve in curves.items()}


def _told(what: str, row: dict[str, float]) -> dict[str, Any]:
    return {"what": what, **row, "inside": bool(row["low"] <= row["observed"] <= row["high"])}


def _summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    inside = sum(row["low"] <= row["observed"] <= row["high"] for row in rows)
    medians = {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
    return {"rate": medians.pop("rate"), "inside": inside, **medians}


def _never_trained(folder: Path) -> Labelled:
    """Returns the photos of a run whose individuals were not trained on."""
    with open_run(folder) as run:
        collection = run.collection
        trained = collection.identity[collection.split == "train"]
        rows = np.flatnonzero(~np.isin(collection.identity, trained) & (collection.identity != ""))
        photos = run.catalog(rows)
    return Labelled(run.matcher.score(photos, photos), photos.identity, run.allowed(Side(rows, rows)))


def _of_photos(photos: Path, matcher: Matcher) -> Labelled:
    catalog = matcher.catalog(photos)
    catalog = catalog.select(catalog.identity != "")
    return Labelled(matcher.score(catalog, catalog), catalog.identity, ~np.eye(len(catalog), dtype=bool))
