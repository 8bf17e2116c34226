import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from siamese import run_folder
from siamese.errors import SiameseError
from siamese.run_folder import held, is_held, read_facts, status_of, to_resume
from siamese.settings import Settings, read_settings, settings_from_dict

ROOT = Path(__file__).resolve().parent.parent
SEVEN = settings_from_dict({"training": {"seed": 7}})
HOLD = (
    "import sys, time; from pathlib import Path; from siamese.run_folder import held; from siamese.settings import *\n"
    "with held(Path(sys.argv[1]), source=Path('photos'), settings=Settings()):\n"
    "    print('held', flush=True); time.sleep(20)\n"
)


def start(folder, *, settings=SEVEN, source="photos"):
    with held(folder, source=Path(source), settings=settings):
        pass


# the lock


def test_a_run_is_running_while_it_is_held_and_interrupted_after(tmp_path):
    with held(tmp_path, source=Path("photos"), settings=SEVEN):
        assert is_held(tmp_path)
        assert status_of(tmp_path) == "running"
    assert not is_held(tmp_path)
    assert status_of(tmp_path) == "interrupted"


def test_a_second_training_in_the_folder_is_refused_and_changes_nothing(tmp_path):
    with held(tmp_path, source=Path("photos"), settings=SEVEN):
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        sentence = "one training at a time .* Received: process [0-9]+ on .* since 20.* choose another run folder"
        with pytest.raises(SiameseError, match=sentence), held(tmp_path, source=Path("other"), settings=Settings()):
            pytest.fail("held twice")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_killed_process_leaves_no_lock(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "held\n"
        assert status_of(tmp_path) == "running"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert status_of(tmp_path) == "interrupted"
    start(tmp_path)


def test_looking_does_not_keep_a_training_out(tmp_path):
    start(tmp_path)
    for _ in range(3):
        assert not is_held(tmp_path)
        start(tmp_path)


def test_a_system_without_locks_trains_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "fcntl", None)
    with held(tmp_path, source=Path("photos"), settings=SEVEN):
        start(tmp_path)
        assert status_of(tmp_path) == "interrupted"


def test_a_folder_that_nobody_ever_trained_in_is_not_held(tmp_path):
    assert not is_held(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


# what it tells


def test_the_start_is_written_with_all_that_repeats_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["siamese", "train", "--run", "a b"])
    monkeypatch.chdir(tmp_path)
    start(tmp_path / "run")
    facts = read_facts(tmp_path / "run")
    assert facts.source == str(tmp_path / "photos")
    assert facts.command == ("siamese", "train", "--run", "a b")
    assert (facts.seed, facts.failure) == (7, None)
    assert read_settings(tmp_path / "run" / "settings.yaml") == SEVEN


def test_a_training_that_an_error_stops_has_failed_with_its_sentence(tmp_path):
    with pytest.raises(SiameseError), held(tmp_path, source=Path("photos"), settings=SEVEN):
        raise SiameseError("No photo is left.")
    assert status_of(tmp_path) == "failed"
    assert read_facts(tmp_path).failure == "No photo is left."
    start(tmp_path)
    assert status_of(tmp_path) == "interrupted"


def test_an_error_of_another_kind_is_named(tmp_path):
    with pytest.raises(MemoryError), held(tmp_path, source=Path("photos"), settings=SEVEN):
        raise MemoryError("too large")
    assert read_facts(tmp_path).failure == "MemoryError: too large"


def test_an_interruption_is_no_failure(tmp_path):
    with pytest.raises(KeyboardInterrupt), held(tmp_path, source=Path("photos"), settings=SEVEN):
        raise KeyboardInterrupt
    assert status_of(tmp_path) == "interrupted"


def test_a_failure_on_a_full_disk_is_still_the_failure(tmp_path, full_disk):
    def fill_the_disk_and_fail():
        until_the_end.enter_context(full_disk(10))
        raise SiameseError("first")

    with (
        ExitStack() as until_the_end,
        pytest.raises(SiameseError, match="first"),
        held(tmp_path, source=Path("photos"), settings=SEVEN),
    ):
        fill_the_disk_and_fail()
    assert read_facts(tmp_path).failure is None


def test_a_finished_run_has_a_report(finished_run):
    assert status_of(finished_run.folder) == "finished"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', "\x00"])
def test_a_damaged_file_of_the_start_is_told(tmp_path, content):
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(SiameseError, match="run.json: the file must be as a training wrote it. Received: .* Delete it"):
        read_facts(tmp_path)
    assert status_of(tmp_path) == "interrupted"


# going on


def test_an_interrupted_run_goes_on_with_its_own_collection_and_settings(tmp_path):
    start(tmp_path, source="/photos")
    found = to_resume(tmp_path, Settings())
    assert (found.source, found.settings) == (Path("/photos"), SEVEN)
    assert to_resume(tmp_path, SEVEN, Path("/moved")).source == Path("/moved")


def test_other_settings_than_the_runs_are_refused_by_name(tmp_path):
    start(tmp_path)
    other = settings_from_dict({"training": {"seed": 7, "mining": {"num_candidates": 5}}})
    with pytest.raises(SiameseError, match="Received: training.mining.num_candidates=5, the run has 64. Leave"):
        to_resume(tmp_path, other)
    longer = settings_from_dict({"training": {"schedule": [{"rounds": 99}]}})
    with pytest.raises(SiameseError, match="Received: training.schedule="):
        to_resume(tmp_path, longer)


def test_nothing_to_go_on_with_is_told(tmp_path, finished_run):
    with pytest.raises(SiameseError, match="Received: no folder"):
        to_resume(tmp_path / "absent", Settings())
    with pytest.raises(SiameseError, match="Received: a folder without them"):
        to_resume(tmp_path, Settings())
    with pytest.raises(SiameseError, match="Received: a finished one"):
        to_resume(finished_run.folder, Settings())
    start(tmp_path / "one")
    with pytest.raises(SiameseError, match="Received: the folder of several runs"):
        to_resume(tmp_path, Settings())
    (tmp_path / "one" / "run.json").unlink()
    with pytest.raises(SiameseError, match="must tell its collection. Received: no run.json. Give --manifest"):
        to_resume(tmp_path / "one", Settings())


def test_a_run_at_work_is_not_gone_on_with(tmp_path):
    with (
        held(tmp_path, source=Path("photos"), settings=SEVEN),
        pytest.raises(SiameseError, match="one training at a time"),
    ):
        to_resume(tmp_path, Settings())


def test_the_program_goes_on_without_being_told_the_collection(
    run_program, own_run, small_collection, tiny_settings, finished_run
):
    start(own_run, settings=tiny_settings, source=small_collection)
    (own_run / "report" / "metrics.json").unlink()
    code, out, err = run_program("train", "--run", own_run, "--resume", "--json")
    assert code == 0, err
    assert json.loads(out)["map5"] == finished_run.metrics["map5"]
    assert "round   2/2" in err
    assert "round   2/2" in (own_run / "log.txt").read_text(encoding="utf-8")
    assert status_of(own_run) == "finished"


def test_the_program_tells_that_there_is_nothing_to_go_on_with(run_program, tmp_path):
    code, out, err = run_program("train", "--run", tmp_path / "absent", "--resume")
    assert (code, out) == (2, "")
    assert err.startswith("siamese: ")
    assert "a run folder must hold settings.yaml or run.json" in err
    assert not (tmp_path / "absent").exists()
