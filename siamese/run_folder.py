"""One run folder: kept for one training at a time, and what it tells of how that was started and how it stands."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from siamese.errors import DiskError, SiameseError
from siamese.files import write_atomically
from siamese.settings import Settings, read_settings, write_settings
from siamese.version import installed_version

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows; a run there is never seen at work, and a second one is not refused
    fcntl = None

SETTINGS, FACTS, LOCK, METRICS = "settings.yaml", "run.json", "run.lock", "report/metrics.json"
LOG = "log.txt"  # what the program told, start after start
LOCK_SECONDS = 0.25  # whoever looks whether a run is at work holds its lock for a moment

Status = Literal["running", "failed", "finished", "interrupted"]


class RunFacts(BaseModel):
    """How a training was started the last time, and the sentence it failed with; what `run.json` holds.

    Attributes:
        format: version of the file.
        source: the collection, an absolute path.
        started: moment of the start, ISO 8601 in UTC.
        version: of this package.
        host: name of the machine.
        pid: number of the process.
        seed: of the training.
        command: the command line, word by word.
        failure: why the training stopped, where an error stopped it.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    source: str
    started: str
    version: str
    host: str
    pid: int
    seed: int
    command: tuple[str, ...]
    failure: str | None = None


@contextmanager
def held(folder: Path, *, source: Path, settings: Settings) -> Iterator[None]:
    """Keeps a run folder for one training, and writes how that was started: `settings.yaml` and `run.json`.

    The system lets go of the lock when the process ends, however it ends. An error within the `with` statement is
    written down; an interruption is not, for the same training may go on.

    Args:
        folder: the run folder, made if missing.
        source: the collection.
        settings: all stages.

    Raises:
        SiameseError: another process trains in this folder.
        DiskError: a file cannot be written.

    Example:
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with held(folder, source=Path("photos"), settings=Settings()):
    ...     print(status_of(folder))
    running
    >>> status_of(folder)
    'interrupted'
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK) as is_free:
        if not is_free:
            raise SiameseError(_at_work(folder))
        write_atomically(folder / SETTINGS, lambda path: write_settings(settings, path))
        facts = _facts_now(source, settings)
        write_facts(folder, facts)
        try:
            yield
        except Exception as error:
            failure = str(error) if isinstance(error, SiameseError) else f"{type(error).__name__}: {error}"
            with suppress(DiskError):  # a full disk may be what stopped the training
                write_facts(folder, facts.model_copy(update={"failure": failure}))
            raise


@contextmanager
def locked(path: Path, *, seconds: float = LOCK_SECONDS) -> Iterator[bool]:
    """Takes a lock that the system gives back when the process ends, however it ends, and says whether it was free.

    Args:
        path: file of the lock, made if missing; it stays.
        seconds: how long to wait for whoever holds it.
    """
    with path.open("ab") as lock:
        yield fcntl is None or _taken(lock, time.monotonic() + seconds)


def _taken(lock: IO[bytes], until: float) -> bool:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        except OSError:  # a network disk without locks
            return True


def _at_work(folder: Path) -> str:
    who = "another process trains here"
    with suppress(SiameseError):
        if facts := read_facts(folder):
            who = f"process {facts.pid} on {facts.host} trains here since {facts.started}"
    return (
        f"{folder}: one training at a time may work in a run folder. Received: {who}. "
        "Wait for its end, or choose another run folder."
    )


def is_held(folder: Path) -> bool:
    """Tells whether a process trains in this folder."""
    try:
        with (folder / LOCK).open("rb") as lock:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock, or a network disk without locks
        return False
    return False


def _facts_now(source: Path, settings: Settings) -> RunFacts:
    return RunFacts(
        source=str(Path(source).absolute()),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        version=installed_version(),
        host=socket.gethostname(),
        pid=os.getpid(),
        seed=settings.training.seed,
        command=tuple(sys.argv),
    )


def write_facts(folder: Path, facts: RunFacts) -> None:
    """Writes `run.json`."""
    write_atomically(folder / FACTS, lambda path: path.write_text(facts.model_dump_json(indent=2), encoding="utf-8"))


def read_facts(folder: Path) -> RunFacts | None:
    """Reads `run.json`; None in a folder without one.

    Raises:
        SiameseError: the file is damaged.
    """
    try:
        return RunFacts.model_validate_json((folder / FACTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SiameseError(damaged(folder / FACTS, error)) from error


def damaged(path: Path, error: Exception) -> str:
    """Says that a file of a run cannot be read."""
    reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return f"{path}: the file must be as a training wrote it. Received: {reason}. Delete it."


def is_run(folder: Path) -> bool:
    """Tells whether a training was started in a folder."""
    return (folder / SETTINGS).is_file() or (folder / FACTS).is_file()


def no_run(folder: Path) -> str:
    """Says that a folder holds no training."""
    received = "a folder without them" if folder.is_dir() else "no folder"
    if folder.is_dir() and any(map(is_run, folder.iterdir())):
        received = "the folder of several runs"
    return (
        f"{folder}: a run folder must hold {SETTINGS} or {FACTS}. Received: {received}. "
        "Give a folder that `siamese train --run` wrote."
    )


def status_of(folder: Path) -> Status:
    """Tells how a run stands; it needs no clock and nothing that watches.

    Returns:
        running: a process holds the lock; failed: an error stopped the last start; finished: the report is there;
        interrupted: none of these.
    """
    if is_held(folder):
        return "running"
    with suppress(SiameseError):
        facts = read_facts(folder)
        if facts and facts.failure:
            return "failed"
    return "finished" if (folder / METRICS).is_file() else "interrupted"


def flat_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Names nested values by their place, joined by dots; a section without any value leaves none.

    Example:
    >>> flat_settings({"training": {"seed": 0, "mining": {"num_candidates": 64}}})
    {'training.seed': 0, 'training.mining.num_candidates': 64}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": leaf for inner, leaf in flat_settings(value).items()}
        else:
            flat[str(name)] = value
    return flat


@dataclass(frozen=True)
class Interrupted:
    """What a training that stopped before its end needs to go on.

    Attributes:
        source: the collection.
        settings: all stages.
    """

    source: Path
    settings: Settings


def to_resume(folder: Path, given: Settings, source: Path | None = None) -> Interrupted:
    """Finds what a training needs to go on in its folder.

    Args:
        folder: the run folder.
        given: settings given beside it; those that were set must be the run's.
        source: the collection, where it is given again; none takes the one the run was started with.

    Raises:
        SiameseError: the folder holds nothing to go on with, or other settings are given.
    """
    if not is_run(folder):
        raise SiameseError(no_run(folder))
    status = status_of(folder)
    if status == "running":
        raise SiameseError(_at_work(folder))
    if status == "finished":
        raise SiameseError(
            f"{folder}: there must be a training to go on with. Received: a finished one. Choose another run folder; "
            "the same command without --resume evaluates this one again."
        )
    settings = read_settings(folder / SETTINGS)
    _check_same(folder, settings, given)
    if source is not None:
        return Interrupted(source, settings)
    facts = read_facts(folder)
    if facts is None:
        raise SiameseError(
            f"{folder}: a run to go on with must tell its collection. Received: no {FACTS}. Give --manifest."
        )
    return Interrupted(Path(facts.source), settings)


def _check_same(folder: Path, settings: Settings, given: Settings) -> None:
    of_run, of_given = (flat_settings(these.model_dump(mode="json")) for these in (settings, given))
    for name in flat_settings(given.model_dump(mode="json", exclude_unset=True)):
        if of_run.get(name) != of_given[name]:
            raise SiameseError(
                f"{folder}: a training goes on with its own settings. Received: {name}={of_given[name]}, the run has "
                f"{of_run.get(name)}. Leave the setting out, or choose another run folder."
            )
