import json

import pytest


@pytest.fixture
def run_bench(run_program):
    """`run_bench("data", ...)` runs `siamese bench data ...` and returns what it printed."""

    def run(*arguments):
        code, out, err = run_program("bench", *arguments)
        assert code == 0, err
        return out

    return run


def test_data_is_measured_as_json(run_bench):
    numbers = json.loads(run_bench("data", "--photos", 8, "--hashes", 100, "--json"))
    assert numbers["photos_per_s"] > 0
    assert numbers["hashes_per_s"] > 0


def test_mining_is_measured_for_each_number_of_images_and_drawn(run_bench, tmp_path):
    counts = ("--num-images", 120, "--num-images", 200)
    out = run_bench("mining", *counts, "--method", "sparse", "--figure", tmp_path / "growth.png", "--json")
    small, large = json.loads(out)
    assert (small["num_images"], large["num_images"]) == (120, 200)
    assert {"seconds", "peak_gib", "cost_ratio", "method"} <= set(large)
    assert large["method"] == "sparse"
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_search_is_told_line_by_line(run_bench):
    told = run_bench("search", "--queries", 8, "--catalog", 400)
    assert "same_top5" in told
    assert "  way exact, length 400" in told


def test_evaluation_is_measured_as_json(run_bench):
    numbers = json.loads(run_bench("evaluation", "--num-queries", 60, "--num-catalog", 400, "--json"))
    assert numbers["seconds"] >= numbers["evaluate_s"] > 0
    assert 0.9 < numbers["auc_pairs"] < 1
    assert 0.2 < numbers["map5"] < 1
