import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese.errors import DiskError, SiameseError
from siamese.models.comparator import Comparator
from siamese.models.encoder import build_encoder
from siamese.scoring import (
    TILE,
    Embedder,
    Tile,
    best_of_tiles,
    mirrored,
    reference_scores,
    score_matrix,
    score_pairs,
    score_tiles,
    top_k,
    write_scores,
)
from siamese.settings import EncoderSettings

DIM = 6


@pytest.fixture(scope="module")
def comparator(drawn_comparator):
    return drawn_comparator(DIM)


@keras.saving.register_keras_serializable(package="tests")
class InnerProduct(keras.layers.Layer):
    """Another comparator: the inner product of the embeddings."""

    def call(self, inputs):
        return keras.ops.sum(inputs[0] * inputs[1], axis=-1)


def draw(rng, count):
    return np.abs(rng.normal(size=(count, DIM))).astype(np.float32)


def scored_pair_by_pair(comparator, queries, catalog):
    left, right = (side.ravel() for side in np.indices((len(queries), len(catalog))))
    logits = keras.ops.convert_to_numpy(comparator([queries[left], catalog[right]]))
    return logits.reshape(len(queries), len(catalog))


@pytest.mark.parametrize(("num_queries", "num_catalog"), [(1, 1), (3, 70), (TILE, TILE), (65, 130)])
def test_tiles_give_the_logits_of_the_layer_on_all_pairs(comparator, rng, num_queries, num_catalog):
    queries, catalog = draw(rng, num_queries), draw(rng, num_catalog)
    scores = score_matrix(comparator, queries, catalog)
    assert scores.shape == (num_queries, num_catalog)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, scored_pair_by_pair(comparator, queries, catalog), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 64, 65, 150])
def test_scores_of_a_set_with_itself_are_symmetric_to_the_last_bit(comparator, rng, count):
    scores = score_matrix(comparator, draw(rng, count))
    assert scores.shape == (count, count)
    assert np.array_equal(scores, scores.T)


def test_the_upper_triangle_says_the_same_as_the_full_rectangle(comparator, rng):
    embeddings = draw(rng, 100)
    assert np.array_equal(score_matrix(comparator, embeddings), score_matrix(comparator, embeddings, embeddings))


def test_a_pair_scores_the_same_from_both_sides_and_in_any_company(comparator, rng):
    queries, catalog = draw(rng, 70), draw(rng, 90)
    scores = score_matrix(comparator, queries, catalog)
    assert np.array_equal(scores, score_matrix(comparator, catalog, queries).T)
    assert np.array_equal(scores[66:67, 5:6], score_matrix(comparator, queries[66:67], catalog[5:6]))


def test_any_other_layer_of_two_embeddings_can_compare(rng):
    queries, catalog = draw(rng, 70), draw(rng, 5)
    np.testing.assert_allclose(score_matrix(InnerProduct(), queries, catalog), queries @ catalog.T, rtol=1e-5)


def test_later_changes_of_the_comparator_are_seen(rng):
    layer = Comparator(2)
    layer.build([(None, DIM), (None, DIM)])
    queries = draw(rng, 3)
    before = score_matrix(layer, queries)
    layer.weights[-1].assign_add([1.0])
    np.testing.assert_allclose(score_matrix(layer, queries), before + 1, rtol=1e-5)


def test_no_queries_have_no_scores(comparator, rng):
    assert score_matrix(comparator, np.empty((0, DIM)), draw(rng, 4)).shape == (0, 4)
    assert score_matrix(comparator, draw(rng, 4), np.empty((0, DIM))).shape == (4, 0)


def test_embeddings_stay_unchanged(comparator, rng):
    queries, catalog = draw(rng, 5), draw(rng, 7)
    before = queries.copy(), catalog.copy()
    score_matrix(comparator, queries, catalog)
    assert np.array_equal(queries, before[0])
    assert np.array_equal(catalog, before[1])


def test_tiles_agree_with_the_numpy_reference(comparator, rng):
    queries, catalog = draw(rng, 70), draw(rng, 66)
    reference = reference_scores(comparator, queries, catalog)
    assert np.abs(score_matrix(comparator, queries, catalog) - reference).max() < 1e-5 * reference.std()


def test_the_reference_adds_up_what_the_features_say():
    layer = Comparator(1)
    layer.build([(None, 2), (None, 2)])
    for weight, value in zip(
        layer.weights, [[[1], [10], [100], [1000]], [-1], [[2]], [3], [[1], [-1]], [0.5]], strict=True
    ):
        weight.assign(np.array(value, np.float32))
    # u v = 2, u + v = 3, |u - v| = 1, squared 1: 2 (2 + 30 + 100 + 1000 - 1) + 3 = 2265; two zeros: relu(-1) = 0, so 3
    assert reference_scores(layer, np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]])).tolist() == [[2265 - 3 + 0.5]]


@given(num_queries=st.integers(1, 70), num_catalog=st.integers(1, 70), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_row_order_and_place_in_a_tile_do_not_change_a_score(comparator, num_queries, num_catalog, seed):
    rng = np.random.default_rng(seed)
    queries, catalog = draw(rng, num_queries), draw(rng, num_catalog)
    rows, columns = rng.permutation(num_queries), rng.permutation(num_catalog)
    scores = score_matrix(comparator, queries, catalog)
    assert np.array_equal(score_matrix(comparator, queries[rows], catalog[columns]), scores[np.ix_(rows, columns)])
    assert np.array_equal(score_matrix(comparator, catalog, queries), scores.T)


def test_a_few_queries_score_the_same_as_many(comparator, rng):
    queries, catalog = draw(rng, 9), draw(rng, 1100)
    many = score_matrix(comparator, queries, catalog)
    for count in (1, 2, 4):
        assert np.array_equal(score_matrix(comparator, queries[:count], catalog), many[:count])


def test_a_few_wide_embeddings_score_the_same_as_many(rng):
    layer = Comparator(4)
    layer.build([(None, 512), (None, 512)])
    embeddings = np.abs(rng.normal(size=(70, 512))).astype(np.float32)
    many = score_matrix(layer, embeddings, embeddings)
    assert np.array_equal(score_matrix(layer, embeddings[:1], embeddings), many[:1])
    assert np.array_equal(score_matrix(layer, embeddings, embeddings[:1]), many[:, :1])
    assert np.array_equal(score_pairs(layer, embeddings, embeddings, np.arange(70), np.full(70, 3)), many[:, 3])


def test_chosen_pairs_score_as_in_the_matrix(comparator, rng):
    queries, catalog = draw(rng, 70), draw(rng, 90)
    rows, columns = rng.integers(0, 70, 4200), rng.integers(0, 90, 4200)
    scores = score_pairs(comparator, queries, catalog, rows, columns)
    assert np.array_equal(scores, score_matrix(comparator, queries, catalog)[rows, columns])
    assert score_pairs(comparator, queries, catalog, rows[:0], columns[:0]).shape == (0,)
    other = score_pairs(InnerProduct(), queries, catalog, rows[:3], columns[:3])
    np.testing.assert_allclose(other, np.sum(queries[rows[:3]] * catalog[columns[:3]], axis=1), rtol=1e-5)


@pytest.mark.parametrize("layer", ["comparator", "other"])
def test_tiles_of_a_set_with_itself_are_the_upper_triangle(comparator, rng, layer):
    embeddings = draw(rng, 2 * TILE + 3)
    tiles = list(score_tiles(comparator if layer == "comparator" else InnerProduct(), embeddings))
    assert [(tile.rows.start // TILE, tile.columns.start // TILE) for tile in tiles] == [
        (0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)
    ]  # fmt: skip
    covered = np.zeros((len(embeddings), len(embeddings)), int)
    for tile in mirrored(tiles):
        covered[tile.rows, tile.columns] += 1
    assert (covered == 1).all()


def test_embeddings_of_two_models_are_refused(comparator, rng):
    with pytest.raises(
        SiameseError, match="must be tables of embeddings of one model.*shapes \\(3, 6\\) and \\(3, 5\\)"
    ):
        score_matrix(comparator, draw(rng, 3), draw(rng, 3)[:, :5])


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_written_matrix_is_the_one_in_memory(comparator, rng, tmp_path, suffix, symmetric):
    queries, catalog = draw(rng, 130), None if symmetric else draw(rng, 5)
    path = tmp_path / f"scores{suffix}"
    write_scores(path, comparator, queries, catalog)
    expected = score_matrix(comparator, queries, catalog)
    if suffix == ".npy":
        written = np.load(path, mmap_mode="r", allow_pickle=False)
    else:
        with h5py.File(path) as file:
            written = file["scores"][:]
    assert written.dtype == np.float32
    assert np.array_equal(written, expected)


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_a_full_disk_leaves_the_matrix_that_was_there(comparator, rng, tmp_path, full_disk, suffix):
    path = tmp_path / f"scores{suffix}"
    path.write_bytes(b"earlier")
    with full_disk(20_000), pytest.raises(DiskError, match="must be writable"):
        write_scores(path, comparator, draw(rng, 130))
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_matrix_can_be_written(comparator, rng, tmp_path):
    write_scores(tmp_path / "scores.npy", comparator, draw(rng, 0), draw(rng, 3))
    assert np.load(tmp_path / "scores.npy").shape == (0, 3)


def test_a_matrix_of_another_ending_is_refused(comparator, rng, tmp_path):
    with pytest.raises(SiameseError, match="must end in .npy, .h5 or .hdf5. Received: scores.csv"):
        write_scores(tmp_path / "scores.csv", comparator, draw(rng, 3))


def best_by_sorting(scores, k):
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


@given(
    num_rows=st.integers(1, 7),
    num_columns=st.integers(1, 30),
    k=st.integers(1, 9),
    width=st.integers(1, 31),
    num_values=st.integers(1, 50),
    seed=st.integers(0, 999),
)
def test_the_best_are_those_of_a_stable_sort_whatever_the_tiles(num_rows, num_columns, k, width, num_values, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, num_values, (num_rows, num_columns)).astype(np.float32)  # with ties
    starts = rng.permutation(np.arange(0, num_columns, width))
    rows = slice(0, num_rows)
    tiles = [Tile(rows, slice(start, start + width), scores[:, start : start + width]) for start in starts]
    best = best_of_tiles(tiles, num_rows, k)
    columns, values = best_by_sorting(scores, k)
    found = min(k, num_columns)
    assert np.array_equal(best.columns[:, :found], columns)
    assert np.array_equal(best.scores[:, :found], values)
    assert (best.columns[:, found:] == -1).all()
    assert np.isneginf(best.scores[:, found:]).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_top_k_leaves_out_what_may_not_answer(comparator, rng, symmetric):
    queries = draw(rng, 100)
    catalog = None if symmetric else draw(rng, 140)
    identity, names = rng.integers(0, 4, 100), rng.integers(0, 4, 100 if symmetric else 140)

    def other_animal(rows, columns):
        return identity[rows, None] != names[columns]

    best = top_k(comparator, queries, catalog, k=3, allowed=other_animal)
    scores = score_matrix(comparator, queries, catalog)
    columns, values = best_by_sorting(np.where(identity[:, None] != names, scores, -np.inf), 3)
    assert np.array_equal(best.columns, columns)
    assert np.array_equal(best.scores, values)


def test_top_k_of_nothing_is_refused(comparator, rng):
    with pytest.raises(SiameseError, match="`k` must be at least 1. Received: k=0"):
        top_k(comparator, draw(rng, 3), k=0)


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    small = EncoderSettings(stem_filters=4, stem_kernel=3, stem_convolutions=0, widths=(8,), bottlenecks=(4,), depth=1)
    return build_encoder((16, 16, 1), small)


def test_the_embedder_gives_what_the_encoder_gives_also_for_a_last_batch_that_is_not_full(encoder, rng):
    images = rng.integers(0, 256, (11, 16, 16, 1)).astype(np.uint8)
    seen = []
    embedder = Embedder(encoder, batch_size=4)
    embeddings = embedder.embed(lambda index: images[index], 11, lambda done, total: seen.append((done, total)))
    assert seen == [(4, 11), (8, 11), (11, 11)]
    np.testing.assert_allclose(embeddings, keras.ops.convert_to_numpy(encoder(images, training=False)), atol=1e-5)


def test_an_image_is_embedded_to_the_same_bits_in_any_company(encoder, rng):
    images = rng.integers(0, 256, (9, 16, 16, 1)).astype(np.uint8)
    embedder = Embedder(encoder, batch_size=4)
    together = embedder.embed(lambda index: images[index], 9)
    alone = np.concatenate([embedder.embed(lambda _, row=row: images[[row] * 4], 1) for row in range(9)])
    assert np.array_equal(together, alone)


def test_the_embedder_sees_later_changes_of_the_weights(encoder, rng):
    images = rng.integers(0, 256, (2, 16, 16, 1)).astype(np.uint8)
    embedder = Embedder(encoder, batch_size=2)
    before = embedder.embed(lambda index: images[index], 2)
    kernel = encoder.layers[2].kernel
    kernel.assign(-kernel)
    assert not np.array_equal(before, embedder.embed(lambda index: images[index], 2))
    kernel.assign(-kernel)
    assert np.array_equal(before, embedder.embed(lambda index: images[index], 2))
