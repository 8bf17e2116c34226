"""The comparator: a small learned head that scores a pair of embeddings."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamese.models.pair_gradient import pair_features, pair_logits

NUM_PAIR_FEATURES = 4  # product, sum, absolute difference, squared difference


@keras.saving.register_keras_serializable(package="siamese")
class Comparator(keras.layers.Layer):
    """Scores pairs of embeddings; the order within a pair does not matter, to the last bit.

    Each feature of the two embeddings gives four symmetric values; one tiny network, shared by all features, turns them
    into one; a dense layer adds the features up: 706 parameters for 512 features and 32 hidden units (Piotte 2018).
    A plain distance would take two zeros for a perfect match, though inactive features carry no evidence.

    Call it with `[left, right]`, both `(num_pairs, embed_dim)`; it returns `(num_pairs,)` logits, higher is more alike.
    """

    def __init__(self, hidden_units: int = 32, **kwargs: Any) -> None:
        """Takes the number of hidden units of the shared network, at least 1."""
        super().__init__(**kwargs)
        if hidden_units < 1:
            raise ValueError(f"`hidden_units` must be at least 1. Received: hidden_units={hidden_units}.")
        self.hidden_units = hidden_units
        self.hidden = keras.layers.Dense(hidden_units, activation="relu", name="hidden")
        self.evidence = keras.layers.Dense(1, name="evidence")
        self.logit = keras.layers.Dense(1, name="logit")

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        """Builds the three layers for embeddings of the given shapes."""
        embed_dim = input_shape[0][-1]
        self.hidden.build((None, embed_dim, NUM_PAIR_FEATURES))
        self.evidence.build((None, embed_dim, self.hidden_units))
        self.logit.build((None, embed_dim))

    def call(self, inputs: list[Any], training: bool = False) -> Any:
        """Returns `(num_pairs,)` logits."""
        left, right = inputs
        if training:  # with copies, since a gradient of one's own takes no variables
            return pair_logits(left, right, [ops.copy(weight) for weight in self.weights])
        features = ops.stack(pair_features(left, right), axis=-1)
        evidence = ops.squeeze(self.evidence(self.hidden(features)), axis=-1)
        return ops.squeeze(self.logit(evidence), axis=-1)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Returns `(num_pairs,)`."""
        return tuple(input_shape[0][:1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "hidden_units": self.hidden_units}
