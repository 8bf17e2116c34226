import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese import assignment
from siamese.assignment import choose_method, solve_assignment, solve_sparse

METHODS = ["scipy"] if assignment.lapjv is None else ["lapjv", "scipy"]
seeds = st.integers(0, 2**32 - 1)


def brute_force(cost, forbidden, there=None):
    """Fewest forbidden cells, then the lowest cost of the others, over all permutations of the cells that are there."""
    rows = np.arange(len(cost))
    permutations = [list(columns) for columns in itertools.permutations(range(len(cost)))]
    if there is not None:
        permutations = [columns for columns in permutations if there[rows, columns].all()]
    taken = [forbidden[rows, columns] for columns in permutations]
    return min(
        (int(bad.sum()), float(cost[rows, columns][~bad].sum()))
        for columns, bad in zip(permutations, taken, strict=True)
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_cheapest_permutation_is_taken(method):
    cost = np.array([[1.0, 9.0, 9.0], [9.0, 9.0, 2.0], [9.0, 3.0, 9.0]])
    solved = solve_assignment(cost, np.zeros((3, 3), bool), method=method)
    assert solved.column.tolist() == [0, 2, 1]
    assert solved.allowed.all()
    assert solved.method == method


@pytest.mark.parametrize("method", METHODS)
def test_a_forbidden_cell_is_passed_over_however_cheap_it_is(method):
    cost = np.array([[-1000.0, 0.0, 1.0], [0.0, -1000.0, 0.0], [0.0, 0.0, -1000.0]])
    assert solve_assignment(cost, np.eye(3, dtype=bool), method=method).column.tolist() == [1, 2, 0]


@pytest.mark.parametrize("method", METHODS)
@given(seed=seeds, share=st.floats(0, 0.9), spread=st.sampled_from([1e-3, 1.0, 1000.0]))
def test_no_permutation_of_five_is_better(method, seed, share, spread):
    rng = np.random.default_rng(seed)
    cost, forbidden = spread * rng.normal(size=(5, 5)), rng.random((5, 5)) < share
    solved = solve_assignment(cost, forbidden, method=method)
    num_forbidden, lowest = brute_force(cost, forbidden)
    rows = np.arange(5)
    assert int((~solved.allowed).sum()) == num_forbidden
    assert cost[rows, solved.column][solved.allowed].sum() == pytest.approx(lowest, abs=1e-9 * spread)


@pytest.mark.parametrize("method", METHODS)
@given(seed=seeds)
def test_forbidden_cells_are_not_taken_when_they_are_avoidable_even_with_noise_of_1000(method, seed):
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(np.arange(4), [20, 10, 6, 4]))  # one identity holds exactly half
    forbidden = identity[:, None] == identity
    cost = -(rng.normal(size=(40, 40)) + 1000 * rng.random((40, 40)))
    solved = solve_assignment(cost.astype(np.float32), forbidden, method=method)
    assert solved.allowed.all()
    assert not forbidden[np.arange(40), solved.column].any()


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_an_allowed_column_are_marked(method):
    forbidden = np.array([[True, True, True], [False, False, True], [True, False, False]])
    solved = solve_assignment(np.zeros((3, 3)), forbidden, method=method)
    assert solved.allowed.tolist() == [False, True, True]
    assert sorted(solved.column.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_problem_has_an_empty_answer(method):
    solved = solve_assignment(np.empty((0, 0)), np.empty((0, 0), bool), method=method)
    assert solved.column.tolist() == []


@pytest.mark.parametrize("method", METHODS)
def test_no_saving_however_large_pays_for_a_forbidden_cell(method):
    # Either all 21 go round in a circle at 1000 each, or 20 swap for nothing and the last stays, which is forbidden.
    here = np.arange(21)
    cost, forbidden = np.zeros((21, 21)), np.ones((21, 21), bool)
    swapped = np.minimum(here ^ 1, 20)
    forbidden[here[:20], swapped[:20]] = False
    circle = (here + 1) % 21
    forbidden[here, circle] = False
    cost[here, circle] = 1000
    assert solve_assignment(cost, forbidden, method=method).column.tolist() == circle.tolist()


@pytest.mark.parametrize("swapped", [False, True])
def test_costs_that_differ_in_the_tenth_digit_are_told_apart(swapped):
    cost = np.full((3, 3), 9000.0)
    cost[0, 0] = 0
    cost[1:, 1:] = 8000 + 1e-6 * np.array([[0, 1], [1, 0]])
    rows = [0, 2, 1] if swapped else [0, 1, 2]
    assert solve_assignment(cost[rows], np.zeros((3, 3), bool)).column.tolist() == rows


def test_cost_and_forbidden_stay_unchanged(rng):
    cost, forbidden = rng.normal(size=(6, 6)), rng.random((6, 6)) < 0.3
    before = cost.copy(), forbidden.copy()
    solve_assignment(cost, forbidden)
    assert np.array_equal(cost, before[0])
    assert np.array_equal(forbidden, before[1])


@pytest.mark.parametrize(("shape", "other"), [((2, 3), (2, 3)), ((3, 3), (2, 2)), ((4,), (4,))])
def test_shapes_that_do_not_fit_are_told(shape, other):
    with pytest.raises(ValueError, match=r"`cost` must be square and `forbidden` of the same shape. Received: shapes"):
        solve_assignment(np.zeros(shape), np.zeros(other, bool))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_cost_that_is_not_finite_is_told(value):
    cost = np.array([[0.0, value], [0.0, 0.0]])
    with pytest.raises(ValueError, match="`cost` must be finite: a score is infinite or not a number"):
        solve_assignment(cost, np.zeros((2, 2), bool))


@given(seed=seeds, share=st.floats(0, 1), spread=st.sampled_from([1e-3, 1.0, 1000.0]))
def test_no_permutation_within_the_cells_and_the_fallback_is_better(seed, share, spread):
    rng = np.random.default_rng(seed)
    cost, listed = (spread * rng.normal(size=(5, 5))).astype(np.float32), rng.random((5, 5)) < share
    fallback, fallback_allowed, here = rng.permutation(5), rng.random(5) < 0.5, np.arange(5)
    listed[here, fallback] &= fallback_allowed  # a cell that is closed stands nowhere
    row, column = np.nonzero(listed)
    solved = solve_sparse(
        row,
        column,
        cost[row, column],
        fallback=fallback,
        fallback_cost=cost[here, fallback],
        fallback_allowed=fallback_allowed,
    )
    there, forbidden = listed.copy(), np.zeros((5, 5), bool)
    there[here, fallback], forbidden[here, fallback] = True, ~fallback_allowed
    num_forbidden, lowest = brute_force(cost.astype(np.float64), forbidden, there)
    assert sorted(solved.column.tolist()) == here.tolist()
    assert solved.allowed.tolist() == (~forbidden[here, solved.column]).tolist()
    assert int((~solved.allowed).sum()) == num_forbidden
    assert solved.cost == pytest.approx(lowest, abs=1e-6 * spread)


def test_a_sparse_problem_without_rows_has_an_empty_answer():
    none = np.empty(0, int)
    solved = solve_sparse(none, none, none, fallback=none, fallback_cost=none, fallback_allowed=none.astype(bool))
    assert (solved.column.tolist(), solved.cost) == ([], 0)


def test_a_sparse_cost_that_is_not_finite_is_told():
    with pytest.raises(ValueError, match="`cost` must be finite: a score is infinite or not a number"):
        solve_sparse(
            np.array([0]),
            np.array([1]),
            np.array([np.nan]),
            fallback=np.array([1, 0]),
            fallback_cost=np.zeros(2),
            fallback_allowed=np.ones(2, bool),
        )


@pytest.mark.parametrize("method", METHODS)
def test_cost_and_seconds_are_told(method):
    cost = np.array([[-2.0, 1.0], [1.0, -3.0]])
    solved = solve_assignment(cost, np.array([[True, False], [False, False]]), method=method)
    assert (solved.cost, solved.column.tolist()) == (2.0, [1, 0])
    assert 0 <= solved.seconds < 10
    assert solve_assignment(cost, np.array([[True, True], [True, False]]), method=method).cost == -3.0


def test_the_method_follows_from_the_number_of_images_unless_one_is_wanted():
    assert [choose_method(count) for count in (0, 1024, 1025)] == ["dense", "dense", "sparse"]
    assert choose_method(20, "sparse") == "sparse"
