"""Random numbers for a batch, a fresh one for each image."""

from __future__ import annotations

from typing import Any

from keras import ops, random

Range = tuple[float, float]


class Draw:
    """Draws for so many images; every number comes from one generator, so its state decides them all."""

    def __init__(self, num_images: Any, generator: random.SeedGenerator) -> None:
        """Takes the number of images, which may be known only while the step runs, and the generator."""
        self.num_images, self.generator = num_images, generator

    def of(self, images: Any) -> Draw:
        """Draws for other images, from the same generator."""
        return type(self)(ops.shape(images)[0], self.generator)

    def uniform(self, low: float, high: float, *shape: int) -> Any:
        """Returns `(num_images, *shape)` floats between two numbers."""
        return random.uniform((self.num_images, *shape), low, high, seed=self.generator)

    def normal(self, *shape: int) -> Any:
        """Returns `(num_images, *shape)` floats of mean 0 and deviation 1."""
        return random.normal((self.num_images, *shape), seed=self.generator)

    def cut_normal(self, *shape: int) -> Any:
        """Returns normal numbers drawn again where they were over 2 or under -2."""
        return random.truncated_normal((self.num_images, *shape), seed=self.generator)

    def share(self, probability: float, *shape: int) -> Any:
        """Returns `(num_images, *shape)` ones with this probability, else zeros, as floats."""
        return ops.cast(self.uniform(0, 1, *shape) < probability, "float32")

    def each(self, limits: Range) -> Any:
        """Returns `(num_images, 1, 1, 1)`: a number for each image; the number itself where the range is one."""
        return limits[0] if limits[0] == limits[1] else self.uniform(*limits, 1, 1, 1)

    def each_channel(self, limits: Range, channels: int, per_channel: float) -> Any:
        """Returns a number for each image, or in this share of the images for each of its channels."""
        shared = self.each(limits)
        if channels == 1 or not per_channel:
            return shared
        own = self.uniform(*limits, 1, 1, channels)
        return shared + self.share(per_channel, 1, 1, 1) * (own - shared)

    def order(self) -> Any:
        """Returns `(num_images,)` places of the batch in random order."""
        return ops.argsort(self.uniform(0, 1))

    def fraction(self) -> Any:
        """Returns one number from 0 to 1 for the whole batch."""
        return random.uniform((), seed=self.generator)

    def permutation(self, length: int) -> Any:
        """Returns `(length,)` the numbers from 0 on in random order, one order for the whole batch."""
        return ops.argsort(random.uniform((length,), seed=self.generator))
