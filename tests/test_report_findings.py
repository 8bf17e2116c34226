"""Tests of hubs, doubts, confused pairs, heat maps and the embedding map."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from siamese.errors import SiameseError
from siamese.evaluation.evaluate import evaluate
from siamese.report.doubts import doubtful_names
from siamese.report.embedding_map import embedding_map, embedding_plot
from siamese.report.findings import confused_pairs
from siamese.report.heat import AGAINST, FOR, heat_overlay
from siamese.report.hubs import find_hubs
from tests.test_evaluate import CATALOG, SCORES, decision, evaluated


def certain(scores):
    """Probabilities: 0 under 0, 1 from 10 on."""
    return np.clip(np.asarray(scores) / 10, 0, 1)


def test_a_photo_near_to_many_other_animals_is_a_hub():
    nearest = np.array([3, 3, 3, 3, 1, 2, -1, 3])
    is_wrong = np.array([True, True, True, True, True, True, True, False])
    hubs = find_hubs(nearest, is_wrong, 500)
    assert hubs["row"].tolist() == [3]
    assert hubs["num_wrong"].tolist() == [4]
    assert hubs["expected"].tolist() == [6 / 500]
    assert hubs["p_value"][0] == pytest.approx(binomtest(4, 6, 1 / 500, alternative="greater").pvalue)


def test_chance_alone_rarely_makes_a_hub():
    alarms = 0
    for seed in range(200):
        nearest = np.random.default_rng(seed).integers(0, 300, 200)
        alarms += len(find_hubs(nearest, np.ones(200, dtype=bool), 300)) > 0
    assert alarms <= 20  # 5 % of 200 are expected; more than 20 has a chance of 0.1 %


def test_no_wrong_match_means_no_hub():
    assert find_hubs(np.array([1, 1, 1]), np.zeros(3, dtype=bool), 10).empty
    assert find_hubs(np.array([], dtype=int), np.array([], dtype=bool), 0).empty


def test_a_photo_near_another_name_and_far_from_its_own_is_doubted():
    identity = np.array(["ann", "ann", "bob", "bob", "cleo"], dtype=object)
    own = np.array([0.5, 0.5, 9.9, 9.9, -np.inf])
    other_rows, other = np.array([2, 2, 0, 4, 3]), np.array([9.5, 9.0, 9.5, 9.2, 9.2])
    before = own.copy()
    doubts = doubtful_names(identity, own, other_rows, other, certain)
    assert doubts[["row", "other_row", "kind"]].values.tolist() == [[0, 2, "far"], [4, 3, "alone"]]
    assert doubts[["identity", "other_identity"]].values.tolist() == [["ann", "bob"], ["cleo", "bob"]]
    assert doubts["own_score"].tolist() == [0.5, -np.inf]
    assert (own == before).all()


@pytest.mark.parametrize(
    ("own", "other", "other_rows"),
    [
        ([2.0, 9.0], [9.5, 9.5], [1, 0]),  # its own name is not improbable
        ([0.5, 9.0], [8.5, 8.5], [1, 0]),  # the other is not probable
        ([0.5, 9.0], [9.5, -np.inf], [1, -1]),  # not in both directions
    ],
)
def test_what_is_not_sure_in_both_directions_is_not_doubted(own, other, other_rows):
    names = np.array(["ann", "bob"], dtype=object)
    assert doubtful_names(names, np.array(own), np.array(other_rows), np.array(other), certain).empty


def test_a_pair_doubted_from_both_sides_stands_once():
    names = np.array(["ann", "bob"], dtype=object)
    doubts = doubtful_names(names, np.array([0.5, 0.1]), np.array([1, 0]), np.array([9.5, 9.5]), certain)
    assert doubts["row"].tolist() == [1]


@given(st.integers(0, 10_000))
def test_doubts_are_those_that_plain_loops_find(seed):
    rng = np.random.default_rng(seed)
    names = rng.choice(["a", "b", "c"], 7).astype(object)
    scores = rng.integers(0, 12, (7, 7)).astype(float)
    scores = np.maximum(scores, scores.T)
    own, other, rows = np.full(7, -np.inf), np.full(7, -np.inf), np.full(7, -1)
    for i in range(7):
        for j in range(7):
            if names[i] == names[j] and i != j:
                own[i] = max(own[i], scores[i, j])
            elif names[i] != names[j] and scores[i, j] > other[i]:
                other[i], rows[i] = scores[i, j], j
    expected = set()
    for i in range(7):
        if rows[i] >= 0 and rows[rows[i]] == i and other[i] >= 9 and own[i] < 1:
            expected.add(frozenset((i, int(rows[i]))))
    doubts = doubtful_names(names, own, rows, other, certain)
    assert {frozenset(pair) for pair in zip(doubts["row"], doubts["other_row"], strict=True)} == expected
    assert len(doubts) == len(expected)


def test_confused_pairs_count_both_directions():
    evaluation = evaluated()
    queries = evaluation.queries
    wrong = evaluation.is_known & (queries["best_identity"] != queries["identity"]).to_numpy()
    pairs = confused_pairs(evaluation)
    assert pairs["num_queries"].sum() == wrong.sum() > 0
    assert (pairs["identity"] < pairs["other"]).all()
    for pair in pairs.itertuples():
        assert {queries["identity"][pair.query], queries["best_identity"][pair.query]} == {pair.identity, pair.other}


def test_heat_colours_what_speaks_for_and_against():
    photo = np.full((2, 3, 1), 80, np.uint8)
    before = photo.copy()
    drawn = heat_overlay(photo, np.array([[-3.0, 0.0, 3.0], [-3.0, 0.0, 3.0]]))
    assert drawn.shape == (2, 3, 3)
    assert drawn[0, 1].tolist() == [60, 60, 60]
    assert drawn[0, 2].tolist() == np.rint(0.2 * 60 + 0.8 * np.array(FOR)).tolist()
    assert drawn[0, 0].tolist() == np.rint(0.2 * 60 + 0.8 * np.array(AGAINST)).tolist()
    assert (photo == before).all()
    assert heat_overlay(photo, np.zeros((1, 1)))[0, 0].tolist() == [60, 60, 60]


def test_a_map_that_is_not_finite_is_refused():
    with pytest.raises(SiameseError, match="`values` must be a table of finite numbers"):
        heat_overlay(np.zeros((2, 2, 1), np.uint8), np.array([[np.nan]]))


def test_the_embedding_map_keeps_the_two_widest_directions(rng):
    wide = rng.normal(size=(40, 2)) * (9, 4)
    embeddings = np.column_stack([0.01 * rng.normal(size=40), wide[:, 1], wide[:, 0]])
    names = np.array(["b", "a", "c", "", ""] * 8, dtype=object)
    drawn = embedding_map(embeddings, names, num_names=2)
    assert drawn.explained > 0.99
    assert drawn.names == ("a", "b")
    assert abs(np.corrcoef(drawn.points[:, 0], wide[:, 0])[0, 1]) > 0.95
    plot = embedding_plot(drawn, names, np.arange(40) < 10)
    assert ">a<" in plot
    assert plot == embedding_plot(drawn, names, np.arange(40) < 10)


def test_embeddings_that_are_all_alike_are_one_point():
    drawn = embedding_map(np.ones((4, 3)), np.array(["a", "a", "b", ""], dtype=object))
    assert drawn.explained == 0
    assert (drawn.points == 0).all()


def test_every_name_stands_in_the_legend_whatever_its_letters(rng):
    names = ["_ann", "$x$", "a$\\frac", "Balinese/character01/of/a/long/alphabet", "<b>", "plain"]
    identity = np.repeat(np.array(names, dtype=object), 2)
    plot = embedding_plot(embedding_map(rng.normal(size=(12, 3)), identity), identity, np.arange(12) % 2 == 0)
    for shown in ("_ann", "$x$", "a$\\frac", "Balinese/ch…ong/alphabet", "&lt;b&gt;", "plain"):
        assert f">{shown}<" in plot


def test_photos_without_any_name_have_a_map_without_a_legend(rng):
    identity = np.full(5, "", dtype=object)
    drawn = embedding_map(rng.normal(size=(5, 3)), identity)
    assert drawn.names == ()
    assert embedding_plot(drawn, identity, np.zeros(5, dtype=bool)).startswith("<?xml")


def test_many_photos_make_no_large_plot(rng):
    names = np.array([f"animal {n}" for n in range(20_000)], dtype=object)
    drawn = embedding_map(rng.normal(size=(20_000, 3)), names)
    assert len(embedding_plot(drawn, names, np.zeros(20_000, dtype=bool))) < 200_000


def test_confusions_of_nobody_are_an_empty_table():
    nobody = evaluate(SCORES[:0], CATALOG, [], query_ids=[], decision=decision())
    assert confused_pairs(nobody).columns.tolist() == ["identity", "other", "num_queries", "query"]
    assert confused_pairs(nobody).empty
