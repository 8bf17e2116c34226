import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.encounters import gather
from siamese.errors import SiameseError
from siamese.identity_scores import IdentityScores


def table_of(rows):
    scores = np.array(rows, dtype=np.float32)
    images = np.arange(scores.size, dtype=np.int32).reshape(scores.shape)
    return IdentityScores(np.array(list("abcdefgh")[: scores.shape[1]], dtype=object), scores, images)


IDS = np.array(["q1", "q2", "q3", "q4"], dtype=object)
SEEN = np.array(["monday", "", "monday", "friday"], dtype=object)


def test_an_encounter_gets_one_row_and_a_photo_of_none_keeps_its_own():
    together = gather(IDS, SEEN)
    assert together.names.tolist() == ["monday", "q2", "friday"]
    assert together.member.tolist() == [0, 1, 0, 2]
    table = table_of([[1, 5], [2, 2], [3, 1], [4, 4]])
    assert together.combine(table, "mean").scores.tolist() == [[2, 3], [2, 2], [4, 4]]
    assert together.combine(table, "max").scores.tolist() == [[3, 5], [2, 2], [4, 4]]


def test_the_match_is_that_of_the_photo_with_the_highest_score_the_first_of_equals():
    found = gather(IDS, SEEN).combine(table_of([[1, 5], [2, 2], [3, 5], [4, 4]]), "mean")
    assert found.best_image.tolist() == [[4, 1], [2, 3], [6, 7]]


def test_photos_that_an_identity_may_not_answer_do_not_count():
    nothing = -np.inf
    found = gather(IDS, SEEN).combine(table_of([[nothing, nothing], [2, 2], [3, nothing], [4, 4]]), "mean")
    assert found.scores.tolist() == [[3, nothing], [2, 2], [4, 4]]
    assert found.best_image[0, 0] == 4


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 4), st.sampled_from(["mean", "max"]))
def test_combining_is_what_a_plain_loop_gives(seed, num_queries, num_identities, how):
    rng = np.random.default_rng(seed)
    seen = rng.choice(np.array(["", "one", "two"], dtype=object), num_queries)
    seen[0] = "one"
    scores = rng.integers(-2, 3, (num_queries, num_identities)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    ids = np.array([f"q{number}" for number in range(num_queries)], dtype=object)
    table = table_of(scores)
    before = table.scores.copy(), table.best_image.copy()
    together = gather(ids, seen)
    found = together.combine(table, how)
    for name, row in zip(together.names, found.scores, strict=True):
        photos = [scores[query] for query in range(num_queries) if name in (seen[query] or ids[query],)]
        for identity, score in enumerate(row):
            values = [photo[identity] for photo in photos if photo[identity] > -np.inf]
            expected = (max(values) if how == "max" else sum(values) / len(values)) if values else -np.inf
            assert score == pytest.approx(expected)
    assert all(np.array_equal(*pair) for pair in zip(before, (table.scores, table.best_image), strict=True))


def test_no_queries_have_no_encounters():
    together = gather(np.array([], dtype=object), np.array([], dtype=object))
    assert together.combine(table_of(np.empty((0, 2))), "mean").scores.shape == (0, 2)


def test_a_column_without_a_name_is_told():
    with pytest.raises(SiameseError, match="Some photos must have an encounter .* Received: none has"):
        gather(IDS, np.array([""] * 4, dtype=object))


def test_an_encounter_called_like_a_photo_is_told():
    with pytest.raises(SiameseError, match="must not be called like a photo that stands alone. Received: 'q2'"):
        gather(IDS, np.array(["q2", "", "q2", "friday"], dtype=object))


def test_a_column_of_another_length_is_told():
    with pytest.raises(SiameseError, match=r"`encounter` must hold one value per query, shape \(4,\)"):
        gather(IDS, SEEN[:2])


def test_the_program_ranks_encounters(run_program, finished_run, small_collection, tmp_path):
    paths = [small_collection / "animal0" / f"{number}.jpg" for number in range(3)]
    table = pd.DataFrame({"image_id": ["a", "b", "c"], "path": paths, "identity": "", "seen": ["noon", "noon", ""]})
    table.to_csv(tmp_path / "queries.csv", index=False)
    arguments = ["--model", finished_run.folder / "model", "--catalog", finished_run.folder / "catalog", "--queries"]
    code, out, _ = run_program("rank", *arguments, tmp_path / "queries.csv", "--together", "seen", "--top-k", 2)
    assert code == 0
    assert pd.read_csv(io.StringIO(out))["image_id"].tolist() == ["noon", "noon", "c", "c"]
    code, out, err = run_program("rank", *arguments, tmp_path / "queries.csv", "--together", "trip")
    assert (code, out) == (2, "")
    assert "must have the column `trip` to be asked about together" in err
