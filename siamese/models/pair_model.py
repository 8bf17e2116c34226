"""The pair model: augmentation, encoder and comparator, trained together on pairs within a batch of images."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from siamese.augment import Augment
from siamese.models.averaging import AveragingAdam
from siamese.models.comparator import Comparator
from siamese.models.encoder import build_encoder
from siamese.models.losses import pair_ranking_loss
from siamese.models.precision import needs_loss_scale, set_precision
from siamese.models.replicas import num_replicas
from siamese.models.scaling import at_scale
from siamese.settings import Settings, TrainingSettings


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
        self._scaled: dict[float, keras.Model] = {1.0: encoder}
        self.scale = 1.0
        self.l2 = self.add_weight(shape=(), initializer="zeros", trainable=False, name="l2")
        self._kernels = [layer.kernel for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D)]
        if not comparator.built:
            comparator.build([encoder.output_shape, encoder.output_shape])

    def look_at(self, scale: float) -> keras.Model:
        """Lets the training step see the images at another size, and returns the encoder that does.

        Args:
            scale: height and width of what is seen, as a share of the images'.

        Raises:
            SettingsError: the images would be too small for the encoder.
        """
        if scale not in self._scaled:
            self._scaled[scale] = at_scale(self.encoder, scale)
        if scale != self.scale:
            self.scale = scale
            if self.train_function is not None:
                self.make_train_function(force=True)
        return self._scaled[scale]

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Returns `(num_pairs, 1)` logits."""
        encoder = self._scaled[self.scale]
        embeddings = encoder(self.augment(inputs["images"], training=training), training=training)
        if training:
            self.add_loss(self.l2 * sum(ops.sum(ops.square(kernel)) for kernel in self._kernels))
        sides = [ops.take(embeddings, ops.cast(inputs[side], "int32"), axis=0) for side in ("left", "right")]
        logits = self.comparator(sides, training=training)
        return ops.expand_dims(logits, axis=-1)  # Keras averages over the last axis before it applies weights

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the balanced cross-entropy of the pairs plus the weighted ranking loss."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        if not self.ranking_weight:
            return loss
        left, right = (ops.cast(x[side], "int32") for side in ("left", "right"))
        ranking = pair_ranking_loss(y_pred[:, 0], y[:, 0], left, right, ops.shape(x["images"])[0])
        return loss + self.ranking_weight * ranking / num_replicas()  # Keras adds up the gradients of the replicas


def build_pair_model(settings: Settings) -> PairModel:
    """Builds the untrained model; the same seed gives the same weights."""
    keras.utils.set_random_seed(settings.training.seed)
    shape = settings.preprocessing
    encoder = build_encoder((shape.height, shape.width, shape.channels), settings.encoder)
    set_precision(encoder, settings.training.precision)
    return PairModel(
        encoder,
        Comparator(settings.comparator.hidden_units, name="comparator"),
        Augment(settings.augmentation, seed=settings.training.seed),
        ranking_weight=settings.training.ranking_weight,
    )


def compile_pair_model(model: PairModel, settings: TrainingSettings) -> None:
    """Sets Adam, the binary cross-entropy of the pairs and their accuracy (Piotte 2018), while nothing is frozen."""
    rate = settings.schedule[0].learning_rate
    averages = settings.averaging == "ema"
    with model.distribute_strategy.scope():  # an optimiser made outside lets each replica go its own way
        adam = AveragingAdam(rate, ema_momentum=settings.ema_momentum) if averages else keras.optimizers.Adam(rate)
        model.compile(
            optimizer=keras.optimizers.LossScaleOptimizer(adam) if needs_loss_scale(model.encoder) else adam,
            loss=keras.losses.BinaryCrossentropy(from_logits=True, name="loss"),
            weighted_metrics=[keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")],
        )
        model.optimizer.build(model.trainable_variables)
