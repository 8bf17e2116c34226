"""Shows a run on stderr while it works: bars with the time left, and one line a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from siamese.files import disk_errors

if TYPE_CHECKING:
    from siamese.training_state import Record

EVALUATION_ROUNDS = 0.6  # time of the evaluation in mean rounds; 0.47, 0.59 and 0.76 in three runs on drawn flukes


class RunEstimate:
    """How long a run will still take, judged by its finished rounds.

    The first round is left out where there are others: it compiles the model, and takes up to twice as long.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since = clock, clock()
        self._seconds: list[float] = []
        self._rounds_left = 0

    def add(self, record: Mapping[str, Any], num_rounds: int) -> None:
        """Takes in a finished round: its number and its `seconds_...`."""
        self._seconds.append(sum(value for name, value in record.items() if name.startswith("seconds_")))
        self._rounds_left = num_rounds - record["round"]
        self._since = self._clock()

    def left(self) -> float | None:
        """Returns the seconds left for the rounds and the evaluation; None before a round is finished.

        Example:
        >>> estimate = RunEstimate(clock=lambda: 0.0)
        >>> estimate.add({"round": 1, "seconds_fit": 50.0}, num_rounds=4)
        >>> estimate.add({"round": 2, "seconds_fit": 20.0}, num_rounds=4)
        >>> estimate.left()
        52.0
        """
        if not self._seconds:
            return None
        mean = fmean(self._seconds[1:] or self._seconds)
        now_at_work = mean if self._rounds_left else mean * EVALUATION_ROUNDS
        whole = mean * (self._rounds_left + EVALUATION_ROUNDS)
        return whole - min(self._clock() - self._since, now_at_work)


def spoken(seconds: float | None) -> str:
    """Says a time as one would.

    Example:
    >>> [spoken(seconds) for seconds in (None, 42.3, 754, 9000)]
    ['-', '42 s', '13 min', '2.5 h']
    """
    if seconds is None:
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def round_line(record: Mapping[str, Any], num_rounds: int, seconds_left: float | None) -> str:
    """Returns what is told of a finished round in under 120 characters, with its validation where it has one.

    Args:
        record: the numbers of the round.
        num_rounds: rounds of the whole run.
        seconds_left: of the run.
    """
    parts = [
        f"round {record['round']:3d}/{num_rounds}",
        f"K {record['noise']:7.2f}",
        f"rate {record['learning_rate']:.1e}",
        f"loss {record['loss']:.3f}",
        f"accuracy {record['accuracy']:.1%}",
        f"correct pairs {record['correct_pairs']:.1%}",
        *_validation(record),
    ]
    return "  ".join([*parts, f"left {spoken(seconds_left)}"] if seconds_left else parts)


def _validation(record: Mapping[str, Any]) -> list[str]:
    """The first metric of the validation, where this round has one."""
    named = {name.removeprefix("validation_"): value for name, value in record.items() if name.startswith("validation")}
    return [f"{name} {value:.3f}" for name, value in named.items() if value == value][:1]


class _TimeLeft(ProgressColumn):
    """Time left of a stage by its speed, of the run by its estimate."""

    def render(self, task: Task) -> Text:
        estimate = task.fields.get("estimate")
        return Text(f"left {spoken(estimate.left() if estimate else task.time_remaining)}", style="progress.remaining")


class ConsoleListener:
    """Prints stages and rounds; on a terminal with live bars, into a file as plain lines.

    Attributes:
        console: stderr.
        log: file that keeps the lines too, once its folder is there.
    """

    def __init__(self, log: Path | None = None) -> None:
        self.console = Console(stderr=True)
        self.log = log
        self._bars = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _TimeLeft(),
            console=self.console,
            transient=True,
        )
        self._estimate = RunEstimate()
        self._stage: TaskID | None = None
        self._rounds: TaskID | None = None
        self._name = ""

    def __enter__(self) -> ConsoleListener:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def stage(self, name: str, done: int, total: int) -> None:
        """Moves the bar of the stage that is at work."""
        if self._stage is None or name != self._name:
            if self._stage is not None:
                self._bars.remove_task(self._stage)
            self._stage, self._name = self._bars.add_task(name, total=total), name
        self._bars.update(self._stage, completed=done, total=total)

    def say(self, sentence: str) -> None:
        """Prints a sentence and keeps it in the log."""
        self.console.print(sentence, highlight=False, soft_wrap=True)
        if self.log and self.log.parent.is_dir():
            now = datetime.now(UTC).isoformat(timespec="seconds")
            with disk_errors(self.log), self.log.open("a", encoding="utf-8") as log:
                log.write(f"{now} {sentence}\n")

    def round(self, record: Record, num_rounds: int) -> None:
        """Prints the line of a finished round."""
        if self._rounds is None:
            self._rounds = self._bars.add_task("run", total=num_rounds, estimate=self._estimate)
        self._bars.update(self._rounds, completed=record.round)
        numbers = asdict(record)
        self._estimate.add(numbers, num_rounds)
        self.say(round_line(numbers, num_rounds, self._estimate.left()))
