"""Parts of a pair model that do not train for a while."""

from __future__ import annotations

import re
from collections.abc import Collection

import keras

from siamese.errors import SettingsError
from siamese.models.pair_model import PairModel


def set_frozen(model: PairModel, parts: Collection[str]) -> None:
    """Freezes the named parts and lets all others train; may be called again at any time.

    Frozen weights stay the same to the bit, and so does what the optimiser knows of them; frozen batch normalisations
    take their moving statistics, in training too, and keep them.

    Args:
        model: its optimiser, if it has one, must be built while nothing is frozen, or it will not know the weights that
            train later. Changed in place.
        parts: `stem`, `stage1` and so on (from the pooling that opens a stage), `encoder`: all of these, `comparator`,
            `batch_norm`: the batch normalisations of the encoder.

    Raises:
        SettingsError: the model has no such part, or nothing would train.

    Example:
    >>> from siamese.models.pair_model import build_pair_model
    >>> from siamese.settings import settings_from_dict
    >>> model = build_pair_model(settings_from_dict({"encoder": {"widths": [8], "bottlenecks": [4], "depth": 1}}))
    >>> set_frozen(model, ["encoder"])
    >>> {weight.path.split("/")[0] for weight in model.trainable_weights}
    {'comparator'}
    """
    layers_of = _parts(model)
    unknown = sorted(set(parts) - set(layers_of))
    if unknown:
        raise SettingsError(
            f"`frozen` must name parts of the model: {', '.join(layers_of)}. Received: {', '.join(unknown)}. "
            "Correct the name, or leave it out."
        )
    frozen = {id(layer) for part in parts for layer in layers_of[part]}
    layers = [*model.encoder.layers, model.comparator]
    if all(id(layer) in frozen for layer in layers if layer.weights):
        raise SettingsError(
            f"`frozen` must leave something to train. Received: {', '.join(parts)}. Leave out one of these parts."
        )
    changed = [layer for layer in layers if layer.trainable == (id(layer) in frozen)]
    for layer in changed:
        layer.trainable = not layer.trainable
    if changed and model.train_function is not None:
        model.make_train_function(force=True)  # the compiled step knows what trained when it was made


def _parts(model: PairModel) -> dict[str, list[keras.layers.Layer]]:
    """Returns the layers of each part; those of the encoder by their order, so that saved models need no new names."""
    layers = model.encoder.layers
    parts: dict[str, list[keras.layers.Layer]] = {}
    name = "stem"
    for layer in layers:
        opening = re.fullmatch(r"(stage\d+)_pool", layer.name)
        name = opening[1] if opening else name
        parts.setdefault(name, []).append(layer)
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    return {**parts, "encoder": layers, "comparator": [model.comparator], "batch_norm": norms}
