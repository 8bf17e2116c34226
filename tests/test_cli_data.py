import json

import numpy as np
import pandas as pd
import pytest

from siamese.formats import read_collection
from siamese.manifest import from_folder, read_manifest
from siamese.store import open_store


@pytest.fixture
def run_data(run_program):
    """`run_data("check", ...)` runs `siamese data check ...` and returns its exit code, stdout and stderr."""
    return lambda *arguments: run_program("data", *arguments)


@pytest.fixture
def manifest_of(tmp_path):
    """`manifest_of(folder, split=[...])` writes the manifest of a photo folder with further columns."""

    def write(folder, **columns):
        manifest = from_folder(folder)
        for name, values in columns.items():
            manifest = manifest.with_column(name, np.array(values, dtype=object))
        manifest.write(tmp_path / "given.csv")
        return tmp_path / "given.csv"

    return write


def test_import_says_what_it_recognised_and_writes_a_manifest(run_data, photo_folder, tmp_path):
    code, out, err = run_data("import", photo_folder, "--out", tmp_path / "m.csv")
    assert code == 0, err
    assert out.startswith("folder: a folder of photos without a file of labels")
    assert "9 photos, 3 individuals, 1 unknown" in out
    assert read_manifest(tmp_path / "m.csv").identity.tolist() == from_folder(photo_folder).identity.tolist()


def test_import_joins_the_lists_it_is_given(run_data, photo_folder, tmp_path):
    (tmp_path / "turned.txt").write_text("Mara/1.jpg 90\n", encoding="utf-8")
    (tmp_path / "bad.txt").write_text("Tano/1\n", encoding="utf-8")
    lists = ("--rotate", tmp_path / "turned.txt", "--exclude", tmp_path / "bad.txt")
    code, out, err = run_data("import", photo_folder, "--out", tmp_path / "m.csv", *lists, "--json")
    assert code == 0, err
    assert json.loads(out)["photos"] == 9
    manifest = read_manifest(tmp_path / "m.csv")
    assert manifest.rotations.tolist() == [90] + [0] * 8
    assert manifest.column("use").tolist() == ["", "", "", "nothing"] + [""] * 5


def test_check_finds_a_copy_and_a_broken_photo_and_writes_the_page(run_data, photo_folder, tmp_path):
    (photo_folder / "Mara" / "again.jpg").write_bytes((photo_folder / "Mara" / "1.jpg").read_bytes())
    (photo_folder / "Zuri" / "3.jpg").write_bytes(b"not a photo")
    code, out, err = run_data("check", photo_folder, "--out", tmp_path / "check", "--json")
    assert code == 0, err
    numbers = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert numbers["copies"]["num_groups"] == 1
    assert numbers["photos"]["num_unreadable"] == 1
    assert (tmp_path / "check" / "index.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert pd.read_csv(tmp_path / "check" / "quarantine.csv")["image_id"].tolist() == ["Zuri/3"]
    checked = read_manifest(tmp_path / "check" / "manifest.csv")
    assert len(checked) == 10
    assert checked.column("use").tolist().count("nothing") == 1
    assert str(tmp_path / "check" / "index.html") in err


def test_check_of_labels_alone_needs_no_photo(run_data, tmp_path):
    (tmp_path / "train.csv").write_text("Image,Id\na.jpg,w_1\nb.jpg,w_1\nc.jpg,new_whale\n", encoding="utf-8")
    hashes = tmp_path / "hashes.csv"
    hashes.write_text(f"Image,phash_rep\na.jpg,{'0' * 16}\nb.jpg,{'0' * 16}\nc.jpg,{'f' * 16}\n", encoding="utf-8")
    arguments = (tmp_path / "train.csv", "--no-photos", "--hashes", hashes, "--out", tmp_path / "check")
    code, out, err = run_data("check", *arguments)
    assert code == 0, err
    assert "2 files are copies of one another" in out


def test_names_come_back_from_another_release_by_its_copies(run_data, photo_folder, tmp_path, draw_photo):
    known = (photo_folder / "Mara" / "1.jpg").read_bytes()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "someone.jpg").write_bytes(known)
    code, out, err = run_data("join", photo_folder, tmp_path / "other", "--out", tmp_path / "both.csv")
    assert code == 0, err
    assert "10 photos" in out
    run_data("check", tmp_path / "both.csv", "--out", tmp_path / "check")
    named = pd.read_csv(tmp_path / "check" / "named_by_copy.csv")
    assert named.values.tolist() == [["someone", "Mara"]]


def test_split_draws_anew_and_tells_of_leaks(run_data, small_collection, tmp_path):
    run_data("check", small_collection, "--out", tmp_path / "check")
    checked = tmp_path / "check" / "manifest.csv"
    code, out, err = run_data("split", checked, "--out", tmp_path / "split.csv", "--set", "split.kind=disjoint")
    assert code == 0, err
    assert "Nothing that was looked for stands on two sides of the split." in out
    divided = read_manifest(tmp_path / "split.csv")
    sides = {side: set(divided.identity[divided.column("split") == side]) - {""} for side in ("train", "test")}
    assert all(sides.values())
    assert not sides["train"] & sides["test"]
    code, out, err = run_data("split", tmp_path / "split.csv", "--out", tmp_path / "again.csv", "--json")
    assert code == 0, err
    assert json.loads(out)["train"] == (read_manifest(tmp_path / "again.csv").column("split") == "train").sum()
    assert read_manifest(tmp_path / "again.csv").column("split").tolist() != divided.column("split").tolist()


def test_leaks_fails_on_demand_with_a_sentence(run_data, photo_folder, manifest_of):
    split = ["train", "train", "test", "train", "train", "test", "train", "test", "test"]
    given = manifest_of(photo_folder, split=split, encounter=["1", "2", "2", "3", "4", "5", "6", "7", "8"])
    code, out, err = run_data("leaks", given)
    assert code == 0
    assert "1 of 4 test photos (25 %) has a photo of the same encounter in training" in out
    code, out, err = run_data("leaks", given, "--fail")
    assert code == 2
    assert "siamese: `split` must keep encounters on one side." in err


def test_leaks_of_a_collection_without_a_split_is_refused(run_data, photo_folder):
    code, _, err = run_data("leaks", photo_folder)
    assert code == 2
    assert "`split` must be train, catalog, validation or test" in err


def test_store_plans_first_and_then_fills(run_data, photo_folder, tmp_path):
    size = ("--set", "preprocessing.height=16", "--set", "preprocessing.width=32")
    place = tmp_path / "store.h5"
    code, out, err = run_data("store", photo_folder, "--out", place, "--plan", 25361, *size)
    assert code == 0, err
    assert "25,361" in out
    assert not place.exists()
    code, out, err = run_data("store", photo_folder, "--out", place, *size, "--json")
    assert code == 0, err
    assert json.loads(out)["images"] == 9
    with open_store(place) as store:
        assert store.preprocessing.height == 16


@pytest.mark.parametrize(("name", "place"), [("coco", "c.json"), ("wildlife_datasets", "w.csv"), ("folder", "f")])
def test_export_gives_back_the_collection(run_data, photo_folder, tmp_path, name, place):
    code, _, err = run_data("export", photo_folder, "--format", name, "--out", tmp_path / place)
    assert code == 0, err
    again = read_collection(tmp_path / place).manifest
    assert sorted(zip(again.identity, again.image_ids, strict=True)) == sorted(
        zip(from_folder(photo_folder).identity, from_folder(photo_folder).image_ids, strict=True)
    )


def test_a_source_of_no_known_format_is_told(run_data, tmp_path):
    (tmp_path / "notes.csv").write_text("weather,wind\nsunny,3\n", encoding="utf-8")
    code, out, err = run_data("import", tmp_path / "notes.csv", "--out", tmp_path / "m.csv")
    assert (code, out) == (2, "")
    assert "Received: a CSV with the columns weather, wind" in err
