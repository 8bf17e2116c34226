from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.checks.labels import ALIKE, SAME_MOMENT, SAME_PHOTO, check_labels, names_of_files, two_name_suspects
from siamese.manifest import from_table


def rows(*photos, **columns):
    """A manifest of `(path, identity)` rows, with image ids a, b, c, ..., and the file of each row."""
    paths, names = zip(*photos, strict=True)
    table = pd.DataFrame({"image_id": [chr(97 + n) for n in range(len(paths))], "path": paths, "identity": names})
    return from_table(table.assign(**columns), ".", check_files=False), pd.factorize(np.array(paths, object))[0]


def checked(*photos, group, area=None, **columns):
    manifest, file = rows(*photos, **columns)
    return check_labels(manifest, file, np.array(group), np.full(len(group), 100) if area is None else np.array(area))


def suspects(*photos, group, phash, burst=None):
    manifest, file = rows(*photos)
    names = names_of_files(manifest.identity, file, np.full(len(file), True), len(group))
    first = np.unique(file, return_index=True)[1]
    burst = np.full(len(group), -1) if burst is None else np.array(burst)
    return two_name_suspects(manifest.image_ids[first], names, np.array(group), burst, np.array(phash, dtype=object))


def test_copies_under_two_names_leave_training_and_stay_in_the_catalog():
    found = checked(("1", "Mara"), ("2", "Tano"), ("3", "Zuri"), group=[0, 0, -1])
    assert found.use.tolist() == ["catalog", "catalog", ""]
    assert found.conflicting.tolist() == [True, True, False]
    assert found.kept.all()
    assert not found.spare.any()


def test_the_largest_of_copies_that_agree_is_kept():
    found = checked(("1", "Mara"), ("2", "Mara"), ("3", "Mara"), group=[0, 0, 0], area=[100, 900, 400])
    assert found.use.tolist() == ["nothing", "", "nothing"]
    assert found.kept.tolist() == [False, True, False]


def test_the_largest_file_of_a_group_is_kept_and_the_first_of_equal_ones():
    names = [(number, "Mara") for number in "1234"]
    found = checked(*names, group=[0, 0, 0, -1], area=[600, 2400, 2400, 100])
    assert found.kept.tolist() == [False, True, False, True]


def test_of_equally_large_copies_the_first_is_kept():
    assert checked(("1", "Mara"), ("2", "Mara"), group=[0, 0]).use.tolist() == ["", "nothing"]


def test_a_name_is_not_lost_with_a_smaller_copy():
    found = checked(("1", ""), ("2", "Mara"), group=[0, 0], area=[900, 100])
    assert found.use.tolist() == ["nothing", ""]


def test_an_unknown_photo_whose_copy_has_a_name_is_told_and_not_changed():
    found = checked(("1", ""), ("2", "Mara"), ("3", ""), group=[0, 0, -1])
    assert found.named_by_copy.to_dict("records") == [{"image_id": "a", "names": "Mara"}]
    assert not found.conflicting.any()


def test_two_boxes_in_one_file_are_two_animals():
    box = {"x": [0, 50], "y": [0, 0], "width": [40, 40], "height": [30, 30]}
    found = checked(("1", "Mara"), ("1", "Tano"), group=[-1], **box)
    assert found.use.tolist() == ["", ""]


def test_one_box_under_two_names_is_a_conflict():
    box = {"x": [0, 0], "y": [0, 0], "width": [40, 40], "height": [30, 30]}
    assert checked(("1", "Mara"), ("1", "Tano"), group=[-1], **box).use.tolist() == ["catalog", "catalog"]
    assert checked(("1", "Mara"), ("1", "Tano"), group=[-1]).use.tolist() == ["catalog", "catalog"]


def test_copies_that_show_the_same_two_animals_do_not_conflict():
    box = {"x": [0, 50, 0, 50], "y": [0] * 4, "width": [40] * 4, "height": [30] * 4}
    found = checked(("1", "Mara"), ("1", "Tano"), ("2", "Mara"), ("2", "Tano"), group=[0, 0], **box)
    assert found.use.tolist() == ["", "", "nothing", "nothing"]


def test_a_second_animal_without_a_name_is_not_told_as_named_by_a_copy():
    box = {"x": [0, 50], "y": [0, 0], "width": [40, 40], "height": [30, 30]}
    assert checked(("1", "Mara"), ("1", ""), group=[-1], **box).named_by_copy.empty


def test_what_was_left_out_stays_out_and_takes_no_part():
    found = checked(("1", "Mara"), ("2", "Tano"), group=[0, 0], area=[900, 100], use=["nothing", ""])
    assert found.use.tolist() == ["nothing", ""]
    assert not found.conflicting.any()


def test_the_manifest_is_unchanged():
    manifest, file = rows(("1", "Mara"), ("2", "Tano"))
    before = manifest.table.copy()
    check_labels(manifest, file, np.array([0, 0]), np.array([1, 1]))
    pd.testing.assert_frame_equal(manifest.table, before)


FILES = st.tuples(st.sampled_from(["", "Mara", "Tano"]), st.integers(-1, 3), st.integers(1, 3))


@given(st.lists(FILES, min_size=1, max_size=20))
def test_every_group_keeps_one_file_or_conflicts_as_a_whole(files):
    names, group, area = zip(*files, strict=True)
    found = checked(*((str(n), name) for n, name in enumerate(names)), group=group, area=area)
    for code in set(group) - {-1}:
        members = [n for n in range(len(files)) if group[n] == code]
        known = {names[n] for n in members} - {""}
        if len(known) > 1:
            assert {found.use[n] for n in members} == {"catalog"}
        else:
            (kept,) = (n for n in members if found.use[n] == "")
            named = [n for n in members if names[n]] or members
            assert kept == max(named, key=lambda n: (area[n], -n))
    assert all(found.use[n] == "" for n in range(len(files)) if group[n] == -1)


def test_copies_and_near_hashes_make_names_suspect():
    found = suspects(
        ("1", "Tano"), ("2", "Mara"), ("3", "Zuri"), ("4", "Mara"), ("5", "Leto"),
        group=[0, 0, -1, -1, -1],
        phash=["0" * 16, "0" * 16, "00000000000000f0", "0000000000000070", "ffffffffffffffff"],
    )  # fmt: skip
    assert found.to_dict("records") == [
        {"identity_a": "Mara", "identity_b": "Tano", "evidence": SAME_PHOTO, "bits": 0, "num_pairs": 2,
         "photo_a": "b", "photo_b": "a"},
        {"identity_a": "Mara", "identity_b": "Zuri", "evidence": ALIKE, "bits": 1, "num_pairs": 1,
         "photo_a": "d", "photo_b": "c"},
    ]  # fmt: skip


def test_photos_of_one_moment_make_names_suspect():
    found = suspects(("1", "Mara"), ("2", "Tano"), group=[-1, -1], burst=[0, 0], phash=["0" * 16, "f" * 16])
    assert found.to_dict("records") == [
        {"identity_a": "Mara", "identity_b": "Tano", "evidence": SAME_MOMENT, "bits": 64, "num_pairs": 1,
         "photo_a": "a", "photo_b": "b"},
    ]  # fmt: skip


def test_unknown_photos_and_photos_without_a_hash_make_no_name_suspect():
    assert suspects(("1", ""), ("2", "Mara"), ("3", "Tano"), group=[-1] * 3, phash=["0" * 16, "0" * 16, ""]).empty


def test_animals_of_one_photo_are_not_suspect_for_its_copies():
    found = suspects(("1", "Mara"), ("1", "Tano"), ("2", "Mara"), ("2", "Tano"), group=[0, 0], phash=["0" * 16] * 2)
    assert found.empty


def test_a_blank_photo_under_many_names_says_nothing():
    photos = [(str(n), f"name {n}") for n in range(26)]
    assert len(suspects(*photos, group=[0] * 26, phash=["0" * 16] * 26)) == 26 * 25 / 2
    many = pd.DataFrame({"identity": [f"name {n}" for n in range(40)]})
    names = [frozenset({name}) for name in many["identity"]]
    ids = np.arange(40).astype(str).astype(object)
    assert two_name_suspects(ids, names, np.zeros(40, int), np.full(40, -1), np.full(40, "0" * 16, dtype=object)).empty


@pytest.mark.parametrize("seed", range(5))
def test_suspects_are_those_of_a_plain_double_loop(seed):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 64, 60)
    phash = np.array(
        [f"{int(1 << int(bit)) if rng.random() < 0.5 else 1 << int(bit) | 0xFF:016x}" for bit in bits], dtype=object
    )
    names = [frozenset({str(rng.integers(6))}) for _ in phash]
    expected = {}
    for a, b in combinations(range(60), 2):
        distance = bin(int(phash[a], 16) ^ int(phash[b], 16)).count("1")
        if distance <= 2 and names[a] != names[b]:
            pair = tuple(sorted(names[a] | names[b]))
            nearest, count = expected.get(pair, (64, 0))
            expected[pair] = min(nearest, distance), count + 1
    found = two_name_suspects(np.arange(60).astype(str).astype(object), names, np.full(60, -1), np.full(60, -1), phash)
    assert {(row.identity_a, row.identity_b): (row.bits, row.num_pairs) for row in found.itertuples()} == expected
