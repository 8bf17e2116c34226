import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.errors import DiskError, ManifestError
from siamese.formats import FORMATS, read_collection, write_collection
from siamese.formats.folder import safe_name
from siamese.manifest import BOX_COLUMNS, CHOICES, from_folder, from_table, read_manifest

COCO = {
    "images": [{"id": 4, "file_name": "a.jpg"}],
    "annotations": [{"id": 9, "image_id": 4, "category_id": 1, "identity": "Mara"}],
    "categories": [{"id": 1, "name": "zebra"}],
}
MEGADETECTOR = {"images": [{"file": "a.jpg", "detections": []}], "detection_categories": {"1": "animal"}}
SLOTH = [{"class": "image", "filename": "a.jpg", "annotations": []}]
SAMPLES = {
    "manifest": ("photos.csv", "image_id,path,identity\na,a.jpg,Mara\n"),
    "humpback": ("train.csv", "Image,Id\na.jpg,w_1\n"),
    "happywhale": ("train.csv", "image,species,individual_id\na.jpg,beluga,12\n"),
    "right_whale": ("train.csv", "Image,whaleID\na.jpg,whale_1\n"),
    "wildlife_datasets": ("metadata.csv", "image_id,identity,path,date\na,Mara,a.jpg,2020-01-01\n"),
    "coco": ("instances.json", json.dumps(COCO)),
    "miewid": ("mine.csv", "name,viewpoint,species,file_path,x,y,w,h,theta\nMara,left,zebra,a.jpg,0,0,9,9,0\n"),
    "oml": ("df.csv", "label,path,split,is_query,is_gallery,category\n1,a.jpg,train,,,zebra\n"),
    "plain": ("sightings.csv", "Photo;no,File name,Animal\n1,a.jpg,Mara\n"),
}
NO_COLLECTION = {
    "bounding_boxes.csv": "Image,x0,y0,x1,y1\na.jpg,0,0,9,9\n",
    "keypoints.csv": "filename,1_x,1_y\na.jpg,1,2\n",
    "duplicate_identities.csv": "Id,SubId\ngroup_0,w_1 w_2\n",
    "size_and_phash.csv": "Image,width,height,phash_rep\na.jpg,9,9,ff\n",
    "megadetector.json": json.dumps(MEGADETECTOR),
    "sloth.json": json.dumps(SLOTH),
    "broken.csv": "",
    "exclude.txt": "a.jpg\n",
}


@pytest.fixture
def place(tmp_path):
    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return write


def recognised(source):
    return [name for name, known in FORMATS.items() if known.recognise(source)]


@pytest.mark.parametrize("name", SAMPLES)
def test_each_format_alone_recognises_its_own_sample(name, place):
    file = place(*SAMPLES[name])
    assert recognised(file) == [name]
    collection = read_collection(file, check_files=False)
    assert (collection.format, len(collection.manifest)) == (name, 1)
    assert collection.manifest.paths[0].name == "a.jpg"
    assert file.name in collection.why


@pytest.mark.parametrize("name", ["manifest.csv", "train.csv", "metadata.csv", "labels.csv", "annotations.json"])
def test_a_folder_is_of_the_format_of_its_labels(name, place, photo_folder):
    text = SAMPLES["coco"][1] if name.endswith("json") else SAMPLES["humpback"][1]
    text = SAMPLES["manifest"][1] if name == "manifest.csv" else text
    (photo_folder / name).write_text(text)
    expected = {"manifest.csv": "manifest", "annotations.json": "coco"}.get(name, "humpback")
    assert recognised(photo_folder) == [expected]


def test_a_folder_of_photos_without_labels_is_one_folder_for_each_individual(photo_folder):
    assert recognised(photo_folder) == ["folder"]
    collection = read_collection(photo_folder)
    pd.testing.assert_frame_equal(collection.manifest.table, from_folder(photo_folder).table)
    assert collection.notes == ("Individual unknown (directly in the folder): 1 photo.",)


@pytest.mark.parametrize("name", NO_COLLECTION)
def test_lists_are_no_collection_of_any_format(name, place):
    assert recognised(place(name, NO_COLLECTION[name])) == []


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        (",image_id,identity,path,encounter", "wildlife_datasets"),
        ("image_id,identity,path,bbox", "wildlife_datasets"),
        ("image_id,identity,path,orientation", "wildlife_datasets"),
        ("image_id,identity,path,position,viewpoint", "manifest"),
        ("image_id,identity,path,split", "manifest"),
    ],
)
def test_a_manifest_and_a_table_of_wildlife_datasets_are_told_apart(heading, expected, place):
    assert recognised(place("table.csv", heading + "\n" + "," * heading.count(",") + "\n")) == [expected]


def test_a_source_of_no_format_gets_a_sentence_that_says_what_it_is(place, tmp_path):
    for name, received in [
        ("bounding_boxes.csv", "a CSV with the columns Image, x0, y0, x1, y1"),
        ("megadetector.json", "boxes of MegaDetector, which have no individuals; give them as --boxes"),
        ("sloth.json", "a Sloth list, to be given as --boxes or --keypoints"),
        ("exclude.txt", "a file that ends with .txt; labels end with .csv or .json"),
    ]:
        with pytest.raises(ManifestError, match=f"must be of one known format. Received: {received}"):
            read_collection(place(name, NO_COLLECTION[name]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match=r"a folder without photos and without a file of labels \(manifest.csv"):
        read_collection(tmp_path / "empty")
    with pytest.raises(ManifestError, match="there must be a file of labels or a folder. Received: nothing"):
        read_collection(tmp_path / "no")
    with pytest.raises(ManifestError, match="`format` must be auto or one of manifest, humpback"):
        read_collection(tmp_path, format="word")


def test_a_folder_with_two_files_of_labels_is_not_guessed_at(place, tmp_path):
    place("train.csv", SAMPLES["humpback"][1])
    place("metadata.csv", SAMPLES["wildlife_datasets"][1])
    with pytest.raises(ManifestError, match=r"one file of labels. Received: train.csv, metadata.csv. Give the one"):
        read_collection(tmp_path)


def test_a_source_of_two_formats_is_not_guessed_at(place):
    file = place("train.csv", "Image,Id,whaleID\na.jpg,w_1,whale_1\n")
    with pytest.raises(
        ManifestError, match=r"humpback \(train.csv has .*\) and right_whale \(train.csv has .*\)\. Choose"
    ):
        read_collection(file)
    assert read_collection(file, format="right_whale", check_files=False).manifest.identity.tolist() == ["whale_1"]


def test_json_that_does_not_parse_gets_a_sentence(place):
    with pytest.raises(ManifestError, match="must be JSON in UTF-8. Received: Expecting"):
        read_collection(place("annotations.json", "{"))


def test_a_format_that_is_given_is_not_asked_for(place):
    file = place("table.csv", "image_id,identity,path,orientation\na,unknown,a.jpg,left\n")
    collection = read_collection(file, format="manifest", check_files=False)
    assert collection.why == "the format was given"
    assert collection.manifest.identity.tolist() == ["unknown"]


# Exports


LETTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.one_of(
    st.sampled_from(["", "a,b", '"', "x\ny", "unknown.", " Mara ", "nan", "007", "žluťoučký", "🐋"]),
    st.text(LETTERS, max_size=8),
)
NAMES = st.text(LETTERS, min_size=1, max_size=8)
FIELDS = [
    "viewpoint",
    "encounter",
    "date",
    "species",
    "split",
    "keypoints",
    "mask",
    "original_identity",
    "rotation",
    "use",
]


@st.composite
def tables(draw, *, text=TEXT, names=NAMES):
    """Manifests with any text, several animals for some photos, and boxes for some rows."""
    number = draw(st.integers(1, 5))

    def column(values, **options):
        return draw(st.lists(values, min_size=number, max_size=number, **options))

    table = {
        "image_id": column(text.map(str.strip).filter(bool), unique=True),
        "path": column(st.sampled_from(["a.jpg", "b/ č,1.jpg", "/far/a.jpg", 'q"\n.png'])),
        "identity": column(text),
    }
    for name in draw(st.lists(st.sampled_from(FIELDS) | names, unique=True, max_size=5)):
        if name not in (*table, *BOX_COLUMNS):
            table[name] = column(st.sampled_from(CHOICES[name]) if name in CHOICES else text)
    if draw(st.booleans()):
        place, side = st.floats(-1e7, 1e7), st.floats(1e-3, 1e7)
        boxes = column(st.just((np.nan,) * 4) | st.tuples(place, place, side, side))
        table |= dict(zip(BOX_COLUMNS, np.array(boxes).T, strict=True))
    return from_table(pd.DataFrame(table), draw(st.sampled_from(["/photos", "/out"])), check_files=False)


def assert_same(back, manifest):
    assert back.paths == manifest.paths
    pd.testing.assert_frame_equal(
        back.table.drop(columns="path"), manifest.table.drop(columns="path"), check_like=True, check_exact=True
    )


def clashes(manifest):
    columns, split = set(manifest.table), set(manifest.column("split"))
    return bool(
        columns & {"bbox", "orientation", "", "Unnamed: 0"}
        or ("position" in columns and "viewpoint" not in columns)
        or split & {"val", "query", "database"}
        or "unknown" in manifest.identity
    )


@given(manifest=tables())
def test_coco_gives_back_every_manifest_to_the_letter(manifest, tmp_path_factory):
    before = manifest.table.copy()
    out = tmp_path_factory.mktemp("coco") / "photos.json"
    write_collection(manifest, out, format="coco")
    collection = read_collection(out, check_files=False)
    assert collection.format == "coco"
    assert_same(collection.manifest, manifest)
    assert collection.manifest.table.columns.tolist() == manifest.table.columns.tolist()
    pd.testing.assert_frame_equal(manifest.table, before)


@given(manifest=tables())
def test_wildlife_datasets_gives_back_every_manifest_it_can_hold(manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("wildlife") / "photos.csv"
    if clashes(manifest):
        with pytest.raises(ManifestError, match="must not use names that mean something else in wildlife-datasets"):
            write_collection(manifest, out, format="wildlife_datasets")
        return
    write_collection(manifest, out, format="wildlife_datasets")
    collection = read_collection(out, check_files=False)
    assert collection.format == "wildlife_datasets"
    assert_same(collection.manifest, manifest)


@settings(max_examples=15)
@given(manifest=tables())
def test_folders_give_back_every_manifest_with_its_photos(manifest, tmp_path_factory):
    place = tmp_path_factory.mktemp("folder")
    paths = [f"photos/{path.replace('/', '_')}" for path in manifest.table["path"]]
    for path in paths:
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_text(path)
    here = from_table(manifest.table.assign(path=paths), place)
    write_collection(here, place / "out", format="folder")
    collection = read_collection(place / "out")
    assert collection.format == "manifest"
    pd.testing.assert_frame_equal(
        collection.manifest.table.drop(columns="path"), here.table.drop(columns="path"), check_exact=True
    )
    for back, photo in zip(collection.manifest.paths, here.paths, strict=True):
        assert back.is_relative_to(place / "out")
        assert back.samefile(photo)


@pytest.fixture
def manifest(photo_folder):
    return from_folder(photo_folder)


def test_exports_say_where_the_photos_lie_from_their_own_folder(manifest, photo_folder, tmp_path):
    write_collection(manifest, photo_folder / "metadata.csv", format="wildlife_datasets")
    assert pd.read_csv(photo_folder / "metadata.csv")["path"][0] == "Mara/1.jpg"
    write_collection(manifest, tmp_path / "elsewhere" / "coco.json", format="coco")
    content = json.loads((tmp_path / "elsewhere" / "coco.json").read_text())
    assert content["images"][0]["file_name"] == str(photo_folder / "Mara" / "1.jpg")
    assert read_collection(tmp_path / "elsewhere" / "coco.json").manifest.paths == manifest.paths


@pytest.mark.parametrize(("format", "name"), [("coco", "a.json"), ("wildlife_datasets", "a.csv"), ("folder", "out")])
def test_exports_to_a_relative_path_stay_valid(manifest, tmp_path, monkeypatch, format, name):
    monkeypatch.chdir(tmp_path)
    write_collection(manifest, name, format=format)
    back = read_collection(Path(name)).manifest
    assert all(path.samefile(photo) for path, photo in zip(back.paths, manifest.paths, strict=True))


def test_wildlife_datasets_refuses_what_it_would_take_for_something_else(manifest, tmp_path):
    for name, value, received in [
        ("identity", "unknown", "identity must not use names .* Received: 'unknown'"),
        ("split", "query", "split must not .* Received: 'query'"),
        ("bbox", "", "the columns must not .* Received: 'bbox'"),
        ("position", "left", "the columns must not .* Received: 'position'"),
    ]:
        with pytest.raises(ManifestError, match=received):
            write_collection(
                manifest.with_column(name, np.full(9, value)), tmp_path / "a.csv", format="wildlife_datasets"
            )
    both = manifest.with_column("position", np.full(9, "up")).with_column("viewpoint", np.full(9, "left"))
    write_collection(both, tmp_path / "a.csv", format="wildlife_datasets")
    assert_same(read_collection(tmp_path / "a.csv").manifest, both)
    assert not (tmp_path / "b.csv").exists()


def test_wildlife_datasets_have_their_own_names_for_boxes_views_and_unknown_animals(manifest, tmp_path):
    one = manifest.select(np.array([8])).with_column("viewpoint", np.array(["left"]))
    for name, value in [("x", 1.5), ("y", 2), ("width", 30), ("height", 4)]:
        one = one.with_column(name, np.array([value]))
    write_collection(one, tmp_path / "a.csv", format="wildlife_datasets")
    table = pd.read_csv(tmp_path / "a.csv", index_col=0)
    assert table.columns.tolist() == ["image_id", "path", "identity", "orientation", "bbox"]
    assert table.loc[0, "identity":].tolist() == ["unknown", "left", "[1.5, 2.0, 30.0, 4.0]"]


def test_coco_holds_animals_that_are_called_like_unknown_ones(manifest, tmp_path):
    named = manifest.with_column("identity", np.array(["unknown", "new_whale", "____", "empty", "animal"] + [""] * 4))
    named = named.with_column("species", np.array(["empty", "animal", ""] * 3))
    write_collection(named, tmp_path / "coco.json", format="coco")
    assert_same(read_collection(tmp_path / "coco.json").manifest, named)


def test_other_tools_find_the_standard_fields_in_coco(manifest, tmp_path):
    one = manifest.select(np.array([0, 8])).with_column("species", np.array(["zebra", ""]))
    for name, value in [("x", 1.5), ("y", 2), ("width", 30), ("height", 4)]:
        one = one.with_column(name, np.array([value, np.nan]))
    one = one.with_column("encounter", np.array(["7", ""])).with_column("date", np.array(["2020-05-01", ""]))
    write_collection(one, tmp_path / "coco.json", format="coco")
    content = json.loads((tmp_path / "coco.json").read_text())
    assert content["categories"] == [{"id": 1, "name": "zebra"}, {"id": 2, "name": "animal"}]
    assert content["images"][0] | {"file_name": ""} == {
        "id": 1,
        "file_name": "",
        "width": 96,
        "height": 64,
        "seq_id": "7",
        "datetime": "2020-05-01",
    }
    first, second = content["annotations"]
    assert (first["bbox"], first["area"], first["identity"]) == ([1.5, 2, 30, 4], 120, "Mara")
    assert not {"bbox", "identity"} & set(second)


def test_folders_are_named_after_the_animals_where_the_system_allows_it(manifest, tmp_path):
    names = ["Mara/left", "Mara?left", "mara_LEFT", "..", "con", "x" * 300, "", "", "Tano "]
    write_collection(manifest.with_column("identity", np.array(names, dtype=object)), tmp_path / "out", format="folder")
    folders = sorted(place.name for place in (tmp_path / "out").iterdir())
    assert folders == sorted(
        ["Mara_left", "Mara_left-2", "mara_LEFT-3", "_", "con_", "x" * 120, "Tano", "1.jpg", "2.jpg", "manifest.csv"]
    )


def test_a_photo_of_several_animals_lies_in_the_folder_of_the_first_that_has_a_name(photo_folder, tmp_path):
    table = {"image_id": ["a", "b", "c"], "path": ["stranger.jpg"] * 3, "identity": ["", "Ubele", "Zuri"]}
    write_collection(from_table(pd.DataFrame(table), photo_folder), tmp_path / "out", format="folder")
    assert sorted(place.name for place in (tmp_path / "out").iterdir()) == ["Ubele", "manifest.csv"]
    assert read_manifest(tmp_path / "out" / "manifest.csv").table["path"].tolist() == ["Ubele/stranger.jpg"] * 3


def test_photos_of_one_name_stay_apart_in_a_folder(manifest, tmp_path):
    write_collection(manifest.with_column("identity", np.full(9, "Mara")), tmp_path / "out", format="folder")
    names = sorted(photo.name for photo in (tmp_path / "out" / "Mara").iterdir())
    assert names == ["1-2.jpg", "1-3.jpg", "1.jpg", "2-2.jpg", "2-3.jpg", "2.jpg", "3-2.jpg", "3.jpg", "stranger.jpg"]
    assert from_folder(tmp_path / "out").identity.tolist() == ["Mara"] * 9


def test_photos_are_copied_where_the_disk_cannot_link(manifest, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("links are not supported")

    monkeypatch.setattr(os, "link", refuse)
    write_collection(manifest, tmp_path / "out", format="folder")
    assert (tmp_path / "out" / "Mara" / "1.jpg").read_bytes() == manifest.paths[0].read_bytes()
    assert not (tmp_path / "out" / "Mara" / "1.jpg").samefile(manifest.paths[0])


def test_a_folder_in_use_is_not_touched(manifest, photo_folder, tmp_path):
    with pytest.raises(ManifestError, match="must be new or empty. Received: one in use"):
        write_collection(manifest, photo_folder, format="folder")
    (tmp_path / "empty").mkdir()
    write_collection(manifest, tmp_path / "empty", format="folder")
    assert len(read_collection(tmp_path / "empty").manifest) == 9


def test_what_a_killed_export_left_behind_is_made_anew(manifest, tmp_path, draw_photo):
    draw_photo(tmp_path / ".unfinished-out" / "Mara" / "old.jpg")
    write_collection(manifest, tmp_path / "out", format="folder")
    assert not (tmp_path / "out" / "Mara" / "old.jpg").exists()
    assert not (tmp_path / ".unfinished-out").exists()


def test_a_missing_photo_leaves_no_half_made_folder(manifest, tmp_path):
    manifest.paths[4].unlink()
    with pytest.raises(ManifestError, match=r"2.jpg: the photo must exist to be exported"):
        write_collection(manifest, tmp_path / "out", format="folder")
    assert not [place for place in tmp_path.iterdir() if "out" in place.name]


def test_a_full_disk_gets_a_sentence(manifest, tmp_path, full_disk):
    for name, out in [("coco", "a.json"), ("wildlife_datasets", "a.csv"), ("folder", "photos_out")]:
        with full_disk(10), pytest.raises(DiskError, match="must be writable"):
            write_collection(manifest, tmp_path / out, format=name)
        assert not (tmp_path / out).exists()


def test_what_cannot_be_written_is_said(manifest, tmp_path):
    with pytest.raises(ManifestError, match="`format` must be one of manifest, wildlife_datasets, coco, folder. Rec"):
        write_collection(manifest, tmp_path / "a.csv", format="humpback")
    with pytest.raises(ManifestError, match="a manifest must end with .csv"):
        write_collection(manifest, tmp_path / "a", format="manifest")
    write_collection(manifest, tmp_path / "a.csv", format="manifest")
    assert read_manifest(tmp_path / "a.csv").paths == manifest.paths


def test_safe_names_hold_nothing_that_a_system_refuses():
    names = ["a/b", "a\\b", "..", ".hidden", "x.", "NUL.txt", "a\nb", "", "č" * 100]
    assert [safe_name(name) for name in names[:-1]] == ["a_b", "a_b", "_", "_hidden", "x", "NUL.txt_", "a_b", "_"]
    assert safe_name(names[-1]) == "č" * 60


def test_photos_are_looked_for_beside_the_labels(place, draw_photo, tmp_path):
    file = place("labels.csv", SAMPLES["humpback"][1])
    with pytest.raises(ManifestError, match="row 2: the photo must exist"):
        read_collection(file)
    draw_photo(tmp_path / "labelled" / "a.jpg")
    (tmp_path / "another").mkdir()
    assert read_collection(file).manifest.paths == [tmp_path / "labelled" / "a.jpg"]
    assert read_collection(file, photos=Path("/far"), check_files=False).manifest.paths == [Path("/far/a.jpg")]
