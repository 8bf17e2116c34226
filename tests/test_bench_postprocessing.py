import numpy as np
import pytest
from scipy.special import expit

from siamese.bench.postprocessing import STEPS, Asked, is_within_noise, log_loss_rows, nearest_by_probability
from siamese.identity_scores import identity_scores
from siamese.open_scores import OpenScores

LOGITS = np.array([[3.0, 2.0, -1.0, 0.0], [0.0, 2.5, 1.0, 0.0], [1.0, 0.5, -2.0, 0.5]])
CATALOG = np.array(["ann", "bob", "bob", ""], dtype=object)


def asked(truth, logits=LOGITS, new=0.75):
    truth = np.array(truth, dtype=object)
    allowed = np.ones(logits.shape, dtype=bool)
    scores = OpenScores(identity_scores(logits, CATALOG), np.full(len(truth), new))
    return Asked(scores, truth, truth, CATALOG, nearest_by_probability(logits, CATALOG, allowed))


VALIDATION = asked(["bob", "bob", ""])


def test_a_side_knows_its_photos_and_its_new_queries():
    assert VALIDATION.num_photos.tolist() == [1, 2]
    assert VALIDATION.is_new.tolist() == [False, False, True]
    assert VALIDATION.nearest.query.tolist() == [0, 1, 1, 2]
    assert VALIDATION.nearest.score == pytest.approx(expit([3.0, 2.5, 1.0, 0.5]))


@pytest.mark.parametrize("name", STEPS)
def test_each_step_is_fitted_on_one_side_and_made_on_another(name):
    fitted = STEPS[name](VALIDATION)
    other = asked(["ann", "", "ann", "bob"], np.vstack([-LOGITS, LOGITS[:1]]))
    before = other.scores.table.scores.copy()
    made = fitted.made(other)
    assert made.table.scores.shape == (4, 2)
    assert np.isfinite(made.table.scores).all()
    assert np.array_equal(other.scores.table.scores, before)
    assert set(fitted.told()) <= {"factor", "gap", "near"}


def test_a_limit_that_nothing_reaches_is_told_as_none():
    assert STEPS["singletons first"](VALIDATION).told() == {"near": None}  # ann is nearest to the first, which is bob
    assert STEPS["singletons first"](asked(["ann", "bob", "bob"])).told() == {"near": None}  # ann is there already
    low = asked(["ann", "bob", ""], new=5.0)  # everybody was called new
    assert STEPS["singletons first"](low).told() == {"near": pytest.approx(3.0)}


def test_the_log_loss_is_that_of_the_right_answers():
    (row,) = log_loss_rows("temperature", {"test": VALIDATION}, STEPS["temperature"](VALIDATION))
    weights = np.exp([[3.0, 2.0, 0.75], [0.0, 2.5, 0.75], [1.0, 0.5, 0.75]])
    right = weights[[0, 1, 2], [1, 1, 2]] / weights.sum(axis=1)
    assert row["first"] == pytest.approx(-np.log(right).mean(), abs=1e-6)
    assert row["second"] < row["first"]
    assert (row["side"], row["step"], row["metric"]) == ("test", "temperature", "log_loss")


def test_a_difference_whose_interval_holds_0_is_within_noise():
    ends = [(-1.0, 1.0), (0.0, 1.0), (0.5, 1.0), (-1.0, -0.5), (np.nan, np.nan)]
    assert [is_within_noise({"low": low, "high": high}) for low, high in ends] == [True, True, False, False, True]
