"""Tests of `siamese.ranking`."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.identity_scores import NEW_INDIVIDUAL, identity_scores
from siamese.ranking import rank_identities, rank_photos

CATALOG = np.array(["cleo", "ann", "", "bob", "ann"], dtype=object)
SCORES = np.array([[1.0, 2.0, 99.0, 3.0, 4.0], [5.0, 0.5, 99.0, 0.0, 0.5]])


@st.composite
def score_tables(draw):
    """A small score matrix with many ties, a catalog with unknown photos, a mask, and a truth per query."""
    num_queries, num_catalog = draw(st.integers(1, 5)), draw(st.integers(0, 9))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    names = np.array(["", "ann", "bob", "cleo", "dora"], dtype=object)
    return (
        rng.integers(-3, 4, (num_queries, num_catalog)).astype(np.float32),
        rng.choice(names, num_catalog),
        rng.random((num_queries, num_catalog)) < 0.7,
        rng.choice(np.append(names, "nobody"), num_queries),
    )


def ranked_by_hand(scores, catalog, allowed, threshold, top_k):
    """Walks down the scores of one query as a person would; ties by name, then by catalog row."""
    best = {}
    for row, name in enumerate(catalog):
        if name and allowed[row] and (name not in best or scores[row] > best[name][0]):
            best[name] = (float(scores[row]), row)
    answers = [(name, *best[name]) for name in sorted(best, key=lambda name: (-best[name][0], name))]
    if threshold is not None:
        place = sum(score >= threshold for _, score, _ in answers)
        answers.insert(place, (NEW_INDIVIDUAL, threshold, -1))
    return answers[:top_k]


def test_a_catalog_of_unknown_individuals_answers_with_the_new_individual_alone():
    table = identity_scores(np.ones((2, 3)), np.array(["", "", ""], dtype=object))
    assert table.scores.shape == (2, 0)
    ranking = rank_identities(table, query_ids=["a", "b"], threshold=0.0, top_k=2, probability=lambda scores: scores)
    assert ranking.identities.tolist() == [[NEW_INDIVIDUAL, ""]] * 2
    assert ranking.probabilities[:, 0].tolist() == [1.0, 1.0]


def test_the_new_individual_stands_before_the_first_score_below_the_threshold():
    table = identity_scores(SCORES, CATALOG)
    ranking = rank_identities(table, query_ids=["q1", "q2"], threshold=2.0, top_k=3)
    assert ranking.identities.tolist() == [["ann", "bob", NEW_INDIVIDUAL], ["cleo", NEW_INDIVIDUAL, "ann"]]
    assert ranking.scores.tolist() == [[4.0, 3.0, 2.0], [5.0, 2.0, 0.5]]
    assert ranking.catalog_rows.tolist() == [[4, 3, -1], [0, -1, 1]]


def test_a_score_that_equals_the_threshold_is_not_below_it():
    ranking = rank_identities(identity_scores(SCORES, CATALOG), query_ids=["q1", "q2"], threshold=3.0, top_k=3)
    assert ranking.identities[0].tolist() == ["ann", "bob", NEW_INDIVIDUAL]


def test_scores_meet_the_threshold_in_double_precision():
    table = identity_scores(np.array([[0.1]], dtype=np.float32), np.array(["ann"], dtype=object))
    barely_above = float(np.float32(0.1)) + 1e-12  # the same number in float32
    ranking = rank_identities(table, query_ids=["q"], threshold=barely_above)
    assert ranking.identities[0, 0] == NEW_INDIVIDUAL


def test_without_a_threshold_the_new_individual_is_never_listed():
    ranking = rank_identities(identity_scores(SCORES, CATALOG), query_ids=["q1", "q2"], threshold=None)
    assert ranking.identities[0].tolist() == ["ann", "bob", "cleo", "", ""]
    assert np.isnan(ranking.scores[0, 3:]).all()
    assert ranking.catalog_rows[0].tolist() == [4, 3, 0, -1, -1]


def test_a_short_list_ends_with_the_new_individual_even_if_all_scores_are_high():
    ranking = rank_identities(identity_scores(SCORES, CATALOG), query_ids=["q1", "q2"], threshold=-9.0)
    assert ranking.identities[0].tolist() == ["ann", "bob", "cleo", NEW_INDIVIDUAL, ""]


def test_the_new_individual_gets_the_probability_that_the_best_identity_leaves():
    ranking = rank_identities(
        identity_scores(SCORES, CATALOG), query_ids=["q1", "q2"], threshold=2.0, top_k=3, probability=lambda s: s / 10
    )
    np.testing.assert_allclose(ranking.probabilities, [[0.4, 0.3, 0.6], [0.5, 0.5, 0.05]])


def test_equal_scores_keep_the_order_of_names():
    table = identity_scores(np.zeros((1, 4)), np.array(["dora", "bob", "cleo", "ann"], dtype=object))
    ranking = rank_identities(table, query_ids=["q"], threshold=None, top_k=4)
    assert ranking.identities[0].tolist() == ["ann", "bob", "cleo", "dora"]


@settings(deadline=None)
@given(score_tables(), st.one_of(st.none(), st.integers(-4, 4).map(float)), st.integers(1, 6))
def test_a_ranking_is_what_a_walk_down_the_scores_gives(table, threshold, top_k):
    scores, catalog, allowed, _ = table
    ranking = rank_identities(
        identity_scores(scores, catalog, allowed=allowed),
        query_ids=np.arange(len(scores)),
        threshold=threshold,
        top_k=top_k,
    )
    for query in range(len(scores)):
        expected = ranked_by_hand(scores[query], catalog, allowed[query], threshold, top_k)
        listed = len(expected)
        assert ranking.identities[query].tolist() == [name for name, _, _ in expected] + [""] * (top_k - listed)
        assert ranking.scores[query, :listed].tolist() == [score for _, score, _ in expected]
        assert ranking.catalog_rows[query].tolist() == [row for _, _, row in expected] + [-1] * (top_k - listed)


def test_the_callers_arrays_stay_as_they_are():
    scores, catalog, allowed = SCORES.astype(np.float32), CATALOG.copy(), SCORES > 1
    before = scores.copy(), catalog.copy(), allowed.copy()
    table = identity_scores(scores, catalog, allowed=allowed)
    kept = table.scores.copy()
    rank_identities(table, query_ids=["q1", "q2"], threshold=1.0)
    assert all(np.array_equal(old, new) for old, new in zip(before, (scores, catalog, allowed), strict=True))
    assert np.array_equal(kept, table.scores)


def test_the_long_table_leaves_out_the_padding():
    ranking = rank_identities(identity_scores(SCORES, CATALOG), query_ids=["q1", "q2"], threshold=2.0)
    frame = ranking.to_frame(catalog_ids=np.array(["p0", "p1", "p2", "p3", "p4"], dtype=object))
    assert list(frame.columns) == ["image_id", "rank", "identity", "score", "probability", "match"]
    assert frame["rank"].tolist() == [1, 2, 3, 4] * 2
    assert frame["match"].tolist() == ["p4", "p3", "", "p0", "p0", "", "p1", "p3"]
    assert "match" not in ranking.to_frame()


def test_a_submission_holds_the_identities_of_a_query_in_one_cell():
    catalog = np.array(["w 1", "w_2"], dtype=object)
    ranking = rank_identities(identity_scores(np.array([[3.0, 1.0]]), catalog), query_ids=["q1"], threshold=2.0)
    frame = ranking.to_submission()
    assert frame.to_dict("list") == {"Image": ["q1"], "Id": ["w_1 new_whale w_2"]}
    assert ranking.to_submission("stranger")["Id"].tolist() == ["w_1 stranger w_2"]


def test_a_ranking_can_be_cut():
    ranking = rank_identities(identity_scores(SCORES, CATALOG), query_ids=["q1", "q2"], threshold=None).first(1)
    assert ranking.identities.tolist() == [["ann"], ["cleo"]]
    assert len(ranking) == 2


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"top_k": 0}, "`top_k` must be at least 1. Received: top_k=0"),
        ({"threshold": np.nan}, "`threshold` must be a score. Received: NaN"),
        ({"query_ids": ["q1"]}, r"`query_ids` must hold one value per query, shape \(2,\). Received: shape \(1,\)"),
    ],
)
def test_wrong_arguments_of_a_ranking_are_told(changed, sentence):
    arguments = {"query_ids": ["q1", "q2"], "threshold": 0.0, "top_k": 5} | changed
    with pytest.raises(SiameseError, match=sentence):
        rank_identities(identity_scores(SCORES, CATALOG), **arguments)


def test_ranking_and_evaluation_do_not_load_keras():
    modules = [
        "ranking",
        "centroids",
        "reranking",
        "encounters",
        "evaluation.ranking_steps",
        "decision",
        "report.files",
        "evaluation.baselines",
    ]
    code = "import sys\n" + "\n".join(f"import siamese.{name}" for name in modules)
    code += "\nassert not {'keras', 'tensorflow', 'matplotlib.pyplot'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# rankings out of the best photos


def best_photos(scores, allowed, k):
    """The k best photos of each query, equal scores by index; -1 and -inf where fewer may answer."""
    scores = np.where(allowed, scores, -np.inf)
    columns = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, columns, axis=1)
    missing = ((0, 0), (0, k - columns.shape[1]))
    columns = np.pad(np.where(scores > -np.inf, columns, -1), missing, constant_values=-1)
    return columns, np.pad(scores, missing, constant_values=-np.inf)


def assert_same_ranking(left, right):
    for name in ("query_ids", "identities", "scores", "probabilities", "catalog_rows"):
        assert np.array_equal(getattr(left, name), getattr(right, name), equal_nan=name in ("scores", "probabilities"))


@given(score_tables(), st.sampled_from([None, -1.5, 0.0, 1.0]), st.integers(1, 5), st.integers(1, 10))
def test_the_best_photos_give_the_ranking_of_the_whole_matrix_where_its_end_is_over_theirs(
    case, threshold, top_k, num_photos
):
    scores, catalog, allowed, _ = case
    options = {
        "query_ids": np.arange(len(scores)),
        "threshold": threshold,
        "top_k": top_k,
        "probability": lambda scores: 1 / (1 + np.exp(-scores)),
    }
    whole = rank_identities(identity_scores(scores, catalog, allowed=allowed), **options)
    photos = best_photos(scores, allowed, num_photos)
    listed = rank_photos(*photos, catalog, **options)
    has_name = (catalog[photos[0]] != "").any(axis=1, where=photos[0] >= 0) if len(catalog) else True
    sure = (photos[0][:, -1] < 0) | ((listed.scores[:, -1] > photos[1][:, -1]) & has_name)
    assert_same_ranking(listed.select(sure), whole.select(sure))
    everything = rank_photos(*best_photos(scores, allowed, len(catalog) + 1), catalog, **options)
    assert_same_ranking(everything, whole)


def test_photos_of_unknown_individuals_alone_leave_all_to_the_new_individual():
    names, options = np.array(["ann", ""], dtype=object), {"query_ids": ["q"], "threshold": 0.0, "top_k": 1}
    listed = rank_photos(
        np.array([[1]]), np.array([[-1.0]]), names, probability=lambda s: 1 / (1 + np.exp(-s)), **options
    )
    assert listed.identities.tolist() == [[NEW_INDIVIDUAL]]
    assert listed.probabilities.tolist() == [[1.0]]


def test_ranking_photos_leaves_them_unchanged_and_refuses_what_ranking_identities_refuses():
    photos = best_photos(SCORES, np.ones(SCORES.shape, bool), 3)
    before = [values.copy() for values in photos]
    rank_photos(*photos, CATALOG, query_ids=["q1", "q2"], threshold=None)
    assert all(np.array_equal(*pair) for pair in zip(before, photos, strict=True))
    with pytest.raises(SiameseError, match="`top_k` must be at least 1"):
        rank_photos(*photos, CATALOG, query_ids=["q1", "q2"], threshold=None, top_k=0)
    with pytest.raises(SiameseError, match="one value per query"):
        rank_photos(*photos, CATALOG, query_ids=["q1"], threshold=None)
    with pytest.raises(SiameseError, match="No identity of the catalog may be called"):
        rank_photos(*photos, np.append(CATALOG[1:], NEW_INDIVIDUAL), query_ids=["q1", "q2"], threshold=None)
