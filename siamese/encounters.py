"""Several photos of one animal, an encounter, are asked about together and get one answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from siamese.errors import SiameseError
from siamese.identity_scores import IdentityScores, check_length
from siamese.settings import Combination


@dataclass(frozen=True, eq=False)
class Encounters:
    """Which photos are asked about together.

    Attributes:
        names: `(num_encounters,)` in the order in which they are first met; a photo of no encounter keeps its own id.
        member: `(num_queries,)` int, the encounter of each photo.
    """

    names: np.ndarray
    member: np.ndarray

    def combine(self, table: IdentityScores, how: Combination) -> IdentityScores:
        """Gives each encounter one row of scores.

        Args:
            table: scores of the photos.
            how: `mean` or `max`, over the photos that an identity may answer.

        Returns:
            Scores of the encounters; the best image is that of the photo with the highest score, the first of equals.

        Example:
        >>> names, nobody = np.array(["ann", "bob"], dtype=object), np.zeros((2, 2), dtype=np.int32)
        >>> table = IdentityScores(names, np.array([[4.0, 1.0], [0.0, 2.0]], np.float32), nobody)
        >>> together = gather(["a", "b"], ["monday", "monday"])
        >>> together.names.tolist(), together.combine(table, "mean").scores.tolist()
        (['monday'], [[2.0, 1.5]])
        """
        shape = (len(self.names), len(table.names))
        scores, images = np.empty(shape, np.float32), np.empty(shape, table.best_image.dtype)
        order = np.argsort(self.member, kind="stable")
        starts = np.searchsorted(self.member[order], np.arange(len(self.names)))
        for number, rows in enumerate(np.split(order, starts[1:]) if len(order) else ()):
            photos = table.scores[rows]
            best = photos.argmax(axis=0)
            scores[number] = photos.max(axis=0) if how == "max" else _mean(photos)
            images[number] = table.best_image[rows[best], np.arange(shape[1])]
        return IdentityScores(table.names, scores, images)


def gather(image_ids: np.ndarray, encounter: np.ndarray) -> Encounters:
    """Finds the photos of each encounter.

    Args:
        image_ids: `(num_queries,)` ids of the photos.
        encounter: `(num_queries,)` names; "" stands alone.

    Raises:
        SiameseError: the lengths differ, no photo has an encounter, or an encounter is called like a photo that stands
            alone.
    """
    image_ids = np.asarray(image_ids, dtype=object)
    encounter = check_length("encounter", encounter, len(image_ids))
    alone = encounter == ""
    if len(encounter) and alone.all():
        raise SiameseError(
            "Some photos must have an encounter to be asked about together. Received: none has. "
            "Fill in the column, or ask about each photo alone."
        )
    both = np.intersect1d(image_ids[alone].astype(str), encounter[~alone].astype(str))
    if len(both):
        raise SiameseError(
            f"An encounter must not be called like a photo that stands alone. Received: {str(both[0])!r}. Rename it."
        )
    member, names = pd.factorize(np.where(alone, image_ids, encounter))
    return Encounters(np.asarray(names, dtype=object), member)


def _mean(photos: np.ndarray) -> np.ndarray:
    """Returns the mean over the rows that may answer, -inf where none may."""
    may = photos > -np.inf
    total = np.where(may, photos, 0).sum(axis=0, dtype=np.float64)
    return np.divide(total, may.sum(axis=0), out=np.full(total.shape, -np.inf), where=may.any(axis=0))
