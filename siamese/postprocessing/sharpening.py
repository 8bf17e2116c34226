"""Probabilities are sharpened by a power and moved towards how often each identity was photographed before."""

from __future__ import annotations

import numpy as np

from siamese.errors import SiameseError
from siamese.open_scores import OpenScores
from siamese.postprocessing.places import check_probabilities, from_columns, rounded

EPSILON = 1e-4  # first place, right whales 2015: slides and code
POWER = 1.5  # the same; 1.45 in the text, and 1.1 to 1.6 gained about 0.1 log loss
PRIOR_WEIGHT = 0.01  # the same


def sharpen(
    scores: OpenScores,
    prior: np.ndarray,
    *,
    epsilon: float = EPSILON,
    power: float = POWER,
    prior_weight: float = PRIOR_WEIGHT,
) -> OpenScores:
    """Sharpens probabilities as deepsense.io did: epsilon, power, prior, each time divided by the sum of the row.

    The last factor of each identity is (prior / mean prediction) ^ `prior_weight`, where the mean is that of the
    queries asked together, after the power: who is answered more often than was photographed becomes less likely.

    Args:
        scores: probabilities. Not changed.
        prior: `(num_identities + 1,)` of `photo_prior`, the new individual last.
        epsilon: added to each probability, so that no answer is impossible.
        power: over 1 sharpens; the order within a query stays.
        prior_weight: 0 leaves the prior aside, 1 takes it in full.

    Raises:
        SiameseError: a score is no probability, there is not one prior per column, or a number is out of its range.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> table = identity_scores(np.array([[0.8, 0.2]]), np.array(["ann", "bob"], dtype=object))
    >>> scores = OpenScores(table, np.array([-np.inf]))
    >>> sharpen(scores, np.array([0.6, 0.3, 0.1]), epsilon=0, power=2, prior_weight=0).table.scores.round(3).tolist()
    [[0.9409999847412109, 0.05900000035762787]]
    """
    before = check_probabilities(scores)
    _check(prior, before.shape[1], epsilon, power)
    may = before > -np.inf
    powered = _shares(_shares(np.where(may, before + epsilon, 0)) ** power)
    predicted = powered.mean(axis=0) if len(powered) else np.ones(before.shape[1])
    ratio = np.divide(prior, predicted, out=np.ones(len(predicted)), where=predicted > 0)
    return from_columns(scores, rounded(np.where(may, _shares(powered * ratio**prior_weight), -np.inf), before))


def photo_prior(names: np.ndarray, catalog_identity: np.ndarray, is_new: np.ndarray) -> np.ndarray:
    """Returns how likely each answer is before a query is seen: the share of the photos, and of new queries.

    Args:
        names: `(num_identities,)` of the table of scores.
        catalog_identity: `(num_catalog,)` names; "" counts as nobody.
        is_new: `(num_validation,)` bool, which validation queries are new. One more of each kind is counted, so that
            nothing is impossible.

    Returns:
        `(num_identities + 1,)` shares that add up to 1, the new individual last.

    Example:
    >>> photo_prior(np.array(["ann", "bob"]), np.array(["bob", "ann", "bob", ""]), np.array([True, False])).round(3)
    array([0.167, 0.333, 0.5 ])
    """
    count = num_photos(names, catalog_identity)
    new = (np.sum(is_new) + 1) / (len(is_new) + 2)
    return np.append(count / max(1, count.sum()) * (1 - new), new)


def num_photos(names: np.ndarray, catalog_identity: np.ndarray) -> np.ndarray:
    """Returns `(num_identities,)` the number of catalog photos of each identity."""
    found, count = np.unique(np.asarray(catalog_identity, dtype=str), return_counts=True)
    of = dict(zip(found.tolist(), count.tolist(), strict=True))
    return np.array([of.get(name, 0) for name in names], dtype=np.int64)


def _shares(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(values.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _check(prior: np.ndarray, num_columns: int, epsilon: float, power: float) -> None:
    if np.shape(prior) != (num_columns,) or not np.all(prior >= 0):
        raise SiameseError(
            f"`prior` must hold one share for each identity and one for the new individual, shape ({num_columns},). "
            f"Received: shape {np.shape(prior)}. Take that of `photo_prior`."
        )
    if not (epsilon >= 0 and power > 0):
        raise SiameseError(
            f"`epsilon` must be 0 or more, `power` above 0. Received: epsilon={epsilon}, power={power}. "
            f"{EPSILON:g} and {POWER:g} are usual."
        )
