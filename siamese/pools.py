"""Images that are assigned to each other and the pairs among them that were used: all, the candidates, or a block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from siamese.assignment import DENSE_IMAGES, Assignment, solve_assignment, solve_sparse
from siamese.candidates import Candidates, PairNoise, PairScores, collect_candidates, mid_rank_share
from siamese.pairs import Pairs, check_pairing, pairs_within
from siamese.settings import MiningSettings

MID_RANK_CHOICE = 8  # an eighth of an image's mid ranks is there to choose from in an epoch
SWAP_ROUNDS = 3  # re-solves among images that chose each other; what is left after them counts once


@dataclass(frozen=True)
class Suspects:
    """Pairs of different identities that look like one animal, the most suspicious first; each pair once.

    Attributes:
        left: `(num_pairs,)` image indices.
        right: `(num_pairs,)` image indices.
        score: `(num_pairs,)` floats.
        excess: `(num_pairs,)` floats: how far the score is above the best positive of one of the two images.
    """

    left: np.ndarray
    right: np.ndarray
    score: np.ndarray
    excess: np.ndarray


@dataclass(frozen=True)
class MiningRound:
    """What all pools of a round share."""

    scores: PairScores
    identity: np.ndarray
    keys: np.ndarray
    noise: PairNoise
    settings: MiningSettings

    @cached_property
    def limit(self) -> np.ndarray:
        """For each image the score above which another animal is a suspect; inf where nothing tells."""
        limit = np.full(len(self.identity), np.inf, np.float32)
        pairs = pairs_within(self.identity)
        if self.settings.suspect_margin is not None and len(pairs):
            best = np.full(len(limit), -np.inf, np.float32)
            score = self.scores.pairs(pairs.left, pairs.right)
            for side in (pairs.left, pairs.right):
                np.maximum.at(best, side, score)
            limit[best > -np.inf] = best[best > -np.inf] + self.settings.suspect_margin
        return limit

    def next_epoch(self, rng: np.random.Generator) -> Epoch:
        """Draws which images get a partner from the mid ranks."""
        images, epoch_hash = np.arange(len(self.keys)), PairNoise(self.keys, width=0, seed=[int(rng.integers(2**32))])
        return Epoch(epoch_hash.hashed(images, images) < self.settings.mid_rank_share * 2**32, epoch_hash, rng)


def make_pools(this: MiningRound, method: str, rng: np.random.Generator) -> list[Pool]:
    """Makes the pools of a round: one of all images, by matrix or by candidates, or one for each random block."""
    count = len(this.identity)
    if method == "sparse":
        return [_CandidatePool(this)]
    limit = this.limit
    blocks = _deal_blocks(this.identity, this.keys, rng) if method == "blocks" else [np.arange(count)]
    return [_MatrixPool(this, members, limit) for members in blocks]


def _deal_blocks(identity: np.ndarray, keys: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Deals the images into random blocks of equal size, at most one apart, each identity spread over all of them."""
    num_blocks = max(1, len(identity) // DENSE_IMAGES)
    by_key = np.argsort(keys, kind="stable")
    shuffled = by_key[rng.permutation(len(identity))]
    codes, code = np.unique(identity[shuffled], return_inverse=True)
    dealt = shuffled[np.argsort(rng.permutation(len(codes))[code], kind="stable")]
    blocks = [np.sort(dealt[number::num_blocks]) for number in range(num_blocks)]
    for members in blocks:
        check_pairing(identity[members])
    return blocks


@dataclass(frozen=True)
class Epoch:
    """What differs from one draw to the next.

    Attributes:
        from_mid_ranks: `(num_images,)` booleans, the images that get a partner from the mid ranks.
        hash: the hash that draws the choice among them.
        rng: further randomness.
    """

    from_mid_ranks: np.ndarray
    hash: PairNoise
    rng: np.random.Generator

    def chooses(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tells which pairs of the mid ranks are to choose among; otherwise the first of them would always be taken."""
        return self.hash.hashed(left, right) % MID_RANK_CHOICE == 0


class Pool(ABC):
    """Images that are assigned to each other, and the pairs among them that were used.

    Attributes:
        members: `(count,)` indices of the images; a pool counts its own from 0.
        key: `(count,)` integers that name them.
        suspects: pairs left out, as indices of the collection.
    """

    members: np.ndarray
    key: np.ndarray
    suspects: Suspects

    def draw(self, epoch: Epoch) -> tuple[Assignment, Pairs]:
        """Solves the assignment, solves again among images that chose each other, and marks the pairs as used."""
        assignment = self._solve(epoch)
        column, rows = assignment.column.copy(), np.arange(len(self.members))
        for _ in range(SWAP_ROUNDS):
            swapped = rows[column[column] == rows]
            if not len(swapped):
                break
            partner = np.searchsorted(swapped, column[swapped])
            later = self.key[column[swapped]] < self.key[swapped]  # each such pair is allowed in one order only
            column[swapped] = swapped[self._solve_among(swapped, partner, later)]
        keep = self._is_open(rows, column) & ~((column[column] == rows) & (self.key[rows] > self.key[column]))
        left, right = rows[keep], column[keep]
        self._close(np.append(left, right), np.append(right, left))
        return assignment, Pairs(self.members[left], self.members[right])

    @abstractmethod
    def _solve(self, epoch: Epoch) -> Assignment:
        """Assigns all members."""

    @abstractmethod
    def _solve_among(self, swapped: np.ndarray, partner: np.ndarray, later: np.ndarray) -> np.ndarray:
        """Assigns members that chose each other among themselves, not to the same partner where `later` is True."""

    @abstractmethod
    def _is_open(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Tells which pairs show different animals, were not used and are no suspects."""

    @abstractmethod
    def _close(self, left: np.ndarray, right: np.ndarray) -> None:
        """Marks pairs as used."""


class _MatrixPool(Pool):
    """Few images: the matrix of their scores is held as a whole."""

    def __init__(self, this: MiningRound, members: np.ndarray, limit: np.ndarray) -> None:
        self.members, self.key = members, this.keys[members]
        scores, identity = this.scores.within(members).astype(np.float32), this.identity[members]
        self._never = identity[:, None] == identity[None, :]
        limits = np.minimum(limit[members][:, None], limit[members])
        row, column = np.nonzero(np.triu((scores > limits) & ~self._never))
        self.suspects = _sorted_suspects(members[row], members[column], scores[row, column], limits[row, column], this)
        self._never[np.append(row, column), np.append(column, row)] = True
        hashed = this.noise.hashed(members[:, None], members)
        self._cost = -(scores + this.noise.of(hashed))
        share = mid_rank_share(len(members), this.settings.num_candidates)
        self._mid_ranks = (hashed & np.uint32(255)) < share
        self._forbidden = self._never.copy()

    def _solve(self, epoch: Epoch) -> Assignment:
        if self._forbidden.all():
            self._forbidden = self._never.copy()
        choice = self._mid_ranks & epoch.chooses(self.members[:, None], self.members)
        self._closed = self._forbidden | (epoch.from_mid_ranks[self.members][:, None] & ~choice)
        return solve_assignment(self._cost, self._closed)

    def _solve_among(self, swapped: np.ndarray, partner: np.ndarray, later: np.ndarray) -> np.ndarray:
        block = np.ix_(swapped, swapped)
        forbidden = self._closed[block]
        forbidden[later, partner[later]] = True
        return solve_assignment(self._cost[block], forbidden).column

    def _is_open(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return ~self._forbidden[left, right]

    def _close(self, left: np.ndarray, right: np.ndarray) -> None:
        self._forbidden[left, right] = True


class _CandidatePool(Pool):
    """Many images: each has its best candidates and, so that there always is an answer, one fallback partner an epoch.

    The candidates are the best by score + noise - price, where the price of a column is what its own last candidate is
    worth: an image alike to many would stand in every list, others in none. (Subtracting what is the same for all rows
    of a column changes no optimum. Compare CSLS, Conneau et al. 2018.) So the tiles are passed twice.
    """

    def __init__(self, this: MiningRound) -> None:
        self._round, self.members, self.key = this, np.arange(len(this.identity)), this.keys
        num = this.settings.num_candidates
        prices = self._collected(this.scores, num, 0, None)[0].lowest
        mid_ranks = num if this.settings.mid_rank_share else 0
        self._tables = [table for table in self._collected(this.scores, num, mid_ranks, prices) if table.column.size]
        self._limit = this.limit
        self._suspected = np.empty(0, dtype=np.int64)
        self._closed = self._suspected
        self._open = [table.column >= 0 for table in self._tables]
        self.suspects = self._leave_out_suspects()
        self._by_identity = np.lexsort((this.keys, this.identity))

    def _collected(
        self, scores: PairScores, num: int, mid_ranks: int, prices: np.ndarray | None
    ) -> tuple[Candidates, Candidates]:
        this = self._round
        return collect_candidates(
            scores.tiles(), this.identity, this.noise, num_candidates=num, num_mid_ranks=mid_ranks, prices=prices
        )

    def _leave_out_suspects(self) -> Suspects:
        left, place = np.nonzero(np.concatenate(self._open, axis=1))
        right, score = (
            np.concatenate([getattr(table, name) for table in self._tables], axis=1)[left, place]
            for name in ("column", "score")
        )
        limits = np.minimum(self._limit[left], self._limit[right])
        over = score > limits
        left, right, score, limits = left[over], right[over], score[over], limits[over]
        pair = np.minimum(left, right) * len(self.members) + np.maximum(left, right)
        first = np.unique(pair, return_index=True)[1]
        self._close(np.append(left, right), np.append(right, left))
        self._suspected = self._closed
        return _sorted_suspects(
            np.minimum(left, right)[first], np.maximum(left, right)[first], score[first], limits[first], self._round
        )

    def _solve(self, epoch: Epoch) -> Assignment:
        if not any(cells.any() for cells in self._open):
            self._reopen()
        self._cells = self._candidate_cells(epoch)
        fallback = self._fallback(epoch.rng)
        rows, (score, cost) = self.members, self._scored(self.members, fallback)
        over = score > np.minimum(self._limit, self._limit[fallback])
        allowed = self._is_open(rows, fallback) & ~over
        self._close(np.append(rows[over], fallback[over]), np.append(fallback[over], rows[over]))
        return solve_sparse(*self._cells, fallback=fallback, fallback_cost=cost, fallback_allowed=allowed)

    def _candidate_cells(self, epoch: Epoch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns row, column and cost of the open candidates, for each image from the ranks it draws from."""
        parts = []
        for number, (table, cells) in enumerate(zip(self._tables, self._open, strict=True)):
            row, place = np.nonzero(cells & (epoch.from_mid_ranks == number)[:, None])
            if number:
                chosen = epoch.chooses(row, table.column[row, place])
                row, place = row[chosen], place[chosen]
            parts.append((row, table.column[row, place], -table.noisy[row, place]))
        row, column, cost = (np.concatenate(part) for part in zip(*parts, strict=True))
        return row, column, cost

    def _fallback(self, rng: np.random.Generator) -> np.ndarray:
        """Returns a permutation without a same-identity pair: sorted by identity, shifted past the largest one."""
        count, largest = len(self.members), int(np.unique(self._round.identity, return_counts=True)[1].max())
        fallback = np.empty(count, dtype=np.intp)
        fallback[self._by_identity] = np.roll(self._by_identity, int(rng.integers(largest, count - largest + 1)))
        return fallback

    def _scored(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns scores and costs of pairs."""
        score = self._round.scores.pairs(left, right).astype(np.float32)
        return score, -(score + self._round.noise.of(self._round.noise.hashed(left, right)))

    def _solve_among(self, swapped: np.ndarray, partner: np.ndarray, later: np.ndarray) -> np.ndarray:
        place = np.full(len(self.members), -1)
        place[swapped] = np.arange(len(swapped))
        row, column, cost = self._cells
        inside = (place[row] >= 0) & (place[column] >= 0)
        allowed = ~later & self._is_open(swapped, swapped[partner])
        return solve_sparse(
            place[row[inside]],
            place[column[inside]],
            cost[inside],
            fallback=partner,
            fallback_cost=self._scored(swapped, swapped[partner])[1],
            fallback_allowed=allowed,
        ).column

    def _is_open(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        identity = self._round.identity
        return (identity[left] != identity[right]) & ~np.isin(left * len(self.members) + right, self._closed)

    def _close(self, left: np.ndarray, right: np.ndarray) -> None:
        self._closed = np.union1d(self._closed, left * len(self.members) + right)
        for table, cells in zip(self._tables, self._open, strict=True):
            row, place = np.nonzero(table.column[left] == right[:, None])
            cells[left[row], place] = False

    def _reopen(self) -> None:
        self._closed = self._suspected
        self._open = [table.column >= 0 for table in self._tables]
        left, right = np.divmod(self._suspected, len(self.members))
        self._close(left, right)


def _sorted_suspects(
    left: np.ndarray, right: np.ndarray, score: np.ndarray, limit: np.ndarray, this: MiningRound
) -> Suspects:
    excess = score - limit + (this.settings.suspect_margin or 0.0)
    order = np.lexsort((right, left, -excess))
    return Suspects(left[order], right[order], score[order], excess[order])


def joined_suspects(parts: Sequence[Suspects]) -> Suspects:
    """Joins the suspects of several pools, the most suspicious first."""
    left, right, score, excess = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("left", "right", "score", "excess")
    )
    order = np.argsort(-excess, kind="stable")
    return Suspects(left[order], right[order], score[order], excess[order])
