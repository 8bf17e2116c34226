from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.identity_scores import NEW_INDIVIDUAL, identity_scores
from siamese.open_scores import OpenScores
from siamese.postprocessing import (
    fit_balance_gap,
    fit_singletons,
    fit_transposed,
    nearest_queries,
    put_singletons_first,
    swap_for_balance,
    swap_transposed,
    with_temperature,
)
from siamese.postprocessing.places import open_columns, precisions
from siamese.postprocessing.transposed import NearestQueries
from tests.test_postprocessing_places import NAMES, answers, full_order, open_scores_with_ties, table_of

NEW = NEW_INDIVIDUAL
NOBODY = np.full(3, -np.inf)


@st.composite
def photos_of_queries(draw):
    """Probabilities of a few queries with a few photos, in steps of 0.1, and open scores made of them."""
    num_queries, num_catalog = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    photos = rng.integers(0, 10, (num_queries, num_catalog)) / 10
    names = rng.choice(np.array(["", "ann", "bob", "cleo", "dora"], dtype=object), num_catalog)
    names[0] = "ann"
    allowed = rng.random(photos.shape) < 0.9
    scores = OpenScores(identity_scores(photos, names, allowed=allowed), rng.integers(0, 10, num_queries) / 10)
    return photos, names, allowed, scores, rng.choice(["", "ann", "bob", "cleo", "dora"], num_queries)


def unchanged_but_in_order(after, before):
    """The same identities may answer, with the same scores in other places."""
    one, other = open_columns(after), open_columns(before)
    return np.array_equal(one > -np.inf, other > -np.inf) and np.allclose(np.sort(one), np.sort(other), atol=1e-6)


# Class balance.
CLOSE = OpenScores(table_of([[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.4, 0.25, 0.35]]), NOBODY)


def test_an_identity_that_is_nobodys_first_wins_its_closest_query():
    # bob and cleo are nobody's first; ann is three times. Query 0 ann over bob by 0.3, not under it; cleo is closest in
    # query 2, by 0.05, and wins that one alone.
    assert answers(swap_for_balance(CLOSE), 3) == [
        ["ann", "bob", "cleo"],
        ["ann", "cleo", "bob"],
        ["cleo", "ann", "bob"],
    ]


def test_a_wider_gap_swaps_more():
    assert answers(swap_for_balance(CLOSE, gap=0.31), 1) == [["bob"], ["ann"], ["cleo"]]
    assert answers(swap_for_balance(CLOSE, gap=0.0), 1) == [["ann"]] * 3


def test_a_gap_as_wide_as_allowed_is_not_under_it():
    scores = OpenScores(table_of([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]), NOBODY[:2])
    assert answers(swap_for_balance(scores, gap=0.25), 1) == [["ann"], ["ann"]]
    assert answers(swap_for_balance(scores, gap=0.26), 1) == [["bob"], ["ann"]]


def test_who_is_somebodys_first_wins_nothing():
    scores = OpenScores(table_of([[0.5, 0.4, 0.1], [0.1, 0.8, 0.1]]), NOBODY[:2])
    assert answers(swap_for_balance(scores), 1) == [["ann"], ["bob"]]


def test_who_is_near_the_top_once_loses_nothing():
    scores = OpenScores(table_of([[0.5, 0.4, 0.1]]), NOBODY[:1])
    assert answers(swap_for_balance(scores), 1) == [["ann"]]
    assert answers(swap_for_balance(scores, often=1), 1) == [["bob"]]
    second = OpenScores(table_of([[0.5, 0.4, 0.1], [0.3, 0.1, 0.6]]), NOBODY[:2])  # ann is second here
    assert answers(swap_for_balance(second), 1) == [["bob"], ["cleo"]]


def test_the_new_individual_is_no_class():
    scores = OpenScores(table_of([[0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]), np.array([0.4, 0.6]))
    assert answers(swap_for_balance(scores, often=1), 2) == [["ann", NEW], [NEW, "ann"]]


def balanced_by_hand(scores, gap, often):
    ranking = full_order(scores)
    columns = {name: index for index, name in enumerate([*scores.table.names, NEW])}
    firsts, seconds = Counter(row[0] for row in ranking), Counter(row[1] for row in ranking)
    wins = {}
    for query, (one, other, *_) in enumerate(ranking):
        if NEW in (one, other) or "" in (one, other) or firsts[other] or firsts[one] + seconds[one] < often:
            continue
        distance = open_columns(scores)[query, columns[one]] - open_columns(scores)[query, columns[other]]
        if distance < gap and (other not in wins or distance < wins[other][0]):
            wins[other] = distance, query
    for _, query in wins.values():
        ranking[query][:2] = ranking[query][1::-1]
    return ranking


@given(open_scores_with_ties(), st.sampled_from([0.05, 0.3, 0.9]), st.integers(1, 3))
def test_the_balance_is_that_of_a_plain_loop(scores, gap, often):
    scores = with_temperature(scores, 0.4)
    before = open_columns(scores).copy()
    found = swap_for_balance(scores, gap=gap, often=often)
    assert full_order(found) == balanced_by_hand(scores, gap, often)
    assert unchanged_but_in_order(found, scores)
    assert np.array_equal(open_columns(scores), before)


@given(open_scores_with_ties(), st.integers(0, 1000))
def test_no_gap_does_better_on_validation_than_the_fitted_one(scores, seed):
    scores = with_temperature(scores, 0.4)
    truth = np.random.default_rng(seed).choice(np.append(scores.table.names, ""), len(scores.new))
    fitted = precisions(swap_for_balance(scores, gap=fit_balance_gap(scores, truth)), truth).sum()
    tried = [precisions(swap_for_balance(scores, gap=gap), truth).sum() for gap in np.linspace(0, 1, 200)]
    assert fitted >= max(tried) - 1e-9


def test_where_no_swap_helps_the_gap_is_0():
    assert fit_balance_gap(CLOSE, ["ann", "ann", "ann"]) == 0.0
    assert 0.05 < fit_balance_gap(CLOSE, ["ann", "ann", "cleo"]) < 0.3


def test_a_balance_needs_probabilities():
    with pytest.raises(SiameseError, match="`scores` must be probabilities"):
        swap_for_balance(OpenScores(table_of([[3, 2, 1]]), NOBODY[:1]))


# The transposed swap.
PHOTOS = np.array([[0.9, 0.8, 0.1, 0.1], [0.95, 0.3, 0.2, 0.5], [0.1, 0.2, 0.7, 0.6]])
PHOTO_NAMES = np.array(["ann", "bob", "cleo", "cleo"], dtype=object)


def test_a_photo_finds_its_nearest_query():
    found = nearest_queries(PHOTOS, PHOTO_NAMES)
    assert found.query.tolist() == [1, 0, 2, 2]
    assert found.score.tolist() == [0.95, 0.8, 0.7, 0.6]


def test_a_photo_that_may_answer_nothing_has_no_nearest_query():
    allowed = np.ones(PHOTOS.shape, dtype=bool)
    allowed[:, 0] = allowed[0, 1] = False
    found = nearest_queries(PHOTOS, PHOTO_NAMES, allowed=allowed)
    assert found.query.tolist() == [-1, 1, 2, 2]
    assert found.score[0] == -np.inf


def test_rank_2_goes_first_where_its_photo_is_nearest_to_the_query():
    scores = OpenScores(identity_scores(PHOTOS, PHOTO_NAMES), NOBODY)
    assert answers(scores, 2) == [["ann", "bob"], ["ann", "cleo"], ["cleo", "bob"]]
    swapped = swap_transposed(scores, nearest_queries(PHOTOS, PHOTO_NAMES))
    assert answers(swapped, 2) == [["bob", "ann"], ["ann", "cleo"], ["cleo", "bob"]]
    far = swap_transposed(scores, nearest_queries(PHOTOS, PHOTO_NAMES), near=0.81)
    assert answers(far, 2) == answers(scores, 2)


def swap_with_new(table, new, nearest, **changed):
    scores = OpenScores(table_of(table), np.array(new))
    return answers(swap_transposed(scores, NearestQueries(*map(np.array, nearest)), **changed), 2)


def test_the_new_individual_gives_way_to_who_is_nobodys_first():
    one = ["ann"], [0], [0.5]
    assert swap_with_new([[0.5, 0, 0]], [0.8], one) == [["ann", NEW]]
    both = [[0.5, 0, 0], [0.9, 0.1, 0]]
    assert swap_with_new(both, [0.8, 0.2], one) == [[NEW, "ann"], ["ann", NEW]]  # ann is somebody's first


def test_the_new_individual_stays_before_who_is_second_three_times_unless_near():
    table, new = [[0.5, 0, 0]] * 3, [0.8] * 3
    assert swap_with_new(table, new, (["ann"], [0], [0.59])) == [[NEW, "ann"]] * 3
    assert swap_with_new(table, new, (["ann"], [0], [0.6])) == [["ann", NEW], [NEW, "ann"], [NEW, "ann"]]
    assert swap_with_new(table, new, (["ann"], [0], [0.59]), doubtful=0.5)[0] == ["ann", NEW]
    assert swap_with_new(table + table[:1], [0.8] * 4, (["ann"], [0], [0.59]))[0] == ["ann", NEW]  # four, not three


def test_the_photo_with_the_highest_score_speaks_for_a_query():
    nearest = NearestQueries(np.array(["bob", "cleo"], dtype=object), np.array([0, 0]), np.array([0.7, 0.8]))
    scores = OpenScores(table_of([[0.9, 0.8, 0.1]]), NOBODY[:1])
    assert answers(swap_transposed(scores, nearest), 2) == [["ann", "bob"]]  # cleo speaks, and is not second


def transposed_by_hand(photos, names, allowed, scores, near, doubtful):
    """As the published code walks over the photos."""
    ranking = full_order(scores)
    firsts, seconds = Counter(row[0] for row in ranking), Counter(row[1] for row in ranking)
    said = {}
    for column, name in enumerate(names):
        row = np.where(allowed[:, column], photos[:, column], -np.inf)
        query = int(np.argmax(row))
        if name and row[query] >= near and (query not in said or row[query] > said[query][1]):
            said[query] = name, row[query]
    for query, (name, score) in said.items():
        one, other = ranking[query][:2]
        if name == one or name != other:
            continue
        if one == NEW and (firsts[name] > 0 or (seconds[name] == 3 and score < doubtful)):
            continue
        ranking[query][:2] = [other, one]
    return ranking


@given(photos_of_queries(), st.sampled_from([0.0, 0.35, 0.46, 0.8]), st.sampled_from([0.6, 0.85]))
def test_the_transposed_swap_is_that_of_a_plain_loop(case, near, doubtful):
    photos, names, allowed, scores, truth = case
    before = open_columns(scores).copy()
    nearest = nearest_queries(photos, names, allowed=allowed)
    found = swap_transposed(scores, nearest, near=near, doubtful=doubtful)
    assert full_order(found) == transposed_by_hand(photos, names, allowed, scores, near, doubtful)
    assert unchanged_but_in_order(found, scores)
    assert np.array_equal(open_columns(scores), before)
    fitted = fit_transposed(scores, nearest, truth, doubtful=doubtful)
    best = swap_transposed(scores, nearest, near=fitted, doubtful=doubtful)
    assert precisions(best, truth).sum() >= max(precisions(found, truth).sum(), precisions(scores, truth).sum()) - 1e-6


def test_nearest_queries_of_other_photos_are_told():
    scores = OpenScores(table_of([[0.9, 0.8, 0.1]]), NOBODY[:1])
    with pytest.raises(SiameseError, match="`nearest` must be of the same 1 queries. Received: query 2"):
        swap_transposed(scores, nearest_queries(PHOTOS, PHOTO_NAMES))


def test_a_matrix_of_other_photos_is_told():
    with pytest.raises(SiameseError, match="`scores` must have one row per query"):
        nearest_queries(PHOTOS, PHOTO_NAMES[:2])


# Singletons.
FAR = OpenScores(table_of([[9, 6, 2], [8, 5, 4], [7, 1, 3]]), np.array([5.5, 10.0, 7.5]))


def test_a_singleton_goes_first_for_its_nearest_query_even_before_the_new_individual():
    # bob is nearest to query 0, cleo to query 1, where the new individual was first
    moved = put_singletons_first(FAR, np.array([5, 1, 1]), near=4.0)
    assert answers(moved) == [["bob", "ann", NEW, "cleo"], ["cleo", NEW, "ann", "bob"], [NEW, "ann", "cleo", "bob"]]


def test_only_singletons_that_are_near_enough_go_first():
    assert answers(put_singletons_first(FAR, np.array([5, 1, 1]), near=4.1), 1) == [["bob"], [NEW], [NEW]]
    assert answers(put_singletons_first(FAR, np.array([5, 2, 1]), near=0.0), 1) == [["ann"], ["cleo"], [NEW]]


def test_of_two_singletons_of_a_query_the_nearer_one_goes_first():
    scores = OpenScores(table_of([[9, 6, 7], [0, 1, 1]]), NOBODY[:2])
    assert answers(put_singletons_first(scores, np.array([5, 1, 1]), near=0.0), 2) == [["cleo", "ann"], ["bob", "cleo"]]


@given(open_scores_with_ties(), st.integers(0, 1000))
def test_the_singletons_are_those_of_a_plain_loop(scores, seed):
    rng = np.random.default_rng(seed)
    num_photos, before = rng.integers(1, 3, len(scores.table.names)), open_columns(scores).copy()
    near, wanted, said = float(rng.integers(-3, 4)), full_order(scores), {}
    for column in np.flatnonzero(num_photos == 1):
        query = int(np.argmax(scores.table.scores[:, column]))
        score = scores.table.scores[query, column]
        if score >= near and (query not in said or score > said[query][1]):
            said[query] = scores.table.names[column], score
    for query, (name, _) in said.items():
        row = [name, *(other for other in wanted[query] if other not in (name, ""))]
        wanted[query] = row + [""] * (len(wanted[query]) - len(row))
    found = put_singletons_first(scores, num_photos, near=near)
    assert full_order(found) == wanted
    assert unchanged_but_in_order(found, scores)
    assert np.array_equal(open_columns(scores), before)


def test_the_nearness_of_singletons_is_fitted():
    num_photos = np.array([5, 1, 1])
    assert 4.0 < fit_singletons(FAR, num_photos, ["bob", "ann", "ann"]) <= 6.0
    assert fit_singletons(FAR, num_photos, ["ann", "", ""]) == np.inf
    assert fit_singletons(FAR, num_photos, ["bob", "cleo", "ann"]) < 4.0


def test_numbers_of_photos_of_another_catalog_are_told():
    with pytest.raises(SiameseError, match=r"`num_photos` must hold one number per identity, shape \(3,\)"):
        put_singletons_first(FAR, np.array([1, 1]), near=0.0)


def test_no_query_is_no_hindrance():
    nobody = OpenScores(table_of(np.empty((0, 3))), np.empty(0))
    nearest = nearest_queries(np.empty((0, 4)), PHOTO_NAMES)
    assert len(swap_transposed(nobody, nearest).new) == 0
    assert len(put_singletons_first(nobody, np.array([1, 1, 1]), near=0.0).new) == 0
    assert len(swap_for_balance(nobody).new) == 0
    assert NAMES.tolist() == nobody.table.names.tolist()
