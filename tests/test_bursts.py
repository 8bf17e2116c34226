from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from siamese.checks import bursts as module
from siamese.checks.bursts import burst_groups
from siamese.checks.groups import group_codes, join_linked
from siamese.errors import SiameseError
from siamese.settings import CheckSettings

SETTINGS = CheckSettings(burst_seconds=60, burst_bits=3, duplicate_bits=3)


def burst(identity, *, phash=None, taken=None, settings=SETTINGS):
    texts = [("" if value is None else f"{value:016x}") for value in phash or [None] * len(identity)]
    times = taken or [""] * len(identity)
    arrays = (np.array(column, dtype=object) for column in (identity, texts, times))
    return burst_groups(*arrays, settings).tolist()


def test_photos_within_a_minute_are_one_burst_over_chains():
    times = [f"2019-05-03T10:{minute:02d}:00" for minute in (0, 1, 2, 4)]
    assert burst(["Mara"] * 4, taken=times) == [0, 0, 0, -1]
    assert burst(["Mara", "Mara", "Tano", "Tano"], taken=times) == [0, 0, -1, -1]


def test_photos_of_near_hashes_are_one_burst_over_chains():
    assert burst(["Mara"] * 4, phash=[0b0, 0b111, 0b111111, 2**60 - 1]) == [0, 0, 0, -1]
    assert burst(["Mara", "Tano", "Mara", "Tano"], phash=[0, 0, 0, 0]) == [0, 1, 0, 1]


def test_time_and_hash_each_link_photos_of_a_known_individual():
    times = ["2019-05-03T10:00:00", "2019-05-03 10:00:50", "2020-01-01T00:00:00+00:00"]
    assert burst(["Mara"] * 3, phash=[0, 2**50 - 1, 2**50 - 2], taken=times) == [0, 0, 0]


def test_photos_of_unknown_individuals_need_time_and_hash():
    times = ["2019-05-03T10:00:00", "2019-05-03T10:00:01", "2019-05-03T10:00:02", "2019-05-03T11:00:00"]
    assert burst([""] * 4, phash=[0, 0, 2**50 - 1, 0], taken=times) == [0, 0, -1, -1]
    assert burst([""] * 2, phash=[0, 0]) == [-1, -1]
    assert burst([""] * 2, taken=times[:2]) == [-1, -1]


@pytest.mark.parametrize("text", ["2019-05-03", "", "yesterday", "0000:00:00 00:00:00"])
def test_what_is_no_time_of_day_links_nothing(text):
    assert burst(["Mara", "Mara"], taken=[text, text]) == [-1, -1]


PHOTO = st.tuples(
    st.sampled_from(["", "Mara", "Tano"]),
    st.one_of(st.none(), st.sampled_from([0, 0b11, 0b1111, 0b111111, 2**63, 2**63 + 0b11])),
    st.one_of(st.none(), st.integers(0, 300)),
)


@given(st.lists(PHOTO, max_size=14))
def test_bursts_are_those_of_a_plain_double_loop(photos):
    label = list(range(len(photos)))
    for i, j in combinations(range(len(photos)), 2):
        (name, hash_a, time_a), (other, hash_b, time_b) = photos[i], photos[j]
        alike = None not in (hash_a, hash_b) and (hash_a ^ hash_b).bit_count() <= 3
        close = None not in (time_a, time_b) and abs(time_a - time_b) <= 60
        if name == other and (alike or close if name else alike and close):
            old, new = label[j], label[i]
            label = [new if value == old else value for value in label]
    times = ["" if t is None else f"2019-05-03T10:{t // 60:02d}:{t % 60:02d}" for _, _, t in photos]
    found = burst([name for name, _, _ in photos], phash=[value for _, value, _ in photos], taken=times)
    assert found == group_codes(np.array(label, dtype=int)).tolist()


def test_links_are_joined_block_by_block(monkeypatch):
    chain = [(1 << bit) - 1 for bit in range(0, 60, 3)]
    whole = burst(["Mara"] * 20, phash=chain)
    monkeypatch.setattr(module, "ENOUGH_PAIRS", 2)
    assert burst(["Mara"] * 20, phash=chain) == whole == [0] * 20


@pytest.fixture
def frames(tmp_path):
    """Three photos: two of them nearly one picture, the third another one."""
    rng = np.random.default_rng(0)
    first, other = (rng.integers(0, 256, (32, 32), dtype=np.uint8) for _ in range(2))
    nearly = np.clip(first + rng.normal(0, 20, first.shape), 0, 255).astype(np.uint8)
    paths = [str(tmp_path / f"{name}.png") for name in "abc"]
    for path, image in zip(paths, (first, nearly, other), strict=True):
        Image.fromarray(image).save(path)
    return paths


def photo_bursts(paths, phash, **changes):
    settings = CheckSettings(burst_bits=3, **changes)
    columns = (
        np.array(column, dtype=object) for column in (["Mara"] * 3, [f"{value:016x}" for value in phash], [""] * 3)
    )
    return burst_groups(*columns, settings, paths=paths).tolist()


def test_near_hashes_are_a_burst_only_if_the_pictures_are_alike(frames):
    assert photo_bursts(frames, [0b0, 0b1, 0b10]) == [0, 0, -1]
    assert photo_bursts(frames, [0b0, 0b1, 0b10], burst_error=3) == [0, 0, 0]
    assert photo_bursts(frames, [0b0, 0b11111, 0b10]) == [-1, -1, -1]
    assert photo_bursts(frames, [0b0, 0b1, 0b0]) == [0, 0, 0]  # equal hashes are one picture


def test_a_photo_that_went_away_is_in_no_burst(frames):
    Path(frames[1]).unlink()
    assert photo_bursts(frames, [0b0, 0b1, 0b10]) == [-1, -1, -1]


def test_inputs_stay_and_a_wrong_hash_is_refused():
    arrays = [np.array(values, dtype=object) for values in (["Mara", "Mara"], ["0" * 16] * 2, ["", "2019-05-03T10:00"])]
    before = [array.copy() for array in arrays]
    burst_groups(*arrays, SETTINGS)
    assert all((array == old).all() for array, old in zip(arrays, before, strict=True))
    with pytest.raises(SiameseError, match="must be 16 hexadecimal digits"):
        burst_groups(arrays[0], np.array(["12", ""], dtype=object), arrays[2], SETTINGS)


def test_no_photo_is_in_no_burst():
    assert burst([]) == []


def test_joining_again_keeps_the_groups_of_before():
    label = join_linked(np.arange(5), np.array([[0, 4]]))
    label = join_linked(label, np.array([[4, 2]]))
    assert group_codes(label).tolist() == [0, -1, 0, -1, 0]
