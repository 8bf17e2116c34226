"""What the channels of an image are: grey or colour, and a mask behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

WITH_MASK = (2, 4)  # channels: grey or colour, and a mask as the last one (Qiao et al.)


def on_pixels(change: Callable[[Any], Any], images: Any) -> Any:
    """Changes all channels but the mask."""
    if images.shape[-1] not in WITH_MASK:
        return change(images)
    return ops.concatenate([change(images[..., :-1]), images[..., -1:]], axis=-1)


def on_mask(change: Callable[[Any], Any], images: Any) -> Any:
    """Changes the mask; images without one stay."""
    if images.shape[-1] not in WITH_MASK:
        return images
    return ops.concatenate([images[..., :-1], change(images[..., -1:])], axis=-1)
