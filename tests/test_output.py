"""Tests of `siamese.evaluation.output`."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from siamese.errors import DiskError
from siamese.evaluation.evaluate import evaluate
from siamese.evaluation.output import aligned, as_json, as_lines, as_numbers, evaluation_tables, write_tables
from tests.test_evaluate import CATALOG, SCORES, TRUTH, decision, evaluated

FILES = {"queries", "groups", "confusion", "thresholds", "cmc", "calibration", "steps"}
VIEWS = np.array(["left", "left", "right", "", "right", "left"], dtype=object)


def tables(**changed):
    return evaluation_tables(evaluated(**changed), decision(), {"viewpoint": VIEWS})


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_folder_holds_every_table_and_the_numbers(tmp_path):
    write_tables(tmp_path / "evaluation", tables(), {"leaks": None})
    assert {path.name for path in (tmp_path / "evaluation").iterdir()} == {
        "metrics.json",
        *(f"{name}.csv" for name in FILES),
    }
    numbers = read_json(tmp_path / "evaluation" / "metrics.json")
    assert numbers["metrics"]["map5"]["value"] == pytest.approx(evaluated().metrics["map5"])
    assert numbers["metrics"]["map5"]["num"] == 5
    assert numbers["leaks"] is None
    assert "1 / rank" in numbers["conventions"]
    queries = pd.read_csv(tmp_path / "evaluation" / "queries.csv")
    assert queries.loc[queries["kind"] != "unanswerable", "precision"].mean() == numbers["metrics"]["map5"]["value"]
    curve = pd.read_csv(tmp_path / "evaluation" / "thresholds.csv")
    assert {"threshold", "map", "new_found", "known_called_new"} <= set(curve)


def test_groups_hold_the_counted_queries_and_top1_the_known_ones():
    groups = tables().groups.set_index(["by", "metric", "group"])["n"]
    assert groups["viewpoint"].to_dict() == {
        ("map5", "left"): 2,
        ("map5", "right"): 2,
        ("map5", "unknown"): 1,
        ("top1", "left"): 2,
        ("top1", "right"): 1,
    }
    assert groups["photos per individual"]["map5"].to_dict() == {"none (new)": 2, "1": 2, "2": 1}


def test_the_confusion_names_new_individuals():
    rows = tables().confusion[["identity", "answer"]].to_numpy().tolist()
    assert sorted(map(tuple, rows)) == [("bob", "ann"), ("cleo", "new_individual"), ("new_individual", "ann")]


def test_too_few_individuals_and_pairs_are_told():
    assert [note.split(":")[0].split(" needs")[0] for note in tables().notes] == [
        "Queries without a name",
        "The queries show only 3 known individuals",
        "The queries show only 2 new individuals",
        "TAR at FAR 1 %",
        "TAR at FAR 0.1 %",
    ]


@pytest.mark.parametrize(("truth", "kind"), [("ann", "new"), ("", "known")])
def test_a_missing_kind_is_told(truth, kind):
    alone = evaluate(SCORES[:2], CATALOG, [truth] * 2, query_ids=["a", "b"], decision=decision())
    notes = evaluation_tables(alone, decision()).notes
    assert [note for note in notes if note.startswith(f"No query shows a {kind} individual, so it stays open")]


def test_queries_without_a_name_are_told():
    alone = evaluate(SCORES[:3], CATALOG, ["ann", "", ""], query_ids=list("abc"), decision=decision())
    note = evaluation_tables(alone, decision()).notes[0]
    assert note.startswith("Queries without a name: 2. Each is taken for a new individual of its own")


def test_enough_individuals_are_not_warned_of():
    names = np.array([f"animal {number:02d}" for number in range(40)], dtype=object)
    many = evaluate(np.eye(40)[:, :20], names[:20], names, query_ids=names, decision=decision(0.5))
    assert not [note for note in evaluation_tables(many, decision(0.5)).notes if "individual" in note]


def test_a_difference_is_told_in_words():
    rows = [
        ("top1", 0.2, 0.0001),
        ("top1", -0.2, 0.04),
        ("log_loss", -0.2, 0.05),
        ("map5", 0.2, 0.06),
        ("map5", np.nan, np.nan),
    ]
    lines = aligned(pd.DataFrame(rows, columns=["metric", "difference", "p_value"])).splitlines()
    assert [line.split()[2:] for line in lines[1:]] == [
        ["<0.001", "better"], ["0.040", "worse"], ["0.050", "better"], ["0.060", "not", "clear"], ["-", "-"],
    ]  # fmt: skip


def test_the_first_line_counts_queries_and_individuals():
    assert as_lines(tables())[0] == (
        "Asked: 3 queries of 3 known individuals and 2 of 2 new ones. "
        "Not counted: 1, which no photo of theirs may answer."
    )


def test_the_lines_tell_metrics_groups_steps_confusions_and_conventions():
    text = "\n".join(as_lines(tables()))
    for words in ("MAP@5", "viewpoint", "Before and after", "Most frequent wrong", "Intervals: 95 %", "needs at least"):
        assert words in text


def test_an_evaluation_of_nothing_still_has_its_tables(tmp_path):
    empty = evaluate(SCORES[:0], CATALOG, TRUTH[:0], query_ids=[], decision=decision())
    write_tables(tmp_path, evaluation_tables(empty, decision()), {})
    assert read_json(tmp_path / "metrics.json")["metrics"]["map5"]["value"] is None


def test_json_has_null_for_what_is_no_number():
    assert json.loads(as_json({"a": [float("inf"), np.float32(0.5), np.int64(2)], "b": (True, None)})) == {
        "a": [None, 0.5, 2],
        "b": [True, None],
    }
    json.loads(as_json(as_numbers(tables(), {})), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_the_evaluation_does_not_pull_in_keras():
    code = "import sys, siamese.evaluation.output; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_a_full_disk_leaves_the_earlier_files(tmp_path, full_disk):
    write_tables(tmp_path, tables(), {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk(100), pytest.raises(DiskError, match="must be writable"):
        write_tables(tmp_path, tables(), {"more": 1})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
