import os
from pathlib import Path

import numpy as np
import pytest

from data_prep.humpback import main, make_manifest
from siamese.errors import ManifestError
from siamese.manifest import read_manifest

REAL = Path(os.environ.get("SIAMESE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "humpback"


@pytest.fixture
def photos(tmp_path, draw_photo):
    for seed, name in enumerate(["a.jpg", "b.jpg", "c.jpg"]):
        draw_photo(tmp_path / "train" / name, seed=seed)
    return tmp_path / "train"


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_new_whale_is_an_unknown_individual(photos, tmp_path):
    labels = write(tmp_path / "train.csv", "Image,Id", "a.jpg,w_1", "b.jpg,new_whale", "c.jpg,w_1")
    manifest = make_manifest(labels, photos)
    assert manifest.identity.tolist() == ["w_1", "", "w_1"]
    assert manifest.image_ids.tolist() == ["a.jpg", "b.jpg", "c.jpg"]  # as the submission names them
    assert np.isnan(manifest.boxes).all()


def test_corners_beside_the_labels_become_boxes(photos, tmp_path):
    labels = write(tmp_path / "labels.csv", "Image,Id,x0,y0,x1,y1,note", "b.jpg,w_1,10,20,40,35,seen twice")
    manifest = make_manifest(labels, photos)
    assert manifest.boxes.tolist() == [[10, 20, 30, 15]]
    assert "note" not in manifest.table


def test_boxes_of_another_file_are_joined_by_photo(photos, tmp_path):
    labels = write(tmp_path / "train.csv", "Image,Id", "a.jpg,w_1", "b.jpg,w_2", "c.jpg,w_3")
    boxes = write(tmp_path / "boxes.csv", "Image,x0,y0,x1,y1", "b.jpg,1,2,11,22", "other.jpg,0,0,5,5", "a.jpg,7,7,7,9")
    found = make_manifest(labels, photos, boxes).boxes
    assert found[1].tolist() == [1, 2, 10, 20]
    assert np.isnan(found[[0, 2]]).all()  # a box without a surface, and no box at all


def test_the_command_writes_a_manifest_that_reads(photos, tmp_path, capsys):
    labels = write(tmp_path / "train.csv", "Image,Id", "a.jpg,w_1", "b.jpg,new_whale")
    out = tmp_path / "out" / "manifest.csv"
    assert main(["--labels", str(labels), "--photos", str(photos), "--out", str(out)]) == 0
    assert read_manifest(out).paths == [photos / "a.jpg", photos / "b.jpg"]
    assert "photos: 2, of which 1 show unknown individuals" in capsys.readouterr().out


def test_wrong_labels_get_a_sentence_and_exit_code_2(photos, tmp_path, capsys):
    labels = write(tmp_path / "train.csv", "photo,whale", "a.jpg,w_1")
    assert main(["--labels", str(labels), "--photos", str(photos), "--out", str(tmp_path / "out.csv")]) == 2
    assert "Add Image, Id" in capsys.readouterr().err
    assert main(["--labels", str(tmp_path / "no.csv"), "--photos", str(photos), "--out", "out.csv"]) == 2
    assert "no.csv: the labels must be a CSV" in capsys.readouterr().err


def test_a_missing_photo_names_its_row(photos, tmp_path):
    labels = write(tmp_path / "train.csv", "Image,Id", "a.jpg,w_1", "z.jpg,w_2")
    with pytest.raises(ManifestError, match=r"train.csv, row 3: the photo must exist"):
        make_manifest(labels, photos)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the humpback samples in the folder that SIAMESE_DATA names")
def test_the_labelled_samples_become_a_manifest():
    samples = REAL / "samples"
    manifest = make_manifest(samples / "labels.csv", samples / "labelled")
    assert (len(manifest), (manifest.identity == "").sum()) == (25, 9)
    assert manifest.boxes[0].tolist() == [224, 160, 648, 272]
