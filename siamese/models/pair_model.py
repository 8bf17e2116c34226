"""The pair model: augmentation, encoder and comparator, trained together on pairs within a batch of images."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamese.augment import Augment
from siamese.models.comparator import Comparator
from siamese.models.encoder import build_encoder
from siamese.models.losses import pair_ranking_loss
from siamese.settings import Settings


class PairModel(keras.Model):
    """Encodes each image of a batch once and compares it in every pair that names it.

    Call it with `{"images": (num_images, height, width, channels), "left": (num_pairs,), "right": (num_pairs,)}`, where
    left and right are places in the batch; it returns `(num_pairs, 1)` logits. So one training step serves both the
    classical two branches (each image stands in one pair) and batches that walk the assignment.
    """

    def __init__(
        self,
        encoder: keras.Model,
        comparator: keras.layers.Layer,
        augment: keras.layers.Layer,
        *,
        ranking_weight: float = 0.0,
    ) -> None:
        """Takes the three parts, which stay usable alone, and the weight of the ranking loss beside the pair loss."""
        super().__init__(name="pair_model")
        self.ranking_weight = ranking_weight
        self.encoder, self.comparator, self.augment = encoder, comparator, augment
        self.l2 = self.add_weight(shape=(), initializer="zeros", trainable=False, name="l2")
        self._kernels = [layer.kernel for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D)]
        if not comparator.built:
            comparator.build([encoder.output_shape, encoder.output_shape])

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Returns `(num_pairs, 1)` logits."""
        embeddings = self.encoder(self.augment(inputs["images"], training=training), training=training)
        if training:
            self.add_loss(self.l2 * sum(ops.sum(ops.square(kernel)) for kernel in self._kernels))
        left = ops.take(embeddings, inputs["left"], axis=0)
        logits = self.comparator([left, ops.take(embeddings, inputs["right"], axis=0)])
        return ops.expand_dims(logits, axis=-1)  # Keras averages over the last axis before it applies weights

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the balanced cross-entropy of the pairs plus the weighted ranking loss."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        if not self.ranking_weight:
            return loss
        num_images = ops.shape(x["images"])[0]
        ranking = pair_ranking_loss(y_pred[:, 0], y[:, 0], x["left"], x["right"], num_images)
        return loss + self.ranking_weight * ranking


def build_pair_model(settings: Settings) -> PairModel:
    """Builds the untrained model; the same seed gives the same weights."""
    keras.utils.set_random_seed(settings.training.seed)
    shape = settings.preprocessing
    return PairModel(
        build_encoder((shape.height, shape.width, shape.channels), settings.encoder),
        Comparator(settings.comparator.hidden_units, name="comparator"),
        Augment(settings.augmentation, seed=settings.training.seed),
        ranking_weight=settings.training.ranking_weight,
    )


def compile_pair_model(model: PairModel, learning_rate: float) -> None:
    """Sets Adam, the binary cross-entropy of the pairs and their accuracy (Piotte 2018)."""
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True, name="loss"),
        weighted_metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
    )
