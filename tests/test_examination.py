"""Tests of `siamese.examination` and of `siamese evaluate`, on a small finished run."""

import json

import numpy as np
import pandas as pd
import pytest

from siamese.errors import SiameseError
from siamese.examination import examine_model, examine_run
from siamese.manifest import from_table, read_manifest

FROM_RUN = ("map5", "map5_known", "map5_closed", "first_right", "new_found", "known_called_new", "threshold")


@pytest.fixture(scope="module")
def examined(finished_run):
    return examine_run(finished_run.folder)


@pytest.fixture
def two_manifests(finished_run, tmp_path):
    """The test photos and all others of the run, as two manifests with a date each."""
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    days = np.array([f"2020-01-{1 + row % 28:02d}" for row in range(len(manifest))], dtype=object)
    manifest = manifest.with_column("date", days)
    paths = []
    for name, rows in (("test", manifest.column("split") == "test"), ("rest", manifest.column("split") != "test")):
        paths.append(tmp_path / f"{name}.csv")
        manifest.select(rows).write(paths[-1])
    return paths


def test_a_run_asked_again_gives_the_numbers_of_its_training(examined, finished_run):
    for name in FROM_RUN:
        assert examined.evaluation.metrics[name] == pytest.approx(finished_run.metrics[name], nan_ok=True), name


def test_a_run_tells_its_leaks_and_groups(examined):
    assert examined.leaks.to_dict()["unchecked"]
    assert list(examined.groups) == ["sharpness"]
    assert len(examined.groups["sharpness"]) == len(examined.evaluation.queries)
    assert examined.notes == ()


def test_new_individuals_keep_their_names(examined, finished_run):
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    identity = dict(zip(manifest.image_ids, manifest.identity, strict=True))
    queries = examined.evaluation.queries
    assert queries["identity"].tolist() == [identity[name] for name in queries["image_id"]]


def test_a_model_asked_for_the_same_photos_gives_the_same_numbers(examined, finished_run, two_manifests):
    found = examine_model(finished_run.folder / "model", *two_manifests)
    assert found.evaluation.metrics == pytest.approx(examined.evaluation.metrics, nan_ok=True)
    assert "days to the nearest photo" in found.groups
    assert {leak.side for leak in found.leaks.leaks} <= {"test"}
    stored = examine_model(finished_run.folder / "model", two_manifests[0], finished_run.folder / "catalog")
    assert stored.evaluation.metrics == pytest.approx(found.evaluation.metrics, nan_ok=True)
    assert stored.leaks is None
    assert "tells names alone" in stored.notes[0]


def test_photos_that_answer_each_other_do_not_answer_themselves_and_bursts_are_told(finished_run, tmp_path):
    manifest = read_manifest(finished_run.folder / "manifest.csv").select(np.arange(12))
    burst = np.array(["1", "1", *[""] * 10], dtype=object)
    manifest = manifest.with_column("burst", burst)
    manifest.write(tmp_path / "all.csv")
    found = examine_model(finished_run.folder / "model", tmp_path / "all.csv", tmp_path / "all.csv")
    queries = found.evaluation.queries  # without the photo that cannot be read
    others = queries["identity"].map(queries["identity"].value_counts()) - 1
    assert queries["num_photos"].tolist() == others.where(queries["identity"] != "", 0).tolist()
    assert f"Photos left out because they cannot be read: {len(manifest) - len(queries)}." in found.notes
    assert found.leaks is None
    assert any("may be answered by a photo of the same burst" in note for note in found.notes)
    assert any("Not looked for among them: encounters, because" in note for note in found.notes)


def test_a_run_without_test_photos_is_told(own_run):
    manifest = read_manifest(own_run / "manifest.csv")
    manifest.with_column("split", np.where(manifest.column("split") == "test", "train", "train")).write(
        own_run / "manifest.csv"
    )
    with pytest.raises(SiameseError, match="the run must have test photos. Received: none"):
        examine_run(own_run)


def test_a_catalog_without_names_is_told(finished_run, small_collection, tmp_path):
    photos = sorted(small_collection.glob("*.jpg"))[:2]
    table = pd.DataFrame({"image_id": [path.stem for path in photos], "path": photos, "identity": ""})
    from_table(table, tmp_path).write(tmp_path / "unknown.csv")
    with pytest.raises(SiameseError, match="must say who its photos show"):
        examine_model(finished_run.folder / "model", tmp_path / "unknown.csv", tmp_path / "unknown.csv")


# siamese evaluate


def test_evaluate_prints_tables_below_the_leaks_and_writes_them(run_program, own_run):
    code, out, err = run_program("evaluate", "--run", own_run)
    assert code == 0, err
    assert out.index("Not looked for: ") < out.index("MAP@5")
    metrics = json.loads((own_run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["leaks"]["unchecked"]
    assert (own_run / "evaluation" / "thresholds.csv").is_file()


def test_evaluate_compares_a_run_with_itself_and_finds_no_difference(run_program, own_run, finished_run, tmp_path):
    code, out, err = run_program(
        "evaluate", "--run", own_run, "--compare", finished_run.folder, "--out", tmp_path / "found", "--json"
    )
    assert code == 0, err
    compared = pd.DataFrame(json.loads(out)["compared"]).set_index(["metric", "model"])
    assert compared.loc[("map5", str(finished_run.folder)), ["difference", "p_value"]].tolist() == [0, 1]
    assert compared.loc[("map5", str(own_run)), "value"] == pytest.approx(finished_run.metrics["map5"])
    assert not (own_run / "evaluation").exists()
    assert (tmp_path / "found" / "metrics.json").is_file()


def test_evaluate_takes_a_model_with_two_manifests(run_program, finished_run, two_manifests):
    code, out, err = run_program(
        "evaluate", "--model", finished_run.folder / "model",
        "--queries", two_manifests[0], "--catalog", two_manifests[1], "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["metrics"]["map5"]["value"] == pytest.approx(finished_run.metrics["map5"])


@pytest.mark.parametrize("given", [(), ("--run", "here", "--model", "there"), ("--model", "there")])
def test_evaluate_says_what_it_needs(run_program, given):
    code, out, err = run_program("evaluate", *given)
    assert (code, out) == (2, "")
    assert "`evaluate` must get --run, or --model with --queries and --catalog" in err
