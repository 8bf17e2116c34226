import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from siamese.checks.check import check_collection, row_times
from siamese.checks.findings import LEVELS
from siamese.checks.output import write_check
from siamese.errors import DiskError, ManifestError
from siamese.manifest import from_table, read_manifest
from siamese.settings import CheckSettings

SETTINGS = CheckSettings(workers=1)
WRITTEN = ["check.json", "duplicates.csv", "index.html", "manifest.csv", "named_by_copy.csv", "photos.csv"]
WRITTEN += ["quarantine.csv", "suspects.csv"]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Two photos each of Mara and Tano; a copy of Mara's under the name Zuri, one of Tano's smaller; a broken file."""
    from tests.conftest import _draw_photo

    folder = tmp_path_factory.mktemp("collection")
    for seed, name in enumerate(["mara1", "mara2", "tano1", "tano2", "stranger"]):
        _draw_photo(folder / f"{name}.png", size=(192, 128), seed=seed)
    (folder / "zuri.png").write_bytes((folder / "mara1.png").read_bytes())
    with Image.open(folder / "tano1.png") as photo:
        photo.resize((96, 64)).save(folder / "small.png")
    (folder / "broken.png").write_bytes(b"")
    names = {"mara1": "Mara", "mara2": "Mara", "zuri": "Zuri", "tano1": "Tano", "tano2": "Tano", "small": "Tano"}
    names |= {"stranger": "", "broken": "Tano"}
    split = ["train", "test", "train", "train", "test", "test", "test", "train"]
    table = {"image_id": list(names), "path": [f"{name}.png" for name in names], "identity": list(names.values())}
    return from_table(pd.DataFrame({**table, "split": split}), folder)


@pytest.fixture(scope="module")
def stages():
    return []


@pytest.fixture(scope="module")
def check(collection, stages):
    return check_collection(collection, SETTINGS, on_stage=lambda *stage: stages.append(stage))


@pytest.fixture(scope="module")
def written(check, tmp_path_factory):
    folder = tmp_path_factory.mktemp("check")
    write_check(check, folder)
    return folder


def kinds(check):
    return [finding["kind"] for finding in check.findings["findings"]]


def test_every_row_is_marked(check, collection):
    assert check.manifest.image_ids.tolist() == collection.image_ids.tolist()
    assert check.manifest.column("use").tolist() == ["catalog", "", "catalog", "", "", "nothing", "", ""]
    group = check.manifest.column("duplicate_group")
    assert group[0] == group[2] != ""
    assert group[3] == group[5] != group[0]
    assert [group[row] for row in (1, 4, 6, 7)] == [""] * 4


def test_the_given_manifest_is_unchanged(check, collection):
    assert not {"use", "burst", "duplicate_group"} & set(collection.table)


def test_a_broken_photo_has_its_reason(check):
    assert list(check.unreadable) == ["broken"]
    assert "zero bytes" in check.unreadable["broken"]
    assert check.readable.tolist() == [True] * 7 + [False]


def test_two_names_of_one_photo_are_suspect(check):
    suspect = check.suspects.iloc[0]
    assert (suspect.identity_a, suspect.identity_b) == ("Mara", "Zuri")
    assert {suspect.photo_a, suspect.photo_b} == {"mara1", "zuri"}


def test_findings_are_told_worst_first(check):
    levels = [LEVELS.index(finding["level"]) for finding in check.findings["findings"]]
    assert levels == sorted(levels)
    assert {"unreadable", "conflicting_names", "leak_copies", "two_names", "copies"} <= set(kinds(check))
    found = next(row for row in check.findings["findings"] if row["kind"] == "conflicting_names")
    assert found["found"] == "2 photos in 1 group of copies carry different names."
    assert found["sentence"].startswith(found["found"])


def test_sides_are_counted_apart(check):
    sides = check.findings["sides"]
    assert list(sides) == ["train", "test"]
    assert (sides["train"]["identities"]["num_rows"], sides["test"]["identities"]["num_rows"]) == (4, 4)


def test_sides_stand_in_the_order_of_a_training(collection):
    turned = collection.select(np.array([1, 0])).with_column("split", np.array(["test", "train"], dtype=object))
    assert list(check_collection(turned, SETTINGS, with_photos=False).findings["sides"]) == ["train", "test"]


def test_stages_are_told(check, stages):
    assert list(dict.fromkeys(name for name, _, _ in stages)) == ["photos", "copies", "labels", "bursts"]
    assert ("photos", 8, 8) in stages


def test_labels_are_checked_without_photos(tmp_path):
    table = pd.DataFrame({"image_id": ["a", "b"], "path": ["a.jpg", "b.jpg"], "identity": ["Mara", "Tano"]})
    check = check_collection(from_table(table, tmp_path, check_files=False), SETTINGS, with_photos=False)
    assert check.unreadable == {}
    assert check.findings["identities"]["num_identities"] == 2
    assert check.leaks is None
    assert "no_pairs" in kinds(check)
    write_check(check, tmp_path / "check")
    assert "not looked at" in (tmp_path / "check" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("headings", [("image_id", "phash"), ("Image", "phash_rep")])
def test_a_hash_list_finds_copies_without_photos(tmp_path, headings):
    table = pd.DataFrame({"image_id": list("abc"), "path": ["a.jpg", "b.jpg", "c.jpg"], "identity": ["M", "T", "M"]})
    hashes = pd.DataFrame({headings[0]: ["c.jpg", "a.jpg", "b.jpg", "z.jpg"], headings[1]: ["f" * 16, *["0" * 16] * 3]})
    hashes = hashes.assign(width=[30, 20, 20, 9], height=10)
    manifest = from_table(table, tmp_path, check_files=False)
    check = check_collection(manifest, SETTINGS, hashes=hashes, with_photos=False)
    assert check.manifest.column("use").tolist() == ["catalog", "catalog", ""]
    assert check.facts["width"].tolist() == [20, 20, 30]


def test_a_hash_list_without_hashes_is_refused(tmp_path):
    table = pd.DataFrame({"image_id": ["a"], "path": ["a.jpg"], "identity": ["Mara"]})
    manifest = from_table(table, tmp_path, check_files=False)
    with pytest.raises(ManifestError, match=r"must have a column phash or phash_rep. Received: Image"):
        check_collection(manifest, SETTINGS, hashes=pd.DataFrame({"Image": ["a"]}), with_photos=False)


def test_two_spellings_of_one_path_are_one_file(collection):
    twice = from_table(
        pd.DataFrame({"image_id": ["a", "b"], "path": ["mara1.png", "./x/../mara1.png"], "identity": ["Mara", "Mara"]}),
        collection.root, check_files=False,
    )  # fmt: skip
    assert check_collection(twice, SETTINGS, with_photos=False).file.tolist() == [0, 0]


def test_the_manifests_time_of_day_goes_before_the_cameras():
    table = pd.DataFrame({"image_id": list("abc"), "path": list("abc"), "identity": "", "date": ""})
    table["date"] = ["2020-01-02T10:00:00", "2020-01-02", ""]
    taken = pd.DataFrame({"taken": ["2019-05-05T05:05:05"] * 2 + [""]})
    times = row_times(from_table(table, ".", check_files=False), taken, np.array([0, 1, 2]))
    assert times.tolist() == ["2020-01-02T10:00:00", "2019-05-05T05:05:05", ""]


def test_frames_of_one_burst_make_no_honest_test():
    frames = [(name, f"2020-01-0{day}T10:00:0{frame}") for day, name in enumerate(["M", "T"], 1) for frame in range(3)]
    table = pd.DataFrame(frames, columns=["identity", "date"])
    table = table.assign(image_id=[str(row) for row in table.index], path=[f"{row}.jpg" for row in table.index])
    check = check_collection(from_table(table, ".", check_files=False), SETTINGS, with_photos=False)
    assert check.findings["bursts"] == {"num_photos": 6, "num_bursts": 2, "num_named_photos": 6, "num_named": 6}
    assert "mostly_bursts" in kinds(check)


def test_the_folder_holds_what_the_next_step_needs(written, check):
    assert sorted(path.name for path in written.iterdir()) == WRITTEN
    manifest = read_manifest(written / "manifest.csv")
    assert manifest.image_ids.tolist() == check.manifest.image_ids[:7].tolist()
    assert manifest.column("use").tolist() == check.manifest.column("use")[:7].tolist()
    quarantine = pd.read_csv(written / "quarantine.csv")
    assert quarantine["image_id"].tolist() == ["broken"]
    copies = pd.read_csv(written / "duplicates.csv")
    assert dict(zip(copies["image_id"], copies["preferred"], strict=True)) == {
        "mara1": True, "zuri": True, "tano1": True, "small": False,
    }  # fmt: skip
    assert len(pd.read_csv(written / "photos.csv")) == 8


def test_the_json_holds_the_numbers_of_the_page(written, check):
    assert json.loads((written / "check.json").read_text(encoding="utf-8")) == json.loads(json.dumps(check.findings))
    page = (written / "index.html").read_text(encoding="utf-8")
    for finding in check.findings["findings"]:
        assert finding["found"] in page


def test_the_page_asks_nothing_of_the_network(written):
    page = (written / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "url(" not in page
    assert not [source for source in re.findall(r"(?:src|href)='([^']{0,40})", page) if not source.startswith("data:")]


def test_the_manifest_is_written_last(check, tmp_path):
    write_check(check, tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert max(times, key=times.get) == "manifest.csv"


def test_a_full_disk_leaves_the_earlier_manifest(check, tmp_path, full_disk):
    (tmp_path / "manifest.csv").write_text("earlier")
    with full_disk(500), pytest.raises(DiskError, match=r"index.html: the file must be writable"):
        write_check(check, tmp_path)
    assert (tmp_path / "manifest.csv").read_text() == "earlier"
