"""The residual encoder: image -> embedding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from siamese.errors import SettingsError
from siamese.settings import EncoderSettings

GEM_POWER = 3.74  # fixed exponent of the seventh place of the humpback challenge
# Red, green and blue of the ImageNet training photos, 0 to 1: the constants of torchvision's pretrained models.
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in grey: ITU-R BT.601, as Pillow converts
BLOCK_IMAGES = 256  # read at once for the statistics


@keras.saving.register_keras_serializable(package="siamese")
class Standardise(layers.Layer):
    """Gives every image zero mean and unit variance, so that `uint8` photos of any light enter the encoder alike."""

    def call(self, images: Any) -> Any:
        """Takes `(num_images, height, width, channels)` of any type, returns float32 of the same shape."""
        images = ops.cast(images, "float32")
        centred = images - ops.mean(images, axis=(1, 2, 3), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(1, 2, 3), keepdims=True)
        return centred * ops.rsqrt(variance + 1e-3)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape it was given."""
        return input_shape


@keras.saving.register_keras_serializable(package="siamese")
class FixedStandardise(layers.Layer):
    """Subtracts one mean from all images and divides by one deviation, both by channel.

    They are weights that do not train, so that they can be set on a built encoder and are saved with it.
    """

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], **kwargs: Any) -> None:
        """Takes one mean and one deviation a channel, in grey levels of 0 to 255."""
        super().__init__(**kwargs)
        self.initial_mean, self.initial_deviation = list(mean), list(deviation)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the two weights, `(channels,)` each."""
        self.mean = self._fixed("mean", self.initial_mean)
        self.deviation = self._fixed("deviation", self.initial_deviation)

    def _fixed(self, name: str, values: list[float]) -> Any:
        weight = self.add_weight(shape=(len(values),), dtype="float32", trainable=False, name=name)
        weight.assign(np.array(values, np.float32))
        return weight

    def call(self, images: Any) -> Any:
        """Takes `(num_images, height, width, channels)` of any type, returns float32 of the same shape."""
        return (ops.cast(images, "float32") - self.mean) / self.deviation

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape it was given."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "mean": self.initial_mean, "deviation": self.initial_deviation}


@keras.saving.register_keras_serializable(package="siamese")
class GeneralisedMeanPooling(layers.Layer):
    """Pools a map to (mean of x^p)^(1/p): p = 1 is the average, a large p nears the maximum (Radenovic 2018)."""

    def __init__(self, power: float = GEM_POWER, **kwargs: Any) -> None:
        """Takes the exponent, at least 1."""
        super().__init__(**kwargs)
        self.power = power

    def call(self, features: Any) -> Any:
        """Takes `(num_images, height, width, channels)`, returns `(num_images, channels)`."""
        powered = ops.power(ops.maximum(features, 1e-6), self.power)
        return ops.power(ops.mean(powered, axis=(1, 2)), 1.0 / self.power)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns `(num_images, channels)`."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "power": self.power}


@keras.saving.register_keras_serializable(package="siamese")
class Stripes(layers.Layer):
    """Cuts a map into upright stripes, so that left and right stay apart (seventh place, humpback 2019).

    Where the width is no multiple of their number, neighbours share a column: a mirrored map has mirrored stripes.
    """

    def __init__(self, count: int, **kwargs: Any) -> None:
        """Takes the number of stripes; the map must be at least as wide."""
        super().__init__(**kwargs)
        self.count = count

    def call(self, features: Any) -> list[Any]:
        """Takes `(num_images, height, width, channels)`, returns `count` maps of that height, of one width or two."""
        edges = [place * features.shape[2] / self.count for place in range(self.count + 1)]
        return [features[:, :, math.floor(left) : math.ceil(right)] for left, right in itertools.pairwise(edges)]

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "count": self.count}


POOLINGS = {
    "max": layers.GlobalMaxPooling2D,
    "average": layers.GlobalAveragePooling2D,
    "gem": GeneralisedMeanPooling,
}


def build_encoder(input_shape: tuple[int, int, int], settings: EncoderSettings | None = None) -> keras.Model:
    """Builds the residual encoder of the humpback kernel (Piotte 2018), sized by settings.

    With the default settings and `(384, 384, 1)` it has 55 convolutions, 512 features and 2,692,096 parameters.

    Args:
        input_shape: height, width and channels of an image, pixels.
        settings: normalisation, stem, widths, depth and pooling; None takes the defaults. With the normalisation
            `collection`, embeddings are not finite until `set_collection_statistics` was called.

    Returns:
        A model from `(num_images, height, width, channels)`, `uint8` or float, to `(num_images, embed_dim)` float32,
        where `embed_dim` is the last width, times the stripes. Features are not negative and not normalised.

    Raises:
        SettingsError: the image is too small for so many stages, or its last map for so many stripes.
    """
    settings = settings or EncoderSettings()
    _check_size(input_shape, settings)
    images = keras.Input(input_shape, name="images")
    x = _stem(_normalisation(input_shape[2], settings)(images), settings)
    for stage, (width, bottleneck) in enumerate(zip(settings.widths, settings.bottlenecks, strict=True), start=1):
        x = layers.MaxPooling2D(2, padding="same", name=f"stage{stage}_pool")(x)
        x = _convolution(_batch_norm(x, settings), width, 1)
        for _ in range(settings.depth):
            x = _sub_block(x, bottleneck, settings)
    return keras.Model(images, _pool(x, settings), name="encoder")


def collection_statistics(read: Callable[[np.ndarray], np.ndarray], num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes mean and standard deviation of all pixels, by channel, holding few images at a time.

    Args:
        read: gives the images at some indices: `(num, height, width, channels)` uint8, as `ImageStore.read` does.
        num_images: indices run from 0 to here.

    Returns:
        Mean and deviation, each `(channels,)` floats in grey levels.

    Example:
    >>> images = np.array([0, 10, 20, 30], np.uint8).reshape(2, 1, 2, 1)
    >>> mean, deviation = collection_statistics(lambda indices: images[indices], 2)
    >>> mean.tolist(), deviation.round(3).tolist()
    ([15.0], [11.18])
    """
    counts: Any = 0  # of each grey level, so that the result is exact and does not depend on the order
    for start in range(0, num_images, BLOCK_IMAGES):
        images = read(np.arange(start, min(start + BLOCK_IMAGES, num_images)))
        counts = counts + np.stack(
            [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(images, -1, 0)]
        )
    levels, shares = np.arange(256), counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    return mean, np.sqrt(np.sum(shares * (levels - mean[:, None]) ** 2, axis=1))


def set_collection_statistics(
    encoder: keras.Model, mean: Sequence[float] | np.ndarray, deviation: Sequence[float] | np.ndarray
) -> None:
    """Tells an encoder with the normalisation `collection` what `collection_statistics` found; saved with it.

    Args:
        encoder: made by `build_encoder`. Changed in place.
        mean: of each channel, grey levels.
        deviation: of each channel, grey levels; where it is under one level, one is taken.

    Raises:
        SettingsError: the encoder has another normalisation, or another number of channels.
    """
    layer = encoder.get_layer("standardise")
    if not isinstance(layer, FixedStandardise) or np.shape(mean) != tuple(layer.mean.shape):
        raise SettingsError(
            "`encoder` must have the normalisation `collection` and one channel for each mean. "
            f"Received: {type(layer).__name__} for images {encoder.input_shape[1:]}, and {len(mean)} means. "
            "Set `encoder.normalisation` to collection, and measure images of the encoder's channels."
        )
    layer.mean.assign(np.asarray(mean, np.float32))
    layer.deviation.assign(np.maximum(deviation, 1.0).astype(np.float32))


def _normalisation(channels: int, settings: EncoderSettings) -> layers.Layer:
    if settings.normalisation == "image":
        return Standardise(name="standardise")
    unknown = [float("nan")] * channels
    colour = 255 * np.array([IMAGENET_MEAN, IMAGENET_DEVIATION])
    grey = colour @ np.array(LUMA)  # of one channel: the mean of three, weighted as grey is made of them
    mean, deviation = {
        "collection": (unknown, unknown),
        "imagenet": colour.tolist() if channels == 3 else grey[:, None].tolist(),
        "unit": ([0.0] * channels, [255.0] * channels),
    }[settings.normalisation]
    return FixedStandardise(mean, deviation, name="standardise")


def _check_size(input_shape: tuple[int, int, int], settings: EncoderSettings) -> None:
    shrink = settings.stem_stride * (2 if settings.stem_pool else 1) * 2 ** (len(settings.widths) - 1)
    if min(input_shape[:2]) < shrink:
        raise SettingsError(
            f"`input_shape` must be at least {shrink} pixels high and wide for {len(settings.widths)} stages. "
            f"Received: input_shape={input_shape}. Use larger images or fewer `encoder.widths`."
        )


def _stem(x: Any, settings: EncoderSettings) -> Any:
    x = _convolution(x, settings.stem_filters, settings.stem_kernel, strides=settings.stem_stride)
    if settings.stem_pool:
        x = layers.MaxPooling2D(2, padding="same", name="stem_pool")(x)
    for _ in range(settings.stem_convolutions):
        x = _convolution(_batch_norm(x, settings), settings.stem_filters, 3)
    return x


def _sub_block(x: Any, bottleneck: int, settings: EncoderSettings) -> Any:
    """Adds a bottleneck's result to its batch-normalised input, then ReLU."""
    width = x.shape[-1]
    normal = x = _batch_norm(x, settings)
    x = _convolution(x, bottleneck, 1)
    x = _convolution(_batch_norm(x, settings), bottleneck, 3)
    x = _convolution(_batch_norm(x, settings), width, 1, activation=None)
    return layers.ReLU()(layers.Add()([normal, x]))


def _pool(x: Any, settings: EncoderSettings) -> Any:
    if settings.stripes == 1:
        return POOLINGS[settings.pooling](name="embedding")(x)
    if x.shape[2] < settings.stripes:
        raise SettingsError(
            f"`encoder.stripes` must be at most the width of the last map, {x.shape[2]}. "
            f"Received: stripes={settings.stripes}. Take fewer stripes, or wider images."
        )
    stripes = Stripes(settings.stripes, name="stripes")(x)
    return layers.Concatenate(name="embedding")([POOLINGS[settings.pooling]()(stripe) for stripe in stripes])


def _convolution(x: Any, filters: int, kernel: int, *, strides: int = 1, activation: str | None = "relu") -> Any:
    return layers.Conv2D(filters, kernel, strides=strides, padding="same", activation=activation)(x)


def _batch_norm(x: Any, settings: EncoderSettings) -> Any:
    return layers.BatchNormalization(momentum=settings.batch_norm_momentum)(x)
