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
    MATCH_RATES,
    ONLY_NEW,
    OWN_LEFT_OUT,
    RULES,
    Decision,
    fit_decision,
    split_pairs,
)
from siamese.errors import ModelFolderError, SiameseError
from siamese.identity_scores import identity_scores
from siamese.ranking import rank_identities
from siamese.settings import DecisionSettings
from tests.test_ranking import score_tables

NAMES = np.array(["ann", "bob"], dtype=object)


def validation(rng, *, num_queries=200, num_identities=30, new_share=0.3, gap=5.0):
    """Scores of two photos each of some identities: N(0, 1) for different animals, N(gap, 1) for the same."""
    catalog = np.repeat(np.array([f"w{i:02}" for i in range(num_identities)], dtype=object), 2)
    truth = np.where(rng.random(num_queries) < new_share, "", rng.choice(catalog, num_queries))
    scores = rng.normal(size=(num_queries, len(catalog))) + gap * (truth[:, None] == catalog[None, :])
    return scores.astype(np.float32), catalog, truth.astype(object)


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


def test_verdict_cuts_keep_their_rates(rng):
    scores, catalog, truth = validation(rng, gap=2.0)
    decision = fit_decision(
        scores, catalog, truth, settings=DecisionSettings(false_match_rate=0.02, false_non_match_rate=0.1)
    )
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


@settings(max_examples=30, deadline=None)
@given(
    score_tables(),
    st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    st.sampled_from(sorted(RULES)),
)
def test_any_validation_gives_a_decision_that_can_be_used(table, false_match_rate, false_non_match_rate, rule):
    scores, catalog, allowed, truth = table
    if not (allowed & (catalog != "")).any():
        return
    decision = fit_decision(
        scores,
        catalog,
        truth,
        allowed=allowed,
        settings=DecisionSettings(
            false_match_rate=false_match_rate, false_non_match_rate=false_non_match_rate, threshold_rule=rule
        ),
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
    assert decision.threshold_rule == f"scan: {BOTH_KINDS}"
    assert (decision.num_known + decision.num_new, decision.num_new > 0) == (200, True)


def test_without_new_queries_known_ones_are_called_new_as_often_as_strangers_are_named(rng):
    scores, catalog, truth = validation(rng, num_queries=1000, new_share=0.0, gap=4.5)
    decision = fit_decision(scores, catalog, truth)
    assert decision.threshold_rule == f"balanced: {OWN_LEFT_OUT}"
    same = truth[:, None] == catalog[None, :]
    strangers = np.where(same, -np.inf, scores).max(axis=1)
    called_new = np.mean(scores.max(axis=1) < decision.threshold)
    assert 0.01 < called_new == pytest.approx(np.mean(strangers >= decision.threshold), abs=0.02)
    assert decision.named_low < decision.named_rate < decision.named_high
    assert decision.named_rate == pytest.approx(called_new, abs=0.02)


def test_a_stated_share_of_strangers_is_named(rng):
    scores, catalog, truth = validation(rng, num_queries=1000, new_share=0.0)
    settings = DecisionSettings(threshold_rule="rate", named_rate=0.1)
    decision = fit_decision(scores, catalog, truth, settings=settings)
    fresh = rng.normal(size=scores.shape).max(axis=1)
    assert decision.named_rate == pytest.approx(0.1)
    assert np.mean(fresh >= decision.threshold) == pytest.approx(0.1, abs=0.03)


def test_without_known_queries_everybody_seen_is_new(rng):
    scores, catalog, truth = validation(rng, new_share=1.0)
    decision = fit_decision(scores, catalog, truth)
    assert decision.threshold_rule == f"scan: {ONLY_NEW}"
    assert decision.threshold > scores.max()
    assert decision.same_above > scores[scores < decision.same_above].max()
    assert math.isnan(decision.false_non_match_rate)


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


def test_every_decision_knows_cuts_for_the_usual_rates(rng):
    scores, catalog, truth = validation(rng, gap=2.0)
    decision = fit_decision(scores, catalog, truth, settings=DecisionSettings(false_match_rate=0.02))
    assert [cut.rate for cut in decision.match_cuts] == sorted([*MATCH_RATES, 0.02])
    different = truth[:, None] != catalog[None, :]
    for cut in decision.match_cuts:
        assert np.mean(scores[different] >= cut.score) <= cut.rate
        assert cut.low <= cut.rate <= cut.high
        assert decision.match_cut(cut.rate) == cut
    assert decision.match_cut().score == decision.same_above
    assert decision.false_match_low <= decision.false_match_rate <= decision.false_match_high


def test_a_stricter_rate_turns_same_into_unsure(rng):
    decision = fit_decision(*validation(rng, gap=2.0))
    score = decision.same_above + 0.01
    assert decision.verdict(score) == "same"
    assert decision.verdict(score, false_match_rate=0.001) == "unsure"


def test_a_rate_that_no_cut_was_fitted_for_is_told(rng):
    decision = fit_decision(*validation(rng))
    with pytest.raises(SiameseError, match=r"calibrated for: 0.001, 0.01, 0.05. Received: false_match_rate=0.3"):
        decision.verdict(1.0, false_match_rate=0.3)


def test_a_photo_of_an_unknown_animal_is_an_individual_of_its_own():
    pairs = split_pairs(np.ones((3, 2)), NAMES, np.array(["ann", "", ""], dtype=object))
    assert len(np.unique(pairs.different.codes)) == 4
    assert pairs.different.num_identities == 4
    assert pairs.same_code.tolist() == [0]


def test_the_threshold_moves_with_the_catalog(rng):
    scores, catalog, truth = validation(rng, num_queries=500, num_identities=100, new_share=0.0)
    decision = fit_decision(scores, catalog, truth, settings=DecisionSettings(threshold_rule="rate"))
    assert decision.new_threshold(catalog) == decision.threshold
    larger = np.array([f"x{place}" for place in range(1000)] + [""], dtype=object)
    threshold = decision.new_threshold(larger)
    assert threshold == decision.at(1000).threshold == decision.new_threshold(catalog, num_identities=1000)
    strangers = rng.normal(size=(2000, 2000)).reshape(2000, 1000, 2).max(axis=2).max(axis=1)
    assert np.mean(strangers >= threshold) == pytest.approx(0.05, abs=0.035)
    assert np.mean(strangers >= decision.threshold) > 0.2
    assert decision.at(1000).at(100).threshold == pytest.approx(decision.threshold, abs=1e-6)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
@pytest.mark.parametrize("prior", [0.5, 0.05])
def test_where_either_answer_keeps_its_rate_the_likelier_one_is_given(rng, prior, kind):
    scores, catalog, truth = validation(rng, num_queries=600, gap=6.0)
    settings = DecisionSettings(prior=prior, calibration=kind)
    decision = fit_decision(scores, catalog, truth, settings=settings)
    cut = decision.same_above
    assert cut == decision.different_below
    below, over = decision.pair_probability(np.array([cut - 1e-6, cut + 1e-6]))
    assert below <= 0.5 <= over
    assert decision.false_match_rate <= settings.false_match_rate
    assert decision.false_non_match_rate <= settings.false_non_match_rate


def test_no_rate_calls_the_same_what_the_verdict_calls_different(rng):
    """Kinds that stand well apart: a cut that lets 5 % of false matches in would lie among plainly different pairs."""
    decision = fit_decision(*validation(rng, gap=8.0))
    plain, loose = decision.match_cut(), decision.match_cut(0.05)
    assert decision.same_above == decision.different_below == loose.score
    assert (loose.rate, loose.reached, loose.low, loose.high) == (0.05, plain.reached, plain.low, plain.high)
    assert loose.reached < 0.001
    scores, catalog, truth = validation(rng, gap=2.5)
    mixed = fit_decision(scores, catalog, truth)
    assert mixed.different_below < mixed.same_above
    different = scores[truth[:, None] != catalog[None, :]]
    for cut in mixed.match_cuts:
        assert cut.score >= mixed.different_below
        assert cut.reached == np.mean(different >= cut.score)


@pytest.mark.parametrize("rule", ["singleton", "stacked"])
def test_a_rule_that_looks_at_the_query_tells_whom_it_names_and_moves_with_the_catalog(rng, rule):
    scores, catalog, truth = validation(rng, num_queries=1500, num_identities=60, new_share=0.4, gap=3.0)
    kept = np.arange(len(catalog)) % 4 != 1  # every other individual has one photo
    settings = DecisionSettings(threshold_rule=rule)
    decision = fit_decision(scores[:, kept], catalog[kept], truth, settings=settings)
    assert not decision._rule.is_plain

    def named(num_identities):
        names = np.array([f"x{place:04}" for place in range(num_identities)], dtype=object).repeat(2)
        names = names[np.arange(len(names)) % 4 != 1]
        table = identity_scores(rng.normal(size=(1500, len(names))).astype(np.float32), names)
        ranking = rank_identities(table, query_ids=np.arange(1500), threshold=decision.new_threshold(names))
        return np.mean(ranking.identities[:, 0] != "new_individual")

    assert named(60) == pytest.approx(decision.named_rate, abs=0.05)
    assert named(600) == pytest.approx(decision.named_rate, abs=0.12)  # 0.36 without the slope, 0.5 unmoved


def test_a_prior_is_kept_with_the_decision(rng):
    scores, catalog, truth = validation(rng)
    even, rare = (fit_decision(scores, catalog, truth, settings=DecisionSettings(prior=prior)) for prior in (0.5, 0.01))
    told = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(rare.pair_probability(told), even.pair_probability(told, prior=0.01))
    assert (rare.pair_probability(told) < even.pair_probability(told)).all()


def test_a_decision_is_refused_under_another_preprocessing(rng):
    decision = fit_decision(*validation(rng)).under("one")
    decision.check_preprocessing("one")
    with pytest.raises(ModelFolderError, match="fitted under one, photos prepared under another"):
        decision.check_preprocessing("another")


def test_a_decision_of_an_older_version_is_read():
    old = {
        "threshold": 1.0,
        "pair_slope": 1.0,
        "pair_intercept": 0.0,
        "identity_slope": 1.0,
        "identity_intercept": 0.0,
        "same_above": 2.0,
        "different_below": 1.0,
        "false_match_rate": None,
        "threshold_rule": "known and new queries",
    }
    decision = Decision.from_dict(old)
    assert decision.new_threshold(np.array(["ann"] * 9, dtype=object)) == 1.0
    assert math.isnan(decision.match_cut().low)


@pytest.mark.parametrize(
    ("name", "value"), [("growth", {"scores": 1}), ("growth", 3), ("match_cuts", [{"rate": 1}]), ("pair_knots", 3)]
)
def test_a_part_that_was_changed_is_told(rng, name, value):
    values = fit_decision(*validation(rng)).to_dict() | {name: value}
    with pytest.raises(ModelFolderError, match=f"`{name}` of a decision must be as it was saved"):
        Decision.from_dict(values)
