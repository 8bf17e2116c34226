"""The comparator for training: the same logits and gradients as its layers give, without the hidden tensor.

The layers hold `(num_pairs, embed_dim, hidden_units)` floats and pass them through memory some ten times. Here each
pair of values goes through all hidden units at once, unit after unit, which XLA fuses into one loop; the gradient
computes them again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

BLOCKS = 32  # 480 pairs of 512 features: 1 MB of hidden units at a time, which the cache of a core holds


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles with XLA under TensorFlow, whose step is not; the other backends compile the whole step."""
    if keras.config.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


def pair_logits(left: Any, right: Any, weights: Sequence[Any]) -> Any:
    """Scores pairs of embeddings, to the same bits in either order.

    Args:
        left: `(num_pairs, embed_dim)` floats.
        right: `(num_pairs, embed_dim)` floats.
        weights: kernel and bias of the hidden, the evidence and the logit layer of a `Comparator`.

    Returns:
        `(num_pairs,)` logits.
    """
    return _with_gradient(left, right, *weights)


@ops.custom_gradient
def _with_gradient(left: Any, right: Any, *weights: Any) -> Any:
    *shared, weight, bias = weights
    evidence = _evidence(left, right, *shared)

    def gradient(upstream: Any) -> tuple[Any, ...]:
        towards_weight = ops.matmul(ops.transpose(evidence), upstream[:, None])
        share = upstream[:, None] * weight[:, 0]  # of each pair and feature in the loss
        towards_bias = ops.sum(upstream)[None]
        return *_gradients(left, right, share, *shared), ops.sum(share)[None], towards_weight, towards_bias

    return ops.matmul(evidence, weight)[:, 0] + bias, gradient


def pair_features(left: Any, right: Any) -> tuple[Any, Any, Any, Any]:
    """Returns product, sum, absolute difference and squared difference: what does not know left from right."""
    gap = ops.abs(left - right)
    return left * right, left + right, gap, ops.square(gap)


def _inner(features: tuple[Any, ...], kernel: Any, bias: Any) -> Any:
    return sum(feature * row for feature, row in zip(features, kernel, strict=True)) + bias


@_compiled
def _evidence(left: Any, right: Any, kernel: Any, bias: Any, output: Any, output_bias: Any) -> Any:
    """Returns `(num_pairs, embed_dim)`: what each feature says of each pair."""
    features, evidence = pair_features(left, right), output_bias[0]
    for unit in range(kernel.shape[1]):
        evidence += output[unit, 0] * ops.relu(_inner(features, [kernel[i, unit] for i in range(4)], bias[unit]))
    return evidence


@_compiled
def _gradients(
    left: Any, right: Any, share: Any, kernel: Any, bias: Any, output: Any, output_bias: Any
) -> tuple[Any, ...]:
    """Returns the gradients towards both sides, and towards kernel, bias and output."""
    sums = _sums_over_active(left, right, share, kernel, bias)
    # An active unit's output is its inner sum, so the sums of its features give that of its outputs.
    towards_output = ops.sum(sums[:4] * kernel, axis=0) + sums[4] * bias
    sums = sums * output[:, 0]
    return *_towards_sides(left, right, share, kernel, bias, output), sums[:4], sums[4], towards_output[:, None]


def _towards_sides(left: Any, right: Any, share: Any, kernel: Any, bias: Any, output: Any) -> tuple[Any, Any]:
    features, slopes = pair_features(left, right), [0.0] * 4
    for unit in range(kernel.shape[1]):
        rows = [kernel[i, unit] for i in range(4)]
        active = ops.where(_inner(features, rows, bias[unit]) > 0, output[unit, 0], 0.0)
        slopes = [slope + active * row for slope, row in zip(slopes, rows, strict=True)]
    product, total, gap, square = slopes
    apart = ops.sign(left - right) * gap + 2 * (left - right) * square
    return share * (product * right + total + apart), share * (product * left + total - apart)


def _sums_over_active(left: Any, right: Any, share: Any, kernel: Any, bias: Any) -> Any:
    """Sums each feature, and 1, over the values that make a unit active, by their share: `(5, hidden_units)`."""
    num_blocks = math.gcd(left.shape[1], BLOCKS)
    blocks = [ops.reshape(ops.transpose(values), (num_blocks, -1)) for values in (left, right, share)]

    def one_block(block: tuple[Any, Any, Any]) -> Any:
        features, part = pair_features(*block[:2]), block[2]
        active = _inner(tuple(feature[:, None] for feature in features), [kernel[i] for i in range(4)], bias) > 0
        rows = ops.stack([*(feature * part for feature in features), part])
        return ops.matmul(rows, ops.cast(active, rows.dtype))

    return ops.sum(ops.map(one_block, tuple(blocks)), axis=0)
