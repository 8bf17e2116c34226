"""Tests of `siamese.evaluation.blending`."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.blends import Blend, Scale, convert
from siamese.decision import choose_threshold
from siamese.errors import SiameseError
from siamese.evaluation.blending import FittedBlend, fit_blend, individual_folds, weight_grid
from siamese.evaluation.comparison import Comparison, compare_values
from siamese.evaluation.ranking_steps import answer_values
from siamese.identity_scores import IdentityScores, identity_scores
from siamese.open_scores import OpenScores, open_scores
from siamese.settings.ensemble import EnsembleSettings
from tests.test_ranking import score_tables

PLAIN_MEAN = EnsembleSettings(methods=["mean"], conversions=["none"], weight_steps=10)
NUM_KNOWN, NUM_NEW = 40, 20
NAMES = np.array([f"animal{number:02}" for number in range(NUM_KNOWN)], dtype=object)
TRUTH = np.concatenate([NAMES, NAMES, [""] * NUM_NEW])


def drawn_model(seed, noise):
    """Scores of two queries of each animal and some of new ones: 4 for the right animal, and noise on everything."""
    rng = np.random.default_rng(seed)
    scores = noise * rng.normal(size=(len(TRUTH), NUM_KNOWN))
    scores[TRUTH[:, None] == NAMES] += 4
    table = identity_scores(scores, NAMES)
    return open_scores(table, choose_threshold(table, TRUTH))


def map5(scores, truth):
    return float(np.mean(answer_values(scores.table, truth, scores.threshold)["map5"]))


def test_the_fit_of_models_that_are_equally_good_is_within_noise():
    found = fit_blend({"a": drawn_model(1, 1.5), "b": drawn_model(2, 1.5)}, TRUTH)
    assert found.is_within_noise
    assert found.blend == found.equal
    assert found.blend.weights == (0.5, 0.5)
    assert found.sentences[0].startswith("The fit is within noise: choosing weights (a ")
    assert found.sentences[0].endswith("Equal weights are used.")
    assert found.against_single.low > 0  # two independent looks are better than one
    assert found.sentences[1].startswith(f"The ensemble is better than the best single model ({found.best_single})")


def test_one_model_twice_is_within_noise_and_no_better_than_once():
    same = drawn_model(1, 1.5)
    found = fit_blend({"a": same, "b": same}, TRUTH, settings=PLAIN_MEAN)
    assert found.is_within_noise
    assert found.fitted.weights == (0.5, 0.5)
    assert found.against_single.difference == 0
    assert "cannot be told from the best single model (a)" in found.sentences[1]


def test_a_model_that_is_plainly_better_gets_the_weight_without_a_warning():
    found = fit_blend({"good": drawn_model(1, 1.0), "bad": drawn_model(2, 12.0)}, TRUTH, settings=PLAIN_MEAN)
    assert found.best_single == "good"
    assert found.fitted.weights[0] > 0.7
    assert not found.is_within_noise
    assert found.blend == found.fitted
    assert found.sentences[0].startswith("The fitted weights (good ")
    assert not any("noise" in sentence for sentence in found.sentences)


def test_models_that_only_harm_get_no_weight():
    coarse = EnsembleSettings(methods=["mean"], conversions=["none"], weight_steps=1)
    models = {"good": drawn_model(1, 0.5), "bad": drawn_model(2, 30.0), "worse": drawn_model(3, 30.0)}
    found = fit_blend(models, TRUTH, settings=coarse)
    equal = found.equal.of(models)
    assert map5(equal, TRUTH) < map5(models["good"], TRUTH)
    assert found.fitted.weights == (1.0, 0.0, 0.0)
    assert found.against_single.difference == 0


@pytest.mark.parametrize("change", [{"methods": ["mean"]}, {"methods": ["vote", "renormalised"]}])
def test_the_fitted_blend_is_the_best_of_all_that_plain_loops_try(change):
    models = {"a": drawn_model(3, 1.5), "b": drawn_model(4, 2.5)}
    tried = EnsembleSettings(conversions=["rank", "probability", "softmax"], weight_steps=4, **change)
    scales = {"a": Scale(2.0, -4.0), "b": Scale(1.0, -2.0)}
    found = fit_blend(models, TRUTH, scales=scales, settings=tried)
    best = 0.0
    for method in tried.methods:
        for conversion in tried.conversions:
            if method != "mean" and conversion == "rank":
                continue
            for temperature in tried.temperatures if conversion == "softmax" else (1.0,):
                scaled = tuple(Scale(one.slope, one.intercept, temperature) for one in scales.values())
                for weight in (0, 0.25, 0.5, 0.75, 1):
                    blended = Blend(("a", "b"), (weight, 1 - weight), scaled, method, conversion).of(models)
                    above = blended.with_scores(
                        blended.table.scores - blended.new[:, None].astype(np.float32), blended.new
                    )
                    threshold = choose_threshold(above.table, TRUTH)
                    best = max(best, float(np.mean(answer_values(above.table, TRUTH, threshold)["map5"])))
    assert map5(found.fitted.of(models), TRUTH) == pytest.approx(best, abs=1e-9)


def test_the_gain_is_told_by_queries_that_did_not_choose():
    models = {"a": drawn_model(3, 1.5), "b": drawn_model(4, 2.5)}
    tried = EnsembleSettings(methods=["mean"], conversions=["none", "rank"], folds=3)
    found = fit_blend(models, TRUTH, settings=tried)
    fitted, equal = np.empty(len(TRUTH)), np.empty(len(TRUTH))
    folds = individual_folds(TRUTH, TRUTH == "", 3)
    for fold in range(3):
        rest, mine = (
            {name: OpenScores(scores.table.select(rows), scores.new[rows]) for name, scores in models.items()}
            for rows in (folds != fold, folds == fold)
        )
        chosen = fit_blend(rest, TRUTH[folds != fold], settings=tried)
        for values, blend in ((fitted, chosen.fitted), (equal, chosen.equal)):
            answers = blend.of(mine)
            values[folds == fold] = answer_values(answers.table, TRUTH[folds == fold], answers.threshold)["map5"]
    assert found.against_equal == compare_values(equal, fitted, TRUTH)
    assert found.against_equal.second < map5(found.fitted.of(models), TRUTH)  # who chooses looks better than it is


@settings(max_examples=20)
@given(score_tables(), st.integers(0, 10_000))
def test_whatever_is_fitted_reaches_what_it_states(case, seed):
    scores, catalog, allowed, truth = case
    table = identity_scores(scores, catalog, allowed=allowed)
    known, new = table.ranks_of(truth) > 0, table.columns_of(truth) < 0
    if not (known | new).sum() > 1 or len(set(truth[known | new])) < 2:
        return
    rng = np.random.default_rng(seed)
    noisy = np.where(np.isfinite(table.scores), rng.integers(-3, 4, table.scores.shape), -np.inf).astype(np.float32)
    models = {
        "a": OpenScores(table, np.zeros(len(scores))),
        "b": OpenScores(IdentityScores(table.names, noisy, table.best_image), np.ones(len(scores))),
    }
    found = fit_blend(models, truth, settings=EnsembleSettings(temperatures=[1], weight_steps=2))
    assert found.placed == bool(known.any() and new.any())
    counted = known | new
    if found.placed:
        both = [found.fitted.of(models), found.equal.of(models)]
        reached = [float(np.mean(answer_values(one.table, truth, one.threshold)["map5"][counted])) for one in both]
        assert reached[0] >= reached[1] - 1e-9
    else:
        assert found.fitted.new_shift == 0
        assert "without both" in found.sentences[-1]


def test_a_softmax_can_be_mixed_with_scores_of_neighbours():
    classes, neighbours = drawn_model(1, 1.5), drawn_model(2, 1.5)
    views = {"softmax": convert(classes, "softmax", Scale(temperature=2.0)), "neighbours": neighbours}
    found = fit_blend(views, TRUTH, settings=PLAIN_MEAN.model_copy(update={"weight_steps": 20}))
    assert found.fitted.conversion == "none"
    assert 0 < found.fitted.weights[1] < 1
    assert map5(found.fitted.of(views), TRUTH) > max(map5(classes, TRUTH), map5(neighbours, TRUTH))


def test_the_order_of_the_models_does_not_matter():
    one, other = drawn_model(1, 1.0), drawn_model(2, 12.0)
    found = fit_blend({"a": one, "b": other}, TRUTH, settings=PLAIN_MEAN)
    turned = fit_blend({"b": other, "a": one}, TRUTH, settings=PLAIN_MEAN)
    assert turned.fitted.weights == found.fitted.weights[::-1]
    assert turned.fitted.new_shift == pytest.approx(found.fitted.new_shift, abs=1e-6)
    assert turned.against_equal == found.against_equal


def test_without_new_queries_the_models_own_places_of_the_new_individual_stay():
    known = TRUTH != ""
    models = {}
    for name, seed in (("a", 1), ("b", 2)):
        scores = drawn_model(seed, 1.5)
        models[name] = OpenScores(scores.table.select(known), np.full(known.sum(), 2.0))
    found = fit_blend(models, TRUTH[known], settings=PLAIN_MEAN)
    assert not found.placed
    assert found.blend.of(models).new.tolist() == [2.0] * known.sum()
    assert "Known and new queries are needed to place the new individual" in found.sentences[2]


def test_known_queries_that_nothing_may_answer_are_left_out():
    one, other = drawn_model(1, 1.5), drawn_model(2, 1.5)
    hidden = one.table.scores.copy()
    hidden[0, 0] = -np.inf
    masked = one.with_scores(hidden, one.new)
    found = fit_blend({"a": masked, "b": other}, TRUTH, settings=PLAIN_MEAN)
    rest = slice(1, None)
    fewer = {
        name: OpenScores(scores.table.select(rest), scores.new[rest]) for name, scores in (("a", masked), ("b", other))
    }
    assert found == fit_blend(fewer, TRUTH[rest], settings=PLAIN_MEAN)


def test_it_comes_back_from_json():
    found = fit_blend({"a": drawn_model(1, 1.5), "b": drawn_model(2, 1.5)}, TRUTH, settings=PLAIN_MEAN)
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["is_within_noise"] is True
    assert values["sentences"] == list(found.sentences)
    assert FittedBlend.from_dict(values) == found
    del values["equal"]
    with pytest.raises(SiameseError, match="must hold what was saved of it. Received: 'equal'"):
        FittedBlend.from_dict(values)


@pytest.mark.parametrize("num_models", [1, 2, 3, 4, 6, 10, 30])
def test_every_set_of_weights_sums_to_one_and_stands_once(num_models):
    grid = np.array(weight_grid(num_models, steps=20, most=100))
    np.testing.assert_allclose(grid.sum(axis=1), 1)
    assert (grid >= 0).all()
    assert len(np.unique(grid.round(9), axis=0)) == len(grid)
    np.testing.assert_allclose(grid[0], 1 / num_models)
    for alone in np.eye(num_models):
        assert (grid == alone).all(axis=1).any()
    assert len(grid) <= max(100, num_models) + 1


def test_two_models_are_weighed_in_steps_of_a_twentieth():
    assert sorted(first for first, _ in weight_grid(2, steps=20, most=100)) == pytest.approx(
        [step / 20 for step in range(21)]
    )


def test_the_parts_keep_individuals_whole_and_spread_both_kinds():
    names = np.array([f"animal{number // 3}" for number in range(24)] + [""] * 8, dtype=object)
    folds = individual_folds(names, names == "", 4)
    for name in set(names) - {""}:
        assert len(set(folds[names == name])) == 1
    assert np.bincount(folds[names == ""]).tolist() == [2] * 4
    assert np.bincount(folds[names != ""]).tolist() == [6] * 4


def test_nothing_that_is_given_changes():
    models = {"a": drawn_model(1, 1.5), "b": drawn_model(2, 1.5)}
    truth = TRUTH.copy()
    fit_blend(models, truth, settings=EnsembleSettings(weight_steps=2))
    for name, seed in (("a", 1), ("b", 2)):
        assert np.array_equal(models[name].table.scores, drawn_model(seed, 1.5).table.scores)
        assert np.array_equal(models[name].new, drawn_model(seed, 1.5).new)
    assert np.array_equal(truth, TRUTH)


@pytest.mark.parametrize(
    ("models", "truth", "match"),
    [
        ({"a": drawn_model(1, 1.0)}, TRUTH, "At least two models must be blended. Received: 1"),
        ({"a": drawn_model(1, 1.0), "b": drawn_model(2, 1.0)}, TRUTH[1:], "`truth` must hold one value per query"),
        (
            {"a": drawn_model(1, 1.0), "b": OpenScores(drawn_model(2, 1.0).table, np.full(len(TRUTH), -np.inf))},
            TRUTH,
            "must say from which score a query is of a new individual. Received: none of b",
        ),
        (
            {name: OpenScores(drawn_model(1, 1.0).table.select(slice(0, 1)), np.zeros(1)) for name in ("a", "b")},
            TRUTH[:1],
            "at least two individuals that can be answered. Received: 1 queries",
        ),
    ],
)
def test_what_cannot_be_fitted_is_told(models, truth, match):
    with pytest.raises(SiameseError, match=match):
        fit_blend(models, truth)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"methods": ["vote"], "conversions": ["none"]}, "must hold one of probability, softmax for vote"),
        ({"temperatures": [0.0]}, "`temperatures` must be over 0"),
    ],
)
def test_settings_that_leave_nothing_to_try_are_told(change, match):
    with pytest.raises(ValueError, match=match):
        EnsembleSettings(**change)


@pytest.mark.parametrize(
    ("low", "high", "is_noise", "verdict"),
    [
        (0.1, 0.2, False, "is better than"),
        (-0.1, 0.2, True, "cannot be told from"),
        (0.0, 0.2, True, "cannot be told from"),
        (-0.2, -0.1, True, "is worse than"),
        (math.nan, math.nan, True, "cannot be told from"),
    ],
)
def test_an_interval_that_reaches_0_or_is_unknown_proves_nothing(low, high, is_noise, verdict):
    found = fit_blend({"a": drawn_model(1, 1.5), "b": drawn_model(2, 1.5)}, TRUTH, settings=PLAIN_MEAN)
    compared = Comparison(0.5, 0.6, 0.1, low, high, 0.5, 9)
    changed = replace(found, against_equal=compared, against_single=compared)
    assert changed.is_within_noise == is_noise
    assert f"The ensemble {verdict} the best single model" in changed.sentences[1]
