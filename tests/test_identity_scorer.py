import numpy as np
import pytest

from siamese import identity_scorer
from siamese.catalog import Catalog
from siamese.centroids import CENTRES
from siamese.errors import SiameseError
from siamese.identity_scorer import IdentityScorer, score_identities
from siamese.identity_scores import identity_scores
from siamese.settings import RankingSettings
from siamese.views import mean_scores

DIM = 12
WAYS = [
    {},
    {"identity_score": {"rule": "k_nearest", "nearest": 2}},
    {"identity_score": {"rule": "robust_centroid"}},
    {"reranking": {"neighbours": 4, "averaged": 2}},
]


def drawn_catalog(num_photos, *, seed, views=("plain",), first=0):
    rng = np.random.default_rng(seed)
    names = np.array(["", "ann", "bob", "cleo"], dtype=object)
    ids = np.array([f"photo{number}" for number in range(first, first + num_photos)], dtype=object)
    embeddings = rng.random((num_photos, DIM * len(views))).astype(np.float32)
    return Catalog(ids, rng.choice(names, num_photos), embeddings, "model", views)


def others(asked, known):
    return lambda rows, columns: asked.image_ids[rows, None] != known.image_ids[None, columns]


@pytest.fixture(scope="module")
def comparator(drawn_comparator):
    return drawn_comparator(DIM)


def scored(comparator, asked, known, way):
    settings = RankingSettings.model_validate(way)
    return score_identities(comparator, asked, known, settings, allowed=others(asked, known))


def test_the_defaults_are_the_best_photo(comparator):
    known = drawn_catalog(20, seed=1)
    asked = known.select(slice(3, 9)).add(drawn_catalog(5, seed=2, first=100))
    scores = mean_scores(comparator, asked.embeddings, known.embeddings)
    allowed = asked.image_ids[:, None] != known.image_ids[None]
    expected = identity_scores(scores, known.identity, allowed=allowed)
    found = scored(comparator, asked, known, {})
    assert np.array_equal(found.scores, expected.scores)
    assert np.array_equal(found.best_image, expected.best_image)


@pytest.mark.parametrize("rule", list(CENTRES))
def test_a_query_of_the_catalog_meets_the_centre_of_the_other_photos(comparator, rule):
    known = drawn_catalog(20, seed=1)
    found = scored(comparator, known, known, {"identity_score": {"rule": rule}})
    for query in range(len(known)):
        for column, name in enumerate(found.names):
            mine = np.flatnonzero((known.identity == name) & (np.arange(20) != query))
            centre = CENTRES[rule](known.embeddings[mine])[None]
            expected = mean_scores(comparator, known.embeddings[[query]], centre.astype(np.float32))
            assert found.scores[query, column] == pytest.approx(expected[0, 0], rel=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_blocks_of_queries_change_nothing(monkeypatch, comparator, way):
    known, asked = drawn_catalog(20, seed=1), drawn_catalog(30, seed=2, first=10)
    whole = scored(comparator, asked, known, way)
    monkeypatch.setattr(identity_scorer, "TILE", 8)
    monkeypatch.setattr(identity_scorer, "BLOCK_CELLS", 8 * 20)
    blocks = [
        rows for rows, _ in IdentityScorer(comparator, known, RankingSettings()).tables(asked, others(asked, known))
    ]
    assert blocks == [slice(0, 8), slice(8, 16), slice(16, 24), slice(24, 30)]
    parts = scored(comparator, asked, known, way)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-6)
    assert np.array_equal(parts.best_image, whole.best_image)


@pytest.mark.parametrize("way", WAYS)
def test_two_views_that_are_the_same_score_as_one(comparator, way):
    known, asked = drawn_catalog(20, seed=1), drawn_catalog(6, seed=2, first=100)

    def doubled(photos):
        twice = np.hstack([photos.embeddings, photos.embeddings])
        return Catalog(photos.image_ids, photos.identity, twice, "model", ("plain", "again"))

    found = scored(comparator, doubled(asked), doubled(known), way)
    np.testing.assert_allclose(found.scores, scored(comparator, asked, known, way).scores, rtol=1e-5)


def test_reranking_adds_to_scores_and_never_takes_away(comparator):
    known, asked = drawn_catalog(20, seed=1), drawn_catalog(6, seed=2, first=100)
    plain, ranked = (scored(comparator, asked, known, way) for way in ({}, {"reranking": {"neighbours": 4}}))
    assert np.all(ranked.scores >= plain.scores)
    assert np.any(ranked.scores > plain.scores)


@pytest.mark.parametrize("way", WAYS)
def test_no_queries_get_an_empty_table(comparator, way):
    known = drawn_catalog(20, seed=1)
    assert scored(comparator, known.select(slice(0, 0)), known, way).scores.shape == (0, 3)


@pytest.mark.parametrize("way", WAYS)
def test_the_catalogs_stay_as_they_are(comparator, way):
    known, asked = drawn_catalog(20, seed=1), drawn_catalog(6, seed=2, first=100)
    before = known.embeddings.copy(), asked.embeddings.copy(), known.identity.copy()
    scored(comparator, asked, known, way)
    after = known.embeddings, asked.embeddings, known.identity
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def test_queries_of_other_views_are_refused(comparator):
    known, asked = drawn_catalog(4, seed=1), drawn_catalog(4, seed=2, views=("plain", "flip"))
    with pytest.raises(SiameseError, match="must hold the views that are asked for: plain; flip. Received: plain"):
        scored(comparator, asked, known, {})
