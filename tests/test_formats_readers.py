import json
import os
from pathlib import Path

import numpy as np
import pytest

from siamese.errors import ManifestError
from siamese.formats import Lists, read_collection
from siamese.manifest import from_folder, read_manifest

REAL = Path(os.environ.get("SIAMESE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "humpback"


@pytest.fixture
def place(tmp_path):
    def write(name, *lines):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / name

    return write


@pytest.fixture
def read(tmp_path):
    return lambda name, **options: read_collection(tmp_path / name, check_files=False, **options)


def test_new_whale_is_an_unknown_individual(place, read):
    place("train.csv", "Image,Id", "a.jpg,w_1", "b.jpg,new_whale", "c.jpg,w_1")
    collection = read("train.csv")
    assert collection.manifest.identity.tolist() == ["w_1", "", "w_1"]
    assert collection.manifest.image_ids.tolist() == ["a.jpg", "b.jpg", "c.jpg"]  # as the submission names them
    assert np.isnan(collection.manifest.boxes).all()
    assert collection.notes == ("Individual unknown (new_whale): 1 photo.",)


def test_corners_beside_the_labels_become_boxes(place, read):
    place("labels.csv", "Image,Id,x0,y0,x1,y1,note", "b.jpg,w_1,10,20,40,35,seen twice", "c.jpg,w_1,7,7,7,9,")
    manifest = read("labels.csv").manifest
    assert manifest.boxes[0].tolist() == [10, 20, 30, 15]
    assert np.isnan(manifest.boxes[1]).all()  # no surface
    assert "note" not in manifest.table


def test_lists_that_lie_beside_the_humpback_labels_are_joined_and_names_are_not_merged(place, read, tmp_path):
    place("train.csv", "Image,Id", "a.jpg,w_1", "b.jpg,w_2")
    place("a_labels.csv", "Image,Id,x0,y0,x1,y1", "a.jpg,w_1,9,9,10,10")
    place("heads.csv", "Image,x0,y0,x1,y1", "b.jpg,1,2,11,22")
    place("points.csv", "filename,1_x,1_y", "a.jpg,3,4")
    place("exclude.txt", "b.jpg")
    place("rotate.txt", "a.jpg")
    place("duplicate_identities.csv", "Id,SubId", "group_0,w_1 w_2")
    collection = read("")
    manifest = collection.manifest
    assert manifest.boxes[1].tolist() == [1, 2, 10, 20]
    assert np.isnan(manifest.boxes[0]).all()  # labels of their own are no list
    assert manifest.column("keypoints").tolist() == ["3 4", ""]
    assert manifest.column("use").tolist() == ["", "nothing"]
    assert manifest.column("rotation").tolist() == ["180", ""]
    assert manifest.identity.tolist() == ["w_1", "w_2"]
    assert "only --duplicate-identities merges them" in collection.notes[0]
    place("others.txt", "a.jpg")
    assert read("", lists=Lists(exclude=tmp_path / "others.txt")).manifest.column("use").tolist() == ["nothing", ""]


def test_a_list_beside_that_does_not_fit_is_told_and_left_out(place, read, tmp_path):
    place("train.csv", "Image,Id", "a.jpg,w_1")
    place("exclude.txt", "z.jpg")
    collection = read("")
    assert "use" not in collection.manifest.table
    assert "exclude.txt lies beside the labels and was not joined. " in collection.notes[0]
    with pytest.raises(ManifestError, match="must name photos of the collection"):
        read("", lists=Lists(exclude=tmp_path / "exclude.txt"))


def test_a_missing_photo_or_column_or_a_submission_names_its_place(place, tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ManifestError, match=r"train.csv, row 3: the photo must exist"):
        read_collection(place("train.csv", "Image,Id", "a.jpg,w_1", "z.jpg,w_2"))
    with pytest.raises(ManifestError, match=r"train.csv, row 2: Id must be one individual.*as in a submission"):
        read_collection(place("train.csv", "Image,Id", "a.jpg,new_whale w_1"))
    with pytest.raises(ManifestError, match="Add Image, Id, or give the file that holds them"):
        read_collection(place("other.csv", "photo,whale", "a.jpg,w_1"), format="humpback")


def test_happywhale_labels_name_species_and_new_individuals(place, read):
    place("train.csv", "image,species,individual_id", "a.jpg,beluga,5f", "b.jpg,fin_whale,new_individual")
    manifest = read("train.csv").manifest
    assert manifest.identity.tolist() == ["5f", ""]
    assert manifest.column("species").tolist() == ["beluga", "fin_whale"]


def sloth(filename, **marks):
    kinds = {2: ("x", "y"), 4: ("x", "y", "width", "height")}
    drawn = [{"class": name, **dict(zip(kinds[len(mark)], mark, strict=True))} for name, mark in marks.items()]
    return {"class": "image", "filename": filename, "annotations": drawn}


def test_right_whales_get_head_boxes_and_points_of_several_files(place, read):
    place("train.csv", "Image,whaleID", "w_1.jpg,whale_9", "w_2.jpg,whale_8", "w_3.jpg,whale_8")
    place("heads.json", json.dumps([sloth("../imgs/whale_9/w_1.jpg", Head=(10, 20.5, 30, 40))]))
    place("points1.json", json.dumps([sloth("w_1.jpg", point=(1.25, 2)), sloth("w_2.jpg", point=(5, 6))]))
    place("points2.json", json.dumps([sloth("w_1.jpg", point=(3, 4)), sloth("w_7.jpg", point=(5, 6))]))
    place("other.json", json.dumps({"nothing": "of Sloth"}))
    collection = read("")
    assert collection.format == "right_whale"
    assert collection.manifest.identity.tolist() == ["whale_9", "whale_8", "whale_8"]
    assert collection.manifest.boxes[0].tolist() == [10, 20.5, 30, 40]
    assert np.isnan(collection.manifest.boxes[1:]).all()
    assert collection.manifest.column("keypoints").tolist() == ["1.25 2;3 4", "", ""]
    assert "heads.json: the box is that of Head." in collection.notes
    assert collection.notes[-1] == (
        "points1.json, points2.json: key points points1, points2 joined to 1 photo; 1 name in points1.json, "
        "points2.json fit no photo here, for instance 'w_7.jpg'; 2 photos without a complete set got none."
    )


def test_wildlife_datasets_become_boxes_viewpoints_and_sides(place, read):
    place(
        "metadata.csv",
        ",image_id,identity,path,bbox,orientation,position,split",
        '0,5,Mara,m/a.jpg,"[1.5, 2, 30, 40]",left,up,database',
        "1,6,unknown,m/b.jpg,,right,down,query",
        "2,7,Tano,m/c.jpg,[ 0. 1. 2. 3.],right,down,val",
    )
    manifest = read("metadata.csv").manifest
    assert manifest.identity.tolist() == ["Mara", "", "Tano"]
    assert manifest.boxes[[0, 2]].tolist() == [[1.5, 2, 30, 40], [0, 1, 2, 3]]
    assert np.isnan(manifest.boxes[1]).all()
    assert manifest.column("viewpoint").tolist() == ["left", "right", "right"]
    assert manifest.column("position").tolist() == ["up", "down", "down"]
    assert manifest.column("split").tolist() == ["catalog", "test", "validation"]
    place("metadata.csv", "identity,path,bbox", "Mara,a.jpg,wide")
    with pytest.raises(ManifestError, match=r"metadata.csv, row 2: bbox must be four numbers.*Received: 'wide'"):
        read("metadata.csv")


@pytest.fixture
def coco(place, read):
    def read_annotations(*annotations, images=None, categories=("empty", "zebra", "animal")):
        content = {
            "images": images or [{"id": 1, "file_name": "a.jpg"}, {"id": "two", "file_name": "b.jpg"}],
            "annotations": [
                {"id": 10 + n, "image_id": 1, "category_id": 1, **mark} for n, mark in enumerate(annotations)
            ],
            "categories": [{"id": number, "name": name} for number, name in enumerate(categories)],
        }
        place("annotations.json", json.dumps(content))
        return read("annotations.json")

    return read_annotations


def test_several_annotations_of_a_photo_become_several_rows(coco):
    collection = coco({"identity": "Mara", "bbox": [1, 2, 3, 4]}, {"bbox": [5, 6, 0, 8]}, {"image_id": "two"})
    manifest = collection.manifest
    assert manifest.image_ids.tolist() == ["1#10", "1#11", "two"]
    assert manifest.identity.tolist() == ["Mara", "", ""]
    assert manifest.boxes[0].tolist() == [1, 2, 3, 4]
    assert np.isnan(manifest.boxes[1:]).all()
    assert manifest.column("species").tolist() == ["zebra"] * 3
    assert collection.notes == ("1 photo with several animals: a row for each.",)
    assert set(manifest.table) == {"image_id", "path", "identity", "x", "y", "width", "height", "species"}


def test_camera_traps_have_sequences_and_empty_photos(coco):
    images = [
        {"id": 1, "file_name": "a.jpg", "seq_id": "s7", "datetime": "2020-05-01 10:00:00", "location": 12},
        {"id": 2, "file_name": "b.jpg", "seq_id": "s8"},
        {"id": 3, "file_name": "c.jpg"},
    ]
    collection = coco({"category_id": 2, "name": "Tano"}, {"image_id": 2, "category_id": 0}, images=images)
    table = collection.manifest.table
    assert table.to_dict("records") == [
        {
            "image_id": "1",
            "path": "a.jpg",
            "identity": "Tano",
            "encounter": "s7",
            "date": "2020-05-01 10:00:00",
            "location": "12",
        }
    ]
    assert collection.notes == ("1 photo of the category empty dropped.", "1 photo without an annotation dropped.")


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"identity": 7, "name": "x"}, "7"),
        ({"individual_id": "Mara", "name": "x"}, "Mara"),
        ({"individual_ids": [3, 4], "name": "Mara"}, "Mara"),
        ({"individual_ids": [3]}, "3"),
        ({"individual_ids": [3, 4]}, ""),
        ({"name": "____"}, ""),
        ({"identity": None}, ""),
    ],
)
def test_coco_names_stand_in_several_fields(coco, fields, name):
    assert coco(fields, {"identity": "Other"}).manifest.identity.tolist() == [name, "Other"]


def test_coco_without_names_and_damaged_coco_say_so(coco, place):
    assert "No annotation names an individual" in coco({}).notes[-1]
    with pytest.raises(ManifestError, match="annotations id, image_id and category_id.* Received: KeyError"):
        coco({"image_id": 99})
    with pytest.raises(ManifestError, match="there must be an annotation of an animal"):
        coco({"category_id": 0})
    with pytest.raises(ManifestError, match="COCO must be an object"):
        read_collection(place("list.json", "[]"), format="coco")


def test_turned_boxes_of_miewid_become_upright_ones(place, read):
    place(
        "df.csv",
        "name,viewpoint,species,file_path,x,y,w,h,theta",
        f"Mara,left,zebra,a.jpg,10,20,40,20,{np.pi / 2}",
        "____,left,zebra,a.jpg,1,2,3,4,0.01",
        "Tano,right,zebra,b.jpg,1,2,3,4,",
    )
    collection = read("df.csv")
    manifest = collection.manifest
    assert manifest.image_ids.tolist() == ["a.jpg#1", "a.jpg#2", "b.jpg"]
    assert manifest.identity.tolist() == ["Mara", "", "Tano"]
    np.testing.assert_allclose(manifest.boxes, [[20, 10, 20, 40], [1, 2, 3, 4], [1, 2, 3, 4]])
    assert manifest.column("viewpoint").tolist() == ["left", "left", "right"]
    assert collection.notes == ("1 box turned by theta became the upright box around it.",)


def test_oml_queries_are_the_test_and_the_rest_of_the_gallery_the_catalog(place, read):
    place(
        "df.csv",
        "label,path,split,is_query,is_gallery,category,x_1,x_2,y_1,y_2",
        "1,a.jpg,train,,,zebra,10,40,20,35",
        "2,b.jpg,validation,True,True,zebra,,,,",
        "2,c.jpg,validation,False,True,zebra,,,,",
    )
    collection = read("df.csv")
    manifest = collection.manifest
    assert manifest.column("split").tolist() == ["train", "test", "catalog"]
    assert manifest.identity.tolist() == ["1", "2", "2"]
    assert manifest.boxes[0].tolist() == [10, 20, 30, 15]
    assert manifest.column("category").tolist() == ["zebra"] * 3
    assert "leave_one_out" in collection.notes[1]


def test_a_csv_of_ones_own_is_read_by_its_headings(place, read):
    place(
        "sightings.csv",
        "ID,File Name,Whale_ID,Side,Encounter,sex,width,Image_ID",
        "1,a.jpg,Mara,left,7,f,640,x1",
        "2,b.jpg,Unknown,right,7,,640,x2",
    )
    collection = read("sightings.csv")
    assert collection.manifest.table.to_dict("list") == {
        "ID": ["1", "2"],
        "path": ["a.jpg", "b.jpg"],
        "identity": ["Mara", ""],
        "viewpoint": ["left", "right"],
        "encounter": ["7", "7"],
        "sex": ["f", ""],
        "image_id": ["x1", "x2"],
    }
    assert collection.notes == (
        "Taken: File Name as path, Whale_ID as identity, Image_ID as image_id, Side as viewpoint, "
        "Encounter as encounter.",
        "Left out: width.",
        "Individual unknown (unknown, new_whale, new_individual): 1 photo.",
    )


def test_a_photo_that_stands_twice_in_a_csv_shows_two_animals(place, read):
    place("mine.csv", "image,individual,x,y,w,h", "a.jpg,Mara,1,2,3,4", "a.jpg,Tano,5,6,7,8")
    manifest = read("mine.csv").manifest
    assert manifest.image_ids.tolist() == ["a.jpg#1", "a.jpg#2"]
    assert manifest.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_csv_without_a_column_of_individuals_says_so(place):
    with pytest.raises(ManifestError, match="Received: image, sex. Rename the column of the individual."):
        read_collection(place("mine.csv", "image,sex", "a.jpg,f"), format="plain")


def test_the_photos_of_a_manifest_may_lie_elsewhere(place, photo_folder, tmp_path):
    from_folder(photo_folder).write(photo_folder / "manifest.csv")
    moved = place("moved.csv", (photo_folder / "manifest.csv").read_text())
    assert (
        read_collection(moved, photos=photo_folder).manifest.paths == read_manifest(photo_folder / "manifest.csv").paths
    )
    with pytest.raises(ManifestError, match=r"moved.csv, row 2: the photo must exist"):
        read_collection(moved)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the humpback samples in the folder that SIAMESE_DATA names")
def test_the_real_humpback_labels_become_a_manifest():
    samples = read_collection(REAL / "samples").manifest
    assert (len(samples), (samples.identity == "").sum()) == (25, 9)
    assert samples.boxes[0].tolist() == [224, 160, 648, 272]
    everything = read_collection(REAL / "metadata", check_files=False).manifest
    assert len(everything) == 25361
    assert (everything.identity == "").sum() == 9664
    assert len(set(everything.identity) - {""}) == 5004
    assert not np.isnan(everything.boxes).any()
