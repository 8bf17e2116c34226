import numpy as np
import pytest

from siamese.bench import scoring as bench_module
from siamese.bench.example import drawn_embeddings, further_images, trained_comparator
from siamese.bench.scoring import bench_scoring, classical_head
from siamese.bench.search import LENGTHS, bench_search, search_figure
from siamese.models.comparator import Comparator
from siamese.scoring import index, score_matrix


def test_a_further_image_mixes_two_photos_and_keeps_every_features_values(rng):
    photos = drawn_embeddings(50, 40, seed=0)
    images = further_images(photos, 300, seed=1)
    assert np.array_equal(images[:50], photos)
    assert all(np.isin(images[:, feature], photos[:, feature]).all() for feature in range(40))
    shared = (images[50:, None] == photos).mean(axis=2).max(axis=1)
    assert 0.75 < shared.mean() < 1
    assert np.array_equal(further_images(photos, 7, seed=1), photos[:7])


def test_the_example_comparator_tells_the_drawn_animals_apart():
    comparator, embeddings, source = trained_comparator(None, None)
    scores = score_matrix(comparator, embeddings[:64])
    same = np.arange(64)[:, None] // 4 == np.arange(64) // 4
    other_photo = same & ~np.eye(64, dtype=bool)
    assert scores[other_photo].mean() > scores[~same].mean() + 2 * scores[~same].std()
    assert "drawn" in source


def test_the_classical_head_gives_the_logits_of_the_comparator(rng):
    comparator = Comparator(5)
    comparator.build([(None, 7), (None, 7)])
    for weight in comparator.weights:
        weight.assign(rng.normal(size=weight.shape))
    left, right = (np.maximum(rng.normal(size=(20, 7)), 0).astype(np.float32) for _ in range(2))
    predicted = classical_head(comparator, 7).predict([left, right], verbose=0)
    np.testing.assert_allclose(predicted[:, 0], np.diag(score_matrix(comparator, left, right)), rtol=1e-4, atol=1e-4)


def test_scoring_is_measured_with_every_key(monkeypatch):
    monkeypatch.setattr(bench_module, "NUM_PASSES", 1)
    answer = bench_scoring(num_queries=64, num_catalog=200, predict_pairs=64, exact_pairs=4096, max_error=0.05)
    assert {"predict_pairs_per_s", "exact_pairs_per_s", "factorised", "matmul_gflops", "factorised_gflops"} <= set(
        answer
    )
    speeds = ("predict_pairs_per_s", "predict_layer_pairs_per_s", "exact_pairs_per_s", "matmul_gflops")
    assert all(answer[name] > 0 for name in speeds)
    chosen = answer["factorised"][0]
    assert chosen["relative_error"] <= 0.05
    assert answer["factorised_gflops"] == pytest.approx(2e-9 * chosen["rank"] * chosen["pairs_per_s"])
    errors = {form["rank"]: form["relative_error"] for form in answer["factorised"] if form["storage"] == "float32"}
    assert [errors[rank] for rank in sorted(errors)] == sorted(errors.values(), reverse=True)


@pytest.fixture(scope="module")
def searched():
    """Measured without the packages that may be missing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            index, "INDEXES", {name: ("no_such_package", build) for name, (_, build) in index.INDEXES.items()}
        )
        return bench_search(40, 300)


def test_search_is_measured_and_agrees_with_exact_scoring(searched):
    assert searched["same_top5"] > 0.9
    assert searched["exact_s"] > 0
    assert searched["two_stage_s"] > 0
    assert searched["curve"][-1]["recall"] == 1


def test_every_way_to_search_is_measured_and_a_missing_package_is_told(searched):
    exact, *product = searched["ways"]
    assert (exact["way"], exact["length"], exact["recall_top5"]) == ("exact", 300, 1)
    assert exact["queries_per_s"] == pytest.approx(40 / searched["exact_s"])
    assert [(way["way"], way["length"]) for way in product] == [("product", length) for length in LENGTHS]
    recalls = [way["recall_top5"] for way in product]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1
    assert len(searched["left_out"]) == 3
    assert "faiss needs the package no_such_package" in searched["left_out"][0]


def test_the_curve_of_the_search_is_drawn(searched, tmp_path):
    figure = search_figure(searched)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["product"].get_xdata().tolist() == [way["recall_top5"] for way in searched["ways"][1:]]
    figure.savefig(tmp_path / "search.png")
    assert (tmp_path / "search.png").stat().st_size > 5000


def test_an_installed_index_is_among_the_ways():
    pytest.importorskip("faiss", reason="faiss is not installed")
    answer = bench_search(20, 300)
    assert [found["length"] for found in answer["ways"] if found["way"] == "faiss"] == list(LENGTHS)
    recall = {(found["way"], found["length"]): found["recall_top5"] for found in answer["ways"]}
    assert all(recall["faiss", length] == recall["product", length] for length in LENGTHS)
