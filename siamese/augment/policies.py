"""Which changes an image goes through: each with its probability, one of a list, or several in random order.

A change works on the images that were drawn for it alone: they are taken out of the batch, changed and put back.
Changing all images and keeping the drawn ones by a mask took 1.4 to 14 times as long (32 images of 64 x 128 and of
128 x 256 pixels, 2 CPU cores); one draw for the whole batch is cheaper still, but then its images all look alike.

Shares are drawn for the batch as a whole: with a probability of 0.3, 9 or 10 of 32 images are changed, and each image
is among them three times in ten.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

from siamese.augment import disturbances, light, sharpness
from siamese.augment.channels import on_mask, on_pixels
from siamese.augment.draws import Draw
from siamese.settings import AugmentationSettings
from siamese.settings.changes import Change, Erase, Gamma, Gradient, Kind, Noise, OneOf, SomeOf

# One function for each kind of `siamese.settings.changes`; it takes the fields of that kind.
KINDS: dict[str, Callable[..., Any]] = {
    "blur": sharpness.blur,
    "average_blur": sharpness.average_blur,
    "motion_blur": sharpness.motion_blur,
    "sharpen": sharpness.sharpen,
    "jpeg": sharpness.jpeg,
    "noise": disturbances.noise,
    "speckle": disturbances.speckle,
    "erase": disturbances.erase,
    "mixup": disturbances.mixup,
    "drop_mask": disturbances.drop_mask,
    "brightness": light.brightness,
    "multiply": light.multiply,
    "contrast": light.contrast,
    "gamma": light.gamma,
    "gradient": light.gradient,
    "hue_saturation": light.hue_saturation,
    "grey": light.grey,
    "pca_colour": light.pca_colour,
    "local_contrast": light.local_contrast,
}
ROUNDING = 1e-4  # images; what rounding alone may add to a share of a batch


def all_changes(settings: AugmentationSettings) -> tuple[Change, ...]:
    """Lists the changes after the geometry: those with a field of their own first, then `changes`."""
    named: list[Change] = []
    if settings.gamma:
        named.append(Gamma(kind="gamma", exponent=(1 - settings.gamma, 1 / (1 - settings.gamma))))
    if settings.gradient:
        named.append(Gradient(kind="gradient", size=settings.gradient))
    if settings.noise:
        named.append(Noise(kind="noise", size=(settings.noise, settings.noise), per_channel=1))
    if settings.erase:
        named.append(Erase(kind="erase", size=(0, settings.erase)))
    return (*named, *settings.changes)


def apply_change(images: Any, draw: Draw, change: Change) -> Any:
    """Changes the share of the images that the change or group asks for.

    Args:
        images: `(num_images, height, width, channels)` floats, 0 to 255. Not changed.
        draw: gives the random numbers of this batch.
        change: one change, or a group of them.

    Returns:
        Images of the same shape.
    """
    if change.probability == 0:
        return images
    if change.probability == 1:
        return _apply_whole(images, draw, change)
    lots = _draw_lots(draw)
    return _on_share(images, draw, lots, 0.0, change.probability, lambda part, its: _apply_whole(part, its, change))


def _apply_whole(images: Any, draw: Draw, change: Change) -> Any:
    if isinstance(change, OneOf):
        return _one_for_each(images, draw, change.one_of)
    if isinstance(change, SomeOf):
        return _some_for_each(images, draw, change)
    return _apply_single(images, draw, change)


def _apply_single(images: Any, draw: Draw, change: Kind) -> Any:
    values = change.model_dump(exclude={"probability", "kind"})
    part = on_mask if change.kind == "drop_mask" else on_pixels
    return part(lambda channels: KINDS[change.kind](channels, draw, **values), images)


@dataclass(frozen=True)
class _Lots:
    """A batch in random order, and a random fraction of a place, from which shares are counted off.

    The fraction makes every image as likely as any other to be in a share, also where it is no whole number of images.
    """

    order: Any
    fraction: Any


def _draw_lots(draw: Draw) -> _Lots:
    return _Lots(draw.order(), draw.fraction())


def _one_for_each(images: Any, draw: Draw, choices: tuple[Kind, ...]) -> Any:
    lots, share = _draw_lots(draw), 1 / len(choices)
    for place, choice in enumerate(choices):
        images = _on_share(images, draw, lots, place * share, share, _bound(choice))
    return images


def _some_for_each(images: Any, draw: Draw, group: SomeOf) -> Any:
    """In each turn every image goes through one change, and through another one in the next.

    The batch is divided as for one change of each, and the divisions move on by a drawn step from turn to turn.
    """
    choices = group.some_of
    fewest, most = group.count or (len(choices), len(choices))
    lots, share = _draw_lots(draw), 1 / len(choices)
    steps = draw.permutation(len(choices))
    count = ops.floor(draw.uniform(fewest, most + 1))  # changes of each image
    for turn in range(most):
        wanted = None if turn < fewest else ops.cast(count > turn, "float32")
        for place, choice in enumerate(choices):
            division = ops.cast((place + steps[turn]) % len(choices), "float32")
            images = _on_share(images, draw, lots, division * share, share, _bound(choice), wanted)
    return images


def _bound(choice: Kind) -> Callable[[Any, Draw], Any]:
    return lambda images, draw: apply_change(images, draw, choice)


def _on_share(
    images: Any,
    draw: Draw,
    lots: _Lots,
    start: Any,
    share: float,
    change: Callable[[Any, Draw], Any],
    wanted: Any = None,
) -> Any:
    """Changes the images whose lot lies from `start` to `start + share`, if they are wanted at all."""
    num_images = ops.shape(images)[0]
    length = ops.cast(num_images, "float32")
    first = ops.ceil(start * length - lots.fraction - ROUNDING)
    places = ops.cast(first, "int32") + ops.arange(_most(share, num_images))
    chosen = ops.take(lots.order, places % num_images, axis=0)
    lot = ops.cast(places, "float32") + lots.fraction
    keeps = ops.cast(lot < (start + share) * length - ROUNDING, "float32")
    keeps = keeps if wanted is None else keeps * ops.take(wanted, chosen, axis=0)
    part = ops.take(images, chosen, axis=0)
    changed = part + ops.reshape(keeps, (-1, 1, 1, 1)) * (change(part, draw.of(part)) - part)
    return ops.scatter_update(images, chosen[:, None], changed)


def _most(share: float, num_images: Any) -> Any:
    """Most images in a share of a batch, whose length may be known only while the step runs."""
    if isinstance(num_images, int):
        return min(num_images, math.ceil(share * num_images))
    return ops.cast(ops.ceil(share * ops.cast(num_images, "float32")), "int32")
