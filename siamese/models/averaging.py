"""Averages of the weights over a training, by rounds or by steps, and batch statistics that fit them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from keras.layers import BatchNormalization

from siamese.errors import SettingsError

Moments = tuple[np.ndarray, np.ndarray]  # mean and variance, one of each a channel


@dataclass
class RunningMean:
    """Mean of the weights of several rounds, holding none of them (stochastic weight averaging, Izmailov 2018).

    Attributes:
        count: how many sets of weights were added.
        weights: their mean, float64, in their order; kept with `count`, an interrupted training goes on exactly.

    Example:
    >>> mean = RunningMean()
    >>> for value in (1.0, 2.0, 6.0):
    ...     mean.add([np.array([value, 0.5])])
    >>> mean.count, mean.weights[0].tolist()
    (3, [3.0, 0.5])
    """

    count: int = 0
    weights: list[np.ndarray] = field(default_factory=list)

    def add(self, weights: Sequence[np.ndarray]) -> None:
        """Adds one set of weights, `model.get_weights()`; they are not changed."""
        means = self.weights or [np.zeros(())] * len(weights)
        # The same as mean (1 - 1/i) + new / i, but equal weights have exactly themselves as mean.
        self.weights = [mean + (new - mean) / (self.count + 1) for mean, new in zip(means, weights, strict=True)]
        self.count += 1


@keras.saving.register_keras_serializable(package="siamese")
class AveragingAdam(keras.optimizers.Adam):
    """Adam that keeps an exponential average of the weights beside them, among its own variables.

    It is Keras's `use_ema`, but for the end of `fit`: there Keras replaces the weights by their average, which would
    change the training at each round, and fails while some layers are frozen.
    """

    def __init__(self, learning_rate: float = 0.001, *, ema_momentum: float = 0.99, **kwargs: Any) -> None:
        """Takes the learning rate, and the share of the average that stays at each step."""
        super().__init__(learning_rate, **{**kwargs, "use_ema": True, "ema_momentum": ema_momentum})

    def finalize_variable_values(self, var_list: list[keras.Variable]) -> None:
        """Leaves the weights as they were trained."""

    def averages(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Returns each variable the optimiser was built for, with its average."""
        return list(zip(self._trainable_variables, self._model_variables_moving_average, strict=True))


def averaged_weights(model: keras.Model) -> list[np.ndarray]:
    """Reads the average of the weights over the steps of a training.

    Args:
        model: compiled with `AveragingAdam`, which may stand in a `LossScaleOptimizer`. Not changed.

    Returns:
        One array for each of `model.weights`: what trains is averaged, the rest (batch statistics) as it is. Before the
        first step these are the weights themselves.

    Raises:
        SettingsError: the model's optimiser keeps no average.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not isinstance(optimizer, AveragingAdam):
        raise SettingsError(
            "`model` must be compiled with AveragingAdam, which keeps the average. "
            f"Received: {type(optimizer).__name__}. Compile it so before the training starts."
        )
    if int(optimizer.iterations) == 0:
        return list(model.get_weights())
    average_of = {id(variable): average for variable, average in optimizer.averages()}
    return [ops.convert_to_numpy(average_of.get(id(weight), weight)) for weight in model.weights]


@contextmanager
def averaged(model: keras.Model, weights: Sequence[np.ndarray]) -> Iterator[None]:
    """Lends a model averaged weights, to validate, score or save it; it gets its own back to the bit.

    Batch statistics that are re-estimated inside are put back too. Training inside is lost.

    Args:
        model: whose weights are exchanged inside the `with` block.
        weights: one array for each of `model.weights`: `RunningMean.weights`, or `averaged_weights(model)`.

    Example:
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    >>> with averaged(model, [np.array([[5.0]]), np.array([1.0])]):
    ...     float(model(np.ones((1, 1)))[0, 0])
    6.0
    >>> float(model(np.ones((1, 1)))[0, 0])
    1.0
    """
    own = model.get_weights()
    try:
        model.set_weights(weights)
        yield
    finally:
        model.set_weights(own)


def reestimate_batch_norm(
    encoder: keras.Model,
    read: Callable[[np.ndarray], np.ndarray],
    num_images: int,
    batch_size: int,
    augment: keras.layers.Layer | None = None,
) -> None:
    """Gives every batch normalisation the statistics of all training images under the weights as they are.

    Averaged weights need it, because theirs are of other weights (Izmailov 2018). It takes one pass, each batch
    normalised by its own statistics as in training; after n images, b more enter with momentum b / (n + b). What
    differs between batches counts as variance too, so that the first layer gets exactly that of all images.

    Args:
        encoder: made by `build_encoder` or `at_scale`. Only its batch statistics change; frozen layers keep theirs.
        read: function from `(count,)` indices to `(count, height, width, channels)` `uint8` images.
        num_images: indices run from 0 to here.
        batch_size: at most so many images are normalised together, the training's batch; batches differ by one image
            at most, and each takes its images from all over the collection.
        augment: changes the images as in training; its state is put back. None leaves them as they are.

    Example:
    >>> layer = keras.layers.BatchNormalization()
    >>> photos = np.array([0, 10, 20, 70, 80], np.float32).reshape(5, 1, 1, 1)
    >>> reestimate_batch_norm(keras.Sequential([keras.Input((1, 1, 1)), layer]), lambda index: photos[index], 5, 2)
    >>> layer.moving_mean.numpy().round(3).tolist(), layer.moving_variance.numpy().round(1).tolist()
    ([36.0], [1064.0])
    """
    norms = [layer for layer in encoder.layers if isinstance(layer, BatchNormalization) and layer.trainable]
    moments_of = _compiled_moments(encoder, norms, augment)
    moments: list[Moments] = [(np.zeros(()), np.zeros(()))] * len(norms)
    num_batches = math.ceil(num_images / batch_size)
    num_seen = 0
    with _same_state_after(augment):
        for number in range(num_batches):
            images = read(np.arange(number, num_images, num_batches))
            batch = [both.numpy().astype(np.float64) for both in moments_of(images.astype(np.float32))]
            num_seen += len(images)
            share = len(images) / num_seen
            moments = [merged(old, (new[0], new[1]), share) for old, new in zip(moments, batch, strict=True)]
    for norm, (mean, variance) in zip(norms, moments, strict=True):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)


def merged(first: Moments, second: Moments, share: float) -> Moments:
    """Merges the mean and variance of two sets of values into those of their union (Chan, Golub and LeVeque 1979).

    Args:
        first: mean and variance, of one shape. Not changed.
        second: likewise. Not changed.
        share: of the second set in all values, 0 to 1.

    Example:
    >>> merged((np.float64(1), np.float64(0)), (np.float64(5), np.float64(0)), 0.25)  # 1, 1, 1, 5
    (np.float64(2.0), np.float64(3.0))
    """
    gap = second[0] - first[0]
    variance = first[1] + share * (second[1] - first[1]) + share * (1 - share) * gap**2
    return first[0] + share * gap, variance


def _compiled_moments(
    encoder: keras.Model, norms: list[keras.layers.Layer], augment: keras.layers.Layer | None
) -> Callable[[np.ndarray], list[tf.Tensor]]:
    """Makes a function from a batch to `(2, channels)` mean and variance of what each layer is given of it in training.

    It changes no batch statistics.
    """
    weights = encoder.non_trainable_variables
    place = {id(weight): number for number, weight in enumerate(weights)}
    moving = {id(weight) for norm in norms for weight in (norm.moving_mean, norm.moving_variance)}

    def moments(images: Any) -> list[Any]:
        images = augment(images, training=True) if augment else images
        # From zero, a training step leaves (1 - momentum) times the moments of the batch.
        values = [
            ops.zeros_like(weight) if id(weight) in moving else ops.convert_to_tensor(weight) for weight in weights
        ]
        trained = [ops.convert_to_tensor(weight) for weight in encoder.trainable_variables]
        _, left = encoder.stateless_call(trained, values, images, training=True)
        return [
            ops.stack([left[place[id(norm.moving_mean)]], left[place[id(norm.moving_variance)]]]) / (1 - norm.momentum)
            for norm in norms
        ]

    # One graph for batches of any size.
    return tf.function(moments, input_signature=[tf.TensorSpec((None, *encoder.input_shape[1:]), tf.float32)])


@contextmanager
def _same_state_after(layer: keras.layers.Layer | None) -> Iterator[None]:
    variables = layer.variables if layer else []
    state = [ops.convert_to_numpy(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)
