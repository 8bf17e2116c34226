"""Tests of `siamese.evaluation.retrieval`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from siamese.errors import SiameseError
from siamese.evaluation.retrieval import average_precision, average_precision_at, cmc, first_ranks, share_found
from siamese.identity_scores import NEW_INDIVIDUAL, identity_scores
from siamese.ranking import rank_identities
from tests.test_ranking import score_tables

IDENTITIES = np.array(
    [
        ["ann", "bob", NEW_INDIVIDUAL, "cleo", "dora", "eve"],
        ["ann", NEW_INDIVIDUAL, "", "", "", ""],
        ["eve", "dora", "cleo", "bob", "ann", NEW_INDIVIDUAL],
        ["eve", "dora", "cleo", "bob", "ann", NEW_INDIVIDUAL],
    ],
    dtype=object,
)


@st.composite
def relevance_tables(draw):
    """Which entry is right, and scores with many ties, some of them of entries that may not answer."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    scores = rng.integers(-2, 3, shape).astype(np.float64)
    return rng.random(shape) < 0.4, np.where(rng.random(shape) < 0.2, -np.inf, scores)


def test_a_right_answer_earns_one_over_its_rank_and_nothing_behind_the_fifth():
    gains = average_precision_at(["bob", "", "ann", ""], IDENTITIES)
    np.testing.assert_allclose(gains, [1 / 2, 1 / 2, 1 / 5, 0])


def test_the_padding_of_a_short_row_is_not_a_right_answer_for_a_new_individual():
    assert average_precision_at([""], np.array([["ann", "", ""]], dtype=object)).tolist() == [0.0]


def test_only_the_first_k_places_count():
    assert average_precision_at(["cleo", "ann", "eve", "dora"], IDENTITIES, k=1).tolist() == [0, 1, 1, 0]


@given(score_tables(), st.integers(1, 6))
def test_precision_in_a_list_is_what_a_plain_loop_gives(table, k):
    scores, catalog, allowed, truth = table
    by_identity = identity_scores(scores, catalog, allowed=allowed)
    identities = rank_identities(by_identity, query_ids=truth, threshold=0.0).identities
    expected = []
    for row, name in zip(identities.tolist(), truth, strict=True):
        right = name or NEW_INDIVIDUAL
        expected.append(1 / (row.index(right) + 1) if right in row[:k] else 0.0)
    np.testing.assert_allclose(average_precision_at(truth, identities, k=k), expected)


def test_average_precision_divides_by_all_right_entries():
    right = np.array([[True, False, True, False], [False, False, False, False]])
    scores = np.array([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
    np.testing.assert_allclose(average_precision(right, scores), [(1 / 1 + 2 / 3) / 2, np.nan])


@given(relevance_tables())
def test_average_precision_is_scikit_learns_over_the_entries_that_may_answer(table):
    right, scores = table
    for found, own, row in zip(average_precision(right, scores), right, scores, strict=True):
        may = row > -np.inf
        if own[may].any():
            assert found == pytest.approx(average_precision_score(own[may], row[may]))
        else:
            assert np.isnan(found)


@given(relevance_tables(), st.integers(1, 7))
def test_cmc_is_what_a_plain_loop_gives_with_the_right_one_last_of_equals(table, k):
    right, scores = table
    ranks = []
    for own, row in zip(right, scores, strict=True):
        order = sorted(np.flatnonzero(row > -np.inf), key=lambda column: (-row[column], own[column]))
        places = [place for place, column in enumerate(order, start=1) if own[column]]
        top = [place for place in places if row[order[place - 1]] == row[order[places[0] - 1]]]
        ranks.append(top[-1] if top else 0)  # of several right equals, all stand last: the end of the group
    assert first_ranks(right, scores).tolist() == ranks
    found = [rank for rank in ranks if rank]
    expected = [sum(rank <= place for rank in found) / len(found) if found else np.nan for place in range(1, k + 1)]
    np.testing.assert_allclose(cmc(right, scores, k=k), expected)


def test_a_rank_of_none_does_not_count():
    assert share_found(np.array([1, 0, 3]), k=3).tolist() == [0.5, 0.5, 1.0]


def test_the_inputs_stay_as_they_are():
    identities, truth = IDENTITIES.copy(), np.array(["bob", "", "ann", ""], dtype=object)
    average_precision_at(truth, identities)
    assert np.array_equal(identities, IDENTITIES)
    assert truth.tolist() == ["bob", "", "ann", ""]
    right, scores = np.array([[True, False]]), np.array([[1.0, 2.0]])
    average_precision(right, scores)
    cmc(right, scores)
    assert (right.tolist(), scores.tolist()) == ([[True, False]], [[1.0, 2.0]])


def test_a_missing_truth_is_told():
    with pytest.raises(
        SiameseError, match=r"`y_true` must hold one value per query, shape \(4,\). Received: shape \(1,\)"
    ):
        average_precision_at(["ann"], IDENTITIES)


def test_matrices_of_two_shapes_are_told():
    with pytest.raises(SiameseError, match=r"of one shape, .* Received: shapes \(1, 2\) and \(1, 3\)"):
        average_precision(np.ones((1, 2)), np.ones((1, 3)))


def test_a_curve_without_places_is_told():
    with pytest.raises(SiameseError, match="`top_k` must be at least 1"):
        cmc(np.ones((1, 1)), np.ones((1, 1)), k=0)
