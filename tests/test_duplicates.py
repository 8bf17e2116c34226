import os
from itertools import combinations
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from siamese.checks.duplicates import find_duplicates, hash_list_duplicates, image_difference
from siamese.checks.hashes import hashes_from_text
from siamese.checks.photo_facts import photo_facts
from siamese.errors import SiameseError
from siamese.settings import CheckSettings

SAME, ANY = CheckSettings(duplicate_sizes="same"), CheckSettings()
HUMPBACK_LIST = Path(os.environ.get("SIAMESE_DATA", "/nowhere")) / "humpback" / "metadata" / "size_and_phash.csv"


def facts_of(paths):
    return pd.DataFrame([vars(photo_facts(str(path), ANY)) for path in paths])


def listed(*rows):
    """Facts of a hash list: path, width, height, hash as a number."""
    return pd.DataFrame(
        [(path, width, height, f"{value:016x}") for path, width, height, value in rows],
        columns=["path", "width", "height", "phash"],
    )


def groups_of_kernel(paths, max_bits, max_error):
    """Row A2 by a plain double loop over hashes, and a union over chains."""
    images = {path: Image.open(path) for path in paths}
    members = {}
    for path in paths:
        members.setdefault(imagehash.phash(images[path]), []).append(path)
    parent = {hash_: hash_ for hash_ in members}

    def root(hash_):
        return hash_ if parent[hash_] is hash_ else root(parent[hash_])

    def alike(a, b):
        if images[a].mode != images[b].mode or images[a].size != images[b].size:
            return False
        x, y = (np.asarray(images[path], dtype=float) for path in (a, b))
        x, y = ((v - v.mean()) / v.std() for v in (x, y))
        return ((x - y) ** 2).mean() <= max_error

    for first, second in combinations(members, 2):
        near = first - second <= max_bits
        if near and all(alike(a, b) for a in members[first] for b in members[second]):
            parent[root(first)] = root(second)
    groups = {}
    for hash_, files in members.items():
        groups.setdefault(root(hash_), set()).update(files)
    return {frozenset(files) for files in groups.values() if len(files) > 1}


def groups_found(paths, duplicates):
    return {
        frozenset(path for path, code in zip(paths, duplicates.group, strict=True) if code == group)
        for group in range(duplicates.group.max(initial=-1) + 1)
    }


@pytest.fixture
def folder_of_copies(tmp_path, draw_photo):
    """Six photos and copies of them: recompressed, smaller, grey, brighter, turned, cropped, and a chain."""
    paths = []

    def save(image, name, **options):
        paths.append(tmp_path / name)
        image.save(paths[-1], **options)

    for seed in range(6):
        paths.append(draw_photo(tmp_path / f"photo{seed}.png", size=(120, 80), seed=seed))
    photos = [Image.open(path) for path in paths]
    save(photos[0], "recompressed.jpg", quality=60)
    save(photos[1].resize((77, 51), Image.Resampling.LANCZOS), "smaller.jpg", quality=85)
    save(photos[2].convert("L"), "grey.png")
    save(photos[3].point([min(255, value + 9) for value in range(256)] * 3), "brighter.png")
    save(photos[4].rotate(180), "turned.png")
    save(photos[5].crop((0, 0, 90, 80)), "cropped.png")
    for step in range(1, 5):
        save(photos[5].rotate(2 * step, fillcolor=photos[5].getpixel((0, 0))), f"chain{step}.png")
    return sorted(paths)


@pytest.mark.parametrize(("bits", "error"), [(6, 0.1), (12, 0.4), (2, 0.02), (12, 2.0), (0, 0.1)])
def test_groups_of_one_size_are_those_of_a_plain_double_loop(folder_of_copies, bits, error):
    settings = CheckSettings(duplicate_sizes="same", duplicate_bits=bits, duplicate_error=error)
    found = groups_found(folder_of_copies, find_duplicates(facts_of(folder_of_copies), settings))
    assert found == groups_of_kernel(folder_of_copies, bits, error)
    assert found


def test_a_chain_of_copies_is_one_group(folder_of_copies):
    chain = [path for path in folder_of_copies if path.name in ("photo5.png", "chain1.png", "chain2.png", "chain3.png")]
    assert find_duplicates(facts_of([chain[2], chain[3]]), SAME).group.tolist() == [-1, -1]  # its two ends
    assert find_duplicates(facts_of(chain), SAME).group.tolist() == [0, 0, 0, 0]


def test_copies_of_other_sizes_and_in_grey_are_found_and_nothing_else(folder_of_copies):
    found = groups_found(folder_of_copies, find_duplicates(facts_of(folder_of_copies), ANY))
    names = {frozenset(path.name for path in group) for group in found}
    copies = [("photo0.png", "recompressed.jpg"), ("photo1.png", "smaller.jpg"), ("grey.png", "photo2.png")]
    assert {frozenset(pair) for pair in [*copies, ("brighter.png", "photo3.png")]} <= names
    lonely = {"turned.png", "cropped.png", "photo4.png"}
    assert not lonely & set().union(*names)


def test_files_of_equal_hashes_are_a_group_whatever_their_sizes():
    equal = listed(("a", 30, 20, 7), ("b", 60, 40, 7), ("c", 60, 40, 7), ("d", 10, 10, 2**40 - 1))
    assert hash_list_duplicates(equal, ANY).group.tolist() == [0, 0, 0, -1]


def test_a_hash_list_leaves_near_pairs_of_fitting_size_unconfirmed():
    photos = listed(("a", 60, 40, 0), ("b", 60, 40, 0b11), ("c", 30, 20, 0b1 << 30), ("d", 60, 90, 0b1 << 40))
    before = photos.copy()
    for settings, pairs in ((SAME, [["a", "b", 2]]), (ANY, [["a", "b", 2], ["a", "c", 1], ["b", "c", 3]])):
        found = hash_list_duplicates(photos, settings)
        assert found.unconfirmed[["path_a", "path_b", "bits"]].to_numpy().tolist() == pairs
        assert found.group.tolist() == [-1] * 4
    pd.testing.assert_frame_equal(photos, before)


def test_files_without_a_hash_have_no_copies():
    photos = listed(("a", 1, 1, 5), ("b", 1, 1, 5), ("c", 0, 0, 0), ("d", 0, 0, 0))
    photos.loc[2:, "phash"] = ""
    assert hash_list_duplicates(photos, ANY).group.tolist() == [0, 0, -1, -1]
    nothing = hash_list_duplicates(photos.iloc[:0], ANY)
    assert (len(nothing.group), len(nothing.unconfirmed)) == (0, 0)


def test_a_photo_that_went_away_leaves_its_pairs_unconfirmed(folder_of_copies):
    settings = CheckSettings(duplicate_bits=12, duplicate_error=0.3)
    chain = [path for path in folder_of_copies if path.name in ("photo5.png", "chain1.png")]
    facts = facts_of(chain)
    assert len(set(facts["phash"])) == 2
    assert find_duplicates(facts, settings).group.tolist() == [0, 0]
    chain[1].unlink()
    found = find_duplicates(facts, settings)
    assert found.group.tolist() == [-1, -1]
    assert found.unconfirmed[["file_a", "file_b"]].to_numpy().tolist() == [[0, 1]]


def test_every_file_of_one_hash_must_be_a_copy_of_every_file_of_the_other(tmp_path, draw_photo):
    """One photo that happens to have the hash of a copy keeps the two hashes apart."""
    one = draw_photo(tmp_path / "one.png", seed=1)
    another = draw_photo(tmp_path / "another.png", seed=2)
    facts = facts_of([one, one, another]).assign(path=[str(one), str(one), str(another)])
    facts["phash"] = ["0" * 16, "0" * 15 + "1", "0" * 15 + "1"]
    assert find_duplicates(facts, ANY).group.tolist() == [-1, 0, 0]
    assert find_duplicates(facts.iloc[:2], ANY).group.tolist() == [0, 0]


def test_images_of_one_value_are_alike_and_like_no_other():
    flat, waves = np.full((4, 4), 9, dtype=np.uint8), np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert image_difference(flat, flat + 100) == 0
    assert image_difference(flat, waves) == pytest.approx(1)
    assert image_difference(waves, waves * 3) == pytest.approx(0)


def test_a_hash_of_another_form_is_refused():
    with pytest.raises(SiameseError, match="Received: 'abc'"):
        find_duplicates(listed(("a", 1, 1, 5)).assign(phash="abc"), ANY)


def test_the_published_hash_list_has_its_groups():
    if not HUMPBACK_LIST.is_file():
        pytest.skip("SIAMESE_DATA does not name a folder with the humpback labels")
    table = pd.read_csv(HUMPBACK_LIST, dtype={"phash_rep": str}).rename(columns={"Image": "path", "phash_rep": "phash"})
    found = hash_list_duplicates(table, SAME)
    assert (found.group.max() + 1, int((found.group >= 0).sum()), len(found.unconfirmed)) == (4, 8, 680)
    assert len(hashes_from_text(table["phash"])) == 33_321
