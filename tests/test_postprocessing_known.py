import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import ManifestError, SiameseError
from siamese.formats.duplicate_names import read_duplicate_groups
from siamese.identity_scores import NEW_INDIVIDUAL, identity_scores
from siamese.open_scores import OpenScores
from siamese.postprocessing import (
    count_predictions,
    put_duplicates_behind,
    put_known_first,
    put_matching_size_first,
    read_known_labels,
)
from siamese.postprocessing.places import open_columns
from tests.test_postprocessing_places import NAMES, answers, full_order, open_scores_with_ties, table_of

NEW = NEW_INDIVIDUAL
SCORES = OpenScores(table_of([[9, 5, 1], [2, 8, 3], [4, 6, 7]]), np.array([6.0, 1.0, 9.0]))
GROUPS = [["cleo", "ann"]]
SIZES = {
    "catalog_identity": np.array(["ann", "bob", "cleo", "cleo"], dtype=object),
    "catalog_sizes": np.array([[100, 50], [100, 50], [200, 90], [120, 60]]),
}


def test_the_other_names_of_the_first_animal_stand_right_behind_it():
    assert answers(put_duplicates_behind(SCORES, GROUPS)) == [
        ["ann", "cleo", NEW, "bob"],  # ann is cleo
        ["bob", "cleo", "ann", NEW],  # bob is nobody else
        [NEW, "cleo", "bob", "ann"],  # new stays new
    ]


def test_groups_that_share_a_name_are_one_animal():
    found = put_duplicates_behind(SCORES, [["cleo", "dora"], ["dora", "ann"], ["bob", "ann"]])
    assert answers(found)[:2] == [["ann", "bob", "cleo", NEW], ["bob", "cleo", "ann", NEW]]


def test_a_duplicate_that_may_not_answer_stays_out():
    scores = OpenScores(table_of([[9, 5, -np.inf]]), np.array([6.0]))
    assert answers(put_duplicates_behind(scores, GROUPS)) == [["ann", NEW, "bob", ""]]


@given(open_scores_with_ties(), st.integers(0, 1000))
def test_the_duplicates_are_those_of_a_plain_loop(scores, seed):
    rng = np.random.default_rng(seed)
    names, before = scores.table.names, open_columns(scores).copy()
    groups = np.array_split(rng.permutation(names), rng.integers(1, 4))
    wanted = full_order(scores)
    for query, row in enumerate(wanted):
        same = next((set(group) for group in groups if row[0] in group), {row[0]})
        wanted[query] = [name for name in row if name in same] + [name for name in row if name not in same]
    found = put_duplicates_behind(scores, groups)
    assert full_order(found) == wanted
    assert np.array_equal(open_columns(found) > -np.inf, before > -np.inf)
    assert np.array_equal(open_columns(scores), before)


def test_the_only_name_with_photos_of_the_query_s_size_goes_first():
    sizes = np.array([[120, 60], [100, 50], [100, 50]])
    assert answers(put_matching_size_first(SCORES, GROUPS, **SIZES, query_sizes=sizes)) == [
        ["cleo", "ann", NEW, "bob"],  # a photo of cleo is as large, none of ann
        ["bob", "cleo", "ann", NEW],  # bob is nobody else
        [NEW, "cleo", "bob", "ann"],
    ]


@pytest.mark.parametrize("size", [[60, 120], [77, 77]])
def test_no_name_goes_first_without_a_photo_of_that_size(size):
    found = put_matching_size_first(SCORES, GROUPS, **SIZES, query_sizes=np.array([size] * 3))
    assert answers(found) == answers(SCORES)


def test_two_names_with_photos_of_that_size_decide_nothing():
    sizes = np.array([[100, 50]] * 3)
    found = put_matching_size_first(SCORES, [["ann", "bob"]], **SIZES, query_sizes=sizes)
    assert answers(found) == answers(SCORES)


def test_a_size_for_each_photo_is_asked_for():
    with pytest.raises(SiameseError, match=r"`query_sizes` must hold width and height of each photo, shape \(3, 2\)"):
        put_matching_size_first(SCORES, GROUPS, **SIZES, query_sizes=np.zeros((2, 2)))
    with pytest.raises(SiameseError, match=r"`catalog_sizes` must hold .* Received: shape \(4,\)"):
        put_matching_size_first(SCORES, GROUPS, **SIZES | {"catalog_sizes": np.ones(4)}, query_sizes=np.ones((3, 2)))


def test_known_labels_go_first():
    labels = {"q2": "cleo", "q1": NEW, "not asked": "ann"}
    found = put_known_first(SCORES, ["q0", "q1", "q2"], labels)
    assert answers(found) == [["ann", NEW, "bob", "cleo"], [NEW, "bob", "cleo", "ann"], ["cleo", NEW, "bob", "ann"]]


def test_a_known_label_that_the_catalog_lacks_is_told():
    with pytest.raises(SiameseError, match="`labels` must name identities of the catalog. Received: 'zoe' for 'q1'"):
        put_known_first(SCORES, ["q0", "q1", "q2"], {"q1": "zoe"})


def test_ids_too_few_are_told():
    with pytest.raises(SiameseError, match="`query_ids` must hold one value per query"):
        put_known_first(SCORES, ["q0"], {})


def test_no_label_of_these_queries_changes_nothing():
    assert open_columns(put_known_first(SCORES, ["q0", "q1", "q2"], {})).tolist() == open_columns(SCORES).tolist()


def test_the_lists_are_read_as_park_wrote_them(tmp_path):
    (tmp_path / "duplicates.csv").write_text("Id,SubId\nw_1,w_1 w_2\nw_3,w_3 w_4 w_5\n")
    (tmp_path / "leaks.csv").write_text("Image,Id\na.jpg,w_1\nb.jpg,w_3\n")
    assert read_duplicate_groups(tmp_path / "duplicates.csv") == [["w_1", "w_2"], ["w_3", "w_4", "w_5"]]
    assert read_known_labels(tmp_path / "leaks.csv") == {"a.jpg": "w_1", "b.jpg": "w_3"}
    with pytest.raises(ManifestError, match="leaks.csv: the columns Id, SubId must be there"):
        read_duplicate_groups(tmp_path / "leaks.csv")


def test_predictions_are_counted_by_identity():
    found = count_predictions(SCORES.rank(["q0", "q1", "q2"], top_k=2), np.append(NAMES, "dora"))
    assert found.identities.to_numpy().tolist() == [["ann", 1, 1], ["bob", 1, 1], ["cleo", 0, 2], ["dora", 0, 0]]
    assert (found.num_queries, found.num_new, found.num_first) == (3, 1, 2)
    assert found.share_new == pytest.approx(1 / 3)
    assert (found.never_first, found.never_listed) == (["cleo", "dora"], ["dora"])


@given(open_scores_with_ties(), st.integers(1, 6))
def test_every_answer_is_counted_once(scores, top_k):
    ranking = scores.rank(np.arange(len(scores.new)), top_k=top_k)
    found = count_predictions(ranking, scores.table.names)
    answered = (ranking.identities[:, 0] != "").sum()
    assert found.num_queries == answered
    assert found.identities["num_first"].sum() + found.num_new == answered
    assert found.identities["num_listed"].sum() == np.isin(ranking.identities, scores.table.names).sum()
    assert isinstance(found.identities, pd.DataFrame)
    assert sorted(found.identities["identity"]) == sorted(scores.table.names)


def test_no_query_has_no_share():
    nobody = OpenScores(identity_scores(np.empty((0, 3)), NAMES), np.empty(0))
    found = count_predictions(nobody.rank([], top_k=2), NAMES)
    assert np.isnan(found.share_new)
    assert found.never_listed == NAMES.tolist()
