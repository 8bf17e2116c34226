"""Tests of `siamese.evaluation.evaluate`."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.decision import Decision
from siamese.errors import SiameseError
from siamese.evaluation.evaluate import evaluate
from siamese.identity_scores import NEW_INDIVIDUAL, identity_scores
from siamese.ranking import rank_identities
from tests.test_ranking import ranked_by_hand, score_tables

CATALOG = np.array(["ann", "bob", "cleo", "ann"], dtype=object)
SCORES = np.array(
    [
        [9.0, 1.0, 2.0, 0.0],  # ann, first and over the threshold
        [9.0, 6.0, 2.0, 0.0],  # bob, second
        [3.0, 1.0, 4.0, 0.0],  # cleo, first but under the threshold
        [0.0, 1.0, 2.0, 3.0],  # new, and nobody reaches the threshold
        [9.0, 1.0, 2.0, 0.0],  # new, called ann
        [9.0, 1.0, 2.0, 0.0],  # cleo, whose photo may not answer
    ]
)
TRUTH = np.array(["ann", "bob", "cleo", "", "zoe", "cleo"], dtype=object)
ALLOWED = np.ones(SCORES.shape, dtype=bool)
ALLOWED[5, 2] = False


def decision(threshold=5.0):
    return Decision(threshold, 1.0, 0.0, 1.0, 0.0, same_above=1.0, different_below=0.0)


def evaluated(**changed):
    arguments = {"query_ids": list("abcdef"), "decision": decision(), "allowed": ALLOWED} | changed
    return evaluate(SCORES, CATALOG, TRUTH, **arguments)


def test_the_metrics_of_six_queries_are_those_counted_by_hand():
    metrics = evaluated().metrics
    assert metrics["map5_known"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert metrics["map5"] == pytest.approx((1 + 1 / 2 + 1 / 2 + 1 + 1 / 2) / 5)
    assert (metrics["top1"], metrics["top5"]) == (pytest.approx(2 / 3), 1.0)
    assert metrics["auc_new"] == pytest.approx((1 + 1 + 1 + 1 / 2 + 1 / 2 + 0) / 6)
    assert (metrics["first_right"], metrics["new_found"]) == (pytest.approx(2 / 5), 0.5)
    assert metrics["known_called_new"] == pytest.approx(1 / 3)
    assert metrics["threshold"] == 5.0


def test_the_place_of_the_new_individual_follows_a_rule_that_looks_at_the_query():
    strict_on_singletons = replace(decision(), singleton_shift=2.0)  # bob and cleo have one photo, ann has two
    answers = evaluated(decision=strict_on_singletons).ranking.identities[:, 0]
    assert answers.tolist() == evaluated().ranking.identities[:, 0].tolist()
    lenient_on_singletons = replace(decision(), singleton_shift=-1.5)
    answers = evaluated(decision=lenient_on_singletons).ranking.identities[:, 0]
    assert answers.tolist() == ["ann", "ann", "cleo", NEW_INDIVIDUAL, "ann", "ann"]


def test_a_known_query_that_nothing_right_may_answer_is_not_counted():
    evaluation = evaluated()
    assert evaluation.counted.tolist() == [True] * 5 + [False]
    counts = {name: value for name, value in evaluation.metrics.items() if name.startswith("num_")}
    assert counts == {"num_queries": 5, "num_known": 3, "num_new": 2, "num_identities": 3, "num_unanswerable": 1}
    assert len(evaluation.ranking) == 6


def test_an_identity_that_the_catalog_lacks_is_a_new_individual():
    evaluation = evaluated()
    assert evaluation.truth.tolist() == ["ann", "bob", "cleo", "", "", "cleo"]
    assert evaluation.is_new.tolist() == [False, False, False, True, True, False]
    assert evaluation.is_known.tolist() == [True, True, True, False, False, False]


def test_what_the_report_draws_comes_along():
    evaluation = evaluated()
    assert evaluation.best_scores.tolist() == [9.0, 9.0, 4.0, 3.0, 9.0, 9.0]
    assert evaluation.cmc[0] == evaluation.metrics["top1"]
    assert evaluation.curve["map"].max() >= evaluation.metrics["map5"]


def test_every_query_has_its_row():
    queries = evaluated().queries.set_index("image_id")
    assert queries["kind"].tolist() == ["known"] * 3 + ["new"] * 2 + ["unanswerable"]
    assert queries["identity"].tolist() == TRUTH.tolist()
    assert queries["best_identity"].tolist() == ["ann", "ann", "cleo", "ann", "ann", "ann"]
    assert queries.loc["b", ["rank", "place", "own_score", "precision"]].tolist() == [2, 2, 6.0, 0.5]
    assert queries.loc["c", "answer"] == NEW_INDIVIDUAL
    assert queries["num_photos"].tolist() == [2, 1, 1, 0, 0, 0]
    assert queries.loc["a", "average_precision"] == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert queries.loc["e", "probability"] == pytest.approx(1 / (1 + math.exp(-9)))
    assert queries.loc["d", [f"score_{rank}" for rank in range(1, 6)]].tolist() == [3, 2, 1, -np.inf, -np.inf]


def test_of_equal_scores_the_right_one_stands_last_but_lists_go_by_name():
    found = evaluate(np.array([[2.0, 2.0, 1.0, 0.0]]), CATALOG, ["ann"], query_ids=["a"], decision=decision(0.0))
    assert found.queries["rank"].tolist() == [2]
    assert (found.metrics["top1"], found.metrics["map5_closed"]) == (0.0, 0.5)
    assert (found.queries["place"].tolist(), found.metrics["map5"]) == ([1], 1.0)


def test_blocks_of_queries_change_nothing(monkeypatch, rng):
    names = np.array([f"animal {number}" for number in range(12)], dtype=object)
    catalog, truth = rng.choice(names, 40), rng.choice(names, 50)
    scores, allowed = rng.integers(0, 6, (50, 40)).astype(np.float32), rng.random((50, 40)) < 0.6

    def run():
        return evaluate(
            scores, catalog, truth, query_ids=np.arange(50).astype(str), decision=decision(4.0), allowed=allowed
        )

    whole = run()
    monkeypatch.setattr("siamese.evaluation.pair_scores.BLOCK_CELLS", 10)
    parts = run()
    pd.testing.assert_frame_equal(whole.queries, parts.queries)
    assert whole.metrics == pytest.approx(parts.metrics, nan_ok=True)
    assert whole.ranking.to_frame().equals(parts.ranking.to_frame())


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_the_list_of_many_identities_is_that_of_all_of_them_sorted(seed, top_k):
    rng = np.random.default_rng(seed)
    names = np.array([f"animal {number:02d}" for number in range(30)], dtype=object)
    scores = rng.integers(0, 5, (4, 30)).astype(np.float32)
    scores[rng.random((4, 30)) < 0.3] = -np.inf
    found = evaluate(scores, names, names[:4], query_ids=list("abcd"), decision=decision(3.0), top_k=top_k).ranking
    expected = rank_identities(
        identity_scores(scores, names),
        query_ids=np.array(list("abcd"), dtype=object),
        threshold=3.0,
        top_k=top_k,
        probability=decision(3.0).identity_probability,
    )
    assert found.to_frame().equals(expected.to_frame())
    assert found.catalog_rows.tolist() == expected.catalog_rows.tolist()


def test_no_queries_have_no_numbers():
    found = evaluate(np.empty((0, 4)), CATALOG, [], query_ids=[], decision=decision())
    assert math.isnan(found.metrics["map5"])
    assert found.metrics["num_queries"] == len(found.queries) == 0


@pytest.mark.parametrize("top_k", [1, 2, 8])
def test_the_length_of_the_ranking_does_not_change_the_metrics(top_k):
    evaluation = evaluated(top_k=top_k)
    assert evaluation.metrics == evaluated().metrics
    assert evaluation.ranking.identities.shape == (6, top_k)


@settings(max_examples=50)
@given(score_tables(), st.integers(-4, 4).map(float))
def test_map_and_first_answers_are_what_a_plain_loop_gives(table, threshold):
    scores, catalog, allowed, truth = table
    metrics = evaluate(
        scores, catalog, truth, query_ids=np.arange(len(scores)), decision=decision(threshold), allowed=allowed
    ).metrics
    gains, called_new = {True: [], False: []}, {True: [], False: []}
    for query, name in enumerate(truth):
        new = not name or name not in catalog
        if not new and not (allowed[query] & (catalog == name)).any():
            continue
        row = [answer for answer, _, _ in ranked_by_hand(scores[query], catalog, allowed[query], threshold, 5)]
        right = NEW_INDIVIDUAL if new else name
        gains[new].append(1 / (row.index(right) + 1) if right in row else 0.0)
        called_new[new].append(row[0] == NEW_INDIVIDUAL)
    expected = {
        "map5": gains[True] + gains[False],
        "map5_known": gains[False],
        "new_found": called_new[True],
        "known_called_new": called_new[False],
    }
    for name, values in expected.items():
        assert metrics[name] == pytest.approx(np.mean(values) if values else math.nan, nan_ok=True)


def test_the_callers_arrays_stay_as_they_are():
    before = SCORES.copy(), CATALOG.copy(), TRUTH.copy(), ALLOWED.copy()
    evaluated()
    assert all(np.array_equal(old, new) for old, new in zip(before, (SCORES, CATALOG, TRUTH, ALLOWED), strict=True))


def test_known_queries_alone_leave_the_numbers_of_new_ones_open():
    metrics = evaluate(SCORES[:2], CATALOG, TRUTH[:2], query_ids=["a", "b"], decision=decision()).metrics
    assert math.isnan(metrics["auc_new"])
    assert math.isnan(metrics["new_found"])
    assert metrics["map5"] == metrics["map5_known"]


def test_a_truth_too_few_is_told():
    with pytest.raises(
        SiameseError, match=r"`truth` must hold one value per query, shape \(6,\). Received: shape \(5,\)"
    ):
        evaluate(SCORES, CATALOG, TRUTH[:5], query_ids=list("abcdef"), decision=decision())
