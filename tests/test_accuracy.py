"""Tests of `siamese.evaluation.accuracy`."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from siamese.errors import SiameseError
from siamese.evaluation.accuracy import (
    animalclef_score,
    baks,
    balanced_accuracy,
    baus,
    confusion_table,
    normalised_accuracy,
)

NEW = "new_individual"
KNOWN = ["ann", "bob"]
TRUTH = ["ann", "ann", "bob", "zoe", "zoe", "yan", ""]
ANSWERS = ["ann", "bob", "bob", NEW, "ann", NEW, "bob"]

names = st.sampled_from(["ann", "bob", "cleo"])
answered = st.lists(st.tuples(names, names), min_size=1, max_size=30)


def test_known_and_new_individuals_are_counted_by_hand():
    assert baks(TRUTH, ANSWERS, known=KNOWN) == pytest.approx((1 / 2 + 1) / 2)
    assert baus(TRUTH, ANSWERS, known=KNOWN) == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert animalclef_score(TRUTH, ANSWERS, known=KNOWN) == pytest.approx(math.sqrt(0.75 * 0.5))
    assert normalised_accuracy(TRUTH, ANSWERS, known=KNOWN) == pytest.approx((2 / 3 + 2 / 4) / 2)
    assert normalised_accuracy(TRUTH, ANSWERS, known=KNOWN, known_weight=1.0) == pytest.approx(2 / 3)


def test_each_photo_of_unknown_name_is_an_individual():
    assert baus(["", "", "zoe", "zoe"], [NEW, "ann", NEW, NEW], known=KNOWN) == pytest.approx(2 / 3)


def test_without_one_kind_there_is_no_number():
    assert math.isnan(baks(["zoe"], [NEW], known=KNOWN))
    assert math.isnan(baus(["ann"], ["ann"], known=KNOWN))
    assert math.isnan(animalclef_score(["ann"], ["ann"], known=KNOWN))
    assert math.isnan(normalised_accuracy(["ann"], ["ann"], known=KNOWN))
    assert math.isnan(balanced_accuracy([], []))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@given(answered)
def test_balanced_accuracy_is_scikit_learns(pairs):
    truth, answers = zip(*pairs, strict=True)
    assert balanced_accuracy(truth, answers) == pytest.approx(balanced_accuracy_score(truth, answers))


def loop_baks_and_baus(truth, answers, known):
    """Balanced accuracy on known and unknown samples, one individual after the other, as the challenge defines them."""
    shares = {True: [], False: []}
    people = [
        ([row for row, name in enumerate(truth) if name == asked], asked) for asked in sorted(set(truth)) if asked
    ]
    people += [([row], "") for row, name in enumerate(truth) if not name]
    for rows, name in people:
        right = [answers[row] == (name if name in known else NEW) for row in rows]
        shares[name in known].append(sum(right) / len(right))
    return [sum(found) / len(found) if found else math.nan for found in (shares[True], shares[False])]


anyone = st.sampled_from(["ann", "bob", "cleo", "yan", "zoe", ""])
answers_of_open_set = st.lists(st.tuples(anyone, st.sampled_from([*KNOWN, "cleo", NEW, ""])), min_size=1, max_size=30)


@given(answers_of_open_set, st.sets(st.sampled_from(["ann", "bob", "cleo"]), min_size=1))
def test_open_set_scores_are_those_of_a_plain_loop(pairs, known):
    truth, answers = zip(*pairs, strict=True)
    on_known, on_new = loop_baks_and_baus(truth, answers, known)
    assert baks(truth, answers, known=known) == pytest.approx(on_known, nan_ok=True)
    assert baus(truth, answers, known=known) == pytest.approx(on_new, nan_ok=True)
    both = math.sqrt(on_known * on_new)
    assert animalclef_score(truth, answers, known=known) == pytest.approx(both, nan_ok=True)
    right = {True: [], False: []}
    for name, answer in pairs:
        right[name in known].append(answer == (name if name in known else NEW))
    means = [sum(kind) / len(kind) if kind else math.nan for kind in right.values()]
    for weight in (0.0, 0.3, 1.0):
        expected = weight * means[0] + (1 - weight) * means[1]
        found = normalised_accuracy(truth, answers, known=known, known_weight=weight)
        assert found == pytest.approx(expected, nan_ok=True)


@given(answered)
def test_the_confusions_are_scikit_learns_off_the_diagonal(pairs):
    truth, answers = zip(*pairs, strict=True)
    labels = ["ann", "bob", "cleo"]
    matrix = np.zeros((3, 3), dtype=int)
    for row in confusion_table(truth, answers).itertuples():
        matrix[labels.index(row.identity), labels.index(row.answer)] = row.num_queries
        assert row.share == pytest.approx(row.num_queries / truth.count(row.identity))
    expected = confusion_matrix(truth, answers, labels=labels)
    assert matrix.tolist() == (expected - np.diag(np.diag(expected))).tolist()


def test_the_most_frequent_confusion_comes_first():
    table = confusion_table(["ann", "ann", "bob", "bob"], ["cleo", "cleo", "cleo", "ann"])
    assert table[["identity", "answer", "num_queries"]].to_numpy().tolist() == [
        ["ann", "cleo", 2],
        ["bob", "ann", 1],
        ["bob", "cleo", 1],
    ]


def test_no_confusion_is_an_empty_table():
    assert len(confusion_table(["ann"], ["ann"])) == 0


def test_a_missing_answer_is_told():
    with pytest.raises(SiameseError, match="`y_true` must hold one value per query"):
        balanced_accuracy(["ann"], ["ann", "bob"])


def test_a_weight_out_of_range_is_told():
    with pytest.raises(SiameseError, match="`known_weight` must lie between 0 and 1. Received: 2"):
        normalised_accuracy(TRUTH, ANSWERS, known=KNOWN, known_weight=2)
