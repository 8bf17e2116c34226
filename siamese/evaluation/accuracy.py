"""How often the first answer is right: balanced over individuals, for known and new ones, and who is taken for whom."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import pandas as pd

from siamese.errors import SiameseError
from siamese.evaluation.bootstrap import individual_codes
from siamese.identity_scores import NEW_INDIVIDUAL, check_length


def balanced_accuracy(y_true: np.ndarray, y_pred: np.ndarray) -> float:
    """Returns the mean over individuals of the share of their queries that is answered right; nan without queries.

    An individual with many photos weighs as much as one with a single photo. Queries of unknown name ("") count as one
    individual each.

    Args:
        y_true: `(num_queries,)` identities.
        y_pred: `(num_queries,)` first answers.

    Raises:
        SiameseError: there is not one answer per query.

    Example:
    >>> balanced_accuracy(["ann", "ann", "ann", "bob"], ["ann", "ann", "ann", "ann"])
    0.5
    """
    truth, answers = _checked(y_true, y_pred)
    return _mean_over_individuals(truth, answers == truth)


def baks(y_true: np.ndarray, y_pred: np.ndarray, *, known: Collection[str]) -> float:
    """Returns the balanced accuracy on known samples: `balanced_accuracy` over queries of the catalog's individuals.

    Args:
        y_true: `(num_queries,)` identities; "" or one that is not known is a new individual.
        y_pred: `(num_queries,)` first answers.
        known: identities of the catalog.

    Returns:
        The mean, nan without known queries. As BAKS of AnimalCLEF 2025.

    Example:
    >>> baks(["ann", "bob", "zoe"], ["ann", "new_individual", "ann"], known=["ann", "bob"])
    0.5
    """
    truth, answers = _checked(y_true, y_pred)
    is_known = np.isin(truth, list(known)) & (truth != "")
    return _mean_over_individuals(truth[is_known], (answers == truth)[is_known])


def baus(
    y_true: np.ndarray, y_pred: np.ndarray, *, known: Collection[str], new_individual: str = NEW_INDIVIDUAL
) -> float:
    """Returns the balanced accuracy on unknown samples: the mean over new individuals of the share called new.

    Args:
        y_true: `(num_queries,)` identities; "" or one that is not known is a new individual, "" a further one each.
        y_pred: `(num_queries,)` first answers.
        known: identities of the catalog.
        new_individual: the answer that means "new".

    Returns:
        The mean, nan without new queries. As BAUS of AnimalCLEF 2025.

    Example:
    >>> baus(["ann", "zoe", "zoe", "yan"], ["ann", "new_individual", "ann", "ann"], known=["ann"])
    0.25
    """
    truth, answers = _checked(y_true, y_pred)
    is_new = ~np.isin(truth, list(known)) | (truth == "")
    return _mean_over_individuals(truth[is_new], answers[is_new] == new_individual)


def animalclef_score(
    y_true: np.ndarray, y_pred: np.ndarray, *, known: Collection[str], new_individual: str = NEW_INDIVIDUAL
) -> float:
    """Returns the geometric mean of `baks` and `baus`, by which AnimalCLEF 2025 ranks; nan where one is missing.

    Args:
        y_true: `(num_queries,)` identities; "" or one that is not known is a new individual.
        y_pred: `(num_queries,)` first answers.
        known: identities of the catalog.
        new_individual: the answer that means "new".

    Example:
    >>> animalclef_score(["ann", "zoe"], ["ann", "new_individual"], known=["ann"])
    1.0
    """
    unknown = baus(y_true, y_pred, known=known, new_individual=new_individual)
    return math.sqrt(baks(y_true, y_pred, known=known) * unknown)


def normalised_accuracy(
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    known: Collection[str],
    new_individual: str = NEW_INDIVIDUAL,
    known_weight: float = 0.5,
) -> float:
    """Returns the weighted mean of the accuracy on known and on new queries (Mendes Júnior et al. 2017).

    Not balanced: each query counts, not each individual.

    Args:
        y_true: `(num_queries,)` identities; "" or one that is not known is a new individual.
        y_pred: `(num_queries,)` first answers.
        known: identities of the catalog.
        new_individual: the answer that means "new".
        known_weight: weight of the known queries, 0 to 1; the new ones have the rest.

    Returns:
        The mean, nan where one kind is missing.

    Example:
    >>> normalised_accuracy(["ann", "ann", "zoe"], ["ann", "bob", "new_individual"], known=["ann", "bob"])
    0.75
    """
    if not 0 <= known_weight <= 1:
        raise SiameseError(f"`known_weight` must lie between 0 and 1. Received: {known_weight}. 0.5 is usual.")
    truth, answers = _checked(y_true, y_pred)
    is_known = np.isin(truth, list(known)) & (truth != "")
    right = np.where(is_known, answers == truth, answers == new_individual)
    if is_known.all() or not is_known.any():
        return math.nan
    return float(known_weight * right[is_known].mean() + (1 - known_weight) * right[~is_known].mean())


def confusion_table(y_true: np.ndarray, y_pred: np.ndarray) -> pd.DataFrame:
    """Counts who is taken for whom: the wrong answers, the most frequent first, then by name.

    Args:
        y_true: `(num_queries,)` right answers.
        y_pred: `(num_queries,)` first answers.

    Returns:
        Columns identity, answer, num_queries, and share: of the queries of that identity.

    Example:
    >>> print(confusion_table(["ann", "ann", "bob"], ["ann", "bob", "bob"]).to_string(index=False))
    identity answer  num_queries  share
         ann    bob            1    0.5
    """
    truth, answers = _checked(y_true, y_pred)
    table = pd.DataFrame({"identity": truth, "answer": answers})
    counts = table.value_counts().rename("num_queries").reset_index()
    counts["share"] = counts["num_queries"] / counts["identity"].map(table["identity"].value_counts())
    wrong = counts[counts["identity"] != counts["answer"]]
    order = ["num_queries", "identity", "answer"]
    return wrong.sort_values(order, ascending=[False, True, True]).reset_index(drop=True)


def _checked(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    answers = np.asarray(y_pred, dtype=object)
    return check_length("y_true", y_true, len(answers)), answers


def _mean_over_individuals(identity: np.ndarray, right: np.ndarray) -> float:
    if not len(identity):
        return math.nan
    code = individual_codes(identity)
    return float(np.mean(np.bincount(code, weights=right) / np.bincount(code)))
