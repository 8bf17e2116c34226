import json

import numpy as np
import pytest

from siamese.catalog import Catalog, is_catalog, load_catalog
from siamese.errors import DiskError, ModelFolderError, SiameseError


def make_catalog(*names, model="weights", dim=3):
    rng = np.random.default_rng(len(names))
    ids = np.array(names, dtype=object)
    identity = np.array([name.rstrip("0123456789").strip("?") for name in names], dtype=object)
    return Catalog(ids, identity, rng.normal(size=(len(names), dim)).astype(np.float32), model)


@pytest.fixture
def catalog():
    return make_catalog("mara1", "mara2", "?3", "tano1")


def test_a_saved_catalog_comes_back_bit_by_bit(catalog, tmp_path):
    catalog.save(tmp_path / "catalog")
    loaded = load_catalog(tmp_path / "catalog")
    assert loaded.image_ids.tolist() == ["mara1", "mara2", "?3", "tano1"]
    assert loaded.identity.tolist() == ["mara", "mara", "", "tano"]
    assert np.array_equal(loaded.embeddings, catalog.embeddings)
    assert loaded.embeddings.dtype == np.float32
    assert loaded.model == "weights"


def test_names_that_look_like_numbers_or_like_nothing_stay_text(tmp_path):
    ids = np.array(["007", "1e3", "NA", "ñandú, old"], dtype=object)
    Catalog(ids, ids.copy(), np.zeros((4, 2), np.float32), "weights").save(tmp_path)
    loaded = load_catalog(tmp_path)
    assert loaded.image_ids.tolist() == ids.tolist()
    assert loaded.identity.tolist() == ids.tolist()


def test_saving_again_replaces_the_earlier_catalog(catalog, tmp_path):
    catalog.save(tmp_path)
    make_catalog("zuri1").save(tmp_path)
    assert load_catalog(tmp_path).image_ids.tolist() == ["zuri1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.json", "embeddings.npy", "images.csv"]


def test_a_folder_is_a_catalog_once_it_is_complete(catalog, tmp_path):
    assert not is_catalog(tmp_path)
    catalog.save(tmp_path)
    assert is_catalog(tmp_path)


def test_adding_puts_the_photos_of_both_one_after_the_other(catalog):
    both = catalog.add(make_catalog("zuri1", "?9"))
    assert len(both) == 6
    assert both.image_ids.tolist() == ["mara1", "mara2", "?3", "tano1", "zuri1", "?9"]
    assert both.identity.tolist() == ["mara", "mara", "", "tano", "zuri", ""]
    assert np.array_equal(both.embeddings[:4], catalog.embeddings)
    assert len(catalog) == 4


def test_a_photo_may_stand_in_a_catalog_once(catalog):
    with pytest.raises(SiameseError, match=r"An image may stand in a catalog once. Received: tano1 in both"):
        catalog.add(make_catalog("tano1", "zuri1"))


def test_catalogs_of_two_models_do_not_mix(catalog):
    with pytest.raises(SiameseError, match="must be made by the model that reads it. Received: a catalog of weights"):
        catalog.add(make_catalog("zuri1", model="other weights"))


def test_columns_of_different_length_are_told():
    with pytest.raises(SiameseError, match="Received: 2 images, 1 identities, 2 embeddings"):
        Catalog(np.array(["a", "b"]), np.array(["x"]), np.zeros((2, 3), np.float32), "weights")


@pytest.mark.parametrize("name", ["embeddings.npy", "images.csv"])
def test_a_changed_file_is_refused(catalog, tmp_path, name):
    catalog.save(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFolderError, match="the catalog was changed after it was saved"):
        load_catalog(tmp_path)


@pytest.mark.parametrize("name", ["embeddings.npy", "images.csv", "catalog.json"])
def test_a_missing_file_is_told(catalog, tmp_path, name):
    catalog.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelFolderError, match=f"a catalog must hold catalog.json and its files.*{name}"):
        load_catalog(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_index_is_told(catalog, tmp_path, text):
    catalog.save(tmp_path)
    (tmp_path / "catalog.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelFolderError, match="a catalog must hold catalog.json and its files"):
        load_catalog(tmp_path)


def test_another_format_version_is_refused(catalog, tmp_path):
    catalog.save(tmp_path)
    index = json.loads((tmp_path / "catalog.json").read_text(encoding="utf-8"))
    (tmp_path / "catalog.json").write_text(json.dumps({**index, "format": 99}), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"the format must be 1. Received: 99. Update siamese."):
        load_catalog(tmp_path)


def test_a_full_disk_leaves_the_earlier_catalog(catalog, tmp_path, full_disk):
    catalog.save(tmp_path)
    with full_disk(200), pytest.raises(DiskError, match="the file must be writable"):
        make_catalog(*(f"zuri{number}" for number in range(99))).save(tmp_path)
    assert load_catalog(tmp_path).image_ids.tolist() == catalog.image_ids.tolist()


def test_a_disk_too_full_for_the_embeddings_alone_is_told(tmp_path, full_disk):
    wide = Catalog(np.array(["a"]), np.array(["x"]), np.zeros((1, 900), np.float32), "weights")
    with full_disk(3000), pytest.raises(DiskError, match="what stood there before is untouched"):
        wide.save(tmp_path / "catalog")
    assert list((tmp_path / "catalog").iterdir()) == []


def test_other_files_of_the_folder_stay(catalog, tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    catalog.save(tmp_path)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_catalog_remembers_what_was_embedded_of_each_photo(catalog, tmp_path):
    views = ("plain", "flip")
    Catalog(catalog.image_ids, catalog.identity, catalog.embeddings, "weights", views).save(tmp_path)
    loaded = load_catalog(tmp_path)
    assert loaded.views == views
    assert loaded.select(slice(1)).views == views
    assert loaded.add(Catalog(*(values[:0] for values in _parts(loaded)), "weights", views)).views == views


def test_other_views_are_refused(catalog):
    flipped = Catalog(*(values[:0] for values in _parts(catalog)), "weights", ("plain", "flip"))
    sentence = "must hold the views that are asked for: plain; flip. Received: plain. Embed the catalog's photos again"
    with pytest.raises(SiameseError, match=sentence):
        catalog.check_views(("plain", "flip"))
    with pytest.raises(SiameseError, match=sentence):
        catalog.add(flipped)


def test_a_catalog_of_an_earlier_version_holds_the_plain_photos(catalog, tmp_path):
    catalog.save(tmp_path)
    index = json.loads((tmp_path / "catalog.json").read_text(encoding="utf-8"))
    assert index.pop("views") == ["plain"]
    (tmp_path / "catalog.json").write_text(json.dumps(index), encoding="utf-8")
    assert load_catalog(tmp_path).views == ("plain",)


def _parts(catalog):
    return catalog.image_ids, catalog.identity, catalog.embeddings
