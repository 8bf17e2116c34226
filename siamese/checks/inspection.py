"""Decodes every photo of a collection once, in worker processes that a bad file cannot take along."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import astuple, fields
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
from pebble import ProcessExpired, ProcessPool

from siamese.checks.photo_facts import TOO_MUCH_MEMORY, PhotoFacts, file_state, photo_facts, prepare_worker
from siamese.errors import DiskError, SiameseError
from siamese.files import write_atomically
from siamese.settings import CheckSettings

TYPES = {field.name: str(field.type) for field in fields(PhotoFacts)}  # "str", "int", ...: annotations are text here
COLUMNS = tuple(TYPES)
FROM_TEXT: Mapping[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float, "bool": "True".__eq__}
IN_FLIGHT = 4  # photos that each worker has waiting: enough to keep it busy, few enough to keep memory flat
SECONDS_BETWEEN_WRITES = 2.0


def inspect_photos(
    paths: Sequence[Path | str],
    settings: CheckSettings,
    *,
    cache: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Tells the facts of each photo, or why it cannot be read.

    A photo that takes too long is stopped with its worker, which another one replaces; a worker that dies costs only
    the photo it was at.

    Args:
        paths: photos; a path that comes twice is inspected once.
        settings: number of workers, limits of time, file size and pixels.
        cache: CSV that facts are added to as photos finish, and taken from where a file has the size and the time of
            change noted there. An interrupted inspection goes on from it, a grown collection decodes what is new.
        on_progress: called with the number of photos done and in all.

    Returns:
        One row for each distinct path, in order of first appearance, with the columns of `PhotoFacts`.

    Raises:
        DiskError: the cache could not be written.
    """
    distinct = list(dict.fromkeys(os.path.abspath(path) for path in paths))
    facts = {} if cache is None else _still_true(read_facts(cache), distinct, settings)
    todo = [path for path in distinct if path not in facts]
    report = on_progress or (lambda done, total: None)
    report(len(facts), len(distinct))
    with _journal(cache, facts) as note:
        for fact in _inspected(todo, settings):
            facts[fact.path] = fact
            note(fact)
            report(len(facts), len(distinct))
    rows = [facts[path] for path in distinct]
    if cache is not None:
        write_facts(rows, cache)
    return facts_table(rows)


def facts_table(facts: Iterable[PhotoFacts]) -> pd.DataFrame:
    """A table of facts, one row each; its columns have the types of the fields also when there is no row."""
    types = {name: object if kind == "str" else kind for name, kind in TYPES.items()}
    return pd.DataFrame([astuple(fact) for fact in facts], columns=list(COLUMNS)).astype(types)


# ---- processes


def _inspected(paths: Sequence[str], settings: CheckSettings) -> Iterator[PhotoFacts]:
    """Facts of the photos as they come, in any order."""
    left = list(paths)
    while left:
        done = set()
        for fact in _by_pool(left, settings):
            done.add(fact.path)
            yield fact
        if not done:
            raise SiameseError(
                "The processes that decode photos must be able to start. Received: all of them ended at once. "
                "Free memory or set fewer `workers`; a script needs `if __name__ == '__main__':` around its calls."
            )
        left = [path for path in left if path not in done]


def _by_pool(paths: Sequence[str], settings: CheckSettings) -> Iterator[PhotoFacts]:
    """Facts from one pool; it ends early where pebble gives it up, as when a worker dies between two photos."""
    workers = min(settings.workers or os.cpu_count() or 1, len(paths))
    context = multiprocessing.get_context("spawn")  # a forked copy of a process with threads may hang
    pool = ProcessPool(workers, initializer=prepare_worker, initargs=(settings,), context=context)
    waiting: dict[Future[PhotoFacts], str] = {}
    rest = iter(paths)
    try:
        while True:
            for path in islice(rest, IN_FLIGHT * workers - len(waiting)):
                waiting[pool.schedule(photo_facts, args=(path, settings), timeout=settings.max_seconds)] = path
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                path = waiting.pop(future)
                yield _outcome(path, future, settings)
    except (BrokenProcessPool, RuntimeError):  # the second one is what a broken pool answers to further photos
        return
    finally:
        pool.stop()
        pool.join()


def _outcome(path: str, future: Future[PhotoFacts], settings: CheckSettings) -> PhotoFacts:
    """What a worker answered, or what became of it."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except TimeoutError:
        reason = f"The photo took longer than the limit of {settings.max_seconds:g} seconds to decode."
    except ProcessExpired as error:
        reason = f"The photo ended the process that decoded it (exit code {error.exitcode})."
    except MemoryError:
        reason = TOO_MUCH_MEMORY
    except Exception as error:  # what no file was ever seen to cause; still it costs one photo alone
        reason = f"The photo cannot be inspected ({type(error).__name__}: {error})."
    num_bytes, modified_ns, _ = file_state(path, settings)
    return PhotoFacts(path, num_bytes, modified_ns, reason)


# ---- cache


def read_facts(path: Path) -> list[PhotoFacts]:
    """Reads facts from a CSV that `inspect_photos` wrote; rows it cannot understand, such as a torn last one, are left.

    Args:
        path: the CSV; where it is missing, or has other columns, there are no facts.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.reader(_whole_lines(file))
            header = next(rows, [])
            return [fact for row in rows if (fact := _fact_of(row)) is not None] if header == list(COLUMNS) else []
    except (OSError, csv.Error):
        return []


def _whole_lines(file: TextIO) -> Iterator[str]:
    return (line for line in file if line.endswith("\n"))


def _fact_of(row: Sequence[str]) -> PhotoFacts | None:
    try:
        return PhotoFacts(**{name: FROM_TEXT[TYPES[name]](text) for name, text in zip(COLUMNS, row, strict=True)})
    except ValueError:
        return None


def _still_true(facts: Iterable[PhotoFacts], paths: Sequence[str], settings: CheckSettings) -> dict[str, PhotoFacts]:
    """Facts of readable photos whose files did not change; unreadable ones are tried again, for a reader may be new."""
    known = {fact.path: fact for fact in facts if not fact.reason}
    there = {path: known[path] for path in paths if path in known}
    return {
        path: fact
        for path, fact in there.items()
        if file_state(path, settings) == (fact.num_bytes, fact.modified_ns, "")
    }


@contextmanager
def _journal(path: Path | None, facts: Mapping[str, PhotoFacts]) -> Iterator[Callable[[PhotoFacts], object]]:
    """Adds facts to the cache as they come: within the block, call what it gives with each."""
    if path is None:
        yield lambda fact: None
        return
    write_facts(facts.values(), path)  # without a torn line, behind which nothing can be added
    try:
        with path.open("a", newline="", encoding="utf-8", errors="surrogateescape") as file:
            yield _noting(file)
    except OSError as error:
        raise DiskError(
            f"{path}: the cache of the inspection must be writable. Received: {error.strerror or error}. "
            "Free space on the disk or choose another folder."
        ) from error


def _noting(file: TextIO) -> Callable[[PhotoFacts], object]:
    writer, written = csv.writer(file, lineterminator="\n"), time.monotonic()

    def note(fact: PhotoFacts) -> None:
        nonlocal written
        writer.writerow(astuple(fact))
        if time.monotonic() - written > SECONDS_BETWEEN_WRITES:
            file.flush()
            written = time.monotonic()

    return note


def write_facts(facts: Iterable[PhotoFacts], path: Path) -> None:
    """Writes facts as a CSV that `read_facts` reads to the last bit.

    Raises:
        DiskError: the file could not be written.
    """
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *map(astuple, facts)])
    content = text.getvalue().encode("utf-8", errors="surrogateescape")
    write_atomically(path, lambda place: place.write_bytes(content))
