"""Losses on the logits of the pairs of one batch."""

from __future__ import annotations

from typing import Any

from keras import ops


def pair_ranking_loss(logits: Any, target: Any, left: Any, right: Any, num_images: Any) -> Any:
    """Asks of each positive pair that its logit stands above those of all negative pairs of its two images.

    The multi-class N-pair loss (Sohn 2016) with the comparator's logit in place of the inner product: the mean over the
    positive pairs, and over both of their images, of -log softmax of the pair among the image's negative pairs.

    Args:
        logits: `(num_pairs,)` floats.
        target: `(num_pairs,)` 1 for the same animal, 0 for different ones.
        left: `(num_pairs,)` places in the batch.
        right: `(num_pairs,)` places in the batch.
        num_images: images in the batch.

    Returns:
        A scalar, 0 where the batch has no positive pair.
    """
    image, twice = ops.concatenate([left, right]), ops.concatenate([logits, logits])
    negative = ops.concatenate([1 - target, 1 - target])
    top = ops.stop_gradient(ops.max(logits))
    crowd = ops.segment_sum(ops.exp(twice - top) * negative, image, num_segments=num_images)
    rival = ops.log(crowd + 1e-20) + top  # log-sum-exp of each image's negative pairs
    excess = [ops.softplus(ops.take(rival, side) - logits) for side in (left, right)]
    return ops.sum(target * (excess[0] + excess[1])) / 2 / ops.maximum(ops.sum(target), 1)
