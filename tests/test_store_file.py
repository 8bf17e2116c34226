import os

import h5py
import numpy as np
import pytest

from siamese.errors import DiskError
from siamese.settings import PreprocessingSettings
from siamese.store_file import StoreWriter, lay_out, read_head

SETTINGS = PreprocessingSettings(height=8, width=12, channels=3)


def names(count):
    return np.array([f"w_{number:05d} \u00e9" for number in range(count)], dtype=object)


def head_of(place):
    with place.open("rb", buffering=0) as file:
        return read_head(file)


@pytest.mark.parametrize("count", [1, 7, 1000])
@pytest.mark.parametrize("side", [8, 20, 300])
def test_a_layout_reserves_its_places_and_reads_as_nothing_stored(tmp_path, count, side):
    place = tmp_path / "images.h5"
    lay_out(place, names(count), PreprocessingSettings(height=side, width=side), "abc")
    head = head_of(place)
    assert head.image_ids.tolist() == names(count).tolist()
    assert head.fingerprint == "abc"
    assert head.image_shape == (side, side, 1)
    assert not head.stored.any()
    assert head.stored_at + count <= head.images_at or head.images_at + count * side * side <= head.stored_at
    with h5py.File(place) as file:
        assert file["images"].shape == (count, side, side, 1)
        assert not file["images"][-1].any()


def has_files_with_holes(folder):
    (folder / "hole").touch()
    os.truncate(folder / "hole", 10_000_000)
    return (folder / "hole").stat().st_blocks * 512 < 1_000_000


def test_a_large_layout_takes_little_room(tmp_path):
    if not has_files_with_holes(tmp_path):
        pytest.skip("this file system has no files with holes")
    lay_out(tmp_path / "images.h5", names(200), PreprocessingSettings(height=384, width=384), "abc")
    status = (tmp_path / "images.h5").stat()
    assert status.st_size > 200 * 384 * 384
    assert status.st_blocks * 512 < 100_000


def test_what_was_written_is_read_by_h5py_at_its_rows(tmp_path, rng):
    place, images = tmp_path / "images.h5", rng.integers(0, 256, (6, 8, 12, 3)).astype(np.uint8)
    lay_out(place, names(6), SETTINGS, "abc")
    with StoreWriter(place) as writer:
        writer.write({1: images[1], 4: images[4]})
        writer.write({})
        writer.write({0: images[0]})
        assert writer.stored.tolist() == [True, True, False, False, True, False]
    assert head_of(place).stored.tolist() == [True, True, False, False, True, False]
    with h5py.File(place) as file:
        for row in (0, 1, 4):
            np.testing.assert_array_equal(file["images"][row], images[row])
        assert not file["images"][[2, 3, 5]].any()


def test_another_writer_goes_on_and_keeps_what_is_stored(tmp_path, rng):
    place, images = tmp_path / "images.h5", rng.integers(0, 256, (3, 8, 12, 3)).astype(np.uint8)
    lay_out(place, names(3), SETTINGS, "abc")
    for row in (2, 0):
        with StoreWriter(place) as writer:
            writer.write({row: images[row]})
    assert head_of(place).stored.tolist() == [True, False, True]
    with h5py.File(place) as file:
        np.testing.assert_array_equal(file["images"][:], images * np.array([1, 0, 1], np.uint8)[:, None, None, None])


def test_images_that_could_not_be_written_are_not_called_stored(tmp_path, full_disk):
    place = tmp_path / "images.h5"
    lay_out(place, names(200), SETTINGS, "abc")
    image = np.full((8, 12, 3), 7, np.uint8)
    with StoreWriter(place) as writer, full_disk(head_of(place).images_at + 100 * image.nbytes + 5):
        writer.write({0: image})
        with pytest.raises(OSError, match="File too large"):
            writer.write({99: image, 100: image})
    assert np.flatnonzero(head_of(place).stored).tolist() == [0]


@pytest.mark.parametrize("num_bytes", [0, 1000, 5000, 20_000])
def test_a_layout_that_does_not_fit_is_not_there(tmp_path, full_disk, num_bytes):
    with full_disk(num_bytes), pytest.raises(DiskError, match="Free space on the disk"):
        lay_out(tmp_path / "images.h5", names(200), SETTINGS, "abc")
    assert list(tmp_path.iterdir()) == []
