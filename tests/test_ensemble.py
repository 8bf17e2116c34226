import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from siamese.ensemble import _answers_of, _named, _steps, fit_ensemble, load_ensemble
from siamese.errors import ModelFolderError, SiameseError
from siamese.evaluation.ranking_steps import answer_values
from siamese.finished_run import open_run
from siamese.manifest import read_manifest
from siamese.pipeline import train
from siamese.settings import EnsembleSettings

FEW = EnsembleSettings(methods=("mean",), conversions=("none",), weight_steps=4, folds=2)


@pytest.fixture(scope="module")
def second_run(small_collection, tiny_settings, finished_run, tmp_path_factory):
    """Another training on the same collection; its split is drawn alike."""
    from tests.conftest import Listener

    folder = tmp_path_factory.mktemp("runs") / "second"
    seed = tiny_settings.training.model_copy(update={"seed": 1})
    train(small_collection, tiny_settings.model_copy(update={"training": seed}), folder, Listener())
    return folder


@pytest.fixture(scope="module")
def fitted(finished_run, second_run):
    return fit_ensemble([finished_run.folder, second_run], settings=FEW)


def _answers_of_runs(found):
    answers = {}
    for member in found.ensemble.members:
        with open_run(member.run) as run:
            answers[member.name] = _answers_of(run, "test")
    return answers


def test_an_ensemble_of_one_run_twice_answers_as_that_run_does(finished_run, tmp_path):
    twin = shutil.copytree(finished_run.folder, tmp_path / "twin")
    found = fit_ensemble([finished_run.folder, twin], settings=FEW)
    assert found.fit.is_within_noise
    assert set(found.steps["difference"]) == {0.0}


def test_the_steps_tell_of_every_other_model_and_both_blends(fitted):
    other = ({"small", "second"} - {fitted.best_single}).pop()
    assert fitted.steps["step"].unique().tolist() == [other, "equal weights", "fitted"]


def test_the_first_of_each_step_is_what_the_best_run_reaches_alone(fitted, finished_run, second_run):
    folder = {"small": finished_run.folder, "second": second_run}[fitted.best_single]
    with open_run(folder) as run:
        side = run.side("test")
        truth = run.collection.truth(side)
        table = run.table(side)
    known = table.ranks_of(truth) > 0
    alone = answer_values(table, truth, None)["map5_closed"][known].mean()
    rows = fitted.steps[fitted.steps["metric"] == "map5_closed"]
    assert np.allclose(rows["first"], alone)


def test_measures_that_count_the_new_individual_are_told_where_it_was_placed(fitted):
    assert fitted.fit.placed == ("map5" in set(fitted.steps["metric"]))
    nowhere = replace(fitted.fit, placed=False)
    answers = _answers_of_runs(fitted)
    assert set(
        _steps({name: part.scores for name, part in answers.items()}, next(iter(answers.values())), nowhere)["metric"]
    ) == {"map5_closed", "top1", "top5"}


def test_a_saved_ensemble_ranks_as_the_one_that_was_fitted(fitted, finished_run, tmp_path):
    fitted.ensemble.save(tmp_path / "ensemble", fitted.to_dict())
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    queries = manifest.select(manifest.column("split") == "test")
    one, other = (each.rank(queries, top_k=3) for each in (fitted.ensemble, load_ensemble(tmp_path / "ensemble")))
    assert one.identities.tolist() == other.identities.tolist()
    assert np.array_equal(one.scores, other.scores)
    assert np.array_equal(one.probabilities, other.probabilities)
    assert one.query_ids.tolist() == queries.image_ids.tolist()


def test_its_list_is_the_blend_of_what_both_models_score(fitted, finished_run, second_run):
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    queries = manifest.select(manifest.column("split") == "test")
    with open_run(finished_run.folder) as one, open_run(second_run) as other:
        tables = [run.table(run.side("test")) for run in (one, other)]
    weights = dict(zip(fitted.ensemble.blend.names, fitted.ensemble.blend.weights, strict=True))
    expected = weights["small"] * tables[0].scores + weights["second"] * tables[1].scores
    ranking = fitted.ensemble.rank(queries, top_k=20)
    for row, names in enumerate(ranking.identities):
        known = [name for name in names if name in set(tables[0].names)]
        best = tables[0].names[np.argsort(-expected[row], kind="stable")]
        assert known == best.tolist()


def test_a_regression_on_all_embeddings_is_one_more_model(finished_run, second_run, tmp_path):
    found = fit_ensemble([finished_run.folder, second_run], stacking=True, settings=FEW)
    assert found.ensemble.blend.names == ("small", "second", "stacked")
    found.ensemble.save(tmp_path, found.to_dict())
    manifest = read_manifest(finished_run.folder / "manifest.csv")
    queries = manifest.select(manifest.column("split") == "test")
    one, other = (each.rank(queries, top_k=3) for each in (found.ensemble, load_ensemble(tmp_path)))
    assert one.identities.tolist() == other.identities.tolist()
    assert len(load_ensemble(tmp_path).catalog_ids()) > one.catalog_rows.max()


def test_its_file_holds_what_was_found_and_finds_the_runs_from_anywhere(fitted, finished_run, tmp_path, monkeypatch):
    fitted.ensemble.save(tmp_path / "ensemble", fitted.to_dict())
    values = json.loads((tmp_path / "ensemble" / "ensemble.json").read_text())
    assert values["fit"]["sentences"] == list(fitted.fit.sentences)
    monkeypatch.chdir("/")
    members = load_ensemble(tmp_path / "ensemble").members
    assert members[0].run.resolve() == finished_run.folder.resolve()


def test_photos_that_cannot_be_read_are_listed(fitted, small_collection):
    found = replace(fitted.ensemble, quarantine=[])
    ranking = found.rank(small_collection / "animal0")
    assert len(ranking) == 6
    assert {photo for photo, _ in found.quarantine} == {str(small_collection / "animal0" / "broken.jpg")}


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
    folders = [tmp_path / side / "run" for side in ("a", "b")]
    assert list(_named(folders)) == [str(folder) for folder in folders]
    assert list(_named([tmp_path / "stacked", tmp_path / "run"])) == [str(tmp_path / "stacked"), str(tmp_path / "run")]
    assert list(_named([tmp_path / "one", tmp_path / "two"])) == ["one", "two"]


def test_a_file_of_another_version_is_refused(fitted, tmp_path):
    fitted.ensemble.save(tmp_path, {"format_version": 2})
    with pytest.raises(ModelFolderError, match="format version 2, this version reads 1"):
        load_ensemble(tmp_path)


def test_a_run_that_was_trained_again_is_refused(fitted, second_run, finished_run, tmp_path):
    copies = [shutil.copytree(run, tmp_path / run.name) for run in (finished_run.folder, second_run)]
    found = fit_ensemble(copies, settings=FEW)
    shutil.rmtree(copies[1] / "model")
    shutil.copytree(finished_run.folder / "model", copies[1] / "model")
    with pytest.raises(SiameseError, match="must stay as it was"):
        found.ensemble.rank(read_manifest(finished_run.folder / "manifest.csv"))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_one_run_is_no_ensemble(finished_run, count):
    with pytest.raises(SiameseError, match="two or more runs, each once"):
        fit_ensemble([finished_run.folder] * count)


def test_a_damaged_file_gives_a_sentence(tmp_path):
    with pytest.raises(ModelFolderError, match="must hold a sound ensemble.json"):
        load_ensemble(tmp_path)
    (tmp_path / "ensemble.json").write_text("{}")
    with pytest.raises(ModelFolderError, match="must hold a sound ensemble.json"):
        load_ensemble(tmp_path)


def test_the_program_fits_and_asks_an_ensemble(run_program, finished_run, second_run, small_collection, tmp_path):
    code, out, err = run_program("ensemble", "fit", finished_run.folder, second_run, "--out", tmp_path / "both")
    assert code == 0, err
    assert "best single model" in out
    assert "equal weights" in out
    arguments = ["--ensemble", tmp_path / "both", "--queries", small_collection / "animal0", "--top-k", 2]
    code, out, err = run_program("ensemble", "rank", *arguments)
    assert code == 0, err
    table = pd.read_csv(io.StringIO(out))
    assert list(table.columns) == ["image_id", "rank", "identity", "score", "probability", "match"]
    assert len(table) == 12
    assert err.count("left out: ") == 1
