"""Tests of `siamese.identity_scores`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from siamese.errors import SiameseError
from siamese.evaluation.retrieval import first_ranks
from siamese.identity_scores import (
    NEW_INDIVIDUAL,
    RULES,
    IdentityScores,
    best_of_rows,
    identity_scores,
    join_tables,
)
from siamese.ranking import rank_identities
from siamese.settings import IdentityScoreSettings
from tests.test_ranking import CATALOG, SCORES, score_tables

ALL_RULES = st.builds(
    IdentityScoreSettings,
    rule=st.sampled_from(list(RULES)),
    temperature=st.sampled_from([0.1, 1.0, 5.0]),
    nearest=st.integers(1, 4),
    sum_over=st.sampled_from([0.0, 0.6, 0.9]),
)


def by_hand(photos, chosen):
    """The score of an identity with one query, from the scores of its photos that may answer."""
    if not len(photos):
        return -np.inf
    if chosen.rule == "max":
        return max(photos)
    if chosen.rule == "mean":
        return sum(photos) / len(photos)
    if chosen.rule == "softmax_mean":
        weights = [np.exp(score / chosen.temperature) for score in photos]
        return sum(w * s for w, s in zip(weights, photos, strict=True)) / sum(weights)
    if chosen.rule == "k_nearest":
        best = sorted(photos, reverse=True)[: chosen.nearest]
        return sum(best) / len(best)
    counted = [float(expit(score)) for score in photos if expit(score) > chosen.sum_over]
    return sum(counted) if counted else max(float(expit(score)) for score in photos)


def rule(name, **numbers):
    return IdentityScoreSettings(rule=name, **numbers)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (rule("max"), [4.0, 0.0]),
        (rule("mean"), [2.0, 0.0]),
        (rule("k_nearest", nearest=2), [3.0, 0.0]),
        (rule("k_nearest", nearest=9), [2.0, 0.0]),
        (rule("softmax_mean", temperature=0.01), [4.0, 0.0]),
        (rule("softmax_mean", temperature=1e6), [2.0, 0.0]),
        (rule("sum_over", sum_over=0.7), [expit(4) + expit(2), 0.5]),
        (rule("sum_over", sum_over=0.99), [expit(4), 0.5]),
    ],
)
def test_each_rule_gives_the_number_worked_out_by_hand(chosen, expected):
    scores, names = np.array([[4.0, 0.0, 0.0, 2.0]]), np.array(["ann", "bob", "ann", "ann"], dtype=object)
    found = identity_scores(scores, names, settings=chosen)
    np.testing.assert_allclose(found.scores[0], expected, atol=1e-5)
    assert found.scores.dtype == np.float32
    assert found.best_image.tolist() == [[0, 1]]


@settings(max_examples=200)
@given(score_tables(), ALL_RULES)
def test_every_rule_is_what_a_plain_loop_over_photos_gives(case, chosen):
    scores, catalog, allowed, _ = case
    table = identity_scores(scores, catalog, allowed=allowed, settings=chosen)
    assert table.names.tolist() == sorted(set(catalog) - {""})
    for query, row in enumerate(scores):
        for column, name in enumerate(table.names):
            mine = np.flatnonzero((catalog == name) & allowed[query])
            expected = by_hand(row[mine].astype(float), chosen)
            assert table.scores[query, column] == pytest.approx(expected, rel=1e-5, abs=1e-6)
            best = mine[np.argmax(row[mine])] if len(mine) else -1
            assert table.best_image[query, column] == best


@given(score_tables(), ALL_RULES)
def test_a_score_of_minus_infinity_does_not_answer(case, chosen):
    scores, catalog, allowed, _ = case
    masked = identity_scores(scores, catalog, allowed=allowed, settings=chosen)
    lowest = identity_scores(np.where(allowed, scores, -np.inf), catalog, settings=chosen)
    assert np.array_equal(masked.scores, lowest.scores)
    assert np.array_equal(masked.best_image, lowest.best_image)


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(0, 6), st.integers(0, 8), st.data())
def test_the_best_columns_are_those_of_all_of_them_sorted(seed, num_rows, num_columns, data):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (num_rows, num_columns)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    k = data.draw(st.integers(0, num_columns))
    before = scores.copy()
    assert np.array_equal(best_of_rows(scores, k), np.argsort(-scores, axis=1, kind="stable")[:, :k])
    assert np.array_equal(before, scores)


def test_tables_of_blocks_of_queries_are_put_together(rng):
    scores = rng.random((5, len(CATALOG)))
    whole = identity_scores(scores, CATALOG)
    joined = join_tables([identity_scores(scores[rows], CATALOG) for rows in (slice(0, 2), slice(2, 5))])
    assert np.array_equal(joined.scores, whole.scores)
    assert np.array_equal(joined.best_image, whole.best_image)
    assert np.array_equal(joined.select(slice(2, 5)).scores, whole.scores[2:])


@pytest.mark.parametrize("name", list(RULES))
def test_no_rule_changes_what_it_is_given(name, rng):
    scores, catalog, allowed = rng.random((3, 5)).astype(np.float32), CATALOG.copy(), rng.random((3, 5)) < 0.5
    before = scores.copy(), catalog.copy(), allowed.copy()
    identity_scores(scores, catalog, allowed=allowed, settings=rule(name))
    assert all(np.array_equal(old, new) for old, new in zip(before, (scores, catalog, allowed), strict=True))


@pytest.mark.parametrize("name", list(RULES))
def test_a_score_that_is_no_number_is_told_by_every_rule(name):
    with pytest.raises(SiameseError, match=r"`scores` must be numbers. Received: NaN"):
        identity_scores(np.array([[1.0, np.nan]]), np.array(["ann", "ann"], dtype=object), settings=rule(name))


def test_a_rule_of_embeddings_is_refused():
    with pytest.raises(SiameseError, match="must be one of scores: max, mean.* Received: centroid"):
        identity_scores(SCORES, CATALOG, settings=rule("centroid"))


def test_an_identity_gets_the_best_score_of_its_photos():
    table = identity_scores(SCORES, CATALOG)
    assert table.names.tolist() == ["ann", "bob", "cleo"]
    assert table.scores.tolist() == [[4.0, 3.0, 1.0], [0.5, 0.0, 5.0]]
    assert table.scores.dtype == np.float32


def test_the_photo_that_gave_the_score_is_named_and_the_first_of_equals():
    assert identity_scores(SCORES, CATALOG).best_image.tolist() == [[4, 3, 0], [1, 3, 0]]


def test_photos_that_may_not_answer_give_no_score():
    allowed = np.array([[True, True, True, True, False], [False, True, True, False, True]])
    table = identity_scores(SCORES, CATALOG, allowed=allowed)
    assert table.scores.tolist() == [[2.0, 3.0, 1.0], [0.5, -np.inf, -np.inf]]
    assert table.best_image.tolist() == [[1, 3, 0], [1, -1, -1]]


def test_many_rows_are_worked_block_by_block_with_the_same_result(rng, monkeypatch):
    scores, catalog = rng.random((30, 40)).astype(np.float32), rng.choice(CATALOG, 40)
    whole = identity_scores(scores, catalog)
    monkeypatch.setattr("siamese.identity_scores.BLOCK_CELLS", 100)
    blocks = identity_scores(scores, catalog)
    assert np.array_equal(whole.scores, blocks.scores)
    assert np.array_equal(whole.best_image, blocks.best_image)
    assert np.array_equal(whole.best_columns(2), blocks.best_columns(2))


def test_swapped_axes_are_told():
    with pytest.raises(SiameseError, match=r"shape \(num_queries, 5\)\. Received: shape \(5, 2\).*scores\.T"):
        identity_scores(SCORES.T, CATALOG)


def test_a_mask_of_another_shape_is_told():
    with pytest.raises(SiameseError, match=r"`allowed` must be a bool matrix.*Received: bool of shape \(2, 1\)"):
        identity_scores(SCORES, CATALOG, allowed=np.ones((2, 1), dtype=bool))


def test_an_identity_called_like_the_new_individual_is_told():
    with pytest.raises(SiameseError, match=r"may be called 'new_individual'.*Received: 1 photos"):
        identity_scores(np.ones((1, 1)), np.array([NEW_INDIVIDUAL], dtype=object))


def test_rows_can_be_selected():
    table = identity_scores(SCORES, CATALOG)
    selected = table.select(np.array([False, True]))
    assert isinstance(selected, IdentityScores)
    assert selected.scores.tolist() == table.scores[1:].tolist()


@settings(deadline=None)
@given(score_tables())
def test_the_rank_of_the_truth_is_its_place_in_the_full_ranking(table):
    scores, catalog, allowed, truth = table
    by_identity = identity_scores(scores, catalog, allowed=allowed)
    full = rank_identities(by_identity, query_ids=np.arange(len(scores)), threshold=None, top_k=6).identities
    expected = [
        row.tolist().index(name) + 1 if name and name in row else 0 for row, name in zip(full, truth, strict=True)
    ]
    assert by_identity.ranks_of(truth).tolist() == expected


@settings(deadline=None)
@given(score_tables())
def test_the_rank_behind_equals_counts_whoever_scores_as_high(table):
    scores, catalog, allowed, truth = table
    by_identity = identity_scores(scores, catalog, allowed=allowed)
    expected = first_ranks(truth[:, None] == by_identity.names, by_identity.scores)
    assert by_identity.last_ranks_of(truth).tolist() == expected.tolist()


@pytest.mark.parametrize("chosen", [rule(name) for name in RULES], ids=list(RULES))
def test_individuals_with_one_and_with_many_photos_are_scored_alike(chosen, rng):
    catalog = rng.permutation(np.repeat([f"animal {number}" for number in range(12)], [1, 9, 2, 1, 40, *[3] * 7]))
    scores = np.round(rng.normal(size=(6, len(catalog))), 1)  # with ties
    found = identity_scores(scores, catalog, settings=chosen)
    for column, name in enumerate(found.names):
        own = np.flatnonzero(catalog == name)
        assert found.best_image[:, column].tolist() == own[scores[:, own].argmax(axis=1)].tolist()
        expected = [by_hand(list(row), chosen) for row in scores[:, own]]
        np.testing.assert_allclose(found.scores[:, column], expected, rtol=1e-5, atol=1e-6)
