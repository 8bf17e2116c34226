import json
from pathlib import Path

import pandas as pd
import pytest

from siamese.errors import SiameseError
from siamese.run_folder import held
from siamese.runs import (
    best_first,
    compare_settings,
    curves,
    curves_figure,
    find_runs,
    foreign_folders,
    read_run,
    runs_table,
)
from siamese.settings import settings_from_dict
from siamese.training_state import Record, write_history


def record(number, **numbers):
    return Record(number, 1, 1e-3, 10.0, 0.0, 20, num_encoded=40, seconds_embed=1.0, seconds_fit=3.0, **numbers)


def make_run(folder, records=(), metrics=None, **training):
    with held(folder, source=Path("photos"), settings=settings_from_dict({"training": training})):
        if records:
            write_history(folder, records)
        if metrics:
            (folder / "report").mkdir()
            (folder / "report" / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    """Three runs: `a` finished, `b` interrupted after its second round, `c` not yet at its first."""
    runs = tmp_path / "runs"
    schedule = [{"rounds": 2, "noise": 5.0}]
    make_run(runs / "a", [record(1, loss=0.7), record(2, loss=0.5)], {"map5": 0.8, "extra": None}, schedule=schedule)
    make_run(runs / "b", [record(1, loss=0.6), record(2, loss=0.4)], batch_size=32)
    make_run(runs / "c", batch_size=32)
    return runs


@pytest.fixture
def run_runs(run_program):
    return lambda *arguments: run_program("runs", *arguments)


# reading


def test_the_table_tells_how_every_run_stands(folder):
    table = runs_table(find_runs(folder))
    assert table.index.tolist() == ["a", "b", "c"]
    assert table["status"].tolist() == ["finished", "interrupted", "interrupted"]
    assert table[["rounds", "num_rounds"]].to_numpy().tolist() == [[2, 2], [2, 12], [0, 12]]
    assert table["seconds_training"].tolist() == [8, 8, 0]
    assert table["loss"].dropna().tolist() == [0.5, 0.4]
    assert table.loc["a", "map5"] == 0.8
    assert "extra" not in table


def test_the_best_round_of_the_validation_stands_in_the_table(tmp_path):
    make_run(tmp_path / "a", [record(1), record(2), record(3)])
    history = pd.read_csv(tmp_path / "a" / "history.csv")
    history["validation_map5"], history["validation_loss"] = [0.2, 0.9, None], [3.0, 1.0, 2.0]
    history.to_csv(tmp_path / "a" / "history.csv", index=False)
    row = runs_table(find_runs(tmp_path)).iloc[0]
    assert (row["validation_map5"], row["validation_loss"]) == (0.9, 1.0)


def test_a_real_run_is_read_whole(finished_run):
    run = read_run(finished_run.folder)
    assert (run.status, run.num_rounds, run.problems) == ("finished", 2, ())
    assert run.history["round"].tolist() == [1, 2]
    row = runs_table([run]).iloc[0]
    assert row["map5"] == finished_run.metrics["map5"]
    assert row["seconds_training"] == pytest.approx(finished_run.metrics["seconds_training"])


def test_hidden_and_foreign_folders_are_no_runs(folder):
    (folder / ".mlflow").mkdir()
    (folder / "notes").mkdir()
    (folder / "file.txt").touch()
    assert [run.folder.name for run in find_runs(folder)] == ["a", "b", "c"]
    assert foreign_folders(folder) == [folder / "notes"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("history.csv", "", "history.csv: the file must be as a training wrote it"),
        ("history.csv", "colour\nred\n", "history.csv: the file must be as a training wrote it"),
        ("report/metrics.json", "{", "metrics.json: the file must be as a training wrote it"),
        ("report/metrics.json", "3", "metrics.json: the file must be as a training wrote it"),
        ("settings.yaml", "- 1", "settings must be sections with fields"),
        ("settings.yaml", "training: {speed: 3}", "`training.speed` is wrong"),
        ("run.json", "{", "run.json: the file must be as a training wrote it"),
    ],
)
def test_a_damaged_file_is_told_and_the_others_are_read(folder, run_runs, name, content, sentence):
    (folder / "a" / name).write_text(content, encoding="utf-8")
    (problem,) = read_run(folder / "a").problems
    assert sentence in problem
    for arguments in ([folder], ["show", folder / "a"], ["compare", folder / "a", folder / "b"]):
        code, out, err = run_runs(*arguments)
        assert code == 0, err
        assert sentence in err
        assert out


def test_a_folder_without_runs_is_told(tmp_path, run_runs):
    with pytest.raises(SiameseError, match="there must be a folder of runs. Received: no folder"):
        find_runs(tmp_path / "absent")
    assert find_runs(tmp_path) == []
    assert run_runs(tmp_path) == (0, "", "")
    assert run_runs(tmp_path, "--json") == (0, "[]\n", "")


# comparing


def test_only_settings_that_differ_are_compared(folder):
    settings = compare_settings(find_runs(folder))
    assert settings["training.batch_size"].tolist() == [64, 32, 32]
    assert settings["training.schedule.1.noise"].tolist() == [5, 100, 100]
    assert settings["training.schedule.2.rounds"].isna().tolist() == [True, False, False]
    assert "training.seed" not in settings
    assert compare_settings(find_runs(folder)[1:]).columns.tolist() == []


def test_the_best_run_comes_first_whatever_is_better(folder):
    table = runs_table(find_runs(folder))
    table["top1"] = [0.1, None, 0.9]
    assert best_first(table, "loss").index.tolist() == ["b", "a", "c"]
    assert best_first(table, "top1").index.tolist() == ["c", "a", "b"]
    with pytest.raises(SiameseError, match="`sort` must be one of rounds, .* Received: 'status'"):
        best_first(table, "status")


def test_curves_go_against_rounds_encodings_or_seconds(folder):
    runs = find_runs(folder)
    assert curves(runs).to_numpy().tolist() == [["a", 1, 0.7], ["a", 2, 0.5], ["b", 1, 0.6], ["b", 2, 0.4]]
    assert curves(runs, "loss", against="num_encoded")["num_encoded"].tolist() == [40, 80, 40, 80]
    assert curves(runs, "loss", against="seconds")["seconds"].tolist() == [4, 8, 4, 8]


def test_what_no_curve_can_be_drawn_of_is_told(folder):
    runs = find_runs(folder)
    with pytest.raises(SiameseError, match="`metric` must be one of .*loss.* Received: 'speed'"):
        curves(runs, "speed")
    with pytest.raises(SiameseError, match="`against` must be one of round, num_encoded, seconds. Received: 'day'"):
        curves(runs, against="day")
    with pytest.raises(SiameseError, match="no round yet"):
        curves(runs[2:])


def test_comparing_changes_no_run(folder):
    runs = find_runs(folder)
    before = [run.history.copy() for run in runs]
    curves(runs, against="num_encoded"), compare_settings(runs), runs_table(runs)
    for run, history in zip(runs, before, strict=True):
        pd.testing.assert_frame_equal(run.history, history)
    assert [phase["rounds"] for phase in runs[1].settings["training.schedule"]] == [4, 8]


def test_the_picture_has_a_line_for_each_run(folder):
    (axes,) = curves_figure(curves(find_runs(folder), against="seconds")).axes
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    assert [line.get_xydata().tolist() for line in axes.lines][1] == [[4, 0.6], [8, 0.4]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds of training", "loss")


def test_runs_of_one_name_in_two_folders_are_told_apart(folder, tmp_path):
    make_run(tmp_path / "more" / "a")
    runs = [read_run(folder / "a"), read_run(tmp_path / "more" / "a")]
    assert runs_table(runs).index.tolist() == [str(folder / "a"), str(tmp_path / "more" / "a")]


# the program


def test_runs_alone_lists_the_folder_runs(run_runs, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    code, out, err = run_runs()
    assert (code, err) == (0, "")
    first = next(line.split() for line in out.splitlines() if line.startswith("  a "))
    assert first[:9] == ["a", "finished", "2/2", "0.5", "0.8", "8", "64", "2", "5"]
    assert set(first[9:]) == {"-"}  # it has no second phase
    assert run_runs("list", "runs")[1] == out
    _, out, _ = run_runs("--sort", "loss", "--json")
    rows = json.loads(out)
    assert [row["run"] for row in rows] == ["b", "a", "c"]
    assert rows[1]["settings"]["training.batch_size"] == 64
    assert rows[2]["loss"] is None


def test_a_folder_without_a_training_is_told_beside_the_list(run_runs, folder):
    (folder / "notes").mkdir()
    _, out, err = run_runs(folder)
    assert "notes" not in out
    assert err == f"{folder / 'notes'}: left out, no training was started there.\n"


def test_compare_draws_and_prints(run_runs, folder, tmp_path):
    picture = tmp_path / "out" / "curves.png"
    code, out, err = run_runs("compare", folder / "a", folder / "b", "--against", "seconds", "--out", picture)
    assert (code, err) == (0, f"Curves: {picture}.\n")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "training.batch_size" in out
    _, out, _ = run_runs("compare", folder / "a", folder / "b", "--json")
    numbers = json.loads(out)
    assert numbers["settings"]["b"]["training.batch_size"] == 32
    assert numbers["metrics"]["a"]["map5"] == 0.8
    assert numbers["curves"][0] == {"run": "a", "round": 1, "loss": 0.7}


def test_compare_tells_a_wrong_column_and_a_folder_that_is_no_run(run_runs, folder, tmp_path):
    code, out, err = run_runs("compare", folder / "a", "--metric", "speed", "--out", tmp_path / "c.png")
    assert (code, out) == (2, "")
    assert "`metric` must be one of" in err
    code, _, err = run_runs("compare", folder / "a", tmp_path / "absent")
    assert code == 2
    assert "absent: a run folder must hold settings.yaml or run.json. Received: no folder" in err


def test_show_tells_the_command_the_own_settings_and_the_last_sentences(run_runs, folder):
    (folder / "b" / "log.txt").write_text("".join(f"sentence {number}\n" for number in range(30)), encoding="utf-8")
    with pytest.raises(SiameseError), held(folder / "b", source=Path("photos"), settings=settings_from_dict({})):
        raise SiameseError("The disk was full.")
    code, out, err = run_runs("show", folder / "b")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{folder / 'b'}: failed, 2 of 12 rounds"
    assert lines[1] == f"collection  {Path('photos').absolute()}"
    assert lines[-1] == "The disk was full."
    assert lines[-11:-1] == [f"sentence {number}" for number in range(20, 30)]


def test_show_prints_everything_as_json(run_runs, folder):
    _, out, _ = run_runs("show", folder / "a", "--json")
    shown = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert shown["status"] == "finished"
    assert shown["facts"]["seed"] == 0
    assert shown["settings"]["training.schedule"][0]["noise"] == 5
    assert [row["loss"] for row in shown["history"]] == [0.7, 0.5]
