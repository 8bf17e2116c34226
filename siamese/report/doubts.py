"""Doubts: photos that may carry the wrong name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

CONFIDENT = 0.9  # probability of another name from which a photo is doubted; that of its own name is under 1 - this


def doubtful_names(
    identity: np.ndarray,
    own_scores: np.ndarray,
    other_rows: np.ndarray,
    other_scores: np.ndarray,
    probability: Callable[[np.ndarray], np.ndarray],
    *,
    confident: float = CONFIDENT,
) -> pd.DataFrame:
    """Finds pairs of photos under two names that the model takes for one animal, in both directions.

    A pair is listed where each is the other's most similar photo under another name, that name is probably right, and
    the name that one of them carries is probably wrong (kind `far`) or no other photo carries it (kind `alone`: one
    animal may have two names).

    Args:
        identity: `(num_images,)` names.
        own_scores: `(num_images,)` score with the most similar other photo of the same name, -inf without one.
        other_rows: `(num_images,)` most similar photo of another name, -1 without one.
        other_scores: `(num_images,)` its score.
        probability: that the individual of the most similar photo is the right one, by its score, such as
            `Decision.identity_probability`: it takes account of how many photos were searched.
        confident: probability from which another name is probable; its own is improbable under 1 - `confident`.

    Returns:
        Columns row (the photo in doubt), other_row, identity, other_identity, own_score, other_score and kind; `far`
        first, then the largest gap between both scores. Each pair stands once.
    """
    rows = np.arange(len(identity))
    mutual = (other_rows >= 0) & (other_rows[np.maximum(other_rows, 0)] == rows)
    alone = np.isneginf(own_scores)
    far = alone | (probability(np.where(alone, 0.0, own_scores)) <= 1 - confident)
    strong = probability(np.where(mutual, other_scores, 0.0)) >= confident
    found = np.flatnonzero(mutual & far & strong)
    table = pd.DataFrame(
        {
            "row": found,
            "other_row": other_rows[found],
            "identity": identity[found],
            "other_identity": identity[other_rows[found]],
            "own_score": own_scores[found],
            "other_score": other_scores[found],
            "kind": np.where(alone[found], "alone", "far"),
        }
    )
    return _once(table)


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """Sorts by kind and gap, and keeps of a pair that is listed from both sides the first."""
    gap = table["other_score"] - table["own_score"]
    table = table.assign(gap=gap, late=table["kind"] == "alone")
    table = table.sort_values(["late", "gap", "other_score", "row"], ascending=[True, False, False, True])
    pair = pd.Series([tuple(sorted(pair)) for pair in zip(table["row"], table["other_row"], strict=True)], dtype=object)
    return table.drop(columns=["gap", "late"])[~pair.duplicated().to_numpy(dtype=bool)].reset_index(drop=True)
