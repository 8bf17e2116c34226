import keras
import numpy as np
import pytest

from siamese.errors import SiameseError
from siamese.scoring import factorise, search, top_k

DIM = 12


def draw(rng, count):
    return np.maximum(rng.normal(0.4, 1, size=(count, DIM)), 0).astype(np.float32)


@pytest.fixture(scope="module")
def comparator(drawn_comparator):
    return drawn_comparator(DIM)


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(7)
    return draw(rng, 90), draw(rng, 700)


@pytest.fixture(scope="module")
def factorised(comparator, photos):
    return factorise(comparator, np.concatenate(photos), max_error=0.02)


def test_two_stages_find_what_exact_scores_find_to_the_last_bit(comparator, photos, factorised):
    found = search(comparator, *photos, top_k=5, factorised=factorised)
    exact = top_k(comparator, *photos, k=5)
    settled = found.settled
    assert settled.mean() > 0.9
    assert found.length < 100
    assert np.array_equal(found.columns[settled], exact.columns[settled])
    assert np.array_equal(found.scores[settled], exact.scores[settled])


def test_a_shortlist_of_the_whole_catalog_is_brute_force(comparator, photos, factorised):
    queries, catalog = photos[0][:20], photos[1][:200]
    coarse = factorise(comparator, photos[1], num_columns=2)
    found = search(comparator, queries, catalog, top_k=7, shortlist=200, factorised=coarse)
    exact = top_k(comparator, queries, catalog, k=7)
    assert np.array_equal(found.columns, exact.columns)
    assert np.array_equal(found.scores, exact.scores)
    assert found.settled.all()


def test_equal_scores_stand_by_index(comparator, photos):
    catalog = np.tile(photos[1][:50], (6, 1))
    found = search(comparator, photos[0], catalog, top_k=6)
    assert np.array_equal(found.columns % 50, np.repeat(found.columns[:, :1], 6, axis=1))
    assert (np.diff(found.columns, axis=1) == 50).all()


def test_the_curve_rises_with_the_length_and_the_length_keeps_the_recall(comparator, photos, factorised):
    found = search(comparator, *photos, top_k=5, recall=0.9, factorised=factorised)
    recalls = [point.recall for point in found.curve]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1
    assert [point.length for point in found.curve][:3] == [5, 10, 15]
    enough = next(point.length for point in found.curve if point.recall >= 0.9)
    assert found.length == 2 * enough
    seconds = [point.seconds for point in found.curve]
    assert seconds == sorted(seconds)


def test_a_coarse_form_needs_a_longer_shortlist_and_says_what_is_not_settled(comparator, photos, factorised):
    coarse = factorise(comparator, photos[1], num_columns=4)
    rough = search(comparator, *photos, top_k=5, factorised=coarse)
    fine = search(comparator, *photos, top_k=5, factorised=factorised)
    assert rough.curve[1].recall < fine.curve[1].recall
    assert rough.settled.mean() < fine.settled.mean()
    exact = top_k(comparator, *photos, k=5)
    assert np.array_equal(rough.columns[rough.settled], exact.columns[rough.settled])


def test_photos_that_may_not_answer_are_left_out(comparator, photos, factorised):
    names, identity = np.arange(90) % 3, np.arange(700) % 3

    def same(rows, columns):
        return names[rows, None] == identity[columns]

    found = search(comparator, *photos, factorised=factorised, allowed=same)
    exact = top_k(comparator, *photos, k=5, allowed=same)
    assert np.array_equal(found.columns[found.settled], exact.columns[found.settled])
    nothing = search(
        comparator, *photos, factorised=factorised, allowed=lambda rows, columns: ~same(rows, columns) & False
    )
    assert (nothing.columns == -1).all()
    assert np.isneginf(nothing.scores).all()
    assert nothing.settled.all()


def test_any_other_layer_is_searched_exactly(photos):
    found = search(keras.layers.Dot(1), *photos, top_k=3)
    expected = np.argsort(-(photos[0] @ photos[1].T), axis=1)[:, :3]
    assert np.array_equal(found.columns, expected)
    assert found.length == 700
    assert found.curve == ()


def test_small_and_empty_catalogs_are_scored_exactly(comparator, photos):
    queries, catalog = photos[0], photos[1][:30]
    found = search(comparator, queries, catalog)
    assert np.array_equal(found.columns, top_k(comparator, queries, catalog, k=5).columns)
    assert (search(comparator, queries, catalog[:0]).columns == -1).all()
    assert search(comparator, queries[:0], photos[1]).columns.shape == (0, 5)


def test_without_a_factorised_comparator_extreme_values_are_covered(comparator, photos):
    catalog = photos[1].copy()
    catalog[13, 2] = 40
    found = search(comparator, photos[0], catalog)
    exact = top_k(comparator, photos[0], catalog, k=5)
    assert np.array_equal(found.columns[found.settled], exact.columns[found.settled])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"top_k": 0}, "`top_k` must be at least 1. Received: top_k=0"),
        ({"recall": 0.0}, "`recall` must be over 0 and at most 1. Received: recall=0.0"),
        ({"shortlist": 4}, "`shortlist` must be at least `top_k`. Received: shortlist=4, top_k=5"),
    ],
)
def test_wrong_numbers_are_named(comparator, photos, wrong, sentence):
    with pytest.raises(SiameseError, match=sentence):
        search(comparator, *photos, **wrong)


def test_the_embeddings_stay_unchanged(comparator, photos, factorised):
    before = [side.copy() for side in photos]
    search(comparator, *photos, factorised=factorised)
    assert all(np.array_equal(old, new) for old, new in zip(before, photos, strict=True))
