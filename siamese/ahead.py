"""Work that is done a few items ahead of the one that is wanted."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_AHEAD = 64  # results that wait: enough to keep every core at work, few enough for memory to stay flat


def map_ahead(work: Callable[[Item], Result], items: Iterable[Item], *, most: int = MOST_AHEAD) -> Iterator[Result]:
    """Gives the results of some work in the order of the items, done on all cores.

    `Executor.map` begins with all items at once, so that what is ready before it is wanted fills the memory.

    Args:
        work: what to do with an item; it may run in another thread.
        items: any number of them.
        most: results that may wait.

    Yields:
        the results. An error is raised where its result is wanted, and ends the work.

    Example:
    >>> list(map_ahead(abs, [-2, 1, -3], most=2))
    [2, 1, 3]
    """
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(_num_workers()) as pool:
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) >= most:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupt does not wait for those that are queued


def _num_workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
