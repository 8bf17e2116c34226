import json
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from siamese.errors import DiskError, ModelFolderError
from siamese.models.comparator import Comparator
from siamese.models.encoder import build_encoder
from siamese.models.storage import StoredModel, file_hash, load_model, save_model
from siamese.settings import EncoderSettings, Settings

FILES = ["comparator.keras", "decision.json", "encoder.keras", "model.json", "model_card.md", "settings.yaml"]


def make_model(pooling="max", stripes=1, seed=0):
    keras.utils.set_random_seed(seed)
    encoder = EncoderSettings(
        stem_filters=4,
        stem_kernel=3,
        stem_convolutions=0,
        stem_pool=False,
        widths=(6,),
        bottlenecks=(3,),
        depth=1,
        pooling=pooling,
        stripes=stripes,
    )
    comparator = Comparator(5)
    comparator.build([(None, 6 * stripes)] * 2)
    settings = Settings(encoder=encoder)
    model = StoredModel(build_encoder((16, 16, 1), encoder), comparator, settings, {"threshold": 0.1}, {"note": "ä"})
    for weight in model.encoder.weights:  # batch statistics other than the fresh ones
        weight.assign(np.abs(np.random.default_rng(seed).normal(size=weight.shape)) + 0.1)
    return model


def numbers(model):
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (4, 16, 16, 1)).astype(np.uint8)
    embeddings = keras.ops.convert_to_numpy(model.encoder(images, training=False))
    return embeddings, keras.ops.convert_to_numpy(model.comparator([embeddings, embeddings[::-1]]))


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "model", make_model(), card_text="# Card\n")
    return tmp_path / "model"


@pytest.mark.parametrize(("pooling", "stripes"), [("max", 1), ("average", 1), ("gem", 2)])
def test_what_loads_gives_the_numbers_that_were_saved(tmp_path, pooling, stripes):
    model = make_model(pooling, stripes)
    save_model(tmp_path / "model", model, card_text="# Card\n")
    loaded = load_model(tmp_path / "model")
    for saved, found in zip(numbers(model), numbers(loaded), strict=True):
        assert np.array_equal(saved, found)
    assert loaded.settings == model.settings
    assert loaded.decision == {"threshold": 0.1}
    assert loaded.card == {"note": "ä"}
    assert loaded.drift == {}


def test_what_the_calibration_photos_look_like_is_kept(tmp_path):
    save_model(tmp_path / "model", replace(make_model(), drift={"limit": 1.5}), card_text="")
    assert load_model(tmp_path / "model").drift == {"limit": 1.5}
    (tmp_path / "model" / "drift.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelFolderError, match="`drift.json` was changed after it was saved"):
        load_model(tmp_path / "model")


def test_a_model_folder_holds_its_parts_and_their_hashes(folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    index = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert index["files"] == {name: file_hash(folder / name) for name in FILES if name != "model.json"}
    assert index["format"] == 1
    assert index["keras"] == keras.__version__
    assert (folder / "model_card.md").read_text(encoding="utf-8") == "# Card\n"


def test_nothing_in_a_model_folder_is_pickled(folder):
    for name in ("encoder.keras", "comparator.keras"):
        with zipfile.ZipFile(folder / name) as parts:
            assert sorted(parts.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]
            assert b"__lambda__" not in parts.read("config.json")


@pytest.mark.parametrize("name", [name for name in FILES if name != "model.json"])
def test_a_changed_part_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelFolderError, match=f"`{name}` was changed after it was saved. Copy the whole model folder"):
        load_model(folder)


def test_a_missing_part_is_refused(folder):
    (folder / "decision.json").unlink()
    with pytest.raises(ModelFolderError, match="`decision.json` is missing"):
        load_model(folder)


@pytest.mark.parametrize("text", [None, "{", "[1]", "7"])
def test_a_folder_without_a_sound_index_is_no_model_folder(folder, text):
    (folder / "model.json").unlink()
    if text is not None:
        (folder / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(
        ModelFolderError, match="a model folder must hold model.json. Received: .* Give the folder that"
    ):
        load_model(folder)


def test_another_format_is_refused(folder):
    index = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps({**index, "format": 2}), encoding="utf-8")
    with pytest.raises(ModelFolderError, match=r"the format must be 1. Received: 2. Update siamese."):
        load_model(folder)


def test_saving_again_replaces_the_whole_model(folder):
    other = make_model(seed=9)
    save_model(folder, other, card_text="# Other\n")
    assert np.array_equal(numbers(load_model(folder))[0], numbers(other)[0])
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_full_disk_leaves_the_earlier_model(folder, full_disk):
    before = numbers(load_model(folder))
    with full_disk(5000), pytest.raises(DiskError, match=r"the model could not be saved .* earlier model is untouched"):
        save_model(folder, make_model(seed=9), card_text="# Other\n")
    assert all(np.array_equal(one, other) for one, other in zip(before, numbers(load_model(folder)), strict=True))


def test_what_a_kill_left_behind_does_not_disturb_the_next_save(folder):
    for name in ("model.unfinished", "model.old"):
        (folder.with_name(name)).mkdir()
        (folder.with_name(name) / "rest").write_text("half", encoding="utf-8")
    save_model(folder, make_model(seed=9), card_text="# Other\n")
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert sorted(path.name for path in folder.iterdir()) == FILES
