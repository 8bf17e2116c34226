"""Fits one planned epoch: the images of the next batches are read while the compiled step trains on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from siamese.batches import BatchPlan, PairBatches
from siamese.models.pair_model import PairModel
from siamese.models.replicas import joined

READ_AHEAD = 2  # batches in memory beside the one that trains, so that one slow read is made up for


def fit_plan(
    model: PairModel,
    plan: BatchPlan,
    read: Callable[[np.ndarray], np.ndarray],
    rates: np.ndarray,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Trains on each batch of a plan once, in its order; the same plan gives the same weights, on CPU to the last bit.

    It is Keras's `fit` without what that does around each step (a queue, a `tf.data` pipeline for each epoch, logs).
    Where the model was built for several devices, a step trains on as many batches, one on each; the last step is
    filled up with the first batches.

    Args:
        model: compiled.
        plan: the batches of an epoch.
        read: function from `(count,)` indices to `uint8` images; called in a thread of its own, a few batches ahead.
        rates: `(num_batches,)` learning rates.
        on_progress: called with (batches done, all) after each step.

    Returns:
        `loss` and `accuracy`, means over the epoch.
    """
    batches, share = PairBatches(plan, read), model.distribute_strategy.num_replicas_in_sync
    rows = np.resize(np.arange(len(plan)), (-(-len(plan) // share), share))
    model.make_train_function()
    model.reset_metrics()
    for step, step_batches in enumerate(_read_ahead(batches, rows)):
        model.optimizer.learning_rate.assign(rates[step * share])
        model.train_function(iter([joined(step_batches)]))
        on_progress(min((step + 1) * share, len(plan)), len(plan))
    return {name: float(value) for name, value in model.get_metrics_result().items()}


def _read_ahead(batches: PairBatches, rows: np.ndarray) -> Iterator[list[Any]]:
    """Gives the batches of each row of `rows`."""
    ahead: deque[Future[list[Any]]] = deque()
    with ThreadPoolExecutor(1) as reader:
        for row in rows:
            ahead.append(reader.submit(lambda row: [batches[index] for index in row], row))
            if len(ahead) > READ_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
