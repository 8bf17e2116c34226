"""Tests of `siamese.evaluation.retrieval`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.evaluation.retrieval import average_precision_at, cmc
from siamese.ranking import NEW_INDIVIDUAL, identity_scores, rank_identities
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


def test_a_right_answer_earns_one_over_its_rank_and_nothing_behind_the_fifth():
    gains = average_precision_at(IDENTITIES, ["bob", "", "ann", ""])
    np.testing.assert_allclose(gains, [1 / 2, 1 / 2, 1 / 5, 0])


def test_the_padding_of_a_short_row_is_not_a_right_answer_for_a_new_individual():
    assert average_precision_at(np.array([["ann", "", ""]], dtype=object), [""]).tolist() == [0.0]


def test_only_the_first_k_places_count():
    assert average_precision_at(IDENTITIES, ["cleo", "ann", "eve", "dora"], k=1).tolist() == [0, 1, 1, 0]


@settings(deadline=None)
@given(score_tables(), st.integers(1, 6))
def test_average_precision_is_what_a_plain_loop_gives(table, k):
    scores, catalog, allowed, truth = table
    by_identity = identity_scores(scores, catalog, allowed=allowed)
    identities = rank_identities(by_identity, query_ids=truth, threshold=0.0).identities
    expected = []
    for row, name in zip(identities.tolist(), truth, strict=True):
        right = name or NEW_INDIVIDUAL
        expected.append(1 / (row.index(right) + 1) if right in row[:k] else 0.0)
    np.testing.assert_allclose(average_precision_at(identities, truth, k=k), expected)


def test_cmc_counts_the_known_queries_that_can_be_answered():
    catalog = np.array(["ann", "bob", "cleo"], dtype=object)
    scores = np.array([[3.0, 2.0, 1.0]] * 5)
    allowed = np.ones((5, 3), dtype=bool)
    allowed[4, 2] = False
    table = identity_scores(scores, catalog, allowed=allowed)
    curve = cmc(table, ["ann", "cleo", "", "nobody", "cleo"], k=4)
    assert curve.tolist() == [0.5, 0.5, 1.0, 1.0]


@settings(deadline=None)
@given(score_tables(), st.integers(1, 7))
def test_cmc_is_what_rankings_without_the_new_individual_give(table, k):
    scores, catalog, allowed, truth = table
    by_identity = identity_scores(scores, catalog, allowed=allowed)
    identities = rank_identities(by_identity, query_ids=truth, threshold=None, top_k=7).identities.tolist()
    found = [row.index(name) for row, name in zip(identities, truth, strict=True) if name and name in row]
    expected = [sum(place < rank for place in found) / len(found) if found else np.nan for rank in range(1, k + 1)]
    np.testing.assert_allclose(cmc(by_identity, truth, k=k), expected)


def test_the_inputs_stay_as_they_are():
    identities, truth = IDENTITIES.copy(), np.array(["bob", "", "ann", ""], dtype=object)
    average_precision_at(identities, truth)
    assert np.array_equal(identities, IDENTITIES)
    assert truth.tolist() == ["bob", "", "ann", ""]


def test_a_missing_truth_is_told():
    with pytest.raises(
        SiameseError, match=r"`truth` must hold one value per query, shape \(4,\). Received: shape \(1,\)"
    ):
        average_precision_at(IDENTITIES, ["ann"])


def test_a_curve_without_places_is_told():
    with pytest.raises(SiameseError, match="`top_k` must be at least 1"):
        cmc(identity_scores(np.ones((1, 1)), np.array(["ann"], dtype=object)), ["ann"], k=0)
