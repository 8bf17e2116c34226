"""Scores and identities become hard negative pairs, by assignment."""

from __future__ import annotations

import numpy as np

from siamese.assignment import solve_assignment
from siamese.errors import InfeasiblePairing
from siamese.pairs import Pairs

SWAP_ROUNDS = 3  # re-solves among images that chose each other; what is left after them counts once


class NegativeMiner:
    """Chooses the pairs of different animals that the model confuses most, epoch after epoch under one score matrix.

    Piotte 2018: cost = -(score + K x uniform noise), same-identity cells forbidden, one assignment an epoch, and the
    pairs of an epoch are forbidden, in both orders, for the epochs that follow under the same matrix.

    Attributes:
        scores: `(n, n)` floats, higher is more alike.
    """

    def __init__(self, scores: np.ndarray, identity: np.ndarray, *, noise: float, rng: np.random.Generator):
        """Prepares the costs.

        Args:
            scores: `(n, n)` finite floats, higher is more alike. Not changed.
            identity: `(n,)` integer codes. Two negative codes are unknown individuals and are never paired.
            noise: K, the width of the uniform noise, in score units; 0 picks the hardest pairs.
            rng: the only source of randomness.

        Raises:
            InfeasiblePairing: one identity holds more than half of the images.
        """
        check_pairing(identity)
        self.scores = scores
        self._cost = -(scores + np.float32(noise) * rng.random(scores.shape, dtype=np.float32))
        unknown = identity < 0
        self._never = (identity[:, None] == identity[None, :]) | (unknown[:, None] & unknown[None, :])
        self._forbidden = self._never.copy()

    def draw(self) -> Pairs:
        """Returns the hardest pairs not used before: each image at most once left and once right, no pair twice.

        Once every pair was used, as happens in small collections, they start again.
        """
        if self._forbidden.all():
            self._forbidden = self._never.copy()
        assignment = solve_assignment(self._cost, self._forbidden)
        column, rows = assignment.column, np.arange(len(assignment.column))
        for _ in range(SWAP_ROUNDS):
            swapped = rows[column[column] == rows]
            if not len(swapped):
                break
            column[swapped] = self._reassigned(swapped, column)
        keep = ~self._forbidden[rows, column] & ~((column[column] == rows) & (rows > column))
        self._forbidden[rows[keep], column[keep]] = True
        self._forbidden[column[keep], rows[keep]] = True
        return Pairs(rows[keep], column[keep])

    def _reassigned(self, swapped: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Solves again among images that chose each other, each such pair allowed in one order only."""
        block = np.ix_(swapped, swapped)
        forbidden = self._forbidden[block]
        partner = np.searchsorted(swapped, column[swapped])
        later = partner < np.arange(len(swapped))
        forbidden[later, partner[later]] = True
        return swapped[solve_assignment(self._cost[block], forbidden).column]


def check_pairing(identity: np.ndarray) -> None:
    """Raises InfeasiblePairing when an identity holds over half of the images, for then some find no other animal."""
    largest = int(np.unique(identity, return_counts=True)[1].max(initial=0))
    if 2 * largest > len(identity):
        raise InfeasiblePairing(
            "`identity` must leave every image a partner of another identity, so no identity may hold more "
            f"than half of the images. Received: {largest} of {len(identity)}. Draw fewer images of it."
        )
