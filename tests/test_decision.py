"""Tests of `siamese.decision`."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from siamese.decision import (
    BOTH_KINDS,
    ONLY_NEW,
    OWN_LEFT_OUT,
    Decision,
    choose_threshold,
    fit_decision,
    scan_thresholds,
)
from siamese.errors import ModelFolderError, SiameseError
from siamese.ranking import NEW_INDIVIDUAL, identity_scores, rank_identities
from tests.test_ranking import score_tables

NAMES = np.array(["ann", "bob"], dtype=object)


def map_by_loops(table, truth, threshold, top_k):
    """MAP@k from the rankings themselves, one query after the other."""
    ranking = rank_identities(table, query_ids=np.arange(len(truth)), threshold=threshold, top_k=top_k)
    gains = []
    for query, name in enumerate(truth):
        if name in table.names and table.scores[query, table.names.tolist().index(name)] == -np.inf:
            continue  # nothing that could be right may answer
        right = name if name in table.names else NEW_INDIVIDUAL
        row = ranking.identities[query].tolist()
        gains.append(1 / (row.index(right) + 1) if right in row else 0.0)
    return sum(gains) / max(1, len(gains))


def all_cuts(table):
    finite = np.unique(table.scores[np.isfinite(table.scores)]).astype(np.float64)
    return [*(score for edge in finite for score in (edge - 0.25, edge, edge + 0.25)), -99.0, 99.0]


def validation(rng, *, num_queries=200, num_identities=30, new_share=0.3, gap=5.0):
    """Scores of two photos each of some identities: N(0, 1) for different animals, N(gap, 1) for the same."""
    catalog = np.repeat(np.array([f"w{i:02}" for i in range(num_identities)], dtype=object), 2)
    truth = np.where(rng.random(num_queries) < new_share, "", rng.choice(catalog, num_queries))
    scores = rng.normal(size=(num_queries, len(catalog))) + gap * (truth[:, None] == catalog[None, :])
    return scores.astype(np.float32), catalog, truth.astype(object)


def test_the_threshold_lies_halfway_between_known_and_new():
    table = identity_scores(np.array([[8.0, 0.0], [6.0, 7.0], [2.0, 1.0]]), NAMES)
    assert choose_threshold(table, ["ann", "bob", ""]) == 4.5


def test_map_is_written_out_for_every_threshold():
    table = identity_scores(np.array([[4.0, 3.0], [2.0, 1.0]]), NAMES)
    scan = scan_thresholds(table, ["bob", ""])
    assert scan.cuts.tolist() == [1.0, 2.0, 3.0]
    # up to 1: bob second, new third; up to 2: new second; up to 3: new first; above: bob third
    np.testing.assert_allclose(
        scan.values, [(1 / 2 + 1 / 3) / 2, (1 / 2 + 1 / 2) / 2, (1 / 2 + 1) / 2, (1 / 3 + 1) / 2]
    )
    np.testing.assert_allclose(scan.at(np.array([3.0, 3.1])), [0.75, 2 / 3])


@settings(deadline=None)
@given(score_tables(), st.integers(1, 5))
def test_the_scan_agrees_with_rankings_at_any_threshold(table, top_k):
    scores, catalog, allowed, truth = table
    by_identity = identity_scores(scores, catalog, allowed=allowed)
    scan = scan_thresholds(by_identity, truth, top_k=top_k)
    for threshold in all_cuts(by_identity):
        assert scan.at(threshold) == pytest.approx(map_by_loops(by_identity, truth, threshold, top_k), abs=1e-9)


@settings(deadline=None)
@given(score_tables())
def test_no_threshold_beats_the_chosen_one(table):
    scores, catalog, allowed, truth = table
    by_identity = identity_scores(scores, catalog, allowed=allowed)
    chosen = map_by_loops(by_identity, truth, choose_threshold(by_identity, truth), 5)
    assert chosen >= max(map_by_loops(by_identity, truth, cut, 5) for cut in all_cuts(by_identity)) - 1e-9


def test_of_equally_good_thresholds_the_middle_of_the_widest_stretch_is_chosen():
    # known queries at 10 and 1, new ones at 2 and 0: thresholds from 0 to 1 and from 2 to 10 are equally good
    table = identity_scores(np.array([[10.0], [1.0], [2.0], [0.0]]), NAMES[:1])
    assert choose_threshold(table, ["ann", "ann", "", ""]) == 6.0


def test_a_threshold_between_scores_is_preferred_to_one_beyond_all_of_them():
    # known queries at 0 and 2, a new one at 1: thresholds up to 0 and from 1 to 2 are equally good
    table = identity_scores(np.array([[0.0], [2.0], [1.0]]), NAMES[:1])
    assert choose_threshold(table, ["ann", "ann", ""]) == 1.5


def test_a_threshold_between_neighbouring_floats_still_parts_them():
    high = np.float32(1.0)
    low = np.nextafter(high, np.float32(0))
    table = identity_scores(np.array([[high], [low]]), NAMES[:1])
    assert float(low) < choose_threshold(table, ["ann", ""]) <= float(high)


def test_a_decision_finds_the_curve_that_made_the_scores(rng):
    """Scores N(0, 1) and N(3, 1) in equal numbers have the log odds 3 s - 4.5 exactly."""
    scores, catalog, truth = validation(rng, num_queries=2000, gap=3.0)
    decision = fit_decision(scores, catalog, truth)
    assert decision.pair_slope == pytest.approx(3.0, rel=0.05)
    assert decision.pair_intercept == pytest.approx(-4.5, rel=0.05)


def test_listed_identities_are_right_as_often_as_their_probability_says(rng):
    scores, catalog, truth = validation(rng, num_queries=3000, gap=2.5)
    decision = fit_decision(scores, catalog, truth)
    fresh, _, fresh_truth = validation(rng, num_queries=3000, gap=2.5)
    ranking = rank_identities(
        identity_scores(fresh, catalog),
        query_ids=np.arange(len(fresh)),
        threshold=None,
        probability=decision.identity_probability,
    )
    right = ranking.identities == fresh_truth[:, None]
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        inside = (ranking.probabilities >= low) & (ranking.probabilities < high)
        assert right[inside].mean() == pytest.approx(ranking.probabilities[inside].mean(), abs=0.06)


def test_the_pair_curve_is_scikit_learns_on_balanced_pairs(rng):
    scores, catalog, truth = validation(rng, gap=2.0)
    decision = fit_decision(scores, catalog, truth)
    target = (truth[:, None] == catalog[None, :]).ravel()
    peer = LogisticRegression(C=1e6, class_weight="balanced").fit(scores.reshape(-1, 1), target)
    expected = peer.predict_proba(np.linspace(-2, 4, 7)[:, None])[:, 1]
    np.testing.assert_allclose(decision.pair_probability(np.linspace(-2, 4, 7)), expected, atol=0.02)


def test_thinning_the_different_pairs_hardly_moves_the_curve(rng, monkeypatch):
    scores, catalog, truth = validation(rng, gap=3.0)
    exact = fit_decision(scores, catalog, truth)
    monkeypatch.setattr("siamese.decision.MOST_FITTED", 2000)
    assert fit_decision(scores, catalog, truth).pair_slope == pytest.approx(exact.pair_slope, rel=0.03)


def test_verdict_cuts_keep_their_rates(rng):
    scores, catalog, truth = validation(rng, gap=2.0)
    decision = fit_decision(scores, catalog, truth, false_match_rate=0.02, false_non_match_rate=0.1)
    same = truth[:, None] == catalog[None, :]
    verdicts = np.vectorize(decision.verdict)(scores)
    assert decision.false_match_rate == np.mean(verdicts[~same] == "same")
    assert decision.false_non_match_rate == np.mean(verdicts[same] == "different")
    assert 0.019 < decision.false_match_rate <= 0.02
    assert 0.09 < decision.false_non_match_rate <= 0.1
    assert decision.different_below < decision.same_above
    assert (decision.num_pairs_same, decision.num_pairs_different) == (same.sum(), (~same).sum())


def test_well_parted_pairs_leave_nothing_unsure(rng):
    scores, catalog, truth = validation(rng, gap=20.0)
    decision = fit_decision(scores, catalog, truth)
    assert decision.same_above == decision.different_below
    assert (decision.false_match_rate, decision.false_non_match_rate) == (0.0, 0.0)
    assert 0 < decision.pair_slope < math.inf


@settings(max_examples=40, deadline=None)
@given(score_tables(), st.sampled_from([0.0, 0.01, 0.3, 1.0]), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_any_validation_gives_a_decision_that_can_be_used(table, false_match_rate, false_non_match_rate):
    scores, catalog, allowed, truth = table
    if not (allowed & (catalog != "")).any():
        return
    decision = fit_decision(
        scores,
        catalog,
        truth,
        allowed=allowed,
        false_match_rate=false_match_rate,
        false_non_match_rate=false_non_match_rate,
    )
    assert decision.different_below <= decision.same_above
    assert decision.pair_slope >= 0
    assert decision.identity_slope >= 0
    assert not decision.false_match_rate > false_match_rate  # nan without different pairs
    assert not decision.false_non_match_rate > false_non_match_rate
    assert math.isfinite(decision.threshold)
    assert (
        Decision.from_dict(json.loads(json.dumps(decision.to_dict(), allow_nan=False))).to_dict() == decision.to_dict()
    )


def test_known_and_new_queries_choose_the_threshold(rng):
    decision = fit_decision(*validation(rng))
    assert decision.threshold_rule == BOTH_KINDS
    assert (decision.num_known + decision.num_new, decision.num_new > 0) == (200, True)


def test_without_new_queries_the_known_ones_are_asked_without_their_own_identity(rng):
    scores, catalog, truth = validation(rng, new_share=0.0, gap=9.0)
    decision = fit_decision(scores, catalog, truth)
    assert decision.threshold_rule == OWN_LEFT_OUT
    others = np.where(truth[:, None] == catalog[None, :], -np.inf, scores).max(axis=1)
    own = np.where(truth[:, None] == catalog[None, :], scores, -np.inf).max(axis=1)
    assert others.max() < decision.threshold < own.min()


def test_without_known_queries_everybody_seen_is_new(rng):
    scores, catalog, truth = validation(rng, new_share=1.0)
    decision = fit_decision(scores, catalog, truth)
    assert decision.threshold_rule == ONLY_NEW
    assert decision.threshold > scores.max()
    assert decision.same_above > scores[scores < decision.same_above].max()
    assert math.isnan(decision.false_non_match_rate)


def test_an_identity_that_the_catalog_lacks_counts_as_new():
    table = identity_scores(np.array([[8.0, 0.0], [2.0, 1.0]]), NAMES)
    assert choose_threshold(table, ["ann", "zoe"]) == choose_threshold(table, ["ann", ""])


def test_photos_of_unknown_individuals_are_nobodys_match():
    catalog = np.array(["ann", "", "bob"], dtype=object)
    decision = fit_decision(np.array([[5.0, 9.0, 1.0], [0.0, 9.0, 0.5]]), catalog, ["ann", ""])
    assert (decision.num_pairs_same, decision.num_pairs_different) == (1, 3)


def test_a_query_that_nothing_right_may_answer_teaches_no_threshold_and_no_identity_curve(rng):
    scores, catalog, truth = validation(rng, gap=2.0)
    plain = fit_decision(scores, catalog, truth)
    more = np.concatenate([scores, np.full((20, len(catalog)), 9.0, dtype=np.float32)])
    allowed = np.ones(more.shape, dtype=bool)
    allowed[200:, catalog == "w00"] = False
    decision = fit_decision(more, catalog, np.append(truth, ["w00"] * 20), allowed=allowed)
    for name in ("threshold", "identity_slope", "identity_intercept", "num_known", "num_new"):
        assert getattr(decision, name) == getattr(plain, name)


def test_scores_that_fall_with_likeness_get_a_flat_curve():
    """A probability that sank while the score rises would contradict the ranking."""
    scores = np.array([[0.0, 5.0], [5.0, 0.0]])
    decision = fit_decision(scores, NAMES, ["ann", "bob"])
    assert (decision.pair_slope, decision.pair_intercept) == (0.0, 0.0)


def test_probabilities_rise_with_the_score_from_zero_to_one():
    decision = Decision(0.0, 2.0, -1.0, 1.0, 0.0, same_above=1.0, different_below=-1.0)
    assert decision.pair_probability(np.array([-1e4, 0.5, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert decision.identity_probability(0.0) == 0.5


def test_a_verdict_is_taken_in_double_precision():
    cut = float(np.float32(0.1)) + 1e-12
    decision = Decision(0.0, 1.0, 0.0, 1.0, 0.0, same_above=cut, different_below=-1.0)
    assert decision.verdict(np.float32(0.1)) == "unsure"


def test_fitting_leaves_the_callers_arrays(rng):
    scores, catalog, truth = validation(rng)
    before = scores.copy(), catalog.copy(), truth.copy()
    fit_decision(scores, catalog, truth, allowed=np.ones(scores.shape, dtype=bool))
    assert all(np.array_equal(old, new) for old, new in zip(before, (scores, catalog, truth), strict=True))


def test_a_decision_survives_json(rng):
    decision = fit_decision(*validation(rng))
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


def test_a_decision_that_was_cut_is_told(rng):
    values = fit_decision(*validation(rng)).to_dict()
    del values["threshold"]
    with pytest.raises(ModelFolderError, match=r"Missing: \['threshold'\]; unknown: \[\].*Save the model again"):
        Decision.from_dict(values)


@pytest.mark.parametrize("value", [None, "high", True, math.inf])
def test_a_threshold_that_is_no_number_is_told(rng, value):
    values = fit_decision(*validation(rng)).to_dict() | {"threshold": value}
    with pytest.raises(ModelFolderError, match=r"`threshold` of a decision must be a number. Received"):
        Decision.from_dict(values)


def test_nothing_to_learn_from_is_told():
    with pytest.raises(SiameseError, match=r"at least one pair.*none allowed. Give more validation photos"):
        fit_decision(np.ones((1, 2)), NAMES, ["ann"], allowed=np.zeros((1, 2), dtype=bool))


def test_a_rate_outside_of_zero_to_one_is_told():
    with pytest.raises(
        SiameseError, match=r"`false_match_rate` must lie between 0 and 1. Received: false_match_rate=5"
    ):
        fit_decision(np.ones((1, 2)), NAMES, ["ann"], false_match_rate=5)
