"""Several finished runs answer together: fitted on their validation photos, told on their test photos."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from siamese.blends import Blend, Scale
from siamese.calibration import Calibration
from siamese.catalog import Catalog, load_catalog
from siamese.decision import listed_curve, num_answering
from siamese.errors import ModelFolderError, SiameseError
from siamese.evaluation.blending import FittedBlend, fit_blend
from siamese.evaluation.ranking_steps import OF_ALL, ranking_steps
from siamese.files import write_atomically
from siamese.finished_run import FinishedRun, open_run
from siamese.matcher import Photos, load
from siamese.open_scores import OpenScores, open_scores
from siamese.ranking import Ranking
from siamese.settings import EnsembleSettings
from siamese.stacking import fit_stacking, teach_stacking

FORMAT_VERSION = 1
FILE = "ensemble.json"
EQUAL, FITTED, STACKED = "equal weights", "fitted", "stacked"


@dataclass(frozen=True)
class Member:
    """A run that takes part.

    Attributes:
        name: of its folder.
        run: the folder.
        fingerprint: of its weights.
    """

    name: str
    run: Path
    fingerprint: str


@dataclass(frozen=True)
class Ensemble:
    """What ranks photos with several models.

    Attributes:
        members: the runs.
        blend: how their scores become one.
        curve: from a blended score to the probability that the identity is the right one.
        stacked_threshold: of the regression on all models' embeddings, where it takes part; None where it does not.
        quarantine: (photo, reason) of the photos that could not be read so far.
    """

    members: tuple[Member, ...]
    blend: Blend
    curve: Calibration
    stacked_threshold: float | None = None
    quarantine: list[tuple[str, str]] = field(default_factory=list, compare=False)

    def rank(self, queries: Photos, *, top_k: int = 5) -> Ranking:
        """Ranks for each query the identities of the runs' catalogs, with the place of the new individual.

        Each model embeds the queries and asks the catalog of its own run. Photos that cannot be read are left out and
        listed in `quarantine`.

        Args:
            queries: photos to name, as for `Matcher.rank`.
            top_k: answers for each query, the new individual included.

        Raises:
            SiameseError: a run is missing or was trained again, or the runs' catalogs hold other individuals.
        """
        scored = {member.name: _ask(member, queries, self.quarantine) for member in self.members}
        if self.stacked_threshold is not None:
            known, embedded = ([getattr(part, side) for part in scored.values()] for side in ("known", "asked"))
            stacking = teach_stacking(known, threshold=self.stacked_threshold)
            scored[STACKED] = replace(scored[self.members[0].name], scores=stacking.scores(embedded))
        asked, models = _aligned(scored)
        scores = self.blend.of(models)
        return scores.rank(asked.asked.image_ids, top_k=top_k, probability=self.curve.probability)

    def catalog_ids(self) -> np.ndarray:
        """Returns the image ids that `catalog_rows` of a ranking count: the catalog of the model with most weight."""
        heaviest = int(np.argmax(self.blend.weights))
        member = self.members[heaviest % len(self.members)]  # the regression, the last, counts the first one's photos
        return load_catalog(member.run / "catalog").image_ids

    def save(self, folder: Path, told: Mapping[str, Any]) -> None:
        """Writes `ensemble.json`; the runs stay where they are, and are found from the folder.

        Args:
            folder: to write to.
            told: what was found when it was fitted.
        """
        folder.mkdir(parents=True, exist_ok=True)
        values = {
            "format_version": FORMAT_VERSION,
            "members": [
                {"name": member.name, "run": os.path.relpath(member.run, folder), "fingerprint": member.fingerprint}
                for member in self.members
            ],
            "blend": self.blend.to_dict(),
            "curve": {"slope": self.curve.slope, "intercept": self.curve.intercept},
            "stacked_threshold": self.stacked_threshold,
            **told,
        }
        write_atomically(folder / FILE, lambda path: path.write_text(json.dumps(values, indent=1), encoding="utf-8"))


def load_ensemble(folder: Path) -> Ensemble:
    """Loads an ensemble.

    Args:
        folder: that `Ensemble.save` wrote to.

    Raises:
        ModelFolderError: there is none, or it is damaged.
    """
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if values["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {values['format_version']}, this version reads {FORMAT_VERSION}")
        members = tuple(
            Member(member["name"], folder / member["run"], member["fingerprint"]) for member in values["members"]
        )
        curve = Calibration("platt", **values["curve"])
        return Ensemble(members, Blend.from_dict(values["blend"]), curve, values["stacked_threshold"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(
            f"{folder}: an ensemble must hold a sound {FILE}. Received: {error}. Fit it again."
        ) from error


@dataclass(frozen=True, eq=False)
class FittedEnsemble:
    """An ensemble and how it came out.

    Attributes:
        ensemble: the one to use.
        fit: how method and weights were chosen.
        steps: rows of `ranking_steps`: the test photos, every other model, equal weights and the fitted blend against
            the model that was best on the validation photos. Measures that count the new individual are there where
            validation could place it.
        best_single: that model.
    """

    ensemble: Ensemble
    fit: FittedBlend
    steps: pd.DataFrame
    best_single: str

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return {"fit": self.fit.to_dict(), "best_single": self.best_single, "test": self.steps.to_dict("records")}


def fit_ensemble(
    runs: Sequence[Path],
    *,
    stacking: bool = False,
    settings: EnsembleSettings | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> FittedEnsemble:
    """Chooses on the validation photos how runs answer together, and tells on the test photos what that brings.

    Args:
        runs: folders of finished trainings on one manifest with one split.
        stacking: whether a regression on the embeddings of all models is one more model, see `fit_stacking`.
        settings: what to try; None takes the defaults.
        say: is told each run when it was asked.

    Raises:
        SiameseError: there are not two runs, a part of one is missing or was changed, or they do not share photos and
            individuals.
    """
    members: list[Member] = []
    answers: dict[str, dict[str, Answers]] = {"validation": {}, "test": {}}
    scales: dict[str, Scale] = {}
    for name, folder in _named(runs).items():
        with open_run(folder) as run:
            for split, of_runs in answers.items():
                of_runs[name] = _answers_of(run, split)
            decision = run.matcher.decision
        members.append(Member(name, folder, run.matcher.fingerprint))
        scales[name] = Scale(decision.identity_slope, decision.identity_intercept)
        say(f"{name}: asked.")
    threshold = _stack(answers) if stacking else None
    (asked, validation), (tested, test) = (_aligned(answers[split]) for split in ("validation", "test"))
    fit = fit_blend(validation, asked.truth, scales=scales, identity=asked.asked.identity, settings=settings)
    curve = listed_curve(fit.blend.of(validation).table, asked.truth)
    steps = _steps(test, tested, fit)
    return FittedEnsemble(Ensemble(tuple(members), fit.blend, curve, threshold), fit, steps, fit.best_single)


def _stack(answers: Mapping[str, dict[str, Answers]]) -> float:
    """Adds what the regression answers to those of the models, and returns its threshold."""
    validation, test = (list(answers[split].values()) for split in ("validation", "test"))
    chosen = fit_stacking([part.known for part in validation], [part.asked for part in validation], validation[0].truth)
    # The test is answered by more photos, and they teach the regression, too.
    taught = teach_stacking([part.known for part in test], threshold=chosen.threshold)
    for split, regression in (("validation", chosen), ("test", taught)):
        first, *_ = parts = list(answers[split].values())
        scores = regression.scores([part.asked for part in parts], allowed=first.allowed)
        answers[split][STACKED] = replace(first, scores=scores)
    return chosen.threshold


def _steps(test: Mapping[str, OpenScores], tested: Answers, fit: FittedBlend) -> pd.DataFrame:
    others = {name: scores for name, scores in test.items() if name != fit.best_single}
    ways = {fit.best_single: test[fit.best_single], **others, EQUAL: fit.equal.of(test), FITTED: fit.fitted.of(test)}
    steps = ranking_steps(
        {name: scores.table for name, scores in ways.items()},
        tested.truth,
        thresholds={name: scores.threshold for name, scores in ways.items()},
        identity=tested.asked.identity,
    )
    # Where nothing placed the new individual, measures that count it would compare thresholds that nobody fitted.
    return steps if fit.placed else steps[~steps["metric"].isin(OF_ALL)].reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class Answers:
    """What one model answers to some queries.

    Attributes:
        asked: the queries, with who they show as far as known.
        known: the catalog.
        scores: of the identities and of the new individual.
        allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; None allows all but a photo
            itself.
    """

    asked: Catalog
    known: Catalog
    scores: OpenScores
    allowed: np.ndarray | None = None

    @property
    def truth(self) -> np.ndarray:
        """`(num_queries,)` who a query shows, "" where the catalog does not hold it."""
        identity = self.asked.identity
        return np.where(np.isin(identity, self.known.identity), identity, "").astype(object)

    def select(self, rows: np.ndarray) -> Answers:
        """Returns some of the queries."""
        scores = OpenScores(self.scores.table.select(rows), self.scores.new[rows])
        allowed = None if self.allowed is None else self.allowed[rows]
        return Answers(self.asked.select(rows), self.known, scores, allowed)


def _answers_of(run: FinishedRun, split: str) -> Answers:
    side = run.side(split)
    if not len(side.queries):
        raise SiameseError(f"{run.folder}: the run must have {split} photos. Received: none. Choose another run.")
    asked, known, allowed = run.catalog(side.queries), run.catalog(side.catalog), run.allowed(side)
    num_identities = num_answering(known.identity, allowed)
    threshold = run.matcher.decision.new_threshold(known.identity, num_identities=num_identities)
    return Answers(asked, known, open_scores(run.table(side), threshold), allowed)


def _ask(member: Member, queries: Photos, quarantine: list[tuple[str, str]]) -> Answers:
    """Returns what a member answers, asked about new photos; adds those that cannot be read to the quarantine."""
    matcher = load(member.run / "model")
    if matcher.fingerprint != member.fingerprint:
        raise SiameseError(
            f"{member.run}: a run of an ensemble must stay as it was. Received: other weights. Fit the ensemble again."
        )
    known, asked = load_catalog(member.run / "catalog"), matcher.catalog(queries)
    known.check_model(matcher.fingerprint)
    quarantine += matcher.quarantine
    return Answers(asked, known, matcher.open_scores(asked, known))


def _aligned(answers: Mapping[str, Answers]) -> tuple[Answers, dict[str, OpenScores]]:
    """Returns the queries that all models were asked, in the first one's order, and the scores of each model."""
    first, *others = answers.values()
    asked_too = [set(part.asked.image_ids) for part in others]
    shared = [image_id for image_id in first.asked.image_ids if all(image_id in ids for ids in asked_too)]
    if not shared:
        raise SiameseError(
            f"Runs must ask about the same photos. Received: {', '.join(answers)}, which share none. Train them on one "
            "manifest that has a `split`."
        )
    chosen = {name: part.select(pd.Index(part.asked.image_ids).get_indexer(shared)) for name, part in answers.items()}
    leader, *followers = chosen.values()
    for part in followers:
        differs = np.flatnonzero(part.truth != leader.truth)
        if len(differs):
            raise SiameseError(
                f"Runs must agree about who a photo shows. Received: {leader.truth[differs[0]] or 'new'!r} and "
                f"{part.truth[differs[0]] or 'new'!r} for {shared[differs[0]]}. Train them on one manifest."
            )
    return leader, {name: part.scores for name, part in chosen.items()}


def _named(runs: Sequence[Path]) -> dict[str, Path]:
    """Names runs by their folders, by their whole paths where two are called alike or one like the regression."""
    folders = [Path(os.path.abspath(run)) for run in runs]
    if len(set(folders)) < max(2, len(folders)):
        raise SiameseError(
            f"An ensemble must have two or more runs, each once. Received: {', '.join(map(str, runs)) or 'none'}. "
            "Train a second one with --set training.seed=1."
        )
    short = [folder.name for folder in folders]
    differ = len({*short, STACKED}) > len(short)
    return dict(zip(short if differ else map(str, folders), folders, strict=True))
