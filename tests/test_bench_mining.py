import numpy as np
import pytest

from siamese.bench.mining import bench_mining, clustered_embeddings, growth_figure, humpback_identity, measure_round
from siamese.candidates import MatrixScores
from siamese.settings import MiningSettings


def test_identities_have_as_many_photos_as_in_the_humpback_challenge():
    sizes = np.bincount(humpback_identity(13_624, seed=3))
    assert abs(len(sizes) - 2931) < 15
    assert (sizes[:-1].min(), sizes.max()) == (2, 73)
    assert np.mean(sizes == 2) == pytest.approx(1285 / 2931, abs=0.01)


def test_more_images_than_the_challenge_has_repeat_its_distribution():
    identity = humpback_identity(50_000, seed=0)
    assert len(identity) == 50_000
    assert np.mean(np.bincount(identity) == 2) == pytest.approx(1285 / 2931, abs=0.02)
    assert np.array_equal(identity, humpback_identity(50_000, seed=0))


def test_a_label_file_gives_its_own_counts(tmp_path):
    names = ["new_whale"] * 9 + ["w_1"] * 4 + ["w_2"] * 2 + ["w_3"]
    (tmp_path / "train.csv").write_text("Image,Id\n" + "\n".join(f"{n}.jpg,{name}" for n, name in enumerate(names)))
    sizes = np.bincount(humpback_identity(6, seed=0, labels=tmp_path / "train.csv"))
    assert sorted(sizes.tolist()) == [2, 4]


def test_photos_of_one_animal_share_most_features_and_take_real_values(rng):
    photos, identity = rng.normal(size=(50, 200)), np.array([0, 0, 1, 1])
    drawn = clustered_embeddings(photos, identity, seed=0)
    same, other = (np.mean(drawn[0] == drawn[number]) for number in (1, 2))
    assert same > 0.4 > 0.1 > other
    assert np.isin(drawn, photos.astype(np.float32)).all()


@pytest.mark.parametrize("method", ["sparse", "blocks", "scipy"])
def test_a_measured_round_tells_seconds_memory_and_cost(method, rng):
    scores = rng.normal(size=(200, 200)).astype(np.float32)
    source, identity = MatrixScores(scores + scores.T), np.arange(200) // 2
    measured, whole = (
        measure_round(way, lambda: source, identity, 1.0, 0, MiningSettings()) for way in (method, "scipy")
    )
    assert measured["method"] == method
    assert 0 < measured["solver_seconds"] < measured["seconds"] < 60
    assert 0.01 < measured["peak_gib"] < 100
    assert measured["cost"] == pytest.approx(whole["cost"], rel=1e-4)


def test_growth_is_drawn_with_one_line_a_method_from_few_images_to_many():
    results = [
        {"num_images": count, "methods": [{"method": name, "seconds": count / 10, "peak_gib": 1.0} for name in names]}
        for count, names in [(50, ["sparse"]), (20, ["sparse", "scipy"])]
    ]
    seconds, memory = growth_figure(results).axes
    assert [line.get_label() for line in seconds.lines] == ["sparse", "scipy"]
    assert [line.get_xydata().tolist() for line in seconds.lines] == [[[20, 2], [50, 5]], [[20, 2]]]
    assert memory.lines[0].get_ydata().tolist() == [1, 1]


def test_the_bench_measures_in_a_process_of_its_own():
    found = bench_mining(120, methods=["sparse"])  # some ten seconds: it trains a comparator
    assert (found["method"], found["num_images"], found["cost_ratio"]) == ("sparse", 120, None)
    assert found["peak_gib"] == found["methods"][0]["peak_gib"] > 0.1
    assert found["relative_error"] < 0.02
