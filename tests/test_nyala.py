import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_prep.nyala import NyalaSettings, crossing_copies, main, make_manifest
from siamese.collection import Collection
from siamese.manifest import read_manifest
from siamese.settings import Settings

REAL = Path(os.environ.get("SIAMESE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "nyala"


@pytest.fixture
def labels(tmp_path, draw_photo):
    """Ten animals, five sightings each, both flanks; published: the last right flank of each animal is test."""
    rows = []
    for animal in range(10):
        for sighting in range(5):
            for side in ("left", "right"):
                name = f"{animal}/{sighting}_{side}.jpg"
                draw_photo(tmp_path / "nyala" / name, size=(24, 16), seed=len(rows))
                published = "test" if (sighting, side) == (4, "right") else "train"
                disjoint = "test" if animal >= 8 else "train"
                rows.append([name, name, animal, side, f"{animal}-{sighting}", published, disjoint])
    columns = ["image_id", "path", "identity", "viewpoint", "encounter", "published_split", "disjoint_split"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "nyala" / "labels.csv", index=False)
    return tmp_path / "nyala" / "labels.csv"


def groups_on(manifest, column, side):
    return set(manifest.column(column)[manifest.column("split") == side])


def test_published_split_keeps_its_test_photos(labels):
    manifest = make_manifest(labels, NyalaSettings(split="published")).manifest
    test = manifest.image_ids[manifest.column("split") == "test"]
    assert test.tolist() == [f"{animal}/4_right.jpg" for animal in range(10)]


@pytest.mark.parametrize("seed", range(8))
def test_every_animal_of_the_published_training_part_stays_in_training(labels, seed):
    table = pd.read_csv(labels)
    seen_once = (table["identity"] < 5) & ~table["encounter"].str.endswith("-4")
    table[~seen_once].to_csv(labels, index=False)
    manifest = make_manifest(labels, NyalaSettings(split="published", validation_share=0.3, seed=seed)).manifest
    assert len(groups_on(manifest, "identity", "train")) == 10


@pytest.mark.parametrize("seed", range(5))
def test_no_sighting_is_in_both_training_and_validation(labels, seed):
    manifest = make_manifest(labels, NyalaSettings(split="published", seed=seed)).manifest
    sides = [groups_on(manifest, "encounter", side) for side in ("train", "validation")]
    assert not sides[0] & sides[1]
    assert (manifest.column("split") == "validation").sum() in (10, 11)  # 12 % of 90, in whole sightings


@pytest.mark.parametrize("seed", range(5))
def test_disjoint_split_keeps_whole_animals_apart(labels, seed):
    manifest = make_manifest(labels, NyalaSettings(split="disjoint", seed=seed, validation_share=0.3)).manifest
    train, validation, test = (groups_on(manifest, "identity", side) for side in ("train", "validation", "test"))
    assert (len(train), len(validation), test) == (6, 2, {"8", "9"})
    assert not train & validation


def test_the_seed_decides_the_validation(labels):
    def drawn(seed):
        return make_manifest(labels, NyalaSettings(seed=seed)).manifest.column("split").tolist()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_the_training_side_copy_of_a_crossing_pair_is_left_out(labels):
    folder = labels.parent
    (folder / "3/0_left.jpg").write_bytes((folder / "3/4_right.jpg").read_bytes())  # train and test
    (folder / "5/2_left.jpg").write_bytes((folder / "5/2_right.jpg").read_bytes())  # both on one side
    collection = make_manifest(labels, NyalaSettings(split="published"))
    assert collection.dropped.tolist() == ["3/0_left.jpg"]
    assert len(collection.manifest) == 99


def test_of_three_copies_only_those_on_the_last_side_stay():
    split = np.array(["train", "validation", "test", "validation", "train"])
    assert crossing_copies(np.array(list("aaabb")), split).tolist() == [True, True, False, False, True]


def test_the_fair_protocol_finds_an_answer_in_another_sighting(labels):
    manifest = make_manifest(labels, NyalaSettings(split="disjoint", validation_share=0.3)).manifest
    protocol = {"catalog": "leave_one_out", "must_share": ["viewpoint"], "must_differ": ["encounter"]}
    settings = Settings.model_validate({"evaluation": protocol})
    collection = Collection(manifest, store=None)
    side = collection.side("test", settings)
    allowed = collection.allowed(side, settings.evaluation)
    own = collection.identity[side.queries][:, None] == collection.identity[side.catalog]
    assert len(side.queries) == 20
    assert (allowed & own).sum(axis=1).tolist() == [4] * 20


def test_the_manifest_finds_its_photos_from_another_folder(labels, tmp_path, capsys):
    out = tmp_path / "elsewhere" / "manifest.csv"
    assert main(["--labels", str(labels), "--out", str(out), "--split", "disjoint"]) == 0
    manifest = read_manifest(out)
    assert manifest.paths[0] == labels.parent / "0" / "0_left.jpg"
    assert set(manifest.table) == {"image_id", "path", "identity", "viewpoint", "encounter", "split"}
    assert "test: 20 photos of 2 animals" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.drop(columns="encounter"), "Add encounter"),
        (lambda table: table.assign(published_split="left"), "row 2: published_split must be train or test"),
        (lambda table: table.assign(path="gone.jpg"), "row 2: the photo must exist"),
    ],
)
def test_wrong_labels_get_a_sentence_and_exit_code_2(labels, tmp_path, capsys, change, sentence):
    change(pd.read_csv(labels)).to_csv(labels, index=False)
    assert main(["--labels", str(labels), "--out", str(tmp_path / "out.csv")]) == 2
    assert sentence in capsys.readouterr().err


def test_a_split_that_does_not_exist_gets_a_sentence(labels, capsys):
    assert main(["--labels", str(labels), "--out", "out.csv", "--split", "random"]) == 2
    assert "--split is wrong: Input should be 'published' or 'disjoint'" in capsys.readouterr().err


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the nyala photos in the folder that SIAMESE_DATA names")
@pytest.mark.parametrize(
    ("name", "num_dropped", "num_test", "num_answerable"), [("published", 2, 428, 372), ("disjoint", 0, 729, 721)]
)
def test_the_real_splits_have_the_published_numbers(name, num_dropped, num_test, num_answerable):
    collection = make_manifest(REAL / "labels.csv", NyalaSettings(split=name))
    assert len(collection.dropped) == num_dropped
    protocol = {"must_share": ["viewpoint"], "must_differ": ["encounter"]}
    catalog = "leave_one_out" if name == "disjoint" else "known"
    settings = Settings.model_validate({"evaluation": {"catalog": catalog, **protocol}})
    photos = Collection(collection.manifest, store=None)
    side = photos.side("test", settings)
    own = photos.identity[side.queries][:, None] == photos.identity[side.catalog]
    answerable = (photos.allowed(side, settings.evaluation) & own).any(axis=1)
    assert (len(side.queries), answerable.sum()) == (num_test, num_answerable)
