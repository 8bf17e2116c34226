import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

from siamese.errors import StoreError
from siamese.images import prepare_image
from siamese.manifest import from_folder
from siamese.settings import PreprocessingSettings
from siamese.store import build_store, open_store

SMALL = PreprocessingSettings(height=16, width=24, channels=3)


@pytest.fixture
def manifest(photo_folder):
    return from_folder(photo_folder)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store" / "images.h5"


def test_a_store_holds_what_prepare_image_makes_of_each_photo(manifest, place):
    with build_store(manifest, place, SMALL) as store:
        assert store.image_ids.tolist() == manifest.image_ids.tolist()
        assert store.preprocessing == SMALL
        assert len(store) == 9
        for row, path in enumerate(manifest.paths):
            np.testing.assert_array_equal(store.read(np.array([row]))[0], prepare_image(path, None, SMALL))


def test_read_gives_images_in_any_order_and_with_repeats(manifest, place):
    with build_store(manifest, place, SMALL) as store:
        everything = store.read(np.arange(9))
        order = np.array([8, 0, 3, 3, 0])
        np.testing.assert_array_equal(store.read(order), everything[order])
        assert store.read(np.array([], dtype=int)).shape == (0, 16, 24, 3)
        assert everything.dtype == np.uint8


@pytest.mark.parametrize("index", [-1, 9])
def test_read_refuses_an_index_beyond_the_store(manifest, place, index):
    with build_store(manifest, place, SMALL) as store, pytest.raises(IndexError, match="between 0 and 8"):
        store.read(np.array([0, index]))


def test_boxes_reach_the_store(manifest, place):
    boxes = np.tile([8.0, 8.0, 40.0, 40.0], (9, 1))
    for name, values in zip(("x", "y", "width", "height"), boxes.T, strict=True):
        manifest = manifest.with_column(name, values)
    with build_store(manifest, place, SMALL) as store:
        np.testing.assert_array_equal(store.read(np.array([4]))[0], prepare_image(manifest.paths[4], boxes[4], SMALL))


def test_unreadable_photos_go_to_quarantine_and_nothing_else_stops(manifest, photo_folder, place):
    photo = photo_folder / "Mara" / "2.jpg"
    photo.write_bytes(photo.read_bytes()[:-200])
    (photo_folder / "Zuri" / "1.jpg").write_text("not a photo")
    with build_store(manifest, place, SMALL) as store:
        assert len(store) == 7
        assert not {"Mara/2", "Zuri/1"} & set(store.image_ids)
        np.testing.assert_array_equal(store.read(np.array([6]))[0], prepare_image(manifest.paths[8], None, SMALL))
    quarantine = pd.read_csv(place.with_name("quarantine.csv"))
    assert quarantine["image_id"].tolist() == ["Mara/2", "Zuri/1"]
    assert quarantine["path"].tolist() == [str(manifest.paths[1]), str(manifest.paths[6])]
    assert "truncated" in quarantine["reason"][0]
    assert "must be a photo" in quarantine["reason"][1]


def test_the_quarantine_goes_when_the_photos_are_mended(manifest, photo_folder, place, draw_photo):
    (photo_folder / "Zuri" / "1.jpg").write_text("not a photo")
    build_store(manifest, place, SMALL).close()
    draw_photo(photo_folder / "Zuri" / "1.jpg", seed=6)
    with build_store(manifest, place, SMALL) as store:
        assert len(store) == 9
    assert not place.with_name("quarantine.csv").exists()


def test_a_store_of_the_same_photos_is_opened_and_not_built_again(manifest, place):
    calls = []
    build_store(manifest, place, SMALL, on_progress=lambda *counts: calls.append(counts)).close()
    written = place.stat().st_mtime_ns
    build_store(manifest, place, SMALL, on_progress=lambda *counts: calls.append(counts)).close()
    assert calls == [(9, 9)]
    assert place.stat().st_mtime_ns == written


def touched(manifest):
    os.utime(manifest.paths[0], ns=(1, 1))
    return manifest, SMALL


def with_boxes(manifest):
    for name in ("x", "y", "width", "height"):
        manifest = manifest.with_column(name, np.full(9, 20.0))
    return manifest, SMALL


@pytest.mark.parametrize(
    "change",
    [
        touched,
        with_boxes,
        lambda manifest: (manifest.select(np.arange(8)), SMALL),
        lambda manifest: (manifest, SMALL.model_copy(update={"margin": 0.2})),
    ],
    ids=["a newer photo", "boxes", "fewer photos", "another preprocessing"],
)
def test_a_store_is_built_again_when_something_changed(manifest, place, change):
    build_store(manifest, place, SMALL).close()
    calls = []
    build_store(
        *change(manifest)[:1], place, change(manifest)[1], on_progress=lambda *counts: calls.append(counts)
    ).close()
    assert calls


def test_a_damaged_store_is_built_again(manifest, place):
    build_store(manifest, place, SMALL).close()
    place.write_bytes(place.read_bytes()[:500])
    with build_store(manifest, place, SMALL) as store:
        assert len(store) == 9


def test_a_store_needs_one_readable_photo(photo_folder, place):
    manifest = from_folder(photo_folder).select(np.array([0, 1]))
    for path in manifest.paths:
        path.write_text("not a photo")
    with pytest.raises(StoreError, match="2 photos, none of them readable; the first: .*must be a photo"):
        build_store(manifest, place, SMALL)
    with pytest.raises(StoreError, match="an empty manifest"):
        build_store(manifest.select(np.array([], dtype=int)), place, SMALL)
    assert list(place.parent.iterdir()) == []


def test_open_store_refuses_another_preprocessing(manifest, place):
    build_store(manifest, place, SMALL).close()
    open_store(place, SMALL).close()
    with pytest.raises(StoreError, match="made with width=32, channels=1. Received: a store with width=24, channels=3"):
        open_store(place, PreprocessingSettings(height=16, width=32))


def test_open_store_says_when_the_store_is_missing_damaged_or_of_another_format(manifest, place):
    with pytest.raises(StoreError, match="no file of this name"):
        open_store(place)
    build_store(manifest, place, SMALL).close()
    with h5py.File(place, "a") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(StoreError, match="must be whole and of format 1. Received: format 99"):
        open_store(place)
    place.write_text("not HDF5")
    with pytest.raises(StoreError, match="Delete it and build it again"):
        open_store(place)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from siamese.manifest import from_folder
from siamese.settings import PreprocessingSettings
from siamese.store import build_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
manifest = from_folder(sys.argv[1])
for limit in map(int, sys.argv[3:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        build_store(manifest, Path(sys.argv[2]), PreprocessingSettings(height=256, width=256))
    except ValueError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="the system has no limit on the size of files")
def test_a_full_disk_gets_a_sentence_and_leaves_the_earlier_store(manifest, photo_folder, place):
    build_store(manifest, place, SMALL).close()
    earlier = place.read_bytes()
    full_after = [0, 100, 1000, 5000, 20_000, 100_000, 400_000, 9 * 256 * 256]  # bytes
    command = [sys.executable, "-c", FULL_DISK, str(photo_folder), str(place), *map(str, full_after)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    sentences = answer.stdout.splitlines()
    assert len(sentences) == len(full_after)
    assert all(line.startswith("DiskError") and "Free space on the disk" in line for line in sentences)
    assert place.read_bytes() == earlier
    assert [path.name for path in place.parent.iterdir()] == ["images.h5"]
