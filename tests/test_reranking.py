import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from siamese.reranking import find_neighbourhoods, rerank
from siamese.settings import RerankingSettings


def drawn_scores(seed, num_photos, num_queries):
    """Logits of photos and queries that lie about a few animals on a plane, symmetric, without ties."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(num_photos + num_queries, 2)) + 4 * rng.integers(0, 3, (num_photos + num_queries, 1))
    scores = 3 - np.linalg.norm(places[:, None] - places[None], axis=2)
    return scores[:num_photos, :num_photos], scores[num_photos:, :num_photos]


def neighbourhoods_of(scores, chosen):
    others = np.where(np.eye(len(scores), dtype=bool), -np.inf, scores)
    k = chosen.neighbours
    columns = np.argsort(-others, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(others, columns, axis=1)
    missing = ((0, 0), (0, k - columns.shape[1]))
    columns = np.pad(np.where(values > -np.inf, columns, -1), missing, constant_values=-1)
    values = np.pad(values, missing, constant_values=-np.inf)
    return find_neighbourhoods(columns, values, lambda rows, columns: scores[rows, columns], chosen)


class PlainPaper:
    """Zhong's encoding written down photo by photo, with sets and whole matrices."""

    def __init__(self, scores, chosen):
        self.scores, self.chosen, self.number = scores, chosen, len(scores)
        order = np.argsort(-np.where(np.eye(self.number, dtype=bool), np.inf, scores), axis=1, kind="stable")
        self.order = order.tolist()  # each photo is its own first neighbour
        self.near = [self.reciprocal(i, round(chosen.neighbours / 2)) for i in range(self.number)]
        self.weights = [
            self.weighted(self.expanded(self.reciprocal(i, chosen.neighbours)), scores[i], i)
            for i in range(self.number)
        ]
        self.encodings = np.array(
            [
                np.mean([self.weights[j] for j in row[: min(chosen.averaged, chosen.neighbours + 1)]], axis=0)
                for row in self.order
            ]
        )

    def reciprocal(self, photo, k):
        return {j for j in self.order[photo][: k + 1] if photo in self.order[j][: k + 1]}

    def expanded(self, mutual):
        joined = set(mutual)
        for candidate in mutual:
            near = self.near[candidate]
            if len(near & mutual) > 2 / 3 * len(near):
                joined |= near
        return joined

    def weighted(self, members, row, itself=None):
        weight = np.zeros(self.number)
        for j in members:
            weight[j] = 1.0 if j == itself else expit(row[j])
        return weight / (weight.sum() + (itself is None))

    def overlap(self, row):
        order = np.argsort(-row, kind="stable").tolist()
        k = self.chosen.neighbours
        mutual = {j for j in order[:k] if self.number - 1 < k or row[j] >= self.scores[j, self.order[j][k]]}
        others = order[: self.chosen.averaged - 1][:k]
        mine = (self.weighted(self.expanded(mutual), row) + sum(self.encodings[j] for j in others)) / (1 + len(others))
        least = np.array([np.minimum(mine, encoding).sum() for encoding in self.encodings])
        return least / (2 - least)


SETTINGS = st.builds(
    RerankingSettings, neighbours=st.integers(1, 8), averaged=st.integers(1, 4), weight=st.sampled_from([1.0, 7.0])
)


@settings(max_examples=100)
@given(st.integers(0, 10_000), st.integers(1, 25), SETTINGS)
def test_the_catalog_is_encoded_as_the_paper_does(seed, num_photos, chosen):
    scores, _ = drawn_scores(seed, num_photos, 0)
    found = neighbourhoods_of(scores, chosen).encodings.toarray()
    np.testing.assert_allclose(found, PlainPaper(scores, chosen).encodings, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


@settings(max_examples=100)
@given(st.integers(0, 10_000), st.integers(1, 25), SETTINGS)
def test_a_query_gains_what_its_neighbourhood_shares_with_a_photos(seed, num_photos, chosen):
    scores, asked = drawn_scores(seed, num_photos, 3)
    before = asked.copy()
    found = rerank(asked, neighbourhoods_of(scores, chosen), chosen)
    plain = PlainPaper(scores, chosen)
    expected = [row + chosen.weight * plain.overlap(row) for row in asked]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.array_equal(before, asked)


def test_a_photo_in_the_neighbourhood_of_the_query_overtakes_a_lone_one():
    # Photos 0 to 3 are alike, photo 4 is like nothing; the query is nearest to photo 4, then to the four.
    scores = np.full((5, 5), -5.0)
    scores[:4, :4] = 5.0
    asked = np.array([[6.0, 6.1, 6.2, 6.3, 6.4]])
    chosen = RerankingSettings(neighbours=3, averaged=1, weight=3)
    assert rerank(asked, neighbourhoods_of(scores, chosen), chosen)[0].argmax() == 3


@given(st.integers(0, 10_000), SETTINGS)
def test_an_answer_does_not_depend_on_who_else_is_asked(seed, chosen):
    scores, asked = drawn_scores(seed, 15, 4)
    catalog = neighbourhoods_of(scores, chosen)
    alone = np.concatenate([rerank(row[None], catalog, chosen) for row in asked])
    np.testing.assert_allclose(alone, rerank(asked, catalog, chosen), rtol=1e-6)


@given(st.integers(0, 10_000), SETTINGS)
def test_a_photo_that_may_not_answer_is_no_neighbour(seed, chosen):
    scores, asked = drawn_scores(seed, 12, 3)
    allowed = np.random.default_rng(seed).random(asked.shape) < 0.6
    catalog = neighbourhoods_of(scores, chosen)
    found = rerank(asked, catalog, chosen, allowed=allowed)
    spoilt = np.where(allowed, asked, 50.0)  # whatever its score is
    again = rerank(spoilt, catalog, chosen, allowed=allowed)
    np.testing.assert_allclose(found[allowed], again[allowed])


def test_memory_grows_with_the_neighbours_not_with_the_pairs():
    chosen = RerankingSettings(neighbours=5, averaged=3)
    found = [neighbourhoods_of(drawn_scores(0, number, 0)[0], chosen).encodings.nnz for number in (100, 400)]
    assert found[1] < 5 * found[0]


@pytest.mark.parametrize("num_queries", [0, 2])
def test_a_catalog_smaller_than_the_neighbourhood_is_no_trouble(num_queries):
    scores, asked = drawn_scores(1, 2, num_queries)
    chosen = RerankingSettings(neighbours=20)
    assert rerank(asked, neighbourhoods_of(scores, chosen), chosen).shape == (num_queries, 2)
