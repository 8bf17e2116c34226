import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import h5py
import numpy as np
import pandas as pd
import pytest

from siamese.errors import DiskError, StoreError
from siamese.images import prepare_image
from siamese.manifest import from_folder, from_table, read_manifest
from siamese.settings import PreprocessingSettings
from siamese.store import BLOCK, build_store, decoded_photos, open_store, photos_fingerprint

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


def test_rotations_reach_the_store(manifest, place):
    turned = manifest.with_column("rotation", np.array(["", "0", "90", "180", "270"] + [""] * 4, dtype=object))
    with build_store(turned, place, SMALL) as store:
        for row, rotation in enumerate([0, 0, 90, 180, 270]):
            expected = prepare_image(manifest.paths[row], None, SMALL, rotation)
            np.testing.assert_array_equal(store.read(np.array([row]))[0], expected)


def test_several_threads_read_at_once(manifest, place, rng):
    with build_store(manifest, place, SMALL) as store, ThreadPoolExecutor(8) as pool:
        everything = store.read(np.arange(9))
        orders = [rng.integers(0, 9, 50) for _ in range(200)]
        for order, images in zip(orders, pool.map(store.read, orders), strict=True):
            np.testing.assert_array_equal(images, everything[order])


def test_h5py_reads_a_store_too(manifest, place):
    with build_store(manifest, place, SMALL) as store, h5py.File(place) as file:
        np.testing.assert_array_equal(file["images"][:], store.read(np.arange(9)))
        assert file["stored"][:].tolist() == [1] * 9


def test_the_same_photos_make_the_same_bytes(manifest, place):
    build_store(manifest, place, SMALL).close()
    build_store(manifest, place.with_name("again.h5"), SMALL).close()
    assert place.read_bytes() == place.with_name("again.h5").read_bytes()


def test_photos_known_to_be_unreadable_are_not_tried(manifest, photo_folder, place):
    (photo_folder / "Mara" / "2.jpg").write_text("not a photo")
    known = {"Tano/1": "took longer than 20 seconds.", "elsewhere": "is not in this manifest."}
    calls = []
    with build_store(
        manifest, place, SMALL, unreadable=known, on_progress=lambda *counts: calls.append(counts)
    ) as store:
        assert len(store) == 7
        assert "Tano/1" not in store.image_ids
        np.testing.assert_array_equal(store.read(np.array([2]))[0], prepare_image(manifest.paths[4], None, SMALL))
    quarantine = pd.read_csv(place.with_name("quarantine.csv"))
    assert quarantine["image_id"].tolist() == ["Mara/2", "Tano/1"]
    assert quarantine["reason"][1] == "took longer than 20 seconds."
    assert calls == [(9, 9)]
    with build_store(manifest, place, SMALL) as store:  # nothing is known any more, so it is tried
        assert len(store) == 8


def test_the_fingerprint_sees_who_is_known_to_be_unreadable(manifest):
    plain = photos_fingerprint(manifest, SMALL)
    assert photos_fingerprint(manifest, SMALL, {"elsewhere": "a reason"}) == plain
    assert photos_fingerprint(manifest, SMALL, {"Tano/1": "a reason"}) != plain
    assert photos_fingerprint(manifest, SMALL, {"Tano/1": "another reason"}) != plain


def test_few_photos_are_decoded_ahead_of_the_one_that_is_taken(manifest):
    taken = []

    def rows():
        for number in range(4 * BLOCK):
            taken.append(number)
            yield number % 9

    decoded = decoded_photos(manifest, SMALL, rows())
    next(decoded)
    assert len(taken) == BLOCK
    assert [row for row, _ in decoded] == [number % 9 for number in range(1, 4 * BLOCK)]


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
        lambda manifest: (manifest.with_column("rotation", np.full(9, "90")), SMALL),
        lambda manifest: (manifest, SMALL.model_copy(update={"margin": 0.2})),
    ],
    ids=["a newer photo", "boxes", "fewer photos", "rotations", "another preprocessing"],
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


@pytest.mark.parametrize("lost", [1, 5000])
def test_a_store_that_was_cut_short_is_refused(manifest, place, lost):
    build_store(manifest, place, SMALL).close()
    os.truncate(place, place.stat().st_size - lost)
    with pytest.raises(StoreError, match="Received: .*truncated file"):
        open_store(place)


def test_reading_says_when_the_file_was_cut_short_meanwhile(manifest, place):
    with build_store(manifest, place, SMALL) as store:
        os.truncate(place, place.stat().st_size - 1)
        with pytest.raises(StoreError, match="must be whole. Received: a file that ends early"):
            store.read(np.array([8]))


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
    with pytest.raises(StoreError, match="must be whole and of format 2. Received: format 99"):
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


def interrupted(manifest, place, after=1):
    """Stops a build after so many blocks; returns its progress."""
    calls = []

    def stop(*counts):
        calls.append(counts)
        if len(calls) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(manifest, place, SMALL, on_progress=stop)
    return calls


@pytest.fixture
def many(photo_folder):
    """Three blocks of rows and a few more, over nine photos, with boxes of their own; one photo cannot be read."""
    (photo_folder / "Zuri" / "1.jpg").write_text("not a photo")
    nine = from_folder(photo_folder)
    rows = np.arange(3 * BLOCK + 40)
    table = nine.table.iloc[rows % 9].assign(image_id=[f"row{row}" for row in rows])
    boxes = {"x": rows % 30, "y": rows % 17, "width": 40.0, "height": 30.0}
    return from_table(table.assign(**boxes), photo_folder)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_build_goes_on_where_it_stood(many, place, after):
    build_store(many, place.with_name("whole.h5"), SMALL).close()
    assert interrupted(many, place, after)[-1] == (after * BLOCK, len(many))
    assert not place.exists()
    calls = []
    build_store(many, place, SMALL, on_progress=lambda *counts: calls.append(counts)).close()
    unreadable = sum(row % 9 == 6 for row in range(after * BLOCK))  # tried again
    assert calls[0][0] == min((after + 1) * BLOCK - unreadable, len(many))
    assert calls[-1] == (len(many), len(many))
    assert place.read_bytes() == place.with_name("whole.h5").read_bytes()
    quarantine = pd.read_csv(place.with_name("quarantine.csv"))
    assert quarantine["image_id"].tolist() == [f"row{row}" for row in range(6, len(many), 9)]
    assert sorted(path.name for path in place.parent.iterdir()) == ["images.h5", "quarantine.csv", "whole.h5"]


def test_the_earlier_store_stands_until_the_new_one_is_whole(many, place):
    build_store(many.select(np.arange(5)), place, SMALL).close()
    earlier = place.read_bytes()
    interrupted(many, place)
    assert place.read_bytes() == earlier


def test_an_interrupted_build_starts_anew_when_a_photo_changed_meanwhile(many, place, draw_photo):
    interrupted(many, place)
    draw_photo(many.paths[0], seed=77)
    calls = []
    with build_store(many, place, SMALL, on_progress=lambda *counts: calls.append(counts)) as store:
        np.testing.assert_array_equal(store.read(np.array([0]))[0], prepare_image(many.paths[0], many.boxes[0], SMALL))
    assert calls[0] == (BLOCK, len(many))


def test_images_whose_block_was_torn_are_written_again(many, place):
    """What a kill between the images of a block and their states leaves: bytes that nothing calls stored."""
    build_store(many, place.with_name("whole.h5"), SMALL).close()
    interrupted(many, place, 2)
    unfinished = place.with_name(".unfinished-images.h5")
    with h5py.File(unfinished) as file:
        images_at, size = file["images"].id.get_offset(), int(np.prod(file["images"].shape[1:]))
        assert not file["stored"][2 * BLOCK :].any()
    with unfinished.open("r+b") as file:
        file.seek(images_at + 2 * BLOCK * size)
        file.write(b"\xaa" * (3 * size // 2))
    build_store(many, place, SMALL).close()
    assert place.read_bytes() == place.with_name("whole.h5").read_bytes()


@pytest.mark.parametrize("length", [0, 100, 5000])
def test_a_layout_that_was_cut_short_is_made_anew(many, place, length):
    interrupted(many, place)
    os.truncate(place.with_name(".unfinished-images.h5"), length)
    calls = []
    build_store(many, place, SMALL, on_progress=lambda *counts: calls.append(counts)).close()
    assert calls[0] == (BLOCK, len(many))


def test_a_disk_that_fills_up_keeps_what_was_done(many, place, full_disk):
    build_store(many.select(np.arange(5)), place, SMALL).close()
    earlier, calls = place.read_bytes(), []

    limit = ExitStack()

    def fill_the_disk(*counts):
        calls.append(counts)
        limit.enter_context(full_disk(BLOCK * 16 * 24 * 3))  # the second block lies beyond

    with limit, pytest.raises(DiskError, match="Received: File too large. Free space on the disk"):
        build_store(many, place, SMALL, on_progress=fill_the_disk)
    assert place.read_bytes() == earlier
    build_store(many, place, SMALL, on_progress=lambda *counts: calls.append(counts)).close()
    assert calls[1][0] > BLOCK
    build_store(many, place.with_name("whole.h5"), SMALL).close()
    assert place.read_bytes() == place.with_name("whole.h5").read_bytes()


def test_a_store_without_room_on_the_disk_is_not_begun(manifest, place, full_disk):
    free = shutil.disk_usage(place.parent.parent).free
    huge = PreprocessingSettings(height=40_000, width=free // 40_000)
    sentence = r"images\.h5: the disk must have room for the image store, .* GB more"
    with full_disk(1000), pytest.raises(DiskError, match=sentence):  # so that nothing huge is ever written
        build_store(manifest, place, huge)
    assert not place.parent.exists()


KILLED = """
import sys
from pathlib import Path
from siamese.manifest import read_manifest
from siamese.settings import PreprocessingSettings
from siamese.store import build_store
print("ready", flush=True)
build_store(read_manifest(sys.argv[1]), Path(sys.argv[2]), PreprocessingSettings(height=16, width=24, channels=3),
            on_progress=lambda done, total: print(done, flush=True)).close()
"""


def test_a_build_that_is_killed_again_and_again_ends_with_the_same_bytes(many, place, tmp_path, rng):
    many.write(tmp_path / "manifest.csv")
    build_store(read_manifest(tmp_path / "manifest.csv"), place.with_name("whole.h5"), SMALL).close()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "manifest.csv"), str(place)]
    num_kills = 0
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as build:
            build.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.2))
            build.kill()
        num_kills += build.returncode == -signal.SIGKILL
        if place.exists():
            break
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert num_kills > 0
    assert place.read_bytes() == place.with_name("whole.h5").read_bytes()
    assert not place.with_name(".unfinished-images.h5").exists()
