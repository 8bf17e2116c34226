"""Pseudo-labels: answers certain enough to train on, by a cut whose precision is measured before they are used."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import betaincinv
from scipy.stats import hypergeom

from siamese.errors import ManifestError, SiameseError
from siamese.manifest import Manifest, from_table
from siamese.ranking import NEW_INDIVIDUAL, Ranking, check_length

PSEUDO_LABEL = "pseudo_label"  # column of a manifest: "true" for an identity that a model proposed
COLUMNS = ("image_id", "identity", "score", "margin")
ASKED_SPLITS = ("train", "catalog")  # photos of the other splits are queries of the evaluation
INSPECTED_COLUMNS = ("duplicate_group", "burst")


@dataclass(frozen=True)
class Cut:
    """A score from which answers are kept, and how often kept answers are right.

    Attributes:
        score: answers that score at least this are kept.
        precision: share of the kept validation answers that are right.
        lower: lower end of the one-sided interval of the true precision; the search of the cut leaves it valid.
        confidence: of that interval.
        num_kept: validation answers that the cut keeps.
        num_right: right ones among them.
        num_measured: all validation answers.
    """

    score: float
    precision: float
    lower: float
    confidence: float
    num_kept: int
    num_right: int
    num_measured: int


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Proposed identities, and what is known of them.

    Attributes:
        cut: the cut, with the precision measured on validation answers.
        table: proposals, the most certain first: columns image_id, identity, score, margin.
        num_asked: photos that were asked about.
        new_share: share of the validation photos whose individual the catalog does not hold. Where more of the asked
            photos are such, fewer of the proposals are right than was measured.
        manifest: the collection with the proposals as training photos.
    """

    cut: Cut
    table: pd.DataFrame
    num_asked: int
    new_share: float
    manifest: Manifest


def fit_cut(scores: np.ndarray, right: np.ndarray, *, precision: float, confidence: float = 0.95) -> Cut:
    """Finds the smallest score from which answers are right as often as wanted, surely and not by luck.

    The bound of a share is Clopper and Pearson's (1934). Cuts are tried from the strictest down that could show the
    precision (all answers right), as long as the bound holds: a fixed sequence of tests, so that the search costs no
    certainty (Maurer et al. 1995; Angelopoulos et al. 2021, "Learn then Test"). The promise is that the true precision
    lies under the wanted one in at most a share 1 - `confidence` of such fits. It asks that higher scores are more
    often right, that the answers are independent, and that the photos labelled later are like the validation's, with
    no more new individuals among them.

    Args:
        scores: `(num_queries,)` score of the best named answer of each validation query, -inf where there is none.
            Not changed.
        right: `(num_queries,)` bool, whether that answer is right; for a new individual it is not.
        precision: wanted share of right answers.
        confidence: of the promise.

    Raises:
        SiameseError: no cut keeps the promise: there are too few answers, or too many wrong ones at the top.

    Example:
    >>> cut = fit_cut(np.arange(100.0), np.arange(100) >= 20, precision=0.9)
    >>> cut.score, cut.num_kept, round(cut.precision, 2), round(cut.lower, 2)
    (17.0, 83, 0.96, 0.91)
    """
    scores, right = _checked_answers(scores, right)
    for name, share in (("precision", precision), ("confidence", confidence)):
        if not 0 < share < 1:
            raise SiameseError(f"`{name}` must lie between 0 and 1. Received: {name}={share}. 0.95 is usual.")
    order = np.argsort(-scores, kind="stable")
    ordered, num_right = scores[order], np.cumsum(right[order])
    num_kept = np.flatnonzero(np.diff(ordered, append=-np.inf)) + 1  # equal scores are kept together
    needed = math.ceil(math.log(1 - confidence) / math.log(precision))  # all of so many must be right
    num_kept = num_kept[num_kept >= needed]
    lower = lower_bounds(num_right[num_kept - 1], num_kept, 1 - confidence)
    num_passed = int(np.logical_and.accumulate(lower >= precision).sum())
    if num_passed == 0:
        raise SiameseError(_no_cut(num_right, precision, needed))
    kept = int(num_kept[num_passed - 1])
    return Cut(
        score=float(ordered[kept - 1]),
        precision=float(num_right[kept - 1] / kept),
        lower=float(lower[num_passed - 1]),
        confidence=confidence,
        num_kept=kept,
        num_right=int(num_right[kept - 1]),
        num_measured=len(right),
    )


def lower_bounds(num_right: np.ndarray, num_kept: np.ndarray, risk: float) -> np.ndarray:
    """Returns Clopper and Pearson's one-sided lower bounds of shares.

    Args:
        num_right: `(count,)` successes.
        num_kept: `(count,)` trials, at least 1.
        risk: probability that a bound lies over the true share.

    Example:
    >>> lower_bounds(np.array([0, 59]), np.array([10, 59]), 0.05).round(3)
    array([0.  , 0.95])
    """
    num_right, num_kept = np.asarray(num_right), np.asarray(num_kept)
    return np.where(num_right == 0, 0.0, betaincinv(np.maximum(num_right, 1), num_kept - num_right + 1, risk))


def best_named(ranking: Ranking) -> pd.DataFrame:
    """Returns the best answer of each query that is an identity, not the new individual.

    Args:
        ranking: three answers or more of each query, so that two identities stand among them where there are two.

    Returns:
        One row a query: image_id, identity ("" where nobody may answer), score (-inf there), and margin, by which the
        score is above that of the second identity (nan without a second).

    Raises:
        SiameseError: the ranking has fewer than three answers.
    """
    if ranking.identities.shape[1] < 3:
        raise SiameseError(
            f"`ranking` must hold three answers or more. Received: {ranking.identities.shape[1]}. Rank with top_k=3."
        )
    is_name = (ranking.identities != "") & (ranking.identities != NEW_INDIVIDUAL)
    order = np.argsort(~is_name, axis=1, kind="stable")[:, :2]
    named = np.take_along_axis(is_name, order, axis=1)
    names = np.where(named, np.take_along_axis(ranking.identities, order, axis=1), "")
    scores = np.where(named, np.take_along_axis(ranking.scores, order, axis=1), -np.inf)
    margin = np.where(named[:, 1], scores[:, 0] - np.where(named[:, 1], scores[:, 1], 0), np.nan)
    columns = (ranking.query_ids, names[:, 0], scores[:, 0], margin)
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def propose_labels(ranking: Ranking, cut: float) -> pd.DataFrame:
    """Proposes the best named answer of each query that reaches the cut.

    Args:
        ranking: three answers or more of each query.
        cut: score of `fit_cut`.

    Returns:
        Columns image_id, identity, score, margin (see `best_named`), the highest score first.

    Raises:
        SiameseError: the ranking has fewer than three answers.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> from siamese.ranking import rank_identities
    >>> table = identity_scores(np.array([[9.0, 4.0], [5.0, 6.0]]), np.array(["ann", "bob"], dtype=object))
    >>> ranking = rank_identities(table, query_ids=["q1", "q2"], threshold=7.0, top_k=3)
    >>> propose_labels(ranking, 8.0).to_dict("records")
    [{'image_id': 'q1', 'identity': 'ann', 'score': 9.0, 'margin': 5.0}]
    """
    answers = best_named(ranking)
    kept = answers[(answers["score"] >= cut) & (answers["identity"] != "")]
    return kept.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def check_alike(num_kept: int, num_asked: int, cut: Cut) -> None:
    """Refuses photos that reach the cut more seldom than the validation's did: more of them show new individuals.

    Of such photos fewer names are right than was measured, down to none where all are new. The chance to see so few by
    luck is that of the hypergeometric distribution (Fisher's exact test, one-sided).

    Args:
        num_kept: photos that reach the cut.
        num_asked: all photos that were asked about.
        cut: what was measured.

    Raises:
        SiameseError: the chance is under 1 - `cut.confidence`.

    Example:
    >>> cut = fit_cut(np.arange(100.0), np.arange(100) >= 20, precision=0.9)
    >>> check_alike(80, 100, cut)
    >>> check_alike(40, 100, cut)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    siamese.errors.SiameseError: The photos to be named must be like the validation's. Received: ... 40.0% reach ...
    """
    total_kept, total = num_kept + cut.num_kept, num_asked + cut.num_measured
    share, measured = num_kept / num_asked, cut.num_kept / cut.num_measured
    if hypergeom.cdf(num_kept, total, total_kept, num_asked) < 1 - cut.confidence:
        raise SiameseError(
            "The photos to be named must be like the validation's. "
            f"Received: photos of which {share:.1%} reach the cut, against {measured:.1%}; so more of them show "
            "new individuals, and the measured precision says nothing of them. Ask about others, or train a run whose "
            "validation has as many new individuals (`split.new_share`)."
        )


def may_be_labelled(manifest: Manifest) -> np.ndarray:
    """Returns `(num_images,)` bool: photos of unknown individuals that are no queries of the evaluation.

    Photos that the check of the collection keeps out of training (`use` catalog) are not among them.
    """
    is_asked = np.isin(manifest.column("split"), ASKED_SPLITS) & (manifest.column("use") != "catalog")
    return (manifest.identity == "") & is_asked


def with_pseudo_labels(manifest: Manifest, proposals: pd.DataFrame, *, outside: Manifest | None = None) -> Manifest:
    """Adds proposed identities to a collection, as training photos alone.

    A column `pseudo_label` tells them ("true") from the others ("false"), so that an evaluation leaves them out.

    Args:
        manifest: the collection with its split. Not changed.
        proposals: columns image_id and identity, as of `propose_labels`.
        outside: photos that are not in the collection; those proposed are added to it. With them the marks of copies
            and bursts are taken away, so that the next training looks for copies of its test photos.

    Raises:
        ManifestError: a proposal is for a photo that is not there, has an identity, or is a query of the evaluation;
            or a photo from outside is in the collection.
    """
    names = dict(zip(proposals["image_id"], proposals["identity"], strict=True))
    _check_proposals(manifest, outside, names)
    proposed = _labelled(manifest, names)
    if outside is None:
        return proposed
    check_outside(manifest, outside)
    added = _labelled(outside.select(np.isin(outside.image_ids, list(names))), names)
    tables = [proposed.table, added.table.assign(path=added.paths_from(manifest.root))]
    joined = pd.concat(tables, ignore_index=True).drop(columns=list(INSPECTED_COLUMNS), errors="ignore")
    return from_table(joined, manifest.root, check_files=False, source="the enlarged collection")


def check_outside(manifest: Manifest, outside: Manifest) -> None:
    """Refuses photos from outside that the collection has: they may be its test.

    Raises:
        ManifestError: names the first photo, by its name or its file.
    """
    known_ids, known_paths = set(manifest.image_ids), {path.resolve() for path in manifest.paths}
    for image_id, path in zip(outside.image_ids, outside.paths, strict=True):
        if image_id in known_ids or path.resolve() in known_paths:
            raise ManifestError(
                f"No photo to be labelled may be one that the run was trained or is evaluated on. Received: {image_id} "
                f"({path}). Leave it out, or give it another image_id if it is another photo."
            )


def _checked_answers(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = np.asarray(scores, dtype=np.float64)
    right = check_length("right", right, len(scores)).astype(bool)
    if np.isnan(scores).any():
        raise SiameseError("`scores` must be numbers. Received: NaN. Give -inf for a query without an answer.")
    answered = scores > -np.inf
    return scores[answered], right[answered]


def _no_cut(num_right: np.ndarray, precision: float, needed: int) -> str:
    if len(num_right) < needed:
        return (
            f"A precision of {precision:g} must be shown on at least {needed} validation answers. "
            f"Received: {len(num_right)}. Ask for less, or give more validation photos."
        )
    return (
        f"A precision of {precision:g} must be shown by the best validation answers. "
        f"Received: {num_right[needed - 1]} right of the best {needed}, {num_right[-1]} right of {len(num_right)} in "
        "all. Ask for less, or train a better model."
    )


def _check_proposals(manifest: Manifest, outside: Manifest | None, names: dict[str, str]) -> None:
    refused = np.isin(manifest.image_ids, list(names)) & ~may_be_labelled(manifest)
    if refused.any():
        row = int(np.flatnonzero(refused)[0])
        raise ManifestError(
            f"A pseudo-label must be for an unknown individual's photo of the split {' or '.join(ASKED_SPLITS)}. "
            f"Received: {manifest.image_ids[row]} of {manifest.identity[row] or 'an unknown individual'}, "
            f"split {manifest.column('split')[row]!r}. Leave it out."
        )
    there = set(manifest.image_ids) | set([] if outside is None else outside.image_ids)
    if missing := sorted(set(names) - there):
        raise ManifestError(f"A pseudo-label must be for a photo that is there. Received: {missing[0]}. Leave it out.")


def _labelled(manifest: Manifest, names: dict[str, str]) -> Manifest:
    """Writes names, split and mark of the proposed photos; marks of an earlier round stay."""
    ids = manifest.image_ids
    proposed = np.isin(ids, list(names))
    marked = proposed | (manifest.column(PSEUDO_LABEL) == "true")
    columns = {
        "identity": [names.get(image_id, own) for image_id, own in zip(ids, manifest.identity, strict=True)],
        "split": np.where(proposed, "train", manifest.column("split")),
        PSEUDO_LABEL: np.where(marked, "true", "false"),
    }
    for name, values in columns.items():
        manifest = manifest.with_column(name, np.array(values, dtype=object))
    return manifest
