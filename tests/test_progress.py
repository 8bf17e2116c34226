from dataclasses import asdict

import pytest

from siamese.cli.progress import ConsoleListener, RunEstimate, round_line
from siamese.training_state import Record


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def record(number, seconds=10.0, **numbers):
    return Record(number, 1, 64e-5, 1000.0, 0.0, 20, loss=0.5, accuracy=0.75, correct_pairs=0.6, seconds_fit=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def estimate(clock):
    return RunEstimate(clock)


def test_before_a_round_is_finished_nothing_is_estimated(estimate):
    assert estimate.left() is None


def test_the_rounds_left_take_the_mean_and_the_evaluation_a_share_of_it(estimate):
    for number, seconds in enumerate([100, 10, 30], start=1):
        estimate.add(asdict(record(number, seconds)), num_rounds=10)
    assert estimate.left() == pytest.approx(20 * (7 + 0.6))  # the first round compiled the model


def test_the_time_left_falls_within_a_round_but_not_under_the_rounds_to_come(estimate, clock):
    estimate.add(asdict(record(1, 20)), num_rounds=3)
    clock.now = 5
    assert estimate.left() == pytest.approx(20 * 2.6 - 5)
    clock.now = 500
    assert estimate.left() == pytest.approx(20 * 1.6)


def test_the_evaluation_alone_is_left_after_the_last_round(estimate, clock):
    estimate.add(asdict(record(3, 20)), num_rounds=3)
    assert estimate.left() == pytest.approx(12)
    clock.now = 500
    assert estimate.left() == 0


def test_a_round_is_told_in_under_120_characters():
    numbers = asdict(record(400)) | {
        "noise": 9999.99,
        "loss": 12.3456,
        "accuracy": 1.0,
        "correct_pairs": 1.0,
        "validation_map5": 0.98765,
        "validation_top1": 0.5,
    }
    line = round_line(numbers, 400, 5000.0)
    assert line == (
        "round 400/400  K 9999.99  rate 6.4e-04  loss 12.346  accuracy 100.0%  correct pairs 100.0%  map5 0.988  "
        "left 83 min"
    )
    assert len(line) < 120


def test_a_round_without_validation_or_estimate_tells_the_rest():
    numbers = asdict(record(3)) | {"validation_map5": float("nan")}
    assert round_line(numbers, 12, None) == (
        "round   3/12  K 1000.00  rate 6.4e-04  loss 0.500  accuracy 75.0%  correct pairs 60.0%"
    )


def test_a_file_gets_plain_lines_and_the_log_the_same_ones(capsys, tmp_path):
    with ConsoleListener(tmp_path / "log.txt") as told:
        told.stage("embed", 1, 2)
        told.say("Two photos are copies.")
        told.round(record(1), 2)
        told.round(record(2), 2)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    logged = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 1)[1] for line in logged] == lines[:3]
    assert lines[0] == "Two photos are copies."
    assert lines[1].endswith("correct pairs 60.0%  left 16 s")
    assert lines[2].endswith("left 6 s")


def test_a_log_whose_folder_is_not_there_yet_is_not_made(tmp_path):
    with ConsoleListener(tmp_path / "run" / "log.txt") as told:
        told.say("Nothing was started.")
    assert list(tmp_path.iterdir()) == []
