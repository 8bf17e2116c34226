import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.centroids import CENTRES, Centroids, mean_embedding, robust_centroid


def parks_centre(features):
    """The published loop of the 3rd place, photo by photo, for features of length 1."""

    def centre_of(some):
        mean = sum(some) / len(some)
        return mean / np.sqrt(sum(mean**2))

    for _ in range(2):
        if len(features) < 4:
            break
        centre = centre_of(features)
        least = int(len(features) * 3 / 4)
        near = [feature for feature in features if feature @ centre > 0.5]
        by_distance = sorted(features, key=lambda feature: -(feature @ centre))
        features = near if len(near) > least else by_distance[:least]
    return centre_of(features)


def unit_vectors(seed, num_photos, dim=5):
    vectors = np.random.default_rng(seed).normal(0.3, 1, (num_photos, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(1, 13))
def test_the_robust_centroid_is_parks_loop(seed, num_photos):
    features = unit_vectors(seed, num_photos)
    np.testing.assert_allclose(robust_centroid(features), parks_centre(list(features)), atol=1e-12)


def test_a_photo_of_another_animal_does_not_move_the_robust_centroid():
    photos = np.array([[3.0, 0.1], [3.0, 0.0], [3.0, -0.1], [3.0, 0.0], [0.0, 3.0]])
    assert robust_centroid(photos) == pytest.approx([3.0, 0.0], abs=0.01)
    assert mean_embedding(photos)[1] == pytest.approx(0.6)


def test_of_three_photos_none_is_left_out():
    photos = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    direction = np.array([2.0, 1.0]) / np.sqrt(5)
    assert robust_centroid(photos) == pytest.approx(2 * direction)


def test_the_centre_keeps_the_length_of_the_photos():
    photos = unit_vectors(1, 6) * 0.1 + np.array([7.0, 0, 0, 0, 0])
    assert np.linalg.norm(robust_centroid(photos)) == pytest.approx(np.linalg.norm(photos, axis=1).mean())


def test_embeddings_of_nothing_but_zeros_have_a_centre():
    assert robust_centroid(np.zeros((5, 2))).tolist() == [0.0, 0.0]


@given(st.integers(0, 10_000), st.sampled_from(list(CENTRES)), st.integers(1, 2))
def test_every_query_meets_the_centre_of_just_the_photos_it_may_see(seed, name, num_views):
    rng = np.random.default_rng(seed)
    identity = rng.choice(np.array(["", "ann", "bob", "cleo"], dtype=object), 9)
    embeddings = rng.random((9, 3 * num_views)).astype(np.float32)
    allowed = rng.random((6, 9)) < rng.choice([0.5, 0.9, 1.0])
    asked = rng.random((6, 3 * num_views))
    before = embeddings.copy(), identity.copy(), allowed.copy()
    made = Centroids(embeddings, identity, CENTRES[name], num_views=num_views).for_queries(allowed)
    table = made.identity_scores(asked @ made.embeddings.T)
    assert table.names.tolist() == sorted(set(identity) - {""})
    for query in range(6):
        for column, animal in enumerate(table.names):
            mine = np.flatnonzero((identity == animal) & allowed[query])
            if not len(mine):
                assert (table.scores[query, column], table.best_image[query, column]) == (-np.inf, -1)
                continue
            views = np.split(embeddings[mine], num_views, axis=1)
            centre = np.concatenate([CENTRES[name](view) for view in views])
            assert table.scores[query, column] == pytest.approx(asked[query] @ centre, rel=1e-4)
            distance = ((embeddings[mine] - centre) ** 2).sum(axis=1)
            photo = table.best_image[query, column]
            assert distance[mine.tolist().index(photo)] == pytest.approx(distance.min(), rel=1e-4, abs=1e-9)
    assert all(np.array_equal(*pair) for pair in zip(before, (embeddings, identity, allowed), strict=True))


def test_centroids_are_made_anew_only_where_a_query_may_not_see_all():
    names = np.array(["ann", "ann", "bob"], dtype=object)
    calls = []

    def centre(photos):
        calls.append(len(photos))
        return photos.mean(axis=0)

    centroids = Centroids(np.eye(3, dtype=np.float32), names, centre)
    centroids.for_queries(np.ones((4, 3), dtype=bool))
    assert calls == [2, 1]
    allowed = np.ones((4, 3), dtype=bool)
    allowed[:2, 0] = False
    centroids.for_queries(allowed)
    assert calls == [2, 1, 1]


def test_a_catalog_that_names_nobody_has_no_centroids():
    made = Centroids(np.ones((2, 3)), np.array(["", ""], dtype=object), mean_embedding).for_queries(
        np.ones((2, 2), bool)
    )
    assert made.embeddings.shape == (0, 3)
    assert made.identity_scores(np.empty((2, 0))).scores.shape == (2, 0)
