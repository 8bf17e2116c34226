"""Tests of `siamese.submissions`."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import SiameseError
from siamese.ranking import Ranking
from siamese.submissions import (
    FORMATS,
    check_submission,
    cluster_table,
    in_order,
    read_submission,
    submission_table,
)

NAMES = ("w_1", "w_2", "w_3", "w_4", "w 5")
NEW = "new_individual"
HUMPBACK, CLEF_2025, CLEF_2026 = FORMATS["humpback"], FORMATS["animalclef2025"], FORMATS["animalclef2026"]


def ranking(*rows, query_ids=None):
    identities = np.array(rows, dtype=object).reshape(len(rows), -1)
    blank = np.zeros(identities.shape)
    ids = [f"q{row}" for row in range(len(rows))] if query_ids is None else query_ids
    return Ranking(np.array(ids, dtype=object), identities, blank, blank, blank.astype(int))


def humpback(*answers, ids=("a.jpg", "b.jpg")):
    return pd.DataFrame({"Image": ids[: len(answers)], "Id": answers})


GOOD = "w_1 new_whale w_2 w_3 w_4"


def test_each_challenge_gets_its_columns_and_its_new_individual():
    ranked = ranking(["w_1", NEW, "w_2", "w 5", "w_4", "w_3"], query_ids=["a"])
    rows = {name: submission_table(ranked, form) for name, form in FORMATS.items() if not form.grouped}
    assert rows["humpback"].to_dict("records") == [{"Image": "a.jpg", "Id": "w_1 new_whale w_2 w_5 w_4"}]
    five = "w_1 new_individual w_2 w_5 w_4"
    assert rows["happywhale"].to_dict("records") == [{"image": "a.jpg", "predictions": five}]
    assert rows["animalclef2025"].to_dict("records") == [{"image_id": "a", "identity": "w_1"}]
    for name, table in rows.items():
        check_submission(table, FORMATS[name], names=NAMES)


def test_one_answer_keeps_its_spaces():
    table = submission_table(ranking(["w 5"]), CLEF_2025)
    assert table["identity"].tolist() == ["w 5"]
    check_submission(table, CLEF_2025, names=NAMES)


def test_an_ending_is_added_once():
    assert HUMPBACK.image_ids(["a", "b.jpg"]) == ["a.jpg", "b.jpg"]
    assert CLEF_2025.image_ids([17]) == ["17"]


@given(st.permutations([*NAMES, NEW]), st.integers(1, 5))
def test_what_is_made_of_a_ranking_passes_the_check(order, num_rows):
    table = submission_table(ranking(*[order] * num_rows), HUMPBACK)
    before = table.copy()
    check_submission(table, HUMPBACK, names=NAMES, sample=table)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("w_1 w_2 w_3 w_4", "there must be 5 answers separated by spaces"),
        ("w_1 w_2 w_3 w_4 w_5 new_whale", "there must be 5 answers"),
        ("w_1  w_2 w_3 w_4", "none of them empty"),
        ("w_1 w_1 w_2 w_3 w_4", "every answer must stand once"),
        ("w_1 w_9 w_2 w_3 w_4", "every answer must be an individual of the catalog or new_whale"),
        ("w_1 new_individual w_2 w_3 w_4", "every answer must be an individual of the catalog or new_whale"),
    ],
)
def test_a_bad_answer_is_told_with_its_row(answer, fault):
    with pytest.raises(SiameseError, match=f"Row 3, b.jpg: .*{fault}.* Received: '{answer}'"):
        check_submission(humpback(GOOD, answer), HUMPBACK, names=NAMES)


def test_a_small_catalog_gives_fewer_answers():
    check_submission(humpback("w_1 new_whale"), HUMPBACK, names=["w_1", ""])
    with pytest.raises(SiameseError, match="there must be 2 answers"):
        check_submission(humpback("w_1"), HUMPBACK, names=["w_1"])
    with pytest.raises(SiameseError, match="there must be 5 answers"):
        check_submission(humpback("w_1 new_whale"), HUMPBACK)


def test_names_that_become_one_are_told():
    with pytest.raises(SiameseError, match="Received: two that become w_1"):
        check_submission(humpback(GOOD), HUMPBACK, names=["w 1", "w_1"])


def test_ids_are_compared_with_the_sample():
    sample = humpback(GOOD, GOOD, GOOD, ids=("c.jpg", "a.jpg", "b.jpg"))
    with pytest.raises(SiameseError, match=r"lacks 1 ids, such as c.jpg"):
        check_submission(humpback(GOOD, GOOD), HUMPBACK, sample=sample)
    with pytest.raises(SiameseError, match=r"beyond the sample, 1 ids, such as b.jpg"):
        check_submission(humpback(GOOD, GOOD), HUMPBACK, sample=sample[sample["Image"] == "a.jpg"])
    with pytest.raises(SiameseError, match="Received: a.jpg twice"):
        check_submission(humpback(GOOD, GOOD, ids=("a.jpg", "a.jpg")), HUMPBACK)
    with pytest.raises(SiameseError, match="The sample submission must have the column Image"):
        check_submission(humpback(GOOD), HUMPBACK, sample=pd.DataFrame({"image_id": ["a.jpg"]}))


def test_other_columns_are_refused():
    with pytest.raises(SiameseError, match="must have the columns Image, Id. Received: image, predictions."):
        check_submission(pd.DataFrame({"image": ["a.jpg"], "predictions": [GOOD]}), HUMPBACK)


def test_the_rows_stand_in_the_order_of_the_sample():
    table = humpback("w_1", "w_2")
    assert in_order(table, humpback("x", "x", ids=("b.jpg", "a.jpg")))["Id"].tolist() == ["w_2", "w_1"]
    assert table["Image"].tolist() == ["a.jpg", "b.jpg"]


def test_photos_are_grouped_by_name_and_by_score():
    ranked = ranking(["ann"], [NEW], [NEW], ["ann"], [NEW], [NEW])
    scores = np.full((6, 6), -5.0)
    scores[1, 2] = scores[2, 1] = 4.0
    scores[4, 5] = scores[5, 4] = 4.0
    before = scores.copy()
    dataset = np.array(["Lynx", "Lynx", "Lynx", "Lynx", "Lynx", "Turtle"], dtype=object)
    table = cluster_table(ranked, scores, dataset, 3.0, CLEF_2026)
    names = ["cluster_Lynx_0", "cluster_Lynx_1", "cluster_Lynx_1", "cluster_Lynx_0", "cluster_Lynx_2"]
    assert table["cluster"].tolist() == [*names, "cluster_Turtle_0"]
    assert (scores == before).all()
    check_submission(table, CLEF_2026)
    apart = cluster_table(ranked, scores, dataset, 4.5, CLEF_2026)
    assert apart["cluster"].nunique() == 5


def test_groups_join_by_their_mean_score():
    chain = np.full((3, 3), 0.0)
    chain[0, 1] = chain[1, 0] = 9.0
    chain[1, 2] = chain[2, 1] = 5.0  # mean of the third with the first two: 2.5
    ranked, dataset = ranking([NEW], [NEW], [NEW]), np.array(["x"] * 3, dtype=object)
    numbers = [cluster_table(ranked, chain, dataset, cut, CLEF_2026)["cluster"].nunique() for cut in (2.4, 2.6, 9.5)]
    assert numbers == [1, 2, 3]


def test_groups_need_a_data_set_and_scores_of_all_queries():
    ranked = ranking([NEW], [NEW])
    with pytest.raises(SiameseError, match="Every query must have a data set. Received: none for q1"):
        cluster_table(ranked, np.zeros((2, 2)), np.array(["x", ""], dtype=object), 0.0, CLEF_2026)
    with pytest.raises(SiameseError, match="`scores` and `dataset` must belong to 2 queries"):
        cluster_table(ranked, np.zeros((2, 3)), np.array(["x", "x"], dtype=object), 0.0, CLEF_2026)
    with pytest.raises(SiameseError, match="must be given groups"):
        submission_table(ranked, CLEF_2026)


def test_a_group_that_is_not_written_as_one_is_refused():
    with pytest.raises(SiameseError, match="Row 2, 7: the answer must be a group, written cluster_DATASET_NUMBER"):
        check_submission(pd.DataFrame({"image_id": ["7"], "cluster": ["Lynx_3"]}), CLEF_2026)


def test_a_sample_is_read_as_text(tmp_path):
    (tmp_path / "sample.csv").write_text("image_id,identity\n0017,NA\n")
    assert read_submission(tmp_path / "sample.csv").values.tolist() == [["0017", "NA"]]
    with pytest.raises(SiameseError, match="there must be a CSV"):
        read_submission(tmp_path / "absent.csv")


def test_a_packed_sample_is_unpacked_and_a_damaged_one_told(tmp_path):
    packed = gzip.compress(b"image_id,identity\n" + b"17,ann\n" * 2000)
    place = tmp_path / "sample.csv.gz"
    place.write_bytes(packed)
    assert len(read_submission(place)) == 2000
    for damaged in (packed[:-12], packed[:20] + b"\xff" * 20 + packed[40:], b"no gzip", b""):
        place.write_bytes(damaged)
        with pytest.raises(SiameseError, match="sample.csv.gz: there must be a CSV"):
            read_submission(place)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_every_format_tells_how_its_table_is_made(form):
    advice = f"Make it with `siamese rank --format {form.name}`"
    with pytest.raises(SiameseError, match=advice):
        check_submission(pd.DataFrame({"photo": ["a"]}), form)
    with pytest.raises(SiameseError, match=advice):
        check_submission(pd.DataFrame({form.id_column: ["a"], form.answer_column: [""]}), form)
