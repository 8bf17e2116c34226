import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from siamese.errors import SiameseError
from siamese.open_scores import OpenScores
from siamese.postprocessing import fit_temperature, num_photos, photo_prior, sharpen, with_temperature
from siamese.postprocessing.places import open_columns
from siamese.postprocessing.temperature import WIDEST
from tests.test_postprocessing_places import full_order, open_scores_with_ties, table_of

SCORES = OpenScores(table_of([[1, 0, 2], [0, 3, -np.inf], [2, 1, 0]]), np.array([0.0, 1.0, -np.inf]))


def log_loss(scores, truth, factor):
    """By a plain loop over the queries."""
    losses = []
    for row, own in zip(open_columns(scores), scores.table.columns_of(truth), strict=True):
        if row[own] > -np.inf:
            weights = [np.exp(factor * score) for score in row]
            losses.append(-np.log(weights[own] / sum(weights)))
    return np.mean(losses)


def test_the_temperature_is_a_softmax_over_identities_and_the_new_individual():
    found = with_temperature(SCORES, 0.5)
    e = np.exp(0.5)
    assert open_columns(found)[0] == pytest.approx(np.array([e, 1, e**2, 1]) / (e + 1 + e**2 + 1))
    assert open_columns(found)[1, :2] == pytest.approx(np.array([1, e**3]) / (1 + e**3 + e))
    assert found.table.scores[1, 2] == -np.inf
    assert found.new[2] == -np.inf


@given(open_scores_with_ties(), st.sampled_from([0.01, 0.3, 1.0, 7.0, 400.0]))
def test_the_temperature_never_changes_an_order_nor_who_may_answer(scores, factor):
    before = open_columns(scores).copy()
    found = with_temperature(scores, factor)
    assert full_order(found) == full_order(scores)
    after = open_columns(found)
    assert np.array_equal(after > -np.inf, before > -np.inf)
    assert np.array_equal(open_columns(scores), before)
    some = np.any(before > -np.inf, axis=1)
    assert np.where(after > -np.inf, after, 0).sum(axis=1)[some] == pytest.approx(1, abs=1e-5)
    assert np.array_equal(open_columns(with_temperature(scores, factor)), after)


@given(open_scores_with_ties())
def test_the_temperature_is_that_of_scipy(scores):
    answering = np.any(open_columns(scores) > -np.inf, axis=1)
    after = open_columns(with_temperature(scores, 1.7))[answering]
    wanted = softmax(1.7 * open_columns(scores)[answering], axis=1)
    assert np.where(after > -np.inf, after, 0) == pytest.approx(wanted, abs=1e-6)


def test_even_where_probabilities_are_0_the_order_stays():
    scores = OpenScores(table_of([[-300, 90, -200]]), np.array([-250.0]))
    assert full_order(with_temperature(scores, 1.0)) == [["bob", "cleo", "new_individual", "ann"]]


def test_the_fitted_temperature_has_the_least_log_loss(rng):
    table = table_of(rng.normal(size=(40, 3)) * 4)
    scores, truth = OpenScores(table, rng.normal(size=40)), rng.choice(["ann", "bob", "cleo", ""], 40)
    truth[:20] = table.names[table.scores[:20].argmax(axis=1)]
    factor = fit_temperature(scores, truth)
    wanted = minimize_scalar(lambda value: log_loss(scores, truth, value), bounds=(0.001, 5), method="bounded")
    assert factor == pytest.approx(wanted.x, rel=1e-3)
    assert 0.01 < factor < 1


def test_queries_whose_right_answer_may_not_be_given_do_not_count():
    truth = ["ann", "cleo", ""]  # cleo may not answer the second, nor the new individual the third
    alone = OpenScores(SCORES.table.select([0]), SCORES.new[:1])
    assert fit_temperature(SCORES, truth) == fit_temperature(alone, truth[:1])


def test_the_search_goes_on_beyond_what_the_source_searched():
    small = OpenScores(table_of(SCORES.table.scores / 1000), SCORES.new / 1000)
    truth = ["ann", "bob", "bob"]
    assert fit_temperature(small, truth) == pytest.approx(1000 * fit_temperature(SCORES, truth), rel=1e-5)
    large = OpenScores(table_of(SCORES.table.scores * 50), SCORES.new * 50)
    assert fit_temperature(large, truth) == pytest.approx(fit_temperature(SCORES, truth) / 50, rel=1e-5)


def test_the_search_ends_where_every_answer_is_right_or_none_is():
    assert 10 < fit_temperature(SCORES, ["cleo", "bob", "ann"]) < 100  # the log loss is 0 in float64
    close = OpenScores(table_of([[0.001, 0.0, 0.0]]), np.zeros(1))
    assert fit_temperature(close, ["ann"]) == WIDEST[1]
    assert fit_temperature(SCORES, ["bob", "ann", "cleo"]) == WIDEST[0]


def test_a_temperature_needs_a_query_that_can_be_answered():
    with pytest.raises(SiameseError, match="must be fitted on queries whose right answer may be given. Received: none"):
        fit_temperature(OpenScores(SCORES.table, np.full(3, -np.inf)), ["stranger"] * 3)


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan])
def test_a_factor_that_turns_the_order_is_told(factor):
    with pytest.raises(SiameseError, match=f"`factor` must be above 0. Received: factor={factor}"):
        with_temperature(SCORES, factor)


PROBABILITIES = OpenScores(table_of([[0.5, 0.25, 0.0], [0.25, 0.125, -np.inf]]), np.array([0.25, 0.625]))
PRIOR = np.array([0.1, 0.2, 0.4, 0.3])


def sharpened_by_hand(scores, prior, epsilon, power, weight):
    rows = [[p + epsilon if p > -np.inf else 0.0 for p in row] for row in open_columns(scores)]
    rows = [[p / sum(row) for p in row] for row in rows]
    rows = [[p**power for p in row] for row in rows]
    rows = [[p / sum(row) for p in row] for row in rows]
    mean = [sum(row[column] for row in rows) / len(rows) for column in range(len(prior))]
    rows = [[p * (q / m) ** weight if m else p for p, q, m in zip(row, prior, mean, strict=True)] for row in rows]
    return [[p / sum(row) for p in row] for row in rows]


def test_sharpening_is_that_of_the_source_step_by_step():
    found = open_columns(sharpen(PROBABILITIES, PRIOR))
    wanted = np.array(sharpened_by_hand(PROBABILITIES, PRIOR, 1e-4, 1.5, 0.01))
    assert np.where(found > -np.inf, found, 0) == pytest.approx(wanted, abs=1e-7)
    assert found[1, 2] == -np.inf
    power_alone = open_columns(sharpen(PROBABILITIES, PRIOR, epsilon=0.0, prior_weight=0.0))
    assert power_alone[0, 0] == pytest.approx(0.5**1.5 / (0.5**1.5 + 2 * 0.25**1.5))


def test_a_prior_taken_in_full_moves_the_order():
    prior = np.array([0.01, 0.97, 0.01, 0.01])
    assert full_order(sharpen(PROBABILITIES, prior, prior_weight=1.0))[0][0] == "bob"
    assert full_order(sharpen(PROBABILITIES, prior))[0][0] == "ann"


@given(open_scores_with_ties(), st.sampled_from([0.5, 1.0, 1.5, 6.0]), st.sampled_from([0.0, 1e-4]))
def test_a_power_keeps_the_order_and_who_may_answer(scores, power, epsilon):
    scores = with_temperature(scores, 30.0)  # most probabilities are far under epsilon
    before = open_columns(scores).copy()
    prior = np.full(before.shape[1], 1 / before.shape[1])
    found = sharpen(scores, prior, epsilon=epsilon, power=power, prior_weight=0.0)
    assert full_order(found) == full_order(scores)
    after = open_columns(found)
    assert np.array_equal(after > -np.inf, before > -np.inf)
    assert np.array_equal(open_columns(scores), before)
    some = np.any(before > -np.inf, axis=1)
    assert np.where(after > -np.inf, after, 0).sum(axis=1)[some] == pytest.approx(1, abs=1e-5)


def test_the_prior_counts_photos_and_new_queries():
    names = np.array(["ann", "bob"], dtype=object)
    catalog = np.array(["ann", "", "bob", "bob", "zoe", "bob"], dtype=object)
    assert num_photos(names, catalog).tolist() == [1, 3]
    assert photo_prior(names, catalog, np.array([True, False, False])).tolist() == pytest.approx([0.15, 0.45, 0.4])
    assert photo_prior(names, catalog, np.zeros(8, dtype=bool))[-1] == pytest.approx(0.1)  # nothing is impossible


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"prior": PRIOR[:3]}, r"`prior` must hold one share for each identity.*shape \(4,\). Received: shape \(3,\)"),
        ({"prior": -PRIOR}, "`prior` must hold one share"),
        ({"epsilon": -1.0}, "`epsilon` must be 0 or more, `power` above 0. Received: epsilon=-1.0"),
        ({"power": 0.0}, "power=0.0"),
        ({"scores": SCORES}, "`scores` must be probabilities"),
    ],
)
def test_wrong_numbers_of_sharpening_are_told(changed, told):
    with pytest.raises(SiameseError, match=told):
        sharpen(**({"scores": PROBABILITIES, "prior": PRIOR} | changed))
