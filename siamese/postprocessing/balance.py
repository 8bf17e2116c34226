"""The class-balance swap: an identity that nobody is takes a query from one that many are."""

from __future__ import annotations

import numpy as np

from siamese.open_scores import OpenScores
from siamese.postprocessing.moves import Moves
from siamese.postprocessing.places import check_probabilities, leaders

GAP = 0.3  # first place, humpback 2019
OFTEN = 2  # ours: of "often" the source gives no number. Another query is left to the identity that loses this one.


def swap_for_balance(scores: OpenScores, *, gap: float = GAP, often: int = OFTEN) -> OpenScores:
    """Swaps ranks 1 and 2 where they are close, rank 2 is nobody's best answer, and rank 1 is often near the top.

    The first place of the humpback challenge told of it in one sentence and published no code: swap if the gap is under
    0.3, class 2 is nobody's top-1 and class 1 is often a top-2. It is read here as follows. A top-2 is one of the first
    two places. The counts are those before any swap. The new individual is no class: where it stands at rank 1 or 2,
    nothing is swapped. An identity that is nobody's top-1 wins one query at most, that with the smallest gap, the first
    of equals: then it is somebody's top-1.

    It needs all queries at once, and expects that most identities are asked for: an answer depends on the other
    queries.

    Args:
        scores: probabilities, see `with_temperature`. Not changed.
        gap: probability by which rank 1 must be ahead to be left alone.
        often: queries among whose first two places the identity at rank 1 stands, this one counted.

    Raises:
        SiameseError: a score is no probability.

    Example:
    >>> from siamese.identity_scores import identity_scores
    >>> names = np.array(["ann", "bob", "cleo"], dtype=object)
    >>> table = identity_scores(np.array([[0.9, 0.1, 0.0], [0.5, 0.1, 0.4]]), names)
    >>> swapped = swap_for_balance(OpenScores(table, np.zeros(2)))  # cleo is nobody's first, ann is twice
    >>> swapped.rank(["q1", "q2"], top_k=2).identities.tolist()
    [['ann', 'bob'], ['cleo', 'ann']]
    """
    return _moves(scores, often).made(scores, float(np.nextafter(-gap, np.inf)))


def fit_balance_gap(scores: OpenScores, truth: np.ndarray, *, often: int = OFTEN) -> float:
    """Returns the gap with the highest MAP@5 on validation queries; 0, under which nothing is swapped, if none helps.

    Args:
        scores: probabilities of validation queries. Not changed.
        truth: `(num_queries,)` identities; "" or one that the catalog lacks means new.
        often: as for `swap_for_balance`.
    """
    return max(0.0, -_moves(scores, often).fit_cut(scores, truth))


def _moves(scores: OpenScores, often: int) -> Moves:
    columns, (first, second) = check_probabilities(scores), leaders(scores, 2).T
    new = len(scores.table.names)
    num_first, num_second = (np.bincount(place[place >= 0], minlength=new + 1) for place in (first, second))
    may = (first >= 0) & (first < new) & (second >= 0) & (second < new)
    may &= (num_first[second] == 0) & ((num_first + num_second)[first] >= often)
    queries = np.flatnonzero(may)
    gap = columns[queries, first[queries]] - columns[queries, second[queries]]
    order = np.lexsort((queries, gap))
    winners = np.sort(order[np.unique(second[queries][order], return_index=True)[1]])
    return Moves(queries[winners], second[queries[winners]], -gap[winners])
