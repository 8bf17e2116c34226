"""Shows a run on stderr while it works: a bar with what is left, and one line a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from siamese.training_state import Record


class ConsoleListener:
    """Prints stages and rounds; on a terminal with live bars, into a file as plain lines."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
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
        """Prints a sentence."""
        self.console.print(sentence, highlight=False, soft_wrap=True)

    def round(self, record: Record, num_rounds: int) -> None:
        """Prints the line of a finished round."""
        if self._rounds is None:
            self._rounds = self._bars.add_task("rounds", total=num_rounds)
        self._bars.update(self._rounds, completed=record.round)
        self.say(
            f"round {record.round:3d}/{num_rounds}  K {record.noise:7.2f}  rate {record.learning_rate:.1e}  "
            f"loss {record.loss:.3f}  accuracy {record.accuracy:.1%}  mean score {record.mean_score:.2f}  "
            f"correct pairs {record.correct_pairs:.1%}  seconds: embed {record.seconds_embed:.0f}, "
            f"score {record.seconds_score:.0f}, assign {record.seconds_assign:.0f}, fit {record.seconds_fit:.0f}"
        )
