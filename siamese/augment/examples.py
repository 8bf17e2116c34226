"""Example pictures of a policy: what all of its changes do together, and what each one does alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from keras import ops

from siamese.augment.layer import Augment
from siamese.errors import ImageError
from siamese.images import prepare_image
from siamese.manifest import Manifest
from siamese.settings import AugmentationSettings, PreprocessingSettings
from siamese.settings.changes import Change, Kind, OneOf, SomeOf

NUM_PHOTOS, NUM_DRAWS = 3, 5
# Every field that makes a change, with the value that switches it off.
STILL = {
    "rotation": 0,
    "shear": 0,
    "zoom": (1, 1),
    "shift": 0,
    "perspective": 0,
    "corners": (0, 0),
    "elastic": (0, 0),
    "flip": 0,
    "flip_vertical": 0,
    "gamma": 0,
    "gradient": 0,
    "noise": 0,
    "erase": 0,
}
HOW = ("fill", "zoom_axes", "elastic_grid")  # fields that only say how others work


@dataclass(frozen=True, eq=False)
class ExampleRow:
    """A photo and what became of it.

    Attributes:
        caption: the photo's name, or the change that was made alone.
        images: `(1 + num_draws, height, width, channels)` uint8; the first one is unchanged.
    """

    caption: str
    images: np.ndarray


def sample_photos(manifest: Manifest, settings: PreprocessingSettings, *, seed: int) -> tuple[np.ndarray, list[str]]:
    """Draws three photos at random and prepares them as for training; photos that cannot be read are passed over.

    Args:
        manifest: the photos.
        settings: how they are prepared.
        seed: decides which photos.

    Returns:
        `(num_images, height, width, channels)` uint8, and the name of each.

    Raises:
        ImageError: no photo can be read; the sentence is that of the last one.
    """
    images, names, reason = [], [], ImageError("")
    for row in np.random.default_rng(seed).permutation(len(manifest)):
        try:
            images.append(prepare_image(manifest.paths[row], manifest.boxes[row], settings, manifest.rotations[row]))
        except ImageError as error:
            reason = error
            continue
        names.append(str(manifest.image_ids[row]))
        if len(images) == NUM_PHOTOS:
            break
    if not images:
        raise reason
    return np.stack(images), names


def example_rows(
    images: np.ndarray, names: list[str], settings: AugmentationSettings, *, seed: int
) -> list[ExampleRow]:
    """Draws a few results for each photo, then for each single change, which the first photo goes through.

    Args:
        images: `(num_images, height, width, channels)` uint8. Not changed.
        names: one for each image.
        settings: the policy.
        seed: decides the draws.
    """
    together = _draws(images, settings, seed)
    rows = [ExampleRow(name, drawn) for name, drawn in zip(names, together, strict=True)]
    alone = single_changes(settings)
    return rows + [ExampleRow(f"{name} alone", _draws(images, only, seed)[0]) for name, only in alone]


def single_changes(settings: AugmentationSettings) -> Iterator[tuple[str, AugmentationSettings]]:
    """Names each change that is switched on, with settings under which it alone changes every photo.

    Args:
        settings: the policy.

    Example:
    >>> [name for name, _ in single_changes(AugmentationSettings(shear=0, changes=[{"kind": "blur"}]))]
    ['rotation', 'zoom', 'shift', 'blur']
    """
    still = {**STILL, **{name: getattr(settings, name) for name in HOW}}
    for name, off in STILL.items():
        value = getattr(settings, name)
        if value != off:
            yield name, AugmentationSettings.model_validate({**still, name: 1 if name.startswith("flip") else value})
    for change in settings.changes:
        for single in _choices(change):
            if single.kind != "drop_mask":  # photos have no mask
                always = {**single.model_dump(), "probability": 1}
                yield single.kind, AugmentationSettings.model_validate({**still, "changes": [always]})


def _choices(change: Change) -> tuple[Kind, ...]:
    if isinstance(change, OneOf):
        return change.one_of
    return change.some_of if isinstance(change, SomeOf) else (change,)


def _draws(images: np.ndarray, settings: AugmentationSettings, seed: int) -> np.ndarray:
    """Each image and its draws: `(num_images, 1 + num_draws, height, width, channels)` uint8."""
    # Copies of a photo are not neighbours in the batch, so that mixup has another photo to show.
    batch = np.concatenate([images] * NUM_DRAWS)
    changed = ops.convert_to_numpy(Augment(settings, seed=seed)(batch, training=True))
    drawn = np.clip(np.rint(changed), 0, 255).astype(np.uint8).reshape(NUM_DRAWS, *images.shape)
    return np.concatenate([images[None], drawn]).swapaxes(0, 1)
