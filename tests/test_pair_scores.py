"""Tests of `siamese.evaluation.pair_scores`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.evaluation import pair_scores
from siamese.evaluation.bootstrap import individual_codes
from siamese.evaluation.pair_scores import query_blocks, read_pair_scores
from siamese.evaluation.retrieval import average_precision
from siamese.evaluation.verification import equal_error_rate, roc_auc, tar_at_far
from tests.test_ranking import score_tables

FARS = (0.5, 0.2)


def pairs_by_hand(scores, catalog, allowed, truth, times):
    """Every pair that may answer, as often as the individual asked for counts."""
    same, values = [], []
    for query, name in enumerate(truth):
        for photo in np.flatnonzero(allowed[query] & (catalog != "")):
            same += [bool(name) and catalog[photo] == name] * int(times[query])
            values += [scores[query, photo]] * int(times[query])
    return np.array(same, dtype=bool), np.array(values)


@given(score_tables(), st.integers(0, 100))
def test_the_numbers_of_pairs_are_those_of_all_pairs_one_by_one(table, seed):
    scores, catalog, allowed, truth = table
    code = individual_codes(truth)
    counts = np.random.default_rng(seed).integers(0, 3, code.max() + 1)
    same, values = pairs_by_hand(scores, catalog, allowed, truth, counts[code])
    read = read_pair_scores(scores, catalog, truth, allowed=allowed)
    found = read.counts.numbers(counts[None].astype(float), fars=FARS)
    assert found["auc_pairs"][0] == pytest.approx(roc_auc(same, values), nan_ok=True)
    assert found["equal_error_rate"][0] == pytest.approx(equal_error_rate(same, values), nan_ok=True)
    for far in FARS:
        expected = tar_at_far(same, values, far=far).tar
        assert found[f"tar_at_far_{far:g}"][0] == pytest.approx(expected, nan_ok=True)


@given(score_tables())
def test_the_curve_holds_what_its_thresholds_say(table):
    scores, catalog, allowed, truth = table
    same, values = pairs_by_hand(scores, catalog, allowed, truth, np.ones(len(truth)))
    roc = read_pair_scores(scores, catalog, truth, allowed=allowed).counts.roc()
    assert (roc.num_same, roc.num_different) == (same.sum(), (~same).sum())
    for false, true, threshold in zip(roc.false_accept_rate, roc.true_accept_rate, roc.thresholds, strict=True):
        if same.any() and not same.all():
            assert true == pytest.approx(np.mean(values[same] >= threshold))
            assert false == pytest.approx(np.mean(values[~same] >= threshold))


@given(score_tables())
def test_average_precision_is_that_of_each_query(table):
    scores, catalog, allowed, truth = table
    known = catalog != ""
    read = read_pair_scores(scores, catalog, truth, allowed=allowed)
    right = (truth[:, None] == catalog[None, known]) & (truth != "")[:, None]
    may = np.where(allowed, scores, -np.inf)[:, known]
    np.testing.assert_allclose(read.average_precision, average_precision(right, may))
    assert read.num_right.tolist() == (right & (may > -np.inf)).sum(axis=1).tolist()


def test_more_scores_of_same_pairs_than_thresholds_change_little(monkeypatch, rng):
    truth = np.repeat(np.array([f"animal {number}" for number in range(30)], dtype=object), 20)
    scores = rng.normal(size=(600, 600)) + 2 * (truth[:, None] == truth[None, :])
    exact = read_pair_scores(scores, truth, truth).counts
    assert len(exact.thresholds) == pair_scores.MOST_THRESHOLDS < 12_000
    same = truth[:, None] == truth[None, :]
    ones = np.ones((1, 30))
    found = exact.numbers(ones, fars=(0.01,))
    assert found["auc_pairs"][0] == pytest.approx(roc_auc(same.ravel(), scores.ravel()), abs=1e-5)
    assert found["equal_error_rate"][0] == pytest.approx(equal_error_rate(same.ravel(), scores.ravel()), abs=2e-4)
    limit = tar_at_far(same.ravel(), scores.ravel(), far=0.01).tar
    assert limit - 1 / 2048 <= found["tar_at_far_0.01"][0] <= limit


def test_blocks_change_nothing(monkeypatch, rng):
    truth = rng.choice(np.array(["ann", "bob", "cleo", ""], dtype=object), 30)
    scores = rng.normal(size=(30, 30))
    whole = read_pair_scores(scores, truth, truth)
    monkeypatch.setattr(pair_scores, "BLOCK_CELLS", 70)
    assert len(list(query_blocks(scores))) == 15
    parts = read_pair_scores(scores, truth, truth)
    assert np.array_equal(whole.counts.same, parts.counts.same)
    assert np.array_equal(whole.counts.different, parts.counts.different)
    assert np.array_equal(whole.average_precision, parts.average_precision, equal_nan=True)


def test_no_queries_have_no_numbers():
    read = read_pair_scores(np.empty((0, 2)), np.array(["ann", "bob"]), [])
    assert len(read.average_precision) == 0
    assert list(query_blocks(np.empty((0, 2)))) == [slice(0, 2_000_000)]


def test_scores_and_names_stay_as_they_are(rng):
    scores, names, allowed = rng.normal(size=(2, 2)), np.array(["ann", "bob"], dtype=object), np.eye(2) > 0
    before = scores.copy(), names.copy(), allowed.copy()
    read_pair_scores(scores, names, names, allowed=allowed)
    assert all(np.array_equal(old, new) for old, new in zip(before, (scores, names, allowed), strict=True))


def test_a_score_that_is_no_number_is_told():
    with pytest.raises(SiameseError, match="`scores` must be numbers. Received: NaN"):
        read_pair_scores(np.array([[np.nan, 1.0]]), ["ann", "bob"], ["ann"])


def test_too_few_names_are_told():
    with pytest.raises(SiameseError, match="`identity` must hold one value per query"):
        read_pair_scores(np.ones((2, 2)), ["ann", "bob"], ["ann"])
