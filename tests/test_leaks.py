import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.checks.leaks import find_leaks
from siamese.errors import LeakError, ManifestError
from siamese.manifest import Manifest
from siamese.settings import SplitSettings
from siamese.splits import split_photos

REAL = Path(os.environ.get("SIAMESE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "nyala"

PAIRS = (("test", "train"), ("test", "validation"), ("validation", "train"))
COLUMNS = {
    "path": ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg", "g.jpg"],
    "identity": ["", "Mara", "Tano", "Zuri"],
    "split": ["train", "catalog", "validation", "test", "test", ""],
    "duplicate_group": ["", "", "1", "2"],
    "burst": ["", "", "1", "2"],
    "encounter": ["", "1", "2"],
    "date": ["", "2019-07-30", "2019-07-31T08:00:00", "2019-07-31T17:30:00"],
}


def collection(**columns):
    length = len(next(iter(columns.values())))
    table = pd.DataFrame(
        {"image_id": [f"i{row}" for row in range(length)], "path": [f"{row}.jpg" for row in range(length)]}
    )
    return Manifest(table.assign(**{"identity": "", **columns}).astype(object), Path("photos"))


rows = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in COLUMNS.items()})
collections = st.lists(rows, min_size=1, max_size=16).map(lambda rows: collection(**pd.DataFrame(rows).to_dict("list")))


def side_of(row):
    return "train" if row["split"] == "catalog" else row["split"]


def copies_by_pairs(rows):
    """Links of copies, followed through other photos until nothing changes."""
    linked = [
        [a["path"] == b["path"] or "" != a["duplicate_group"] == b["duplicate_group"] for b in rows] for a in rows
    ]
    reached = np.array(linked)
    while not (reached == (reached @ reached)).all():
        reached = reached @ reached
    return reached


def leaks_by_pairs(manifest, must_differ):
    """The same numbers by looking at every two photos."""
    rows = manifest.table.to_dict("records")
    copies = copies_by_pairs(rows)

    def shares(kind, i, j):
        a, b = rows[i], rows[j]
        if kind == "copies":
            return copies[i, j]
        if kind == "days":
            same_encounter = "" != a["encounter"] == b["encounter"]
            return (
                "" != a["identity"] == b["identity"] and "" != a["date"][:10] == b["date"][:10] and not same_encounter
            )
        column = {"bursts": "burst", "encounters": "encounter", "identities": "identity"}[kind]
        return "" != a[column] == b[column]

    found = {}
    for kind in ("copies", "bursts", "identities", "encounters", "days"):
        for ours, theirs in PAIRS:
            pairs = [
                (i, j)
                for i in range(len(rows))
                for j in range(len(rows))
                if (side_of(rows[i]), side_of(rows[j])) == (ours, theirs) and shares(kind, i, j)
            ]
            allowed = {i for i, j in pairs if all(rows[i][column] != rows[j][column] for column in must_differ)}
            if pairs:
                found[kind, ours, theirs] = (
                    len({i for i, _ in pairs}),
                    len({j for _, j in pairs}),
                    len(allowed),
                    pairs,
                )
    return found


@given(collections, st.sets(st.sampled_from(["encounter", "burst", "identity", "date"]), max_size=3))
def test_the_report_counts_what_a_look_at_every_pair_counts_and_changes_nothing(manifest, must_differ):
    if not (manifest.column("split") != "").any():
        return
    before, expected = manifest.table.copy(deep=True), leaks_by_pairs(manifest, must_differ)
    report = find_leaks(manifest, disjoint=True, must_differ=must_differ)
    assert [(leak.kind, leak.side, leak.other) for leak in report.leaks] == list(expected)
    for leak, (num_photos, num_other, num_allowed, pairs) in zip(report.leaks, expected.values(), strict=True):
        assert (leak.num_photos, leak.num_other, leak.num_allowed) == (num_photos, num_other, num_allowed)
        assert leak.num_side == (manifest.column("split") == leak.side).sum()
        assert len(leak.examples) == min(10, num_photos)
        assert set(leak.examples) <= {(f"i{i}", f"i{j}") for i, j in pairs}
    pd.testing.assert_frame_equal(manifest.table, before)


@given(collections, st.sampled_from(["open_set", "closed_set", "disjoint", "encounter", "date"]), st.integers(0, 20))
def test_a_drawn_split_has_none_of_the_leaks_it_promises_to_avoid(manifest, kind, seed):
    column = {"encounter": "encounter", "date": "date"}.get(kind, "path")
    if not (manifest.column(column) != "").any():
        return
    settings = SplitSettings(kind=kind, seed=seed, validation_share=0.3, test_share=0.3)
    divided = manifest.with_column("split", split_photos(manifest, settings))
    report = find_leaks(divided, disjoint=kind == "disjoint")
    never = {"copies", "bursts", "identities", {"encounter": "encounters", "date": "days"}.get(kind)}
    assert not never & {leak.kind for leak in report.leaks}


def test_copies_are_found_by_group_and_by_file_and_through_both():
    report = find_leaks(
        collection(
            path=["x", "y", "y", "z", "w"],
            duplicate_group=["1", "1", "", "2", "2"],
            split=["train", "validation", "test", "train", "train"],
        )
    )
    assert [(leak.kind, leak.side, leak.other, leak.examples) for leak in report.leaks] == [
        ("copies", "test", "train", (("i2", "i0"),)),
        ("copies", "test", "validation", (("i2", "i1"),)),
        ("copies", "validation", "train", (("i1", "i0"),)),
    ]


def test_the_catalog_counts_as_training_and_a_left_out_photo_as_nothing():
    report = find_leaks(collection(burst=["1", "1", "2", "2"], split=["catalog", "test", "test", ""]))
    assert [(leak.kind, leak.side, leak.other, leak.num_photos) for leak in report.leaks] == [
        ("bursts", "test", "train", 1)
    ]


def test_photos_of_one_side_are_no_leak():
    assert find_leaks(collection(burst=["1", "1", "2"], split=["test", "test", "train"])).leaks == ()


def test_a_day_in_another_encounter_is_told_and_in_the_same_one_it_is_the_encounter():
    manifest = collection(
        identity=["Mara", "Mara", "Mara", "Tano"],
        date=["2019-07-31T08:00:00", "2019-07-31", "2019-07-31T23:59:00", "2019-07-31"],
        encounter=["1", "1", "2", "2"],
        split=["train", "test", "test", "test"],
    )
    found = {leak.kind: leak.examples for leak in find_leaks(manifest).leaks}
    assert found == {"encounters": (("i1", "i0"),), "days": (("i2", "i0"),)}


def test_days_count_where_no_encounter_is_told():
    manifest = collection(
        identity=["Tano", "Mara", "Mara"],
        date=["2019-07-30", "2019-07-31", "2019-07-31"],
        split=["train", "train", "test"],
    )
    assert [(leak.kind, leak.examples) for leak in find_leaks(manifest).leaks] == [("days", (("i2", "i1"),))]


def test_sentences_say_who_may_answer_for_the_animal():
    sentences = find_leaks(
        collection(
            encounter=["1", "1", "1", "2", ""], split=["train", "test", "test", "test", "test"], identity=list("aabbc")
        )
    ).sentences()
    assert sentences == [
        "2 of 4 test photos (50 %) have a photo of the same encounter in training: the background may answer for the "
        "animal.",
        "Not looked for: copies, bursts, days, because the manifest has no `duplicate_group`, `burst`, `date`.",
    ]


@pytest.mark.parametrize(
    ("num_leaking", "num_test", "start"),
    [
        (1, 1, "1 of 1 test photo (100 %) has a photo"),
        (1, 300, "1 of 300 test photos (under 1 %) has a photo"),
        (299, 300, "299 of 300 test photos (over 99 %) have a photo"),
    ],
)
def test_sentences_are_written_for_one_photo_and_for_many(num_leaking, num_test, start):
    burst = ["1"] * (1 + num_leaking) + [""] * (num_test - num_leaking)
    report = find_leaks(collection(burst=burst, split=["train"] + ["test"] * num_test))
    assert report.sentences()[0].startswith(start)


def test_a_split_without_leaks_says_so_and_passes():
    columns = {name: ["1", "2"] for name in ("duplicate_group", "burst", "encounter")}
    report = find_leaks(collection(**columns, date=["2019-07-30", "2019-07-31"], split=["train", "test"]))
    assert report.sentences() == ["Nothing that was looked for stands on two sides of the split."]
    assert (report.serious, report.unchecked) == (False, ())
    report.check()


@pytest.mark.parametrize("column", ["duplicate_group", "burst", "encounter"])
def test_copies_bursts_and_encounters_are_refused(column):
    report = find_leaks(collection(**{column: ["1", "1"]}, split=["train", "test"]))
    assert report.serious
    with pytest.raises(
        LeakError, match=r"`split` must keep \w+ on one side. Received: 1 of 1 .* instance 'i1' and 'i0'"
    ):
        report.check()


def test_individuals_are_refused_only_where_the_split_claims_to_keep_them_apart():
    manifest = collection(identity=["Mara", "Mara", "", ""], split=["train", "test", "train", "test"])
    assert find_leaks(manifest).leaks == ()
    with pytest.raises(LeakError, match="must keep identities on one side. Received: 1 of 2 test photos"):
        find_leaks(manifest, disjoint=True).check()


def test_a_day_is_told_and_not_refused():
    report = find_leaks(collection(identity=["Mara"] * 2, date=["2019-07-31"] * 2, split=["train", "test"]))
    assert [leak.kind for leak in report.leaks] == ["days"]
    report.check()


def test_encounters_that_the_protocol_forbids_are_told_and_not_refused():
    manifest = collection(encounter=["1", "1", "2"], burst=["", "", ""], split=["train", "test", "test"])
    report = find_leaks(manifest, must_differ=["encounter"])
    assert (report.leaks[0].num_photos, report.leaks[0].num_allowed, report.serious) == (1, 0, False)
    assert report.sentences()[0].endswith("The protocol forbids these answers.")
    report.check()


def test_encounters_of_which_the_protocol_forbids_a_part_are_refused():
    manifest = collection(
        encounter=["1", "1", "1"], viewpoint=["left", "left", "right"], split=["train", "test", "test"]
    )
    report = find_leaks(manifest, must_differ=["viewpoint"])
    assert report.sentences()[0].endswith("The protocol allows such an answer for 1 of them.")
    with pytest.raises(LeakError, match="must keep encounters on one side"):
        report.check()


def test_bursts_are_refused_also_where_the_protocol_forbids_the_answer():
    manifest = collection(burst=["1", "1"], encounter=["1", "1"], split=["train", "test"])
    report = find_leaks(manifest, must_differ=["encounter"])
    assert report.leaks[0].forbidden
    with pytest.raises(LeakError, match="must keep bursts on one side"):
        report.check()


def test_columns_that_a_check_left_empty_say_that_nothing_was_found():
    manifest = collection(duplicate_group=["", ""], burst=["", ""], split=["train", "test"])
    assert find_leaks(manifest).unchecked == ("encounters", "days")


def test_an_empty_encounter_tells_nothing():
    assert "encounters" in find_leaks(collection(encounter=["", ""], split=["train", "test"])).unchecked


def test_the_report_is_plain_json():
    manifest = collection(burst=["1", "1", ""], split=["train", "test", "test"])
    assert json.loads(json.dumps(find_leaks(manifest).to_dict())) == {
        "serious": True,
        "unchecked": ["copies", "encounters", "days"],
        "leaks": [
            {
                "kind": "bursts",
                "side": "test",
                "other": "train",
                "num_photos": 1,
                "num_side": 2,
                "num_other": 1,
                "num_allowed": 1,
                "examples": [["i1", "i0"]],
                "share": 0.5,
                "forbidden": False,
                "serious": True,
            }
        ],
    }


def test_a_manifest_without_a_split_gets_a_sentence():
    with pytest.raises(ManifestError, match="`split` must be train, catalog, validation or test"):
        find_leaks(collection(identity=["Mara"]))


def test_a_protocol_column_that_is_not_there_gets_a_sentence():
    with pytest.raises(ManifestError, match="must name columns of the manifest. Received: 'encounter'"):
        find_leaks(collection(split=["train", "test"]), must_differ=["encounter"])


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the nyala labels in the folder that SIAMESE_DATA names")
def test_the_published_nyala_split_is_told_to_share_sightings():
    labels = pd.read_csv(REAL / "labels.csv", dtype=str)
    manifest = Manifest(labels.assign(split=labels["published_split"]), REAL)
    report = find_leaks(manifest)
    assert [(leak.kind, leak.num_photos, leak.num_side) for leak in report.leaks] == [("encounters", 378, 428)]
    assert report.sentences()[0].startswith(
        "378 of 428 test photos (88 %) have a photo of the same encounter in training"
    )
    assert not find_leaks(manifest, must_differ=["encounter"]).serious


def test_photos_that_are_left_out_leak_nothing():
    columns = {"identity": ["Mara"] * 2, "duplicate_group": ["1", "1"], "split": ["train", "test"]}
    assert find_leaks(collection(**columns)).serious
    assert not find_leaks(collection(**columns, use=["", "nothing"])).serious
