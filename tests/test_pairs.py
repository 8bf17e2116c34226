import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.pairs import Pairs, derangement, positive_pairs

codes = st.lists(st.integers(-1, 5), min_size=1, max_size=30).map(np.array)
seeds = st.integers(0, 2**32 - 1)


def test_two_items_always_swap(rng):
    assert derangement(2, rng=rng).tolist() == [1, 0]


@given(st.integers(2, 40), seeds)
def test_a_derangement_is_a_permutation_that_leaves_nothing_in_its_place(count, seed):
    order = derangement(count, rng=np.random.default_rng(seed))
    assert np.sort(order).tolist() == list(range(count))
    assert not np.any(order == np.arange(count))


def test_each_derangement_of_four_is_as_likely_as_the_others(rng):
    possible = [p for p in itertools.permutations(range(4)) if all(value != place for place, value in enumerate(p))]
    drawn = Counter(tuple(derangement(4, rng=rng).tolist()) for _ in range(4500))
    assert sorted(drawn) == possible  # nine of the 24 permutations
    assert all(abs(count - 500) < 5 * np.sqrt(500) for count in drawn.values())


@pytest.mark.parametrize("count", [0, 1])
def test_a_single_item_cannot_change_its_place(count, rng):
    with pytest.raises(ValueError, match=rf"`count` must be at least 2.* Received: count={count}\."):
        derangement(count, rng=rng)


def test_positive_pairs_swap_two_photos_and_leave_out_the_single_and_the_unknown_one(rng):
    pairs = positive_pairs(np.array([7, 3, -1, 7, 5, -1, 3]), rng=rng)
    assert dict(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)) == {0: 3, 3: 0, 1: 6, 6: 1}


@given(codes, seeds)
def test_positive_pairs_give_each_image_another_one_of_its_group_once_left_and_once_right(group, seed):
    pairs = positive_pairs(group, rng=np.random.default_rng(seed))
    sizes = Counter(group.tolist())
    with_partner = [image for image, code in enumerate(group.tolist()) if code >= 0 and sizes[code] > 1]
    assert sorted(pairs.left.tolist()) == sorted(pairs.right.tolist()) == with_partner
    assert np.array_equal(group[pairs.left], group[pairs.right])
    assert not np.any(pairs.left == pairs.right)


@given(codes, seeds)
def test_positive_pairs_are_the_same_for_the_same_seed_and_leave_the_groups_unchanged(group, seed):
    before = group.copy()
    first, second = (positive_pairs(group, rng=np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first.right, second.right)
    assert np.array_equal(group, before)


@pytest.mark.parametrize("group", [[], [1], [0, 1, 2], [-1, -1, -1]])
def test_positive_pairs_of_single_or_unknown_images_are_none(group, rng):
    pairs = positive_pairs(np.array(group, dtype=int), rng=rng)
    assert len(pairs) == 0
    assert pairs.partner(3).tolist() == [-1, -1, -1]


def test_partner_names_who_stands_right_of_each_image():
    pairs = Pairs(np.array([3, 0]), np.array([1, 2]))
    assert len(pairs) == 2
    assert pairs.partner(5).tolist() == [2, -1, -1, 1, -1]
