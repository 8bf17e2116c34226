import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from siamese.errors import ManifestError
from siamese.formats import Lists, join_lists
from siamese.formats.duplicate_names import merged_names
from siamese.formats.matching import find_rows
from siamese.formats.megadetector import join_detections
from siamese.manifest import from_table


@pytest.fixture
def photos(tmp_path):
    """Four rows: a named and an unknown photo of 200 x 100 pixels, and one photo with two animals."""
    (tmp_path / "sea").mkdir()
    for name in "abc":
        Image.new("L", (200, 100)).save(tmp_path / "sea" / f"{name}.jpg")
    table = {
        "image_id": ["a", "b", "c#1", "c#2"],
        "path": ["sea/a.jpg", "sea/b.jpg", "sea/c.jpg", "sea/c.jpg"],
        "identity": ["Mara", "", "Tano", "Zuri"],
    }
    return from_table(pd.DataFrame(table), tmp_path)


@pytest.fixture
def join(photos, tmp_path):
    """`join("boxes", "name.csv", text)` writes a list and joins it to the photos, which it must not change."""

    def joined(kind, name, text, manifest=photos):
        (tmp_path / name).write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        before = manifest.table.copy()
        result, notes = join_lists(manifest, Lists(**{kind: tmp_path / name}))
        pd.testing.assert_frame_equal(manifest.table, before)
        return result, notes

    return joined


# Matching


def manifest_of(*paths):
    table = {"image_id": [f"photo {n}" for n in range(len(paths))], "path": paths, "identity": [""] * len(paths)}
    return from_table(pd.DataFrame(table), "/root/photos", check_files=False)


def test_names_fit_by_image_id_path_end_and_without_ending():
    manifest = manifest_of("x/1.jpg", "y/2.jpg", "y/2.jpg")
    names = ["photo 1", "x/1.jpg", "photos/x/1.jpg", "/root/photos/x/1", "2", "y\\2.jpg", "3.jpg", ""]
    assert find_rows(manifest, names) == [[1], [0], [0], [0], [1, 2], [1, 2], [], []]


def test_a_name_that_fits_several_photos_fits_none():
    assert find_rows(manifest_of("x/1.jpg", "y/1.jpg"), ["1.jpg", "x/1.jpg"]) == [[], [0]]
    assert find_rows(manifest_of("x/1.jpg", "x/1.png"), ["x/1", "x/1.png"]) == [[], [1]]


def test_folders_of_the_list_are_passed_over_only_where_file_names_differ():
    manifest = manifest_of("1.jpg", "2.jpg")
    assert find_rows(manifest, ["../imgs/whale_1/1.jpg", "../imgs/whale_2/2.jpg"]) == [[0], [1]]
    assert find_rows(manifest, ["camera_1/1.jpg", "camera_2/1.jpg"]) == [[], []]


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)


@given(st.lists(st.tuples(PATHS, st.sampled_from([".jpg", ".PNG", ".x", ""])).map("".join), min_size=1))
def test_every_photo_is_found_by_its_whole_path(paths):
    manifest = manifest_of(*paths)
    for path, rows in zip(paths, find_rows(manifest, list(map(str, manifest.paths))), strict=True):
        assert rows == [row for row, other in enumerate(paths) if other == path]


# Boxes


def test_boxes_of_corners_and_of_sides_are_joined(join):
    manifest, notes = join("boxes", "corners.csv", "Image,x0,y0,x1,y1\nb.jpg,1,2,11,22\nz.jpg,0,0,5,5\na.jpg,7,7,7,9\n")
    assert manifest.boxes[1].tolist() == [1, 2, 10, 20]
    assert np.isnan(manifest.boxes[[0, 2, 3]]).all()
    assert notes == (
        "corners.csv: 1 box joined; 1 name in corners.csv fit no photo here, for instance 'z.jpg'; "
        "1 photo without a box.",
    )
    manifest, _ = join("boxes", "sides.csv", "image_id,x,y,width,height\na,1.5,2,10,20\nc#2,1,1,1,1\nb,,,,\n")
    assert manifest.boxes[[0, 3]].tolist() == [[1.5, 2, 10, 20], [1, 1, 1, 1]]
    assert np.isnan(manifest.boxes[[1, 2]]).all()


def test_a_box_is_given_to_one_animal_once(join):
    manifest, notes = join("boxes", "b.csv", "image,x,y,width,height\na,1,1,1,1\na,2,2,2,2\nc.jpg,1,1,1,1\n")
    assert manifest.boxes[0].tolist() == [1, 1, 1, 1]
    assert np.isnan(manifest.boxes[1:]).all()
    assert "1 box of photos that had one from this list: the first counts" in notes[0]
    assert "1 photo with several animals passed over" in notes[0]


def test_boxes_that_were_there_stay_where_the_list_has_none(join, photos):
    for number, name in enumerate(["x", "y", "width", "height"]):
        photos = photos.with_column(name, np.full(4, number + 1))
    manifest, _ = join("boxes", "b.csv", "image,x,y,width,height\na,9,9,9,9\nb,,,,\n", photos)
    assert manifest.boxes.tolist() == [[9] * 4, [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]]


def test_lists_of_another_form_or_collection_are_refused(join):
    for kind, name, text, sentence in [
        ("boxes", "b.csv", "image,left\na,1\n", "boxes need the columns x0, y0, x1, y1 or x, y, width, height. Rec"),
        ("boxes", "b.csv", "x,y,width,height\n1,1,1,1\n", "a column must name the photos"),
        ("boxes", "b.csv", "image,x,y,width,height\nz,1,1,1,1\n", "Received: 1 name, none of which fits .* 'z'"),
        ("boxes", "b.json", {"a": 1}, "must be a Sloth list of photos"),
        ("boxes", "b.json", [{"filename": "a", "annotations": [{"width": 1}]}], "photo 'a': a rectangle must have x"),
        ("keypoints", "k.csv", "image,x,y\na,1,2\n", "the file must hold points. Received: none"),
        ("keypoints", "k.csv", "image,1_x,1_y\nz,1,2\n", "none of which fits a photo"),
        ("exclude", "e.txt", "", "Received: 0 names, none of which fits a photo. Give"),
        ("rotate", "r.txt", "a 45\n", "r.txt: a photo must be turned by 90, 180 or 270 degrees. Received: 'a 45'"),
        ("duplicate_identities", "d.csv", "Id,SubId\n1,x y\n", "Received: 2 names, none of which is there"),
        ("duplicate_identities", "d.csv", "Id\n1\n", "Add SubId"),
    ]:
        with pytest.raises(ManifestError, match=sentence):
            join(kind, name, text)


# MegaDetector


def found(file, *boxes):
    """A photo of a MegaDetector file; boxes are (confidence, x, y, width, height) or have a category before."""
    marks = [(("1", *box) if len(box) == 5 else box) for box in boxes]
    return {"file": file, "detections": [{"category": kind, "conf": conf, "bbox": box} for kind, conf, *box in marks]}


def megadetector(*images):
    return {"images": list(images), "detection_categories": {"1": "animal", "2": "person"}, "info": {}}


def test_shares_become_pixels_and_the_surest_animal_stays_with_the_name(join):
    file = megadetector(
        found("sea/a.jpg", (0.5, 0, 0, 0.1, 0.1), (0.9, 0.25, 0.5, 0.5, 0.25), ("2", 0.99, 0, 0, 1, 1)),
        found("sea/b.jpg", (0.19, 0, 0, 1, 1)),
    )
    manifest, notes = join("boxes", "md.json", file)
    assert manifest.boxes[0].tolist() == [50, 50, 100, 25]
    assert np.isnan(manifest.boxes[1:]).all()  # 0.19 is below the threshold
    assert manifest.column("num_animals").tolist() == ["2", "0", "", ""]
    assert manifest.image_ids.tolist() == ["a", "b", "c#1", "c#2"]
    assert "an animal of confidence 0.2 or more on 1 of 4 rows" in notes[0]
    assert "The 0 unknown became a row for each animal; the 1 named keep one row" in notes[1]


def test_an_unknown_photo_becomes_a_row_for_each_animal(join, photos, tmp_path):
    file = megadetector(found("b.jpg", (0.3, 0, 0, 0.5, 1), (0.8, 0.5, 0, 0.5, 1)))
    manifest, _ = join("boxes", "md.json", file)
    assert manifest.image_ids.tolist() == ["a", "b#1", "b#2", "c#1", "c#2"]
    assert manifest.boxes[1:3].tolist() == [[100, 0, 100, 100], [0, 0, 100, 100]]
    assert manifest.column("num_animals").tolist() == ["", "2", "2", "", ""]
    assert manifest.paths[1] == manifest.paths[2] == photos.paths[1]
    fewer, _ = join_detections(photos, tmp_path / "md.json", min_confidence=0.5)
    assert fewer.image_ids.tolist() == ["a", "b", "c#1", "c#2"]


def test_shares_refer_to_the_upright_photo(join, tmp_path):
    image = Image.new("L", (200, 100))
    exif = image.getexif()
    exif[0x0112] = 6  # lies on its side
    image.save(tmp_path / "sea" / "a.jpg", exif=exif)
    manifest, _ = join("boxes", "md.json", megadetector(found("a.jpg", (0.9, 0.5, 0.5, 0.5, 0.5))))
    assert manifest.boxes[0].tolist() == [50, 100, 50, 100]


def test_boxes_of_people_win_over_the_detector(join, photos):
    for name in ("x", "y", "width", "height"):
        photos = photos.with_column(name, np.array([7, 7, np.nan, np.nan]))
    file = megadetector(found("a.jpg", (0.9, 0, 0, 1, 1)), found("b.jpg", (0.9, 0, 0, 1, 1), (0.8, 0, 0, 1, 1)))
    manifest, notes = join("boxes", "md.json", file, photos)
    assert manifest.boxes[:2].tolist() == [[7] * 4, [7] * 4]
    assert len(manifest) == 4
    assert "md.json: 2 rows kept the box that was there." in notes


def test_a_photo_that_failed_or_cannot_be_read_gets_no_box(join, tmp_path):
    (tmp_path / "sea" / "a.jpg").write_bytes(b"not a photo")
    file = megadetector(found("a.jpg", (0.9, 0, 0, 1, 1)), {"file": "b.jpg", "detections": None, "failure": "broken"})
    manifest, _ = join("boxes", "md.json", file)
    assert np.isnan(manifest.boxes).all()
    with pytest.raises(ManifestError, match="an image must have `file` and `detections`, each with category"):
        join("boxes", "md.json", megadetector({"file": "a.jpg", "detections": [{"conf": 1}]}))


# Key points


def test_key_points_keep_the_order_of_their_columns(join):
    text = "filename,1_x,1_y,tip_x,tip_y\na.jpg,3,4.50,1,2\nb.jpg,1,2,,\nz.jpg,1,2,3,4\n"
    manifest, notes = join("keypoints", "k.csv", text)
    assert manifest.column("keypoints").tolist() == ["3 4.5;1 2", "", "", ""]
    assert notes == (
        "k.csv: key points 1, tip joined to 1 photo; 1 name in k.csv fit no photo here, for instance 'z.jpg'; "
        "1 photo without a complete set got none.",
    )


def test_drawn_points_are_put_into_one_order(join):
    def point(name, x):
        return {"class": name, "type": "point", "x": x, "y": 0}

    file = [
        {"filename": "z.jpg", "annotations": [point("notch", 2)]},
        {"filename": "a.jpg", "annotations": [point("left", 1), point("notch", 2), point("right", 3)]},
        {"filename": "b.jpg", "annotations": [point("notch", 5.25), point("right", 6), point("left", 4)]},
    ]
    manifest, notes = join("keypoints", "k.json", file)
    assert manifest.column("keypoints").tolist() == ["1 0;2 0;3 0", "4 0;5.25 0;6 0", "", ""]
    assert "key points left, notch, right joined to 2 photos" in notes[0]


# Photos to leave out or turn


def test_excluded_photos_are_left_out_with_all_their_animals(join):
    manifest, notes = join("exclude", "e.txt", "# bad photos\n\nsea/a.jpg\nc.jpg\nz.jpg\n")
    assert manifest.column("use").tolist() == ["nothing", "", "nothing", "nothing"]
    assert notes == ("e.txt: 3 photos left out; 1 name in e.txt fit no photo here, for instance 'z.jpg'.",)
    manifest, _ = join("exclude", "e.csv", "reason,Image\nblurred,b.jpg\n")
    assert manifest.column("use").tolist() == ["", "nothing", "", ""]


def test_photos_are_turned_by_180_degrees_or_as_the_line_says(join):
    manifest, notes = join("rotate", "r.txt", "a.jpg\nb.jpg -90\nc.jpg  450\n")
    assert manifest.column("rotation").tolist() == ["180", "270", "90", "90"]
    assert notes == ("r.txt: 4 photos to be turned.",)


def test_a_photo_may_be_called_like_a_turn(join, photos):
    odd = photos.with_column("image_id", np.array(["IMG 90", "b", "c#1", "c#2"]))
    manifest, _ = join("rotate", "r.txt", "IMG 90\nb 90\n", odd)
    assert manifest.column("rotation").tolist() == ["180", "90", "", ""]


# Names


def test_names_of_one_animal_become_the_first(join):
    manifest, notes = join("duplicate_identities", "d.csv", "Id,SubId\ng1,Zuri Mara\ng2,Ubele Zuri\n")
    assert manifest.identity.tolist() == ["Mara", "", "Tano", "Mara"]
    assert manifest.column("original_identity").tolist() == ["", "", "", "Zuri"]
    assert notes == (
        "d.csv: 3 individuals became 2; 1 photo got another name, the old one stands in original_identity; "
        "1 name in the list stand for no individual here.",
    )


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=3), max_size=6))
def test_merged_names_are_the_first_of_everything_they_are_chained_to(groups):
    expected = {name: {name} for group in groups for name in group}
    for _ in groups:  # slow oracle: spread until nothing changes
        for group in groups:
            joined = set().union(*(expected[name] for name in group))
            for name in joined:
                expected[name] = expected[name] | joined
    assert merged_names(groups) == {name: min(same) for name, same in expected.items()}


def test_lists_that_were_found_give_way_to_those_that_are_given():
    found = Lists(boxes="theirs.csv", exclude="exclude.txt")
    assert found.without(Lists(boxes="mine.csv")) == Lists(exclude="exclude.txt")
    assert found.without(Lists()) == found
