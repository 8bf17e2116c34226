"""Scores and identities become hard negative and hard positive pairs, by assignment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from siamese.assignment import Assignment, choose_method, solve_assignment
from siamese.candidates import Candidates, PairNoise, PairScores
from siamese.pairs import Pairs, check_pairing, groups_of, pairs_within
from siamese.pools import MiningRound, joined_suspects, make_pools
from siamese.settings import MiningSettings


class NegativeMiner:
    """Chooses the pairs of different animals that the model confuses most, epoch after epoch under one set of scores.

    Piotte 2018: cost = -(score + K x uniform noise), same-identity cells forbidden, one assignment an epoch, and the
    pairs of an epoch are forbidden, in both orders, for the epochs that follow under the same scores. Where the whole
    matrix would be too large, the assignment is solved among the best candidates of each image, or in random blocks.

    Attributes:
        scores: where the scores come from.
        method: "dense", "sparse" or "blocks".
        suspects: pairs left out as probably mislabelled; with sparse candidates or blocks, those met among them.
        assignment: the latest assignment, before images that chose each other were solved again.
    """

    assignment: Assignment

    def __init__(
        self,
        scores: PairScores,
        identity: np.ndarray,
        *,
        noise: float,
        seed: Sequence[int],
        settings: MiningSettings,
        keys: np.ndarray | None = None,
    ):
        """Finds the candidates.

        Args:
            scores: where the scores come from, higher is more alike.
            identity: `(n,)` integer codes. Two negative codes are unknown individuals and are never paired.
            noise: K, the width of the uniform noise, in score units; 0 picks the hardest pairs.
            seed: non-negative integers, such as the run's seed and the round; the only source of randomness.
            settings: how the pairs are found.
            keys: `(n,)` integers that name the images, so that another order of them gives the same pairs; None takes
                their indices.

        Raises:
            InfeasiblePairing: one identity holds more than half of the images.
            ValueError: a score is not finite.
        """
        check_pairing(identity)
        keys = np.arange(len(identity)) if keys is None else keys
        self._round = MiningRound(
            scores, np.maximum(identity, -1), keys, PairNoise(keys, width=noise, seed=seed), settings
        )
        self.scores, self.method = scores, choose_method(len(identity), settings.assignment)
        self._rng = np.random.default_rng([*seed, len(identity)])
        self._pools = make_pools(self._round, self.method, self._rng)
        self.suspects = joined_suspects([pool.suspects for pool in self._pools])

    @property
    def limit(self) -> np.ndarray:
        """`(n,)` score above which a negative of the image is probably mislabelled; inf where nothing tells."""
        return self._round.limit

    def draw(self) -> Pairs:
        """Returns the hardest pairs not used before: each image at most once left and once right, no pair twice.

        Once every pair was used, as happens in small collections, they start again.
        """
        epoch = self._round.next_epoch(self._rng)
        drawn = [pool.draw(epoch) for pool in self._pools]
        column = np.empty(len(self._round.keys), dtype=np.intp)
        allowed = np.empty(len(column), dtype=bool)
        for pool, (assignment, _) in zip(self._pools, drawn, strict=True):
            column[pool.members], allowed[pool.members] = pool.members[assignment.column], assignment.allowed
        parts = [assignment for assignment, _ in drawn]
        cost, seconds = sum(part.cost for part in parts), sum(part.seconds for part in parts)
        self.assignment = Assignment(column, allowed, cost, parts[0].method, seconds)
        return Pairs(*(np.concatenate([getattr(pairs, side) for _, pairs in drawn]) for side in ("left", "right")))


def nearest_negatives(candidates: Candidates, num_nearest: int, *, rng: np.random.Generator) -> Pairs:
    """Draws for each image one of its first candidates, as the 7th of the 2019 humpback challenge did, k from 20 to 3.

    Args:
        candidates: best first, from `collect_candidates`.
        num_nearest: k, draw from so many.
        rng: the only source of randomness.

    Returns:
        `Pairs` in which each image with a candidate stands once left, and as often right as it was drawn.

    Example:
    >>> candidates = Candidates(np.array([[1, 2], [0, 2], [-1, -1]]), *np.zeros((2, 3, 2)), np.zeros(3))
    >>> pairs = nearest_negatives(candidates, 1, rng=np.random.default_rng(0))
    >>> pairs.left, pairs.right
    (array([0, 1]), array([1, 0]))
    """
    available = (candidates.column[:, :num_nearest] >= 0).sum(axis=1)
    left = np.flatnonzero(available)
    return Pairs(left, candidates.column[left, rng.integers(available[left])])


def hard_positives(scores: PairScores, group: np.ndarray, *, noise: float, rng: np.random.Generator) -> Pairs:
    """Gives every image the least alike images of its group, by one assignment within each group.

    Cost = score + noise, own image forbidden (the 10th of the 2019 humpback challenge, whose exact form is not known).

    Args:
        scores: where the scores come from, higher is more alike.
        group: `(n,)` codes; images of one code are positive pairs, negative codes have none.
        noise: K, the width of the uniform noise on the scores; 0 picks the least alike pairs every time.
        rng: the only source of randomness.

    Returns:
        `Pairs` in which each image with a partner stands once left and once right.

    Example:
    >>> from siamese.candidates import MatrixScores
    >>> scores = np.array([[9, 5, 1, 1], [5, 9, 1, 1], [1, 1, 9, 5], [1, 1, 5, 9]])
    >>> pairs = hard_positives(MatrixScores(scores), np.zeros(4, int), noise=0, rng=np.random.default_rng(0))
    >>> scores[pairs.left, pairs.right].tolist()
    [1, 1, 1, 1]
    """
    left, right = [np.empty(0, dtype=np.intp)], [np.empty(0, dtype=np.intp)]
    for members, cost in _group_scores(scores, group):
        noisy = cost + noise * rng.random(cost.shape, dtype=np.float32)
        left.append(members)
        right.append(members[solve_assignment(noisy, np.eye(len(members), dtype=bool)).column])
    return Pairs(np.concatenate(left), np.concatenate(right))


def _group_scores(scores: PairScores, group: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the images of each group and their scores among each other, the diagonal 0; all scored in one call."""
    pairs, start = pairs_within(group), 0
    score = scores.pairs(pairs.left, pairs.right)
    for members in groups_of(group):
        upper = np.triu_indices(len(members), k=1)
        among = np.zeros((len(members), len(members)), np.float32)
        among[upper] = score[start : start + len(upper[0])]
        start += len(upper[0])
        yield members, among + among.T
