import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.checks import hashes as module
from siamese.checks.hashes import (
    hamming_distance,
    hashes_from_text,
    hashes_to_text,
    near_pair_blocks,
    near_pairs,
    read_hashes,
)
from siamese.errors import ManifestError, SiameseError

WORDS = st.integers(0, 2**64 - 1)


def by_brute_force(hashes, max_bits):
    values = hashes.tolist()
    return [
        [i, j]
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if (values[i] ^ values[j]).bit_count() <= max_bits
    ]


def clustered(rng, count, bits):
    """Hashes of a few centres with so many bits turned, so that near pairs are many."""
    centres = rng.integers(0, 2**64, 6, dtype=np.uint64)
    turned = (np.uint64(1) << rng.integers(0, 64, (count, bits)).astype(np.uint64)).astype(np.uint64)
    return np.unique(np.bitwise_xor.reduce(turned, axis=1) ^ rng.choice(centres, count))


def test_three_hashes_of_known_distances():
    hashes = np.array([0b000000, 0b000111, 0b111111], dtype=np.uint64)
    assert hamming_distance(hashes[:, None], hashes).tolist() == [[0, 3, 6], [3, 0, 3], [6, 3, 0]]
    assert near_pairs(hashes, 3).tolist() == [[0, 1], [1, 2]]
    assert near_pairs(hashes, 6).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert near_pairs(hashes, 2).shape == (0, 2)


@given(st.lists(WORDS, max_size=20))
def test_text_becomes_numbers_and_text_again(values):
    hashes = np.array(values, dtype=np.uint64)
    np.testing.assert_array_equal(hashes_from_text(hashes_to_text(hashes)), hashes)


@given(st.lists(WORDS, unique=True, max_size=30), st.integers(0, 24))
def test_near_pairs_of_any_hashes_are_those_of_brute_force(values, max_bits):
    hashes = np.array(values, dtype=np.uint64)
    assert near_pairs(hashes, max_bits).tolist() == by_brute_force(hashes, max_bits)


@pytest.mark.parametrize("max_bits", range(9))
@pytest.mark.parametrize("always", ["buckets", "every pair"])
def test_both_ways_of_finding_pairs_agree_with_brute_force(max_bits, always, rng, monkeypatch):
    monkeypatch.setattr(module, "_num_candidates", lambda *_: 0 if always == "buckets" else 10**9)
    monkeypatch.setattr(module, "BLOCK", 50)  # many blocks
    hashes = rng.permutation(clustered(rng, 150, max_bits))
    before = hashes.copy()
    assert near_pairs(hashes, max_bits).tolist() == by_brute_force(hashes, max_bits)
    np.testing.assert_array_equal(hashes, before)


def test_the_number_of_candidates_is_that_of_the_buckets(rng):
    words = clustered(rng, 200, 4).view(np.uint16).reshape(-1, 4)
    for shares in ([1, 1, 1, 0], [2, 1, 0, -1]):
        pairs = [pair for word in range(4) for pair in module._word_pairs(words[:, word], shares[word])]
        assert module._num_candidates(words, shares, 10**9) == sum(len(left) for left, _ in pairs)


def test_many_random_hashes_take_the_buckets(rng, monkeypatch):
    monkeypatch.setattr(module, "_near_of_all", None)
    hashes = np.unique(rng.integers(0, 2**64, 30_000, dtype=np.uint64))
    hashes = np.unique(np.append(hashes, hashes[:40] ^ np.uint64(0b1000_0001_0000)))
    found = np.concatenate(list(near_pair_blocks(hashes, 6)))
    assert len(found) == 40
    assert (hashes[found[:, 0]] ^ hashes[found[:, 1]] == 0b1000_0001_0000).all()


def test_equal_hashes_are_refused():
    with pytest.raises(SiameseError, match="`hashes` must differ from each other. Received: equal ones."):
        near_pairs(np.array([5, 5], dtype=np.uint64), 2)


@pytest.mark.parametrize("text", ["", "12", "g" * 16, "0x" + "1" * 14, "-" + "1" * 15])
def test_what_is_no_hash_is_refused(text):
    with pytest.raises(SiameseError, match="must be 16 hexadecimal digits"):
        hashes_from_text([text])


def test_a_hash_list_is_read_as_text(tmp_path):
    (tmp_path / "list.csv").write_text("Image,width,height,phash_rep\na.jpg,30,20,0000000000000012\n")
    assert read_hashes(tmp_path / "list.csv").loc[2].tolist() == ["a.jpg", "30", "20", "0000000000000012"]
    with pytest.raises(ManifestError, match="must be a CSV in UTF-8"):
        read_hashes(tmp_path / "missing.csv")
