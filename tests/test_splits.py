import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.errors import InfeasiblePairing, ManifestError
from siamese.settings import SplitSettings
from siamese.splits import check_trainable, open_set_split

identities = st.lists(st.sampled_from(["", "", "a", "b", "c", "d", "e", "f", "g"]), max_size=120).map(
    lambda names: np.array(names, dtype=object)
)
shares = st.builds(
    SplitSettings,
    validation_share=st.floats(0.01, 0.49),
    test_share=st.floats(0.01, 0.49),
    new_share=st.floats(0, 0.99),
)
seeds = st.integers(0, 1000)


def names_by_counts(**counts):
    return np.repeat(np.array(list(counts), dtype=object), list(counts.values()))


def challenge_like(rng, num_photos=4000):
    """Many individuals with one photo, few with many, 38 % of the photos unknown."""
    counts = rng.geometric(0.35, size=num_photos)
    identity = np.repeat([f"w{index}" for index in range(num_photos)], counts)[:num_photos].astype(object)
    identity[rng.random(num_photos) < 0.38] = ""
    return identity


@given(identities, shares, seeds)
def test_every_photo_stands_on_one_side(identity, settings, seed):
    split = open_set_split(identity, settings, rng=np.random.default_rng(seed))
    assert split.shape == identity.shape
    assert set(split) <= {"train", "validation", "test"}


@given(identities, shares, seeds)
def test_the_same_generator_gives_the_same_split_and_the_input_stays(identity, settings, seed):
    before = identity.copy()
    first, again = (open_set_split(identity, settings, rng=np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(identity, before)


@given(identities, shares, seeds)
def test_an_individual_is_in_the_catalog_or_new_on_one_side_alone(identity, settings, seed):
    split = open_set_split(identity, settings, rng=np.random.default_rng(seed))
    for name in set(identity) - {""}:
        sides = set(split[identity == name])
        assert "train" in sides or len(sides) == 1


@given(identities, shares, seeds)
def test_no_side_is_larger_than_its_share(identity, settings, seed):
    split = open_set_split(identity, settings, rng=np.random.default_rng(seed))
    for side, share in (("validation", settings.validation_share), ("test", settings.test_share)):
        queries = split == side
        is_new = queries & ~np.isin(identity, list(set(identity[split == "train"]) - {""}))
        assert queries.sum() <= round(share * len(identity))
        assert is_new.sum() <= round(settings.new_share * round(share * len(identity)))


def test_a_challenge_like_collection_gets_the_shares_it_asked_for(rng):
    identity = challenge_like(rng)
    split = open_set_split(identity, SplitSettings(), rng=rng)
    for side in ("validation", "test"):
        queries = split == side
        assert queries.sum() == 600
        assert (queries & (identity == "")).sum() == 168
        assert np.isin(identity[queries & (identity != "")], identity[split == "train"]).all()


def test_unknown_photos_are_the_first_new_queries():
    identity = np.array([""] * 10 + ["a"] * 10 + ["b"], dtype=object)
    split = open_set_split(identity, SplitSettings(new_share=0.5), rng=np.random.default_rng(0))
    assert (split[identity == ""] != "train").sum() == 4
    assert (split[identity == "b"] == "train").all()


def test_individuals_with_one_photo_are_new_before_others():
    identity = np.array(["a"] * 6 + ["b", "b", "c", "c", "d", "d", "e", "e", "f", "f"] + list("ghij"), dtype=object)
    split = open_set_split(identity, SplitSettings(new_share=0.67), rng=np.random.default_rng(0))
    assert sorted(split[-4:]) == ["test", "test", "validation", "validation"]
    for name in "abcdef":
        assert "train" in split[identity == name]


def test_scarce_photos_are_shared_by_both_query_sides():
    identity = np.array(["a"] * 5 + [f"single{index}" for index in range(60)], dtype=object)
    split = open_set_split(identity, SplitSettings(new_share=0), rng=np.random.default_rng(0))
    assert sorted(split[:5]) == ["test", "test", "train", "validation", "validation"]


def test_whole_individuals_become_new_where_nothing_else_is_there():
    identity = np.repeat([f"w{index}" for index in range(50)], 4).astype(object)
    split = open_set_split(identity, SplitSettings(), rng=np.random.default_rng(0))
    for side in ("validation", "test"):
        is_new = (split == side) & ~np.isin(identity, identity[split == "train"])
        assert is_new.sum() == 8
        assert (split == side).sum() == 30


def test_two_seeds_give_two_splits():
    identity = challenge_like(np.random.default_rng(0), num_photos=200)
    first, second = (open_set_split(identity, SplitSettings(), rng=np.random.default_rng(seed)) for seed in (1, 2))
    assert (first != second).any()


def test_check_trainable_takes_an_individual_with_half_of_the_photos():
    check_trainable(names_by_counts(a=4, b=2, c=2))


def test_check_trainable_names_the_individual_that_is_too_large():
    with pytest.raises(InfeasiblePairing, match=r"more than half .* Received: 'a' with 5 of 9. Leave out 1 photos"):
        check_trainable(names_by_counts(a=5, b=2, c=2))


def test_check_trainable_does_not_count_photos_that_do_not_train():
    singles_and_unknown = np.array(["x", "y", "z", "", "", ""], dtype=object)
    with pytest.raises(InfeasiblePairing, match="'a' with 3 of 5"):
        check_trainable(np.concatenate([names_by_counts(a=3, b=2), singles_and_unknown]))


def test_check_trainable_counts_the_photos_that_min_photos_lets_train():
    identity = names_by_counts(a=4, b=3, c=2, d=1)
    check_trainable(identity)
    check_trainable(names_by_counts(a=5, b=2, c=1, d=1, e=1), min_photos=1)
    with pytest.raises(InfeasiblePairing, match="'a' with 4 of 7"):
        check_trainable(identity, min_photos=3)
    with pytest.raises(ManifestError, match="two individuals with 4 photos each. Received: 1 among 10"):
        check_trainable(identity, min_photos=4)


@pytest.mark.parametrize("identity", [names_by_counts(a=5, b=1, c=1), names_by_counts(a=1), np.array([], dtype=object)])
def test_check_trainable_needs_two_individuals_with_two_photos(identity):
    with pytest.raises(ManifestError, match="at least two individuals with 2 photos each"):
        check_trainable(identity)
