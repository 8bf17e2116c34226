"""Several accelerators of one machine train one model: each takes batches of its own, and all keep the same weights."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import keras


def accelerators() -> list[str]:
    """Returns the names of this machine's GPUs, where TensorFlow trains; it alone can share a batch among them here."""
    if keras.config.backend() != "tensorflow":
        return []
    import tensorflow as tf

    return [device.name for device in tf.config.list_logical_devices("GPU")]


def replicated(devices: Sequence[str]) -> contextlib.AbstractContextManager[object]:
    """Lets a model that is built inside the `with` block train on all of these devices.

    Args:
        devices: names, such as `accelerators()`; fewer than two leave all to TensorFlow.
    """
    if len(devices) < 2:
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(list(devices)).scope()


def num_replicas() -> int:
    """Returns among how many devices the step that is being compiled is shared."""
    if keras.config.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def joined(batches: Sequence[Any]) -> Any:
    """Makes one step's input of one batch for each replica, which is not cut: its pairs name places in the batch."""
    if len(batches) == 1:
        return batches[0]
    import tensorflow as tf

    def of_a_replica(*values: Any) -> Any:
        give = tf.distribute.get_strategy().experimental_distribute_values_from_function
        return give(lambda context: tf.convert_to_tensor(values[context.replica_id_in_sync_group]))

    return tf.nest.map_structure(of_a_replica, *batches)
