"""Tests of `siamese.evaluation.measures`."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from siamese.decision import Decision
from siamese.evaluation.accuracy import animalclef_score, baks, balanced_accuracy, baus, normalised_accuracy
from siamese.evaluation.evaluate import evaluate
from siamese.evaluation.measures import NAMES, accept_rates, cmc_table, measure_all
from siamese.evaluation.probability import expected_calibration_error
from tests.test_evaluate import evaluated

DECISION = Decision(2.2, 1.0, 0.0, 1.5, -3.0, same_above=1.0, different_below=0.0)


@pytest.fixture(scope="module")
def drawn():
    """Queries of 16 known and 6 new individuals, a catalog of 60 photos, and the evaluation of their scores."""
    rng = np.random.default_rng(5)
    names = np.array([f"animal {number:02d}" for number in range(22)], dtype=object)
    catalog, truth = names[rng.integers(0, 16, 60)], names[rng.integers(0, 22, 80)]
    scores = rng.normal(size=(80, 60)) + 1.5 * (truth[:, None] == catalog[None, :])
    ids = np.array([f"photo {number}" for number in range(80)], dtype=object)
    return scores, catalog, truth, evaluate(scores, catalog, truth, query_ids=ids, decision=DECISION)


def test_every_number_is_that_of_its_own_function(drawn):
    scores, catalog, truth, evaluation = drawn
    value = measure_all(evaluation, num_draws=5).set_index("metric")["value"]
    answers, known = evaluation.ranking.identities[:, 0], set(catalog)
    is_known = np.isin(truth, list(known))
    expected = {
        "baks": baks(truth, answers, known=known),
        "baus": baus(truth, answers, known=known),
        "animalclef_score": animalclef_score(truth, answers, known=known),
        "normalised_accuracy": normalised_accuracy(truth, answers, known=known),
        "auc_new": roc_auc_score(is_known, scores.max(axis=1)),
        "auc_pairs": roc_auc_score((truth[:, None] == catalog).ravel(), scores.ravel()),
        "map": np.mean([average_precision_score(catalog == truth[q], scores[q]) for q in np.flatnonzero(is_known)]),
    }
    best = catalog[scores.argmax(axis=1)]
    prob = DECISION.identity_probability(scores.max(axis=1))
    expected["balanced_top1"] = balanced_accuracy(truth[is_known], best[is_known])
    expected["log_loss"] = log_loss(best == truth, prob)
    expected["calibration_error"] = expected_calibration_error(best == truth, prob)
    for name in ("map5", "map5_known", "map5_closed", "top1", "top5", "first_right", "new_found", "known_called_new"):
        expected[name] = evaluation.metrics[name]
    expected["auc_new"] = pytest.approx(evaluation.metrics["auc_new"])
    assert value[list(expected)].to_dict() == pytest.approx(expected)
    assert 0 < value["tar_at_far_0.001"] <= value["tar_at_far_0.01"] <= value["tar_at_far_0.1"] < 1


def test_every_metric_has_a_name_and_an_interval_around_it(drawn):
    table = measure_all(drawn[3])
    assert table["metric"].tolist() == list(NAMES)
    assert (table["low"] < table["high"])[table["metric"] != "top10"].all()  # all are found among ten
    inside = (table["low"] <= table["value"]) & (table["value"] <= table["high"])
    assert inside[table["metric"] != "calibration_error"].all()  # chance lifts that one in every draw


def test_the_same_seed_gives_the_same_intervals(drawn):
    pd.testing.assert_frame_equal(measure_all(drawn[3], num_draws=40), measure_all(drawn[3], num_draws=40))
    other = measure_all(drawn[3], num_draws=40, seed=1)
    assert (other["low"] != measure_all(drawn[3], num_draws=40)["low"]).any()


def test_the_interval_rests_on_the_variance_of_redrawn_queries_judged_anew(drawn):
    scores, catalog, truth, evaluation = drawn
    rng = np.random.default_rng(9)
    individuals, again = np.unique(truth), []
    for _ in range(200):
        chosen = rng.choice(individuals, len(individuals))
        rows = np.concatenate([np.flatnonzero(truth == name) for name in chosen])
        ids = np.arange(len(rows)).astype(str)
        again.append(evaluate(scores[rows], catalog, truth[rows], query_ids=ids, decision=DECISION).metrics)
    table = measure_all(evaluation, num_draws=2000).set_index("metric")
    factors = {"map5": 2.1, "first_right": 2.1, "auc_new": 2.7}  # Student's t of some 18 known, some 5 new ones
    for name, factor in factors.items():
        deviation = np.std([metrics[name] for metrics in again])
        width = table.loc[name, "high"] - table.loc[name, "low"]
        assert width == pytest.approx(2 * factor * deviation, rel=0.25), name


def test_what_there_is_none_of_has_no_number():
    table = measure_all(evaluated(), num_draws=20).set_index("metric")
    assert table.loc["map5", "num"] == 5
    assert table.loc["baus", ["value", "num"]].tolist() == [0.5, 2]
    known = evaluate(np.ones((1, 1)), ["ann"], ["ann"], query_ids=["a"], decision=DECISION)
    alone = measure_all(known, num_draws=20).set_index("metric")
    assert alone.loc[["baus", "auc_new", "auc_pairs", "animalclef_score"], "value"].isna().all()
    assert alone["low"].isna().all()


def test_rates_tell_whether_there_are_pairs_enough(drawn):
    rates = accept_rates(drawn[3])
    num_different = (drawn[2][:, None] != drawn[1]).sum()
    assert [rate.num_different for rate in rates] == [num_different] * 3
    assert [rate.enough for rate in rates] == [True, True, True]
    assert [rate.enough for rate in accept_rates(evaluated())] == [True, False, False]


def test_the_cmc_has_an_interval_at_each_rank(drawn):
    table = cmc_table(drawn[3], num_draws=50)
    np.testing.assert_allclose(table["value"], drawn[3].cmc)
    assert table["low"].is_monotonic_increasing
    assert (table["low"] <= table["value"]).all()
