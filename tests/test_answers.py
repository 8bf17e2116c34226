import keras
import numpy as np
import pytest

from siamese import answers, identity_scorer
from siamese.answers import rank_catalog
from siamese.catalog import Catalog
from siamese.decision import Decision
from siamese.encounters import gather
from siamese.errors import SiameseError
from siamese.identity_scores import NEW_INDIVIDUAL, identity_scores
from siamese.models.comparator import Comparator
from siamese.scoring import score_matrix
from siamese.settings import RankingSettings
from siamese.views import mean_scores

DIM = 12


@pytest.fixture(scope="module")
def comparator():
    layer = Comparator(8)
    layer.build([(None, DIM), (None, DIM)])
    for weight in layer.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    layer.logit.kernel.assign(abs(layer.logit.kernel))  # with these weights a photo is most like itself
    return layer


def collection(num_photos, num_identities, *, seed, first=0):
    rng = np.random.default_rng(seed)
    embeddings = np.maximum(rng.normal(0.4, 1, size=(num_photos, DIM)), 0).astype(np.float32)
    names = np.array(["", *(f"animal{number:03}" for number in range(num_identities))], dtype=object)
    ids = np.array([f"photo{number}" for number in range(first, first + num_photos)], dtype=object)
    return Catalog(ids, rng.choice(names, num_photos), embeddings, "model")


@pytest.fixture(scope="module")
def known():
    return collection(1500, 90, seed=1)


@pytest.fixture(scope="module")
def asked(known):
    """Sixty photos; twenty of them stand in the catalog too."""
    return known.select(np.arange(100, 120)).add(collection(40, 3, seed=2, first=5000))


@pytest.fixture(scope="module")
def decision(comparator, asked, known):
    scores = score_matrix(comparator, asked.embeddings, known.embeddings)
    threshold = float(np.sort(scores, axis=1)[:, -4].mean())
    return Decision(threshold, 1.0, 0.0, 1.0, 0.0, same_above=2.0, different_below=-1.0)


@pytest.fixture
def large(monkeypatch):
    """Everything counts as large, and no score matrix is made."""

    def refuse(*_):
        raise AssertionError("all scores were asked for")

    monkeypatch.setattr(answers, "EXACT_PAIRS", 0)
    monkeypatch.setattr(answers, "IdentityScorer", refuse)


def assert_same(left, right):
    for name in ("query_ids", "identities", "catalog_rows", "scores", "probabilities"):
        here, there = getattr(left, name), getattr(right, name)
        assert here.dtype == there.dtype
        assert np.array_equal(here, there, equal_nan=here.dtype == float), name


@pytest.mark.parametrize("top_k", [1, 5])
def test_a_large_catalog_gets_the_ranking_of_all_scores_to_the_last_bit(
    request, comparator, asked, known, decision, top_k
):
    exact = rank_catalog(comparator, asked, known, decision, top_k=top_k)
    assert (exact.identities == NEW_INDIVIDUAL).any()
    request.getfixturevalue("large")
    assert_same(rank_catalog(comparator, asked, known, decision, top_k=top_k), exact)


def test_more_photos_are_asked_for_where_one_individual_fills_the_list(request, comparator, decision):
    known = collection(1500, 90, seed=3)
    identity = known.identity.copy()
    strength = score_matrix(comparator, known.embeddings[:1], known.embeddings)[0]
    identity[np.argsort(-strength)[:300]] = "animal007"
    known = Catalog(known.image_ids, identity, known.embeddings, "model")
    asked = known.select(np.arange(30))
    exact = rank_catalog(comparator, asked, known, decision)
    request.getfixturevalue("large")
    asked_for = []

    def spy(*arguments, **options):
        asked_for.append((len(arguments[1]), options["top_k"]))
        return search(*arguments, **options)

    search = answers.search
    request.getfixturevalue("monkeypatch").setattr(answers, "search", spy)
    assert_same(rank_catalog(comparator, asked, known, decision), exact)
    assert [num_photos for _, num_photos in asked_for][:2] == [20, 80]
    assert asked_for[0][0] == 30 > asked_for[1][0] > 0


def test_copies_of_a_photo_under_several_names_stand_by_name_and_index(request, comparator, decision):
    part = collection(40, 5, seed=5)
    copies = [
        Catalog(part.image_ids + f"_{number}", np.roll(part.identity, number), part.embeddings, "model")
        for number in range(30)
    ]
    known = copies[0]
    for copy in copies[1:]:
        known = known.add(copy)
    asked = known.select(np.arange(0, 1200, 37))
    lists = [rank_catalog(comparator, asked, known, decision, top_k=top_k) for top_k in (2, 7)]
    request.getfixturevalue("large")
    for exact in lists:
        assert_same(rank_catalog(comparator, asked, known, decision, top_k=exact.scores.shape[1]), exact)


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_photo_does_not_answer_itself(request, comparator, known, decision, size):
    if size == "large":
        request.getfixturevalue("large")
    rows = np.flatnonzero(known.identity != "")[:50]
    same = known.select(rows)
    stranger = Catalog(same.image_ids + "_again", same.identity, same.embeddings, "model")
    itself = rank_catalog(comparator, stranger, known, decision).catalog_rows == rows[:, None]
    assert itself.any(axis=1).mean() > 0.5  # a copy of the photo would answer
    assert not (rank_catalog(comparator, same, known, decision).catalog_rows == rows[:, None]).any()


def test_another_layer_is_ranked_by_all_scores_in_blocks(monkeypatch, asked, known, decision):
    whole = rank_catalog(keras.layers.Dot(1), asked, known, decision)
    heights = []

    def spy(layer, queries, catalog, **options):
        heights.append(len(queries))
        return mean_scores(layer, queries, catalog, **options)

    monkeypatch.setattr(answers, "EXACT_PAIRS", 0)
    monkeypatch.setattr(identity_scorer, "TILE", 16)
    monkeypatch.setattr(identity_scorer, "BLOCK_CELLS", 32 * len(known))
    monkeypatch.setattr(identity_scorer, "mean_scores", spy)
    assert_same(rank_catalog(keras.layers.Dot(1), asked, known, decision), whole)
    assert heights == [32, 28]


def test_no_query_gets_an_empty_ranking(comparator, asked, known, decision):
    assert rank_catalog(comparator, asked.select(np.arange(0)), known, decision).identities.shape == (0, 5)


def test_a_ranking_without_a_place_is_refused(comparator, asked, known, decision):
    with pytest.raises(SiameseError, match="`top_k` must be at least 1. Received: top_k=0"):
        rank_catalog(comparator, asked, known, decision, top_k=0)


def test_the_catalogs_stay_unchanged(large, comparator, asked, known, decision):
    before = [values.copy() for side in (asked, known) for values in (side.image_ids, side.identity, side.embeddings)]
    rank_catalog(comparator, asked, known, decision)
    after = [values for side in (asked, known) for values in (side.image_ids, side.identity, side.embeddings)]
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))


# other rules, views and encounters


@pytest.mark.parametrize("way", [{"identity_score": {"rule": "mean"}}, {"reranking": {"neighbours": 5}}])
def test_settings_decide_how_an_individual_is_scored_however_large_the_catalog(
    monkeypatch, comparator, asked, known, decision, way
):
    settings = RankingSettings.model_validate(way)
    small = rank_catalog(comparator, asked, known, decision, settings=settings)
    assert not np.array_equal(small.scores, rank_catalog(comparator, asked, known, decision).scores)
    monkeypatch.setattr(answers, "EXACT_PAIRS", 0)
    assert_same(rank_catalog(comparator, asked, known, decision, settings=settings), small)


def test_photos_of_an_encounter_get_the_answer_of_their_mean_scores(comparator, asked, known, decision):
    part = asked.select(slice(20, 26))  # not in the catalog
    seen = np.array(["monday", "", "monday", "", "friday", "friday"], dtype=object)
    ranking = rank_catalog(comparator, part, known, decision, together=gather(part.image_ids, seen))
    assert ranking.query_ids.tolist() == ["monday", part.image_ids[1], part.image_ids[3], "friday"]
    scores = score_matrix(comparator, part.embeddings, known.embeddings)
    photos = identity_scores(scores, known.identity)
    mean = photos.scores[[0, 2]].astype(float).mean(axis=0)
    best = np.argsort(-mean, kind="stable")[:4]
    listed = ranking.identities[0] != NEW_INDIVIDUAL
    assert ranking.identities[0][listed].tolist()[:4] == photos.names[best].tolist()
    np.testing.assert_allclose(ranking.scores[0][listed][:4], mean[best], rtol=1e-6)
    alone = rank_catalog(comparator, part.select([1, 3]), known, decision)
    assert ranking.identities[1:3].tolist() == alone.identities.tolist()


def test_photos_of_an_encounter_do_not_answer_each_other(comparator, known, decision):
    names = np.array([f"animal{number}" for number in range(8)], dtype=object)
    photos = Catalog(known.image_ids[:8], names, known.embeddings[:8], "model")
    together = gather(photos.image_ids, np.array(["one"] * 3 + ["two"] * 5, dtype=object))
    ranking = rank_catalog(comparator, photos, photos, decision, top_k=9, together=together)
    answered_by = [set(rows.tolist()) - {-1} for rows in ranking.catalog_rows]
    assert answered_by == [{3, 4, 5, 6, 7}, {0, 1, 2}]


def test_the_best_photo_of_an_encounter_decides_where_the_settings_say_so(comparator, asked, known, decision):
    part = asked.select(slice(20, 23))
    together = gather(part.image_ids, np.array(["one"] * 3, dtype=object))
    best = rank_catalog(comparator, part, known, decision, together=together, settings=RankingSettings(together="max"))
    alone = rank_catalog(comparator, part, known, decision)
    known_scores = np.where(alone.identities == NEW_INDIVIDUAL, -np.inf, alone.scores)
    assert np.nanmax(np.where(best.identities == NEW_INDIVIDUAL, -np.inf, best.scores)) == known_scores.max()


def test_a_catalog_of_other_views_is_refused(large, comparator, asked, known, decision):
    flipped = Catalog(asked.image_ids, asked.identity, asked.embeddings, "model", ("flip",))
    with pytest.raises(SiameseError, match="must hold the views that are asked for: flip. Received: plain"):
        rank_catalog(comparator, flipped, known, decision)
