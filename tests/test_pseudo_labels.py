from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import beta, binom

from siamese.errors import ManifestError, SiameseError
from siamese.identity_scores import identity_scores
from siamese.manifest import from_table, read_manifest
from siamese.pseudo_labels import (
    Cut,
    best_named,
    check_alike,
    fit_cut,
    lower_bounds,
    may_be_labelled,
    propose_labels,
    with_pseudo_labels,
)
from siamese.ranking import rank_identities

# the cut


def falling(*right):
    """Scores that fall by one, with these answers."""
    return np.arange(len(right), 0, -1.0), np.array(right, dtype=bool)


def test_the_cut_stands_at_the_lowest_score_that_still_shows_the_precision():
    scores, right = falling(*[True] * 8, *[False] * 4)
    cut = fit_cut(scores, right, precision=0.5)
    # Of 8, 9, 10 answers 8 are right: lower bounds 0.688, 0.571, 0.493.
    assert (cut.score, cut.num_kept, cut.num_right, cut.num_measured) == (4.0, 9, 8, 12)
    assert cut.precision == pytest.approx(8 / 9)
    assert cut.lower == pytest.approx(0.571, abs=5e-4)


def test_answers_of_equal_score_are_kept_or_left_together():
    scores, right = falling(*[True] * 8, *[False] * 4)
    cut = fit_cut(np.where(scores == 3, 4, scores), right, precision=0.5)
    assert (cut.score, cut.num_kept) == (5.0, 8)


def test_the_search_ends_at_the_first_cut_that_fails():
    scores, right = falling(*[True] * 5, *[False] * 5, *[True] * 90)
    assert fit_cut(scores, right, precision=0.5).num_kept == 5
    assert lower_bounds(np.array([95]), np.array([100]), 0.05)[0] > 0.5  # a scan of all cuts would go on to the end


def test_queries_that_nobody_may_answer_are_not_counted():
    scores, right = falling(*[True] * 8)
    cut = fit_cut(np.append(scores, -np.inf), np.append(right, False), precision=0.5)
    assert (cut.num_measured, cut.num_kept) == (8, 8)


def test_the_order_of_the_answers_does_not_matter_and_they_stay_as_they_are(rng):
    scores = rng.normal(size=400).round(1)
    right = rng.random(400) < expit(3 + 2 * scores)
    before = scores.copy(), right.copy()
    order = rng.permutation(400)
    assert fit_cut(scores, right, precision=0.9) == fit_cut(scores[order], right[order], precision=0.9)
    assert np.array_equal(scores, before[0])
    assert np.array_equal(right, before[1])


def test_too_few_answers_are_told():
    scores, right = falling(*[True] * 148)
    with pytest.raises(SiameseError, match="shown on at least 149 validation answers. Received: 148. Ask for less"):
        fit_cut(scores, right, precision=0.98)
    assert fit_cut(*falling(*[True] * 149), precision=0.98).lower >= 0.98


def test_wrong_answers_at_the_top_are_told():
    scores, right = falling(False, *[True] * 199)
    with pytest.raises(SiameseError, match="Received: 148 right of the best 149, 199 right of 200 in all"):
        fit_cut(scores, right, precision=0.98)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(SiameseError, match="on at least 59 validation answers. Received: 0"):
        fit_cut(np.full(3, -np.inf), np.zeros(3, bool), precision=0.95)
    with pytest.raises(SiameseError, match="`precision` must lie between 0 and 1. Received: precision=1"):
        fit_cut(*falling(True), precision=1)
    with pytest.raises(SiameseError, match="`confidence` must lie between 0 and 1. Received: confidence=0"):
        fit_cut(*falling(True), precision=0.9, confidence=0)
    with pytest.raises(SiameseError, match="`scores` must be numbers. Received: NaN"):
        fit_cut(np.array([np.nan]), np.array([True]), precision=0.9)
    with pytest.raises(SiameseError, match=r"`right` must hold one value per query, shape \(2,\)"):
        fit_cut(np.zeros(2), np.ones(3, bool), precision=0.9)


@given(num_kept=st.integers(1, 400), share=st.floats(0, 1), risk=st.floats(0.001, 0.5))
def test_a_lower_bound_is_the_share_at_which_so_many_right_ones_become_a_surprise(num_kept, share, risk):
    num_right = round(share * num_kept)
    bound = float(lower_bounds(np.array([num_right]), np.array([num_kept]), risk)[0])
    if num_right == 0:
        assert bound == 0
        return
    assert bound == pytest.approx(beta.ppf(risk, num_right, num_kept - num_right + 1))
    assert binom.sf(num_right - 1, num_kept, bound) == pytest.approx(risk, rel=1e-6)


NUM_DRAWS = 600


def surprisingly_many(share):
    """The most failures of NUM_DRAWS that a procedure that fails in this share would show, once in a thousand tests."""
    return binom.ppf(0.999, NUM_DRAWS, share)


def num_broken_promises(probability, *, num_queries, precision, find):
    """Counts the draws whose cut has a true precision under the wanted one; scores are normal."""
    grid = np.sort(np.random.default_rng(1).normal(size=100_000))[::-1]
    true_precision = np.cumsum(probability(grid)) / np.arange(1, len(grid) + 1)
    rng, broken = np.random.default_rng(2), 0
    for _ in range(NUM_DRAWS):
        scores = rng.normal(size=num_queries)
        cut = find(scores, rng.random(num_queries) < probability(scores), precision)
        if cut is not None:
            kept = np.searchsorted(-grid, -cut, side="right")
            broken += true_precision[max(0, kept - 1)] < precision
    return broken


def by_fixed_sequence(scores, right, precision):
    try:
        return fit_cut(scores, right, precision=precision).score
    except SiameseError:
        return None


def by_any_cut_that_passes(scores, right, precision):
    order = np.argsort(-scores)
    bounds = lower_bounds(np.cumsum(right[order]), np.arange(1, len(order) + 1), 0.05)
    passed = np.flatnonzero(bounds >= precision)
    return scores[order][passed[-1]] if len(passed) else None


@pytest.mark.parametrize("slope", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize(("num_queries", "precision"), [(120, 0.9), (540, 0.95)])
def test_the_true_precision_falls_short_in_at_most_a_twentieth_of_the_draws(slope, num_queries, precision):
    just_under = np.log(precision / (1 - precision)) - 0.05
    broken = num_broken_promises(
        lambda scores: expit(just_under + slope * scores),
        num_queries=num_queries,
        precision=precision,
        find=by_fixed_sequence,
    )
    assert broken <= surprisingly_many(0.05)


def test_a_cut_chosen_among_all_that_pass_would_break_its_promise_more_often():
    options = {"num_queries": 540, "precision": 0.9}
    share = num_broken_promises(lambda s: np.full(len(s), 0.895), find=by_any_cut_that_passes, **options) / NUM_DRAWS
    assert share > 0.1


# whether a measurement holds for other photos


@pytest.fixture
def half_kept():
    """A cut that keeps 100 of 200 validation answers."""
    return Cut(score=1.0, precision=0.99, lower=0.95, confidence=0.95, num_kept=100, num_right=99, num_measured=200)


def test_photos_that_reach_the_cut_as_often_or_more_are_taken(half_kept):
    check_alike(50, 100, half_kept)
    check_alike(100, 100, half_kept)
    check_alike(0, 3, half_kept)  # too few to tell


def test_photos_that_reach_the_cut_more_seldom_are_refused(half_kept):
    with pytest.raises(SiameseError, match="Received: photos of which 30.0% reach the cut, against 50.0%; so more"):
        check_alike(30, 100, half_kept)


def test_photos_like_the_validation_are_refused_in_a_twentieth_of_the_draws(half_kept):
    refused, rng = 0, np.random.default_rng(0)
    for _ in range(NUM_DRAWS):
        measured, asked = rng.binomial([200, 300], 0.5)
        try:
            check_alike(asked, 300, replace(half_kept, num_kept=measured))
        except SiameseError:
            refused += 1
    assert 0 < refused <= surprisingly_many(0.05)


# proposals


def ranked(scores, names, threshold=0.0, top_k=3):
    scores = np.array(scores, dtype=float)
    table = identity_scores(scores, np.array(names, dtype=object))
    ids = np.array([f"q{row}" for row in range(len(scores))], dtype=object)
    return rank_identities(table, query_ids=ids, threshold=threshold, top_k=top_k)


def test_the_best_named_answer_passes_over_the_new_individual():
    answers = best_named(ranked([[1, 4, 3], [9, 2, 5], [1, 2, 2]], ["ann", "bob", "cleo"], threshold=4.5))
    assert answers.to_dict("list") == {
        "image_id": ["q0", "q1", "q2"],
        "identity": ["bob", "ann", "bob"],
        "score": [4, 9, 2],
        "margin": [1, 4, 0],
    }


def test_without_a_second_identity_there_is_no_margin_and_without_any_no_answer():
    answers = best_named(ranked([[3.0]], ["ann"]))
    assert np.isnan(answers["margin"][0])
    nobody = best_named(ranked(np.zeros((1, 0)), []))
    assert (nobody["identity"][0], nobody["score"][0]) == ("", -np.inf)
    assert propose_labels(ranked(np.zeros((1, 0)), []), -np.inf).empty


def test_proposals_reach_the_cut_and_the_most_certain_comes_first():
    ranking = ranked([[4, 1], [3.9, 1], [8, 7]], ["ann", "bob"])
    proposals = propose_labels(ranking, 4.0)
    assert proposals.to_dict("list") == {
        "image_id": ["q2", "q0"],
        "identity": ["ann", "ann"],
        "score": [8, 4],
        "margin": [1, 3],
    }
    assert ranking.identities.shape == (3, 3)


def test_a_ranking_that_may_show_one_identity_alone_is_refused():
    with pytest.raises(SiameseError, match="`ranking` must hold three answers or more. Received: 2"):
        propose_labels(ranked([[4, 1]], ["ann", "bob"], top_k=2), 0.0)


@given(
    scores=st.lists(st.lists(st.integers(-3, 3), min_size=5, max_size=5), min_size=1, max_size=6),
    threshold=st.integers(-4, 4),
)
def test_the_best_named_answer_is_that_of_the_scores_wherever_the_new_individual_stands(scores, threshold):
    names = ["ann", "bob", "ann", "cleo", ""]
    answers = best_named(ranked(scores, names, threshold=threshold))
    for row, answer in zip(scores, answers.itertuples(), strict=True):
        best = {"ann": max(row[0], row[2]), "bob": row[1], "cleo": row[3]}
        first, second = sorted(best, key=lambda name: (-best[name], name))[:2]
        assert (answer.identity, answer.score) == (first, best[first])
        assert answer.margin == best[first] - best[second]


# the enlarged collection


def collection(**columns):
    rows = {
        "image_id": ["a", "b", "c", "d", "e"],
        "path": ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"],
        "identity": ["Mara", "", "", "Mara", ""],
        "split": ["train", "train", "catalog", "test", "test"],
        **columns,
    }
    return from_table(pd.DataFrame(rows), "photos", check_files=False)


def proposed(**names):
    return pd.DataFrame({"image_id": list(names), "identity": list(names.values())}, dtype=object)


def test_proposed_identities_train_and_are_marked():
    manifest = collection()
    enlarged = with_pseudo_labels(manifest, proposed(c="Mara"))
    assert enlarged.identity.tolist() == ["Mara", "", "Mara", "Mara", ""]
    assert enlarged.column("split").tolist() == ["train", "train", "train", "test", "test"]
    assert enlarged.column("pseudo_label").tolist() == ["false", "false", "true", "false", "false"]
    assert manifest.identity.tolist() == ["Mara", "", "", "Mara", ""]
    assert "pseudo_label" not in manifest.table


def test_marks_of_an_earlier_round_stay():
    once = with_pseudo_labels(collection(), proposed(b="Mara"))
    assert with_pseudo_labels(once, proposed(c="Tano")).column("pseudo_label").tolist() == [
        "false",
        "true",
        "true",
        "false",
        "false",
    ]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"a": "Tano"}, "Received: a of Mara, split 'train'"),
        ({"e": "Mara"}, "Received: e of an unknown individual, split 'test'"),
        ({"d": "Tano"}, "Received: d of Mara, split 'test'"),
        ({"b": "Mara", "x": "Mara"}, "must be for a photo that is there. Received: x"),
    ],
)
def test_queries_of_the_evaluation_and_known_photos_get_no_pseudo_label(names, sentence):
    with pytest.raises(ManifestError, match=sentence):
        with_pseudo_labels(collection(), proposed(**names))


def test_photos_that_the_check_keeps_out_of_training_are_not_asked_about():
    manifest = collection(use=["", "catalog", "", "", ""])
    assert may_be_labelled(manifest).tolist() == [False, False, True, False, False]
    with pytest.raises(ManifestError, match="Received: b of an unknown individual, split 'train'"):
        with_pseudo_labels(manifest, proposed(b="Mara"))


def outside_photos(tmp_path, **columns):
    rows = {"image_id": ["x", "y"], "path": ["x.jpg", "y.jpg"], "identity": ["", ""], **columns}
    return from_table(pd.DataFrame(rows), tmp_path / "new", check_files=False)


def test_proposed_photos_from_outside_are_added_and_found_again(tmp_path):
    manifest = collection(burst=["", "1", "1", "", ""], duplicate_group=[""] * 5)
    outside = outside_photos(tmp_path, x=[1.25, 3], y=[2, 3], width=[0.1, 5], height=[4, 5], note=["far", "near"])
    enlarged = with_pseudo_labels(manifest, proposed(x="Mara", b="Mara"), outside=outside)
    assert enlarged.image_ids.tolist() == ["a", "b", "c", "d", "e", "x"]
    assert enlarged.column("pseudo_label").tolist() == ["false", "true", "false", "false", "false", "true"]
    assert enlarged.column("split")[-1] == "train"
    assert enlarged.paths[-1] == (tmp_path / "new" / "x.jpg").absolute()
    assert enlarged.boxes[-1].tolist() == [1.25, 2, 0.1, 4]
    assert np.isnan(enlarged.boxes[0]).all()
    assert enlarged.column("note").tolist() == ["", "", "", "", "", "far"]
    assert not {"burst", "duplicate_group"} & set(enlarged.table)  # the next training looks for copies again
    enlarged.write(tmp_path / "m.csv")
    again = read_manifest(tmp_path / "m.csv", check_files=False)
    pd.testing.assert_frame_equal(again.table.drop(columns="path"), enlarged.table.drop(columns="path"))
    assert again.paths == enlarged.paths


def test_a_photo_of_the_collection_does_not_come_in_again_from_outside(tmp_path):
    by_name = outside_photos(tmp_path, image_id=["x", "e"])
    with pytest.raises(ManifestError, match=r"Received: e \(.*y.jpg\)"):
        with_pseudo_labels(collection(), proposed(x="Mara"), outside=by_name)
    test_photo = str(collection().paths[-1])
    by_file = outside_photos(tmp_path, path=["x.jpg", test_photo])
    with pytest.raises(ManifestError, match=r"Received: y \(.*e.jpg\)"):
        with_pseudo_labels(collection(), proposed(x="Mara"), outside=by_file)
