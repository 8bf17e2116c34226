import numpy as np
import pandas as pd
import pytest

from siamese.errors import ManifestError
from siamese.manifest import from_folder, from_table, read_manifest

HEADER = "image_id,path,identity\n"


@pytest.fixture
def write_csv(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "manifest.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.fixture
def read(write_csv):
    return lambda text: read_manifest(write_csv(text), check_files=False)


def test_read_manifest_reads_names_as_text(read, tmp_path):
    manifest = read(HEADER + "007,a/1.jpg,NA\n8,/b/2.jpg,\n")
    assert len(manifest) == 2
    assert manifest.image_ids.tolist() == ["007", "8"]
    assert manifest.identity.tolist() == ["NA", ""]
    assert [str(path) for path in manifest.paths] == [str(tmp_path / "a" / "1.jpg"), "/b/2.jpg"]


def test_read_manifest_takes_what_spreadsheets_write(write_csv):
    path = write_csv('image_id,path,identity\r\na,"x, y.jpg", Mara \r\n\r\n', encoding="utf-8-sig")
    manifest = read_manifest(path, check_files=False)
    assert manifest.paths[0].name == "x, y.jpg"
    assert manifest.identity.tolist() == ["Mara"]


def test_boxes_are_floats_and_nan_where_the_fields_are_empty(read):
    manifest = read("image_id,path,identity,x,y,width,height\na,a.jpg,,1,2.5,30,40\nb,b.jpg,,,,,\n")
    assert manifest.boxes[0].tolist() == [1, 2.5, 30, 40]
    assert np.isnan(manifest.boxes[1]).all()
    assert manifest.column("x").tolist() == ["1.0", ""]


def test_boxes_are_nan_without_box_columns(read):
    assert np.isnan(read(HEADER + "a,a.jpg,\n").boxes).all()
    assert read(HEADER + "a,a.jpg,\n").boxes.shape == (1, 4)


def test_column_is_empty_text_where_the_manifest_has_none(read):
    manifest = read("image_id,path,identity,viewpoint,ship\na,a.jpg,,left,Aurora\nb,b.jpg,,,Aurora\n")
    assert manifest.column("viewpoint").tolist() == ["left", ""]
    assert manifest.column("ship").tolist() == ["Aurora", "Aurora"]
    assert manifest.column("encounter").tolist() == ["", ""]
    assert manifest.column("viewpoint").dtype == object


def test_select_takes_a_mask_or_indices_in_their_order(read):
    manifest = read(HEADER + "a,a.jpg,\nb,b.jpg,\nc,c.jpg,\n")
    assert manifest.select(np.array([True, False, True])).image_ids.tolist() == ["a", "c"]
    assert manifest.select(np.array([2, 0, 0])).image_ids.tolist() == ["c", "a", "a"]
    assert len(manifest.select(np.array([]))) == 0
    assert manifest.image_ids.tolist() == ["a", "b", "c"]


def test_with_column_leaves_the_manifest_as_it_was(read):
    manifest = read(HEADER + "a,a.jpg,\nb,b.jpg,\n")
    assert manifest.with_column("split", np.array(["train", "test"])).column("split").tolist() == ["train", "test"]
    assert "split" not in manifest.table
    with pytest.raises(ManifestError, match="one value for each of 2 photos. Received: 3"):
        manifest.with_column("split", np.array(["train"] * 3))


def test_write_and_read_give_the_same_manifest(read, tmp_path):
    manifest = read("image_id,path,identity,x,y,width,height,ship\na,a.jpg,Mara,0.1,2,3,4,\nb,b.jpg,,,,,,Aurora\n")
    manifest.write(tmp_path / "copy.csv")
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "copy.csv", check_files=False).table, manifest.table)


def test_a_manifest_written_elsewhere_still_finds_its_photos(photo_folder, tmp_path):
    manifest = from_folder(photo_folder)
    manifest.write(tmp_path / "elsewhere" / "manifest.csv")
    manifest.write(tmp_path / "above.csv")
    assert read_manifest(tmp_path / "elsewhere" / "manifest.csv").paths == manifest.paths
    assert read_manifest(tmp_path / "above.csv").paths == manifest.paths
    assert read_manifest(tmp_path / "above.csv").table["path"][0] == "photos/Mara/1.jpg"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Received: an empty file"),
        (HEADER, "at least one photo. Received: a header without rows"),
        ("image_id,path\na,a.jpg\n", "Received: image_id, path. Add identity"),
        ("image_id;path;identity\na;a.jpg;x\n", "with commas between columns"),
        ("image_id,path,identity,path\na,a.jpg,x,b.jpg\n", "'path' twice"),
        (HEADER + "a,a.jpg,x\na,b.jpg,x\n", "row 3: image_id must be unique. Received: 'a', which row 2 has too"),
        (HEADER + "a,a.jpg,x\n,b.jpg,x\n", "row 3: image_id must not be empty"),
        (HEADER + "a,a.jpg,x\n\nb,,x\n", "row 4: path must not be empty"),
        (HEADER + "a,a.jpg,x,\n", "row 2: a row must have the 3 fields of the header. Received: 4"),
        (HEADER + "a,a.jpg\n", "row 2: a row must have the 3 fields of the header. Received: 2"),
        (HEADER + 'a,"a.jpg,x\n', "must be a CSV in UTF-8"),
        ("image_id,path,identity,x,y\na,a.jpg,x,1,2\n", "Received: only x, y"),
    ],
)
def test_read_manifest_says_what_is_wrong(read, text, sentence):
    with pytest.raises(ManifestError, match=r"manifest\.csv") as raised:
        read(text)
    assert sentence in str(raised.value)


@pytest.mark.parametrize("box", ["1,2,0,4", "1,2,3,-4", "1,2,3,", "1,2,3,wide", "1,2,nan,4", "inf,2,3,4"])
def test_read_manifest_names_the_row_of_a_wrong_box(read, box):
    with pytest.raises(ManifestError, match=r"row 3: a box must be four numbers in pixels"):
        read(f"image_id,path,identity,x,y,width,height\na,a.jpg,,1,2,3,4\nb,b.jpg,,{box}\n")


def test_read_manifest_refuses_other_encodings(write_csv):
    with pytest.raises(ManifestError, match="UTF-8"):
        read_manifest(write_csv(HEADER + "a,é.jpg,x\n", encoding="latin-1"))


def test_read_manifest_names_the_row_of_a_missing_photo(photo_folder):
    (photo_folder / "manifest.csv").write_text(HEADER + "a,Mara/1.jpg,Mara\nb,Mara/9.jpg,Mara\n")
    with pytest.raises(ManifestError, match=r"manifest\.csv, row 3: the photo must exist. Received: .*Mara/9\.jpg"):
        read_manifest(photo_folder / "manifest.csv")


def test_from_table_leaves_the_table_as_it_was():
    table = pd.DataFrame({"image_id": [1, 2], "path": ["a.jpg", "b.jpg"], "identity": [" Mara", None]})
    before = table.copy()
    assert from_table(table, "photos", check_files=False).identity.tolist() == ["Mara", ""]
    pd.testing.assert_frame_equal(table, before)


def test_from_folder_takes_the_individual_from_the_folder_name(photo_folder):
    manifest = from_folder(photo_folder)
    assert manifest.identity.tolist() == ["Mara"] * 3 + ["Tano"] * 3 + ["Zuri"] * 2 + [""]
    assert manifest.image_ids.tolist()[::4] == ["Mara/1", "Tano/2", "stranger"]
    assert all(path.is_file() for path in manifest.paths)


def test_from_folder_goes_down_to_the_last_folder_and_passes_hidden_files_over(tmp_path):
    for name in ["2019/Mara/a.JPG", "2020/Mara/a.jpg", "2020/Mara/._a.jpg", ".trash/b.jpg", "2020/Mara/notes.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    manifest = from_folder(tmp_path)
    assert manifest.image_ids.tolist() == ["2019/Mara/a", "2020/Mara/a"]
    assert manifest.identity.tolist() == ["Mara", "Mara"]


def test_from_folder_keeps_the_ending_where_it_alone_tells_photos_apart(tmp_path):
    (tmp_path / "Mara").mkdir()
    for name in ("a.jpg", "a.png", "b.png"):
        (tmp_path / "Mara" / name).touch()
    assert from_folder(tmp_path).image_ids.tolist() == ["Mara/a.jpg", "Mara/a.png", "Mara/b"]


def test_from_folder_says_how_a_collection_looks_when_there_are_no_photos(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ManifestError, match="one sub-folder of photos for each individual"):
        from_folder(tmp_path)
    with pytest.raises(ManifestError, match="no folder of this name"):
        from_folder(tmp_path / "missing")
