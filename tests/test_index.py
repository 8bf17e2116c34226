import importlib.util

import numpy as np
import pytest

from siamese.errors import SiameseError
from siamese.scoring import factorise, open_first_stage, search, top_k
from siamese.scoring import index as index_module

DIM, NUM_QUERIES, NUM_CATALOG = 12, 60, 900


def stage(name, package):
    missing = importlib.util.find_spec(package) is None
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=f"{package} is not installed"))


EXACT = [pytest.param("product"), stage("faiss", "faiss")]
APPROXIMATE = [stage("faiss_ivf", "faiss"), stage("usearch", "usearch")]


def draw(rng, count):
    return np.maximum(rng.normal(0.4, 1, size=(count, DIM)), 0).astype(np.float32)


@pytest.fixture(scope="module")
def comparator(drawn_comparator):
    return drawn_comparator(DIM)


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(7)
    return draw(rng, NUM_QUERIES), draw(rng, NUM_CATALOG)


@pytest.fixture(scope="module")
def factorised(comparator, photos):
    return factorise(comparator, np.concatenate(photos), max_error=0.02)


@pytest.fixture(scope="module")
def scores(factorised, photos):
    """Factorised scores of all pairs, by the vectors themselves."""
    return factorised.query_vectors(photos[0]) @ factorised.catalog_vectors(photos[1]).T


def third(rows, columns):
    """A photo answers only queries whose number leaves the same remainder."""
    return np.arange(NUM_QUERIES)[rows, None] % 3 == np.arange(NUM_CATALOG)[columns] % 3


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_first_stage_lists_the_best_by_factorised_scores(name, factorised, photos, scores):
    opened = open_first_stage(name, factorised, photos[1])
    best = opened.best(photos[0], 7)
    assert opened.is_exact
    assert opened.num_images == NUM_CATALOG
    assert np.array_equal(best.columns, np.argsort(-scores, axis=1)[:, :7])
    np.testing.assert_allclose(best.scores, -np.sort(-scores, axis=1)[:, :7], atol=1e-3)


@pytest.mark.parametrize("name", APPROXIMATE)
def test_an_approximate_first_stage_finds_most_of_the_best_with_their_scores(name, factorised, photos, scores):
    opened = open_first_stage(name, factorised, photos[1])
    best = opened.best(photos[0], 40)
    assert not opened.is_exact
    found = best.columns >= 0
    wanted = np.argsort(-scores, axis=1)[:, :5]
    assert np.mean([np.isin(*pair) for pair in zip(wanted, best.columns, strict=True)]) > 0.3
    row, place = np.nonzero(found)
    tolerance = 0.05 * scores.std()
    assert np.abs(best.scores[row, place] - scores[row, best.columns[row, place]]).mean() < tolerance
    assert np.isneginf(best.scores[~found]).all()
    assert (best.scores[:, :-1] >= best.scores[:, 1:]).all()


def test_a_graph_of_equally_long_vectors_finds_what_one_of_inner_products_misses(factorised, photos, scores):
    usearch = pytest.importorskip("usearch.index", reason="usearch is not installed")
    vectors, queries = factorised.catalog_vectors(photos[1]), factorised.query_vectors(photos[0])
    plain = usearch.Index(ndim=vectors.shape[1], metric="ip", dtype="f32")
    plain.add(np.arange(NUM_CATALOG), vectors)
    first = scores.argmax(axis=1)
    missed = np.mean(plain.search(queries, 5).keys[:, 0] != first)
    best = open_first_stage("usearch", factorised, photos[1]).best(photos[0], 5)
    assert np.mean(best.columns[:, 0] != first) < 0.1 + missed / 2


@pytest.mark.parametrize("name", EXACT)
def test_photos_that_may_not_answer_are_replaced_by_the_next_ones(name, factorised, photos, scores):
    best = open_first_stage(name, factorised, photos[1]).best(photos[0], 7, third)
    may = third(slice(0, NUM_QUERIES), slice(0, NUM_CATALOG))
    assert np.array_equal(best.columns, np.argsort(-np.where(may, scores, -np.inf), axis=1)[:, :7])


@pytest.mark.parametrize("name", [*EXACT, *APPROXIMATE])
def test_where_fewer_may_answer_the_list_ends_early(name, factorised, photos):
    opened = open_first_stage(name, factorised, photos[1])
    few = opened.best(photos[0], 9, lambda rows, columns: third(rows, columns) & (np.arange(NUM_CATALOG)[columns] < 12))
    assert ((few.columns >= 0).sum(axis=1) <= 4).all()
    assert (few.columns < 12).all()
    assert np.isneginf(few.scores[few.columns < 0]).all()
    assert (opened.best(photos[0], 3, lambda rows, columns: third(rows, columns) & False).columns == -1).all()


@pytest.mark.parametrize("name", EXACT)
def test_more_images_than_the_catalog_has_fill_up_with_nothing(name, factorised, photos, scores):
    best = open_first_stage(name, factorised, photos[1][:5]).best(photos[0], 8)
    assert np.array_equal(best.columns[:, :5], np.argsort(-scores[:, :5], axis=1))
    assert (best.columns[:, 5:] == -1).all()


@pytest.mark.parametrize("name", EXACT)
def test_a_search_gives_the_same_whatever_exact_first_stage_it_has(name, comparator, factorised, photos):
    exact = top_k(comparator, *photos, k=5)
    for first_stage in (name, open_first_stage(name, factorised, photos[1])):
        found = search(comparator, *photos, factorised=factorised, first_stage=first_stage)
        assert found.settled.mean() > 0.9
        assert np.array_equal(found.columns[found.settled], exact.columns[found.settled])
        assert np.array_equal(found.scores[found.settled], exact.scores[found.settled])


@pytest.mark.parametrize("name", APPROXIMATE)
def test_after_an_approximate_first_stage_scores_are_exact_and_nothing_is_called_settled(name, comparator, photos):
    found = search(comparator, *photos, first_stage=name, allowed=third)
    assert found.length == 60
    assert not found.settled.any()
    assert found.curve == ()
    whole = top_k(comparator, *photos, k=NUM_CATALOG)
    there = found.columns >= 0
    score_of = np.empty_like(whole.scores)
    np.put_along_axis(score_of, whole.columns, whole.scores, axis=1)
    row, place = np.nonzero(there)
    assert np.array_equal(found.scores[row, place], score_of[row, found.columns[row, place]])
    assert (row % 3 == found.columns[row, place] % 3).all()


def test_a_single_query_is_answered_too(comparator, factorised, photos):
    pytest.importorskip("usearch", reason="usearch is not installed")
    opened = open_first_stage("usearch", factorised, photos[1])
    assert np.array_equal(opened.best(photos[0][:1], 5).columns, opened.best(photos[0], 5).columns[:1])


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch, factorised, photos):
    def refuse(name, *more):
        raise ImportError(name)

    monkeypatch.setattr(index_module.importlib, "import_module", refuse)
    sentence = r"The first stage faiss_ivf needs the package faiss\. Received: none\. .*pip install faiss-cpu usearch"
    with pytest.raises(SiameseError, match=sentence):
        open_first_stage("faiss_ivf", factorised, photos[1])


def test_an_unknown_name_and_a_first_stage_of_another_catalog_are_told(comparator, factorised, photos):
    with pytest.raises(SiameseError, match="must be one of product, faiss, faiss_ivf, usearch. Received: annoy"):
        search(comparator, *photos, factorised=factorised, first_stage="annoy")
    opened = open_first_stage("product", factorised, photos[1][:800])
    with pytest.raises(SiameseError, match="Received: a first stage of 800 images, a catalog of 900"):
        search(comparator, *photos, first_stage=opened)
