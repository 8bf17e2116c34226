"""What a training leaves after each round: a state to go on from, a history table, TensorBoard scalars."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from siamese.errors import DiskError, SiameseError
from siamese.files import write_atomically
from siamese.models.averaging import RunningMean

STATE = "state.npz"
UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)  # what a damaged state raises


@dataclass
class Record:
    """What is kept of a round: its place in the schedule, what its score matrix said, how the fit went.

    Attributes:
        round: number of the round, from 1.
        phase: number of the phase, from 1.
        learning_rate: Adam's mean rate over the steps.
        noise: K, the width of the noise on the scores.
        l2: penalty on the convolution kernels.
        num_images: images that entered the assignment.
        num_encoded: passes of the encoder, for scoring and for fitting.
        loss: mean loss of the last epoch.
        accuracy: share of the compared pairs judged rightly in the last epoch, both targets weighing the same.
        mean_score: mean probability that the round's score matrix gives to its pairs.
        correct_pairs: share of the chosen pairs (all positive ones, the assigned negative ones) that the score matrix
            judges rightly, before the fit.
        validation_map5: MAP@5 of the validation queries of known individuals after the round, the new individual not
            placed; nan where the round was not validated.
        validation_top1: share of these queries whose first answer is right.
        seconds_embed: seconds of embedding; likewise score, assign, fit and validate.
    """

    round: int
    phase: int
    learning_rate: float
    noise: float
    l2: float
    num_images: int
    num_encoded: int = 0
    loss: float = float("nan")
    accuracy: float = float("nan")
    mean_score: float = float("nan")
    correct_pairs: float = float("nan")
    validation_map5: float = float("nan")
    validation_top1: float = float("nan")
    seconds_embed: float = 0.0
    seconds_score: float = 0.0
    seconds_assign: float = 0.0
    seconds_fit: float = 0.0
    seconds_validate: float = 0.0


@dataclass
class Kept:
    """What a training carries from round to round beside the model and the records.

    Attributes:
        mean: average of the weights of earlier rounds; empty where none is kept.
        best: weights of the best round by validation, as they were validated; empty where none are kept.
    """

    mean: RunningMean = field(default_factory=RunningMean)
    best: list[np.ndarray] = field(default_factory=list)


def save_state(folder: Path, model: keras.Model, records: Sequence[Record], fingerprint: str, kept: Kept) -> None:
    """Writes weights, optimiser, records and what is kept in one file, in one move.

    Args:
        folder: the run folder.
        model: a compiled pair model.
        records: the rounds done so far.
        fingerprint: hash of the settings and the data; another training will not go on from here.
        kept: what the rounds to come need beside these.
    """
    header = json.dumps(
        {
            "fingerprint": fingerprint,
            "records": [asdict(record) for record in records],
            "num_averaged": kept.mean.count,
            "num_best": len(kept.best),
        }
    )
    variables = [variable.numpy() for variable in _variables(model)]
    arrays = {
        f"{name}_{number}": array
        for name, group in (("variable", variables), ("mean", kept.mean.weights), ("best", kept.best))
        for number, array in enumerate(group)
    }
    write_atomically(
        folder / STATE, lambda path: np.savez(path, header=np.frombuffer(header.encode(), np.uint8), **arrays)
    )


def check_state(folder: Path, fingerprint: str) -> None:
    """Refuses a folder that holds another training, or a damaged state; called before anything in it is replaced.

    Raises:
        SiameseError: the folder holds a training with other settings or other photos, or the state is damaged.
    """
    if (folder / STATE).is_file():
        _read_state(folder, fingerprint)


def read_fingerprint(folder: Path) -> str:
    """Reads which training the state in a folder belongs to.

    Raises:
        SiameseError: there is no state, or a damaged one.
    """
    try:
        with _opened(folder) as state:
            return str(_header(state)["fingerprint"])
    except UNREADABLE as error:
        raise SiameseError(
            f"{folder / STATE}: there must be the state of a training. Received: {error}. "
            "Give a run folder in which at least one round was trained."
        ) from error


def load_state(folder: Path, model: keras.Model, fingerprint: str) -> tuple[list[Record], Kept]:
    """Puts the model where the last round left it.

    Returns:
        The records of the rounds that are done, and what was kept; both empty for a folder without a state.

    Raises:
        SiameseError: the folder holds a training with other settings or other photos, or the state is damaged.
    """
    if not (folder / STATE).is_file():
        return [], Kept()
    header, arrays = _read_state(folder, fingerprint)
    for number, variable in enumerate(_variables(model)):
        variable.assign(arrays[f"variable_{number}"])
    count = header["num_averaged"]
    mean = RunningMean(count, [arrays[f"mean_{number}"] for number in range(len(model.weights) if count else 0)])
    best = [arrays[f"best_{number}"] for number in range(header["num_best"])]
    return [Record(**record) for record in header["records"]], Kept(mean, best)


def _read_state(folder: Path, fingerprint: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with _opened(folder) as state:
            header, arrays = _header(state), {name: state[name] for name in state.files}
    except UNREADABLE as error:
        raise SiameseError(f"{folder / STATE}: the state is damaged ({error}). Delete it to start again.") from error
    if header["fingerprint"] != fingerprint:
        raise SiameseError(
            f"{folder}: a run folder belongs to one training. Received: other settings or other photos than those it "
            "was started with. Choose another run folder, or delete this one to start again."
        )
    return header, arrays


@contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    with (folder / STATE).open("rb") as file, np.load(file, allow_pickle=False) as state:
        yield state


def _header(state: Any) -> dict[str, Any]:
    return json.loads(state["header"].tobytes())


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def write_history(folder: Path, records: Sequence[Record]) -> pd.DataFrame:
    """Writes `history.csv`, one row a round, and returns it."""
    history = pd.DataFrame([asdict(record) for record in records])
    write_atomically(folder / "history.csv", lambda path: history.to_csv(path, index=False))
    return history


def write_suspects(folder: Path, suspects: pd.DataFrame) -> None:
    """Writes `mining_suspects.csv`: pairs the latest round left out, for a person to look at."""
    write_atomically(folder / "mining_suspects.csv", lambda path: suspects.to_csv(path, index=False))


def write_scalars(folder: Path, record: Record) -> None:
    """Adds a round's numbers to the TensorBoard log in `tensorboard/`.

    Raises:
        DiskError: the log cannot be written.
    """
    place = folder / "tensorboard"
    try:
        writer = tf.summary.create_file_writer(str(place))
        with writer.as_default(step=record.round):
            for name, value in asdict(record).items():
                tf.summary.scalar(name, value)
        writer.close()
    except tf.errors.OpError as error:
        raise DiskError(
            f"{place}: the log must be writable. Received: {error.message}. Free space on the disk and start again; "
            "the training goes on after the last finished round."
        ) from error
