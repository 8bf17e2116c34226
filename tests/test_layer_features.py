"""Tests of `siamese.explanations.layer_features` and of `siamese features`."""

import h5py
import keras
import numpy as np
import pytest

from siamese.cli.features import features
from siamese.errors import DiskError, ImageError, SiameseError
from siamese.explanations.layer_features import BLOCK_IMAGES, layer_features, layer_names, write_layer_features
from siamese.images import prepare_image
from siamese.models.encoder import build_encoder
from siamese.settings import EncoderSettings

SMALL = {"stem_filters": 4, "stem_kernel": 3, "stem_pool": False, "stem_convolutions": 0, "depth": 1}


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(3)
    return build_encoder((8, 16, 1), EncoderSettings(**SMALL, widths=(8,), bottlenecks=(4,), stripes=2))


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (BLOCK_IMAGES + 3, 8, 16, 1), dtype=np.uint8)


def whole(encoder, layer, images):
    return np.concatenate(list(layer_features(encoder, layer, images.__getitem__, len(images))))


def test_the_features_of_every_layer_are_those_of_the_encoder(encoder, images):
    few = images[:3]
    for name in layer_names(encoder):
        until = keras.Model(encoder.input, encoder.get_layer(name).output)
        expected = keras.ops.convert_to_numpy(until(few, training=False))
        np.testing.assert_allclose(whole(encoder, name, few), expected, atol=1e-4)


def test_blocks_of_photos_are_whole_and_in_order(encoder, images):
    before = images.copy()
    parts = list(layer_features(encoder, "embedding", images.__getitem__, len(images)))
    assert [len(part) for part in parts] == [BLOCK_IMAGES, 3]
    expected = keras.ops.convert_to_numpy(encoder(images, training=False))
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-4)
    assert (images == before).all()


def test_layers_of_many_maps_and_the_photos_themselves_are_no_layers_to_ask_for(encoder):
    names = layer_names(encoder)
    assert names[0] == "standardise"
    assert names[-1] == "embedding"
    assert not {"stripes", "images"} & set(names)


def test_a_wrong_layer_is_told_with_those_there_are(encoder, images, tmp_path):
    with pytest.raises(SiameseError, match="Received: 'conv'. Choose one of standardise, .*stage1_pool, .*embedding"):
        whole(encoder, "conv", images)
    with pytest.raises(SiameseError, match="`layer` must be a layer of the encoder. Received: 'stripes'"):
        write_layer_features(tmp_path / "f.h5", encoder, "stripes", images.__getitem__, np.arange(3).astype(str))
    assert list(tmp_path.iterdir()) == []


def test_the_file_holds_names_and_features_of_all_photos(encoder, images, tmp_path):
    ids = np.array([f"öre{row}" for row in range(len(images))], dtype=object)
    told = []
    write_layer_features(
        tmp_path / "new" / "features.h5", encoder, "stage1_pool", images.__getitem__, ids, fingerprint="abc",
        on_progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    with h5py.File(tmp_path / "new" / "features.h5") as file:
        assert file["image_ids"].asstr()[:].tolist() == ids.tolist()
        assert (file["features"][:] == whole(encoder, "stage1_pool", images)).all()
        assert dict(file.attrs) == {"format_version": 1, "layer": "stage1_pool", "fingerprint": "abc"}
    assert told == [(BLOCK_IMAGES, BLOCK_IMAGES + 3), (BLOCK_IMAGES + 3, BLOCK_IMAGES + 3)]


def test_the_same_photos_make_the_same_bytes(encoder, images, tmp_path):
    for name in ("a.h5", "b.h5"):
        write_layer_features(tmp_path / name, encoder, "embedding", images.__getitem__, np.arange(9).astype(str))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_full_disk_leaves_the_earlier_file(encoder, images, tmp_path, full_disk):
    place, ids = tmp_path / "features.h5", np.arange(len(images)).astype(str)
    write_layer_features(place, encoder, "embedding", images.__getitem__, ids)
    earlier = place.read_bytes()
    with full_disk(5_000), pytest.raises(DiskError, match="must be writable"):
        write_layer_features(place, encoder, "stage1_pool", images.__getitem__, ids)
    assert place.read_bytes() == earlier
    assert list(tmp_path.iterdir()) == [place]


def test_no_photo_is_told(encoder, tmp_path):
    with pytest.raises(SiameseError, match="must name a photo at least"):
        write_layer_features(tmp_path / "f.h5", encoder, "embedding", lambda index: index, np.array([], dtype=object))


def test_the_program_writes_the_features_of_a_folder(matcher, finished_run, photo_folder, tmp_path, capsys):
    model, out = finished_run.folder / "model", tmp_path / "features.h5"
    features(model, photo_folder, "embedding", out)
    assert capsys.readouterr().out == f"{out}: features of embedding for 9 photos\n"
    with h5py.File(out) as file:
        assert file.attrs["fingerprint"] == matcher.fingerprint
        paths = [photo_folder / f"{name}.jpg" for name in file["image_ids"].asstr()[:]]
        shown = np.stack([prepare_image(path, None, matcher.model.settings.preprocessing) for path in paths])
        np.testing.assert_allclose(file["features"][:], matcher.embed(shown), atol=1e-4)


def test_a_photo_that_cannot_be_read_stops_the_program(finished_run, photo_folder, tmp_path):
    (photo_folder / "Zuri" / "2.jpg").write_bytes(b"no photo")
    with pytest.raises(ImageError, match="Zuri/2.jpg"):
        features(finished_run.folder / "model", photo_folder, "embedding", tmp_path / "features.h5")
    assert not (tmp_path / "features.h5").exists()
