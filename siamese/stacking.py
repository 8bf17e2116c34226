"""Stacking: the embeddings of several models, joined, teach a logistic regression who is who."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from siamese.catalog import Catalog
from siamese.decision import choose_threshold
from siamese.errors import SiameseError
from siamese.identity_scores import IdentityScores, check_length, identity_scores
from siamese.open_scores import OpenScores, open_scores
from siamese.settings.ensemble import StackingSettings

# The solver ends where no slope is pulled by more than this share of a photo. At scikit-learn's 1e-4, a sixth of one
# among 1,658, it ended early: MAP@5 of simulated flukes 0.9554, not 0.9572.
END = 0.01
LEAST_PHOTOS = 1000  # for whom it is reckoned, so that small catalogs are fitted no worse


@dataclass(frozen=True, eq=False)
class Stacking:
    """A fitted regression with the catalog that taught it.

    Attributes:
        known: the catalog as each model embeds it.
        names: `(num_identities,)` identities, sorted.
        weights: `(joined_dim, num_identities)` float32, for joined embeddings as they are.
        intercepts: `(num_identities,)` float32.
        threshold: log probability of the best identity under which a query is called new.
        has_converged: whether the solver came to its end within `most_steps`.
    """

    known: tuple[Catalog, ...]
    names: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    threshold: float
    has_converged: bool

    def scores(self, asked: Sequence[Catalog], *, allowed: np.ndarray | None = None) -> OpenScores:
        """Gives the log probability of each identity, and the threshold as score of the new individual.

        Args:
            asked: the queries as each model embeds them, in the order of `known`; their identities are not read.
            allowed: `(num_queries, num_catalog)` bool, which photo may answer which query; none allows all. All photos
                of an identity must agree: what may not answer has taught the regression.

        Raises:
            SiameseError: the queries are embedded by other models, stand in the catalog, or `allowed` parts an
                identity.
        """
        return open_scores(self._table(asked, allowed), self.threshold)

    def _table(self, asked: Sequence[Catalog], allowed: np.ndarray | None) -> IdentityScores:
        self._check_asked(asked)
        cosines = _directions(asked) @ _directions(self.known).T / len(self.known)
        nearest = identity_scores(cosines, self.known[0].identity, allowed=allowed)
        if allowed is not None:
            self._check_whole(allowed, nearest)
        logits = _joined(asked) @ self.weights + self.intercepts
        scores = np.where(nearest.scores > -np.inf, log_softmax(logits, axis=1), -np.inf)
        return IdentityScores(nearest.names, scores.astype(np.float32), nearest.best_image)

    def _check_asked(self, asked: Sequence[Catalog]) -> None:
        _check_same_photos(asked)
        models = [catalog.model for catalog in self.known]
        if [catalog.model for catalog in asked] != models:
            raise SiameseError(
                f"Queries must be embedded by the {len(models)} models that were stacked, in their order. Received: "
                f"{', '.join(catalog.model[:12] for catalog in asked)}. Embed them by "
                f"{', '.join(model[:12] for model in models)}."
            )
        shared = np.intersect1d(asked[0].image_ids.astype(str), self.known[0].image_ids.astype(str))
        if len(shared):
            raise SiameseError(
                f"Queries must not stand in the catalog that taught the regression. Received: {shared[0]} in both. "
                "Leave it out of the catalog."
            )

    def _check_whole(self, allowed: np.ndarray, nearest: IdentityScores) -> None:
        """Refuses masks that part an identity's photos."""
        identity = self.known[0].identity
        named = np.flatnonzero(identity != "")
        column = np.searchsorted(nearest.names, identity[named])
        parted = (allowed[:, named] != (nearest.scores > -np.inf)[:, column]).any(axis=0)
        if parted.any():
            raise SiameseError(
                "All photos of an identity must be allowed for a query, or none: a photo that may not answer it has "
                f"taught the regression all the same. Received: some of {identity[named][parted][0]}. Blend scores "
                "instead of stacking."
            )


def fit_stacking(
    known: Sequence[Catalog], asked: Sequence[Catalog], truth: np.ndarray, *, settings: StackingSettings | None = None
) -> Stacking:
    """Joins embeddings, standardises them and fits a multinomial logistic regression (Lau 2015: C = 10, six models).

    The threshold of the new individual is the one with the highest MAP@5 on validation queries. A step of the solver
    costs some 2 x photos x joined_dim x identities multiplications. On 2 cores a drawn catalog of 2,000 identities with
    one photo and 512 numbers each took 2 to 3 seconds of processor time, 1,658 simulated flukes of 763 identities 39
    steps and 9 seconds; two models (1,024 numbers) took 10 to 17.

    Args:
        known: the catalog as each model embeds it, the same photos in the same order; photos of unknown individuals
            take no part. Not changed.
        asked: the validation queries, likewise. None of them may stand in the catalog.
        truth: `(num_queries,)` identity of each query; "" or one that the catalog lacks means new.
        settings: penalty and steps; None takes their defaults.

    Raises:
        SiameseError: the models do not fit together, the catalog names fewer than two individuals, or a query stands
            in it.

    Example:
    >>> places = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 0.0], [9.0, 9.0]], np.float32)
    >>> ids = np.array(list("abcdxy"), dtype=object)
    >>> known = Catalog(ids[:4], np.array(["ann", "ann", "bob", "bob"], dtype=object), places, "model")
    >>> between = np.array([[1.0, 5.0], [5.0, 5.0]], np.float32)
    >>> asked = Catalog(ids[4:], np.array(["", ""], dtype=object), between, "model")
    >>> found = fit_stacking([known], [asked], ["ann", ""]).scores([asked])
    >>> found.rank(asked.image_ids).identities[:, 0].tolist()
    ['ann', 'new_individual']
    """
    stacking = teach_stacking(known, settings=settings)
    table = stacking.scores(asked).table
    threshold = choose_threshold(table, check_length("truth", truth, len(table.scores)))
    return replace(stacking, threshold=threshold)


def teach_stacking(
    known: Sequence[Catalog], *, threshold: float = -np.inf, settings: StackingSettings | None = None
) -> Stacking:
    """Fits the regression of `fit_stacking` under a threshold that is known, or none.

    Args:
        known: as for `fit_stacking`. Not changed.
        threshold: log probability under which a query is called new; -inf calls none so.
        settings: penalty and steps; None takes their defaults.

    Raises:
        SiameseError: the models do not fit together, or the catalog names fewer than two individuals.
    """
    settings = settings or StackingSettings()
    _check_same_photos(known)
    named = known[0].identity != ""
    names, member = np.unique(known[0].identity[named].astype(str), return_inverse=True)
    if len(names) < 2:
        raise SiameseError(
            f"The catalog must name at least two individuals. Received: {len(names)}. A regression parts them."
        )
    embeddings = _joined(known)[named]
    centre, spread = embeddings.mean(axis=0), embeddings.std(axis=0)
    spread[spread == 0] = 1
    slopes, intercepts, converged = _fit((embeddings - centre) / spread, member, settings)
    weights = (slopes / spread).T
    return Stacking(tuple(known), names.astype(object), weights, intercepts - centre @ weights, threshold, converged)


def _fit(inputs: np.ndarray, member: np.ndarray, settings: StackingSettings) -> tuple[np.ndarray, np.ndarray, bool]:
    """Returns `(num_identities, joined_dim)` slopes, `(num_identities,)` intercepts, and whether the solver ended."""
    end = END / max(len(inputs), LEAST_PHOTOS)
    model = LogisticRegression(C=settings.inverse_penalty, max_iter=settings.most_steps, tol=end)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `has_converged`
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # most have a single photo
        model.fit(inputs, member)
    slopes, intercepts = model.coef_, model.intercept_
    if len(slopes) == 1:  # of two identities scikit-learn keeps the second one's alone
        slopes, intercepts = np.concatenate([0 * slopes, slopes]), np.append(0, intercepts)
    return slopes, intercepts, int(model.n_iter_.max()) < settings.most_steps


def _joined(catalogs: Sequence[Catalog]) -> np.ndarray:
    """Returns the embeddings of all models side by side, `(num_images, joined_dim)`."""
    return np.concatenate([catalog.embeddings for catalog in catalogs], axis=1)


def _directions(catalogs: Sequence[Catalog]) -> np.ndarray:
    """Returns them with length 1 for each model, so that a product is the sum of the models' cosines."""
    parts = [catalog.embeddings for catalog in catalogs]
    lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    return np.concatenate(
        [part / np.where(length > 0, length, 1) for part, length in zip(parts, lengths, strict=True)], axis=1
    )


def _check_same_photos(catalogs: Sequence[Catalog]) -> None:
    if not catalogs:
        raise SiameseError("At least one model must be stacked. Received: none. Give the embeddings of two or more.")
    first = catalogs[0]
    for number, other in enumerate(catalogs[1:], start=2):
        for what in ("image_ids", "identity"):
            if not np.array_equal(getattr(first, what), getattr(other, what)):
                raise SiameseError(
                    f"All models must embed the same photos in the same order. Received: other `{what}` of model "
                    f"{number} than of model 1. Embed one list of photos by every model."
                )
