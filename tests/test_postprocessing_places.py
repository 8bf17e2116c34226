import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.identity_scores import NEW_INDIVIDUAL, IdentityScores, identity_scores
from siamese.open_scores import OpenScores
from siamese.postprocessing.moves import Moves, one_a_query
from siamese.postprocessing.places import (
    check_probabilities,
    from_columns,
    leaders,
    open_columns,
    open_ranks,
    places,
    precisions,
    put_first,
    reordered,
    rounded,
)

NAMES = np.array(["ann", "bob", "cleo"], dtype=object)


def table_of(scores):
    scores = np.array(scores, dtype=np.float32)
    return IdentityScores(NAMES[: scores.shape[1]], scores, np.zeros(scores.shape, dtype=np.int32))


def answers(scores, top_k=4):
    return scores.rank(np.arange(len(scores.new)), top_k=top_k).identities.tolist()


@st.composite
def open_scores_with_ties(draw):
    """A few queries and identities, whole scores of both signs with many ties, some of which may not answer."""
    num_queries, num_names = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    scores = rng.integers(-3, 4, (num_queries, num_names)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    new = rng.integers(-3, 4, num_queries).astype(np.float64)
    new[rng.random(num_queries) < 0.2] = -np.inf
    names = np.array([f"animal {number}" for number in range(num_names)], dtype=object)
    return OpenScores(IdentityScores(names, scores, np.zeros(scores.shape, dtype=np.int32)), new)


def full_order(scores):
    return answers(scores, top_k=len(scores.table.names) + 1)


def test_the_leaders_are_the_ranking_with_the_new_individual_in_the_last_column():
    scores = OpenScores(table_of([[1, 3, 2], [5, -np.inf, -np.inf], [2, 2, 9]]), np.array([2.5, -np.inf, 2.0]))
    assert leaders(scores, 2).tolist() == [[1, 3], [0, -1], [2, 0]]  # bob new; ann; cleo ann (a tie goes by name)


@given(open_scores_with_ties(), st.integers(1, 9))
def test_the_leaders_have_the_names_of_the_ranking(scores, k):
    names = np.append(scores.table.names, [NEW_INDIVIDUAL, ""])  # -1 reads the ""
    assert names[leaders(scores, k)].tolist() == answers(scores, top_k=k)


@given(open_scores_with_ties())
def test_the_places_are_those_of_the_ranking(scores):
    names = np.append(scores.table.names, NEW_INDIVIDUAL)
    order = places(scores, np.arange(len(scores.new)))
    may = np.take_along_axis(open_columns(scores), order, axis=1) > -np.inf
    assert np.where(may, names[order], "").tolist() == full_order(scores)


@given(open_scores_with_ties(), st.integers(0, 1000))
def test_the_ranks_are_places_in_the_ranking(scores, seed):
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.append(scores.table.names, ["", "stranger"]), len(scores.new))
    for rank, own, row in zip(open_ranks(scores, truth), truth, full_order(scores), strict=True):
        name = own if own in scores.table.names else NEW_INDIVIDUAL
        assert rank == (row.index(name) + 1 if name in row else 0)


def test_the_precision_counts_five_places():
    table = identity_scores(np.arange(9.0, 0, -1)[None, :], np.array(list("abcdefghi"), dtype=object))
    scores = OpenScores(table, np.array([-np.inf]))
    assert [float(precisions(scores, [name])[0]) for name in "abef"] == [1.0, 0.5, 0.2, 0.0]


def test_who_is_put_first_takes_the_first_score_and_the_others_move_back():
    scores = OpenScores(table_of([[0.5, 0.25, 0.125], [0.5, 0.25, 0.125]]), np.array([0.375, 0.0]))
    moved = put_first(scores, np.array([0]), np.array([2]))
    assert answers(moved) == [["cleo", "ann", NEW_INDIVIDUAL, "bob"], ["ann", "bob", "cleo", NEW_INDIVIDUAL]]
    assert moved.table.scores[0].tolist() == [0.375, 0.125, 0.5]
    assert moved.new.tolist() == [0.25, 0.0]


def test_the_new_individual_can_be_put_first():
    moved = put_first(OpenScores(table_of([[5, 3, 1]]), np.array([2.0])), np.array([0]), np.array([3]))
    assert answers(moved) == [[NEW_INDIVIDUAL, "ann", "bob", "cleo"]]


def test_a_tie_is_no_hindrance():
    moved = put_first(OpenScores(table_of([[2, 2, 2]]), np.array([2.0])), np.array([0]), np.array([2]))
    assert answers(moved) == [["cleo", "ann", "bob", NEW_INDIVIDUAL]]
    assert moved.table.scores[0].tolist() == [2.0, 2.0, np.nextafter(np.float32(2), np.float32(3))]


def test_who_may_not_answer_is_not_put_first():
    scores = OpenScores(table_of([[2, 1, -np.inf]]), np.array([0.0]))
    moved = put_first(scores, np.array([0]), np.array([2]))
    assert open_columns(moved).tolist() == open_columns(scores).tolist()


@given(open_scores_with_ties(), st.integers(0, 1000))
def test_any_order_can_be_given_and_nobody_else_may_answer(scores, seed):
    rng = np.random.default_rng(seed)
    columns = open_columns(scores)
    queries = np.flatnonzero(rng.random(len(columns)) < 0.7)
    before = columns.copy()
    order = places(scores, queries)
    for row, query in zip(order, queries, strict=True):
        may = np.flatnonzero(columns[query, row] > -np.inf)
        row[may] = rng.permutation(row[may])
    moved = reordered(scores, queries, order)
    names = np.append(scores.table.names, NEW_INDIVIDUAL)
    wanted = full_order(scores)
    for row, query in zip(order, queries, strict=True):
        wanted[query] = [names[column] if columns[query, column] > -np.inf else "" for column in row]
    assert full_order(moved) == wanted
    assert np.array_equal(open_columns(moved) > -np.inf, before > -np.inf)
    assert np.allclose(np.sort(open_columns(moved)), np.sort(before))
    assert np.array_equal(open_columns(scores), before)


@given(st.integers(0, 10_000))
def test_rounding_keeps_every_order(seed):
    rng = np.random.default_rng(seed)
    before = rng.choice([-2e3, -1e3, -200.0, -199.0, -1e-3, 0.0, 1e-9, 2e-9, 0.3, 0.3 + 1e-12, 90.0], (3, 8))
    values = np.exp(before - 90.0)  # most of them under float32
    kept = rounded(values, before)
    assert np.array_equal(kept, kept.astype(np.float32))
    assert np.array_equal(np.argsort(-kept, axis=1, kind="stable"), np.argsort(-before, axis=1, kind="stable"))
    assert np.allclose(kept, values, rtol=1e-5, atol=1e-40)


def test_rounding_keeps_apart_on_both_sides_of_zero():
    close = np.array([[1e-46, 0.0, -1e-46, -1.0, -1.0 - 1e-12]])
    kept = rounded(close, close)[0]
    assert (np.diff(kept) < 0).all()
    assert np.allclose(kept, close[0], atol=1e-6)


def test_the_columns_can_be_written_back():
    scores = OpenScores(table_of([[1, 2, 3]]), np.array([4.0]))
    assert open_columns(from_columns(scores, open_columns(scores) * 2)).tolist() == [[2.0, 4.0, 6.0, 8.0]]


def test_scores_that_are_no_probabilities_are_told():
    with pytest.raises(SiameseError, match="must be probabilities.* from -2 to 0.5. Take `with_temperature` first"):
        check_probabilities(OpenScores(table_of([[-2, -np.inf, 0.25]]), np.array([0.5])))


def test_the_strongest_move_of_each_query_is_kept():
    moves = one_a_query(np.array([4, 1, 4, 4]), np.array([0, 1, 2, 3]), np.array([1.0, 9.0, 5.0, 5.0]))
    assert [moves.queries.tolist(), moves.columns.tolist(), moves.strength.tolist()] == [[1, 4], [1, 2], [9.0, 5.0]]


def test_moves_are_made_from_the_cut_on():
    scores = OpenScores(table_of([[3, 2, 1], [3, 2, 1]]), np.zeros(2))
    moves = Moves(np.array([0, 1]), np.array([1, 2]), np.array([0.5, 0.4]))
    assert answers(moves.made(scores, 0.5), 1) == [["bob"], ["ann"]]
    assert answers(moves.made(scores, np.inf), 1) == [["ann"], ["ann"]]


@given(open_scores_with_ties(), st.integers(0, 1000))
def test_the_cut_is_the_best_of_all_cuts_and_makes_the_fewest_moves(scores, seed):
    rng = np.random.default_rng(seed)
    num_queries, num_names = scores.table.scores.shape
    queries = np.flatnonzero(rng.random(num_queries) < 0.8)
    moves = Moves(queries, rng.integers(0, num_names, len(queries)), rng.integers(0, 4, len(queries)).astype(float))
    truth = rng.choice(np.append(scores.table.names, ""), num_queries)
    tried = {cut: precisions(moves.made(scores, cut), truth).sum() for cut in (np.inf, 3.0, 2.0, 1.0, 0.0)}
    cut = moves.fit_cut(scores, truth)
    assert precisions(moves.made(scores, cut), truth).sum() == pytest.approx(max(tried.values()))
    first_best = next(one for one, value in tried.items() if value >= max(tried.values()) - 1e-9)
    assert np.array_equal(moves.strength >= cut, moves.strength >= first_best)
