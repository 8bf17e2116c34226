"""Tests of `siamese.decision.rules`."""

from typing import get_args

import numpy as np
import pytest

from siamese.decision import RULES, NewThreshold, choose_threshold, fit_decision, fit_growth
from siamese.decision.rules import Validation
from siamese.identity_scores import IdentityScores, identity_scores
from siamese.ranking import rank_identities
from siamese.settings import DecisionSettings, ThresholdRule


def table(scores):
    scores = np.asarray(scores, dtype=np.float32)
    names = np.array([f"w{place:03}" for place in range(scores.shape[1])], dtype=object)
    return IdentityScores(names, scores, np.zeros(scores.shape, dtype=np.int32))


def validation(scores, truth, num_photos=None):
    scores = np.asarray(scores, dtype=np.float32)
    names = table(scores).names
    impostors = np.where(np.asarray(truth)[:, None] == names[None, :], -np.inf, scores)
    photos = np.full(scores.shape[1], 2) if num_photos is None else np.asarray(num_photos)
    return Validation(table(scores), np.asarray(truth, dtype=object), photos, fit_growth(impostors))


def drawn(rng, num_queries=600, num_identities=40, gap=4.0, new_share=0.4):
    truth = np.where(
        rng.random(num_queries) < new_share, "", [f"w{i:03}" for i in rng.integers(0, num_identities, num_queries)]
    )
    names = [f"w{place:03}" for place in range(num_identities)]
    return rng.normal(size=(num_queries, num_identities)) + gap * (truth[:, None] == np.array(names)), truth


def test_the_table_holds_every_rule_that_the_settings_know():
    assert set(RULES) == set(get_args(ThresholdRule))


def test_scan_takes_the_threshold_of_the_highest_map(rng):
    scores, truth = drawn(rng)
    chosen = RULES["scan"](validation(scores, truth), DecisionSettings())
    assert chosen == NewThreshold(choose_threshold(table(scores), truth))


def test_a_query_that_nobody_may_answer_has_a_threshold_all_the_same():
    scores = np.array([[-np.inf, -np.inf], [3.0, -np.inf]])
    threshold = NewThreshold(5.0, weights=(0.0, -1.0, 0.5, 2.0)).of(scores, np.ones((2, 2), int))
    assert threshold.tolist() == [5.0, 6.5]  # the best score, 3, stands for those that are missing


def test_share_new_calls_the_stated_share_new():
    chosen = RULES["share_new"](
        validation([[4.0, 0.0], [1.0, 0.5], [3.0, 2.0], [2.0, 1.0]], ["w000", "", "w000", ""]),
        DecisionSettings(share_new=0.5),
    )
    assert chosen.score == 2.5


def test_rate_names_the_stated_share_of_strangers(rng):
    scores, truth = drawn(rng, num_queries=2000)
    chosen = RULES["rate"](validation(scores, truth), DecisionSettings(named_rate=0.2))
    strangers = rng.normal(size=(2000, 40)).max(axis=1)
    assert np.mean(strangers >= chosen.score) == pytest.approx(0.2, abs=0.03)


def test_balanced_makes_both_mistakes_equally_often(rng):
    scores, truth = drawn(rng, num_queries=2000, gap=4.0)
    chosen = RULES["balanced"](validation(scores, truth), DecisionSettings())
    best = scores.max(axis=1)
    assert np.mean(best[truth == ""] >= chosen.score) == pytest.approx(
        np.mean(best[truth != ""] < chosen.score), abs=0.02
    )


def test_singleton_scans_the_queries_of_single_photos_apart():
    scores = [[9.0, 0.0], [5.0, 0.0], [0.0, 6.0], [0.0, 2.0]]
    chosen = RULES["singleton"](validation(scores, ["w000", "", "w001", ""], num_photos=[7, 1]), DecisionSettings())
    assert (chosen.score, chosen.singleton_shift) == (7.0, -3.0)
    assert chosen.of(np.array([[6.5, 0.0], [6.5, 0.0]]), np.array([[7, 1], [1, 7]])).tolist() == [7.0, 4.0]


def test_singleton_keeps_one_threshold_where_single_photos_teach_nothing(rng):
    scores, truth = drawn(rng)
    chosen = RULES["singleton"](validation(scores, truth), DecisionSettings())
    assert chosen == NewThreshold(choose_threshold(table(scores), truth))


def test_stacked_sees_what_the_best_score_does_not(rng):
    """Known queries stand out from their second best by 2; the level of all scores says nothing."""
    known = rng.random(2000) < 0.5
    level = 5 * rng.normal(size=(2000, 1))
    scores = level + 0.1 * rng.normal(size=(2000, 6)) + np.where(known, 2.0, 0.0)[:, None] * (np.arange(6) == 0)
    given = validation(scores, np.where(known, "w000", ""))
    stacked, scanned = (RULES[rule](given, DecisionSettings()) for rule in ("stacked", "scan"))
    best = np.sort(scores, axis=1)[:, ::-1]
    photos = np.full(best.shape, 2)
    assert np.mean((best[:, 0] >= stacked.of(best, photos)) == known) > 0.99
    assert np.mean((best[:, 0] >= scanned.of(best, photos)) == known) < 0.8


def test_stacked_counts_the_photos(rng):
    """The best of many photos is higher without being right: level 3 for identity 1, which has 50 photos."""
    known = rng.random(3000) < 0.5
    many = rng.random(3000) < 0.5
    own = np.where(many, 1, 0)
    scores = rng.normal(size=(3000, 5)) - 9
    scores[np.arange(3000), own] = np.where(known, 2.0, 0.0) + np.where(many, 3.0, 0.0) + 0.3 * rng.normal(size=3000)
    given = validation(scores, np.where(known, np.where(many, "w001", "w000"), ""), num_photos=[1, 50, 2, 2, 2])
    chosen = RULES["stacked"](given, DecisionSettings())
    best, photos = np.sort(scores, axis=1)[:, ::-1], np.where(many, 50, 1)[:, None].repeat(5, axis=1)
    assert np.mean((best[:, 0] >= chosen.of(best, photos)) == known) > 0.98


def test_a_short_list_is_filled_up_with_its_last_score():
    threshold = NewThreshold(0.0, weights=(1.0, 1.0, 1.0, 0.0))
    short, long = np.array([[5.0, 2.0, -np.inf, -np.inf]]), np.array([[5.0, 2.0, 2.0, 2.0]])
    assert threshold.of(short, np.ones((1, 4))) == threshold.of(long, np.ones((1, 4))) == -6.0
    assert threshold.of(short[:, :1], np.ones((1, 1))) == -15.0


@pytest.mark.parametrize("rule", ["singleton", "stacked"])
def test_a_ranking_places_the_new_individual_by_the_rule(rng, rule):
    catalog = np.array(
        [f"w{place // 3:02}" for place in range(60)] + [f"s{place:02}" for place in range(20)], dtype=object
    )
    truth = np.where(rng.random(400) < 0.4, "", rng.choice(catalog, 400)).astype(object)
    scores = rng.normal(size=(400, 80)) + 3.5 * (truth[:, None] == catalog[None, :])
    decision = fit_decision(scores, catalog, truth, settings=DecisionSettings(threshold_rule=rule))
    listed = identity_scores(scores, catalog)
    ranking = rank_identities(
        listed, query_ids=np.arange(400), threshold=decision.new_threshold(catalog), top_k=5, probability=None
    )
    columns = listed.best_columns(5)
    best = np.take_along_axis(listed.scores, columns, axis=1).astype(np.float64)
    photos = np.array([np.sum(catalog == name) for name in listed.names])[columns]
    expected = best[:, 0] < NewThreshold(decision.threshold, decision.singleton_shift, decision.stacked_weights).of(
        best, photos
    )
    assert ((ranking.identities[:, 0] == "new_individual") == expected).all()
    plain = best[:, 0] < decision.threshold
    assert (plain != expected).any()


def test_the_scores_stay_unchanged(rng):
    scores, truth = drawn(rng)
    scores = scores.astype(np.float32)
    before = scores.copy()
    for rule in RULES.values():
        rule(validation(scores, truth), DecisionSettings())
    assert np.array_equal(before, scores)
