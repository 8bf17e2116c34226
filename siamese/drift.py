"""Tells when new photos do not look like those a model was calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from siamese.errors import ModelFolderError, SiameseError

Read: TypeAlias = Callable[[np.ndarray], np.ndarray]

PHOTO_MEASURES = ("brightness", "contrast", "sharpness")
MEASURES = (*PHOTO_MEASURES, "the length of the embedding", "its likeness to the average one")
NUM_QUANTILES = 65
MOST_PHOTOS = 4000  # that are compared
FEWEST_PHOTOS = 8  # of fewer, nothing can be said
NUM_REPLAYS = 400
LEVEL = 0.01  # of false alarms among the replays, so that 5 % hold among new photos
USUAL = 0.9  # quantile of a measure's own gap that counts as 1
BLOCK = 64  # images whose float copies are in memory at once


@dataclass(frozen=True)
class Drift:
    """How new photos differ from those of the calibration.

    Attributes:
        num_photos: how many were compared.
        gap: largest gap between the distributions of one measure, over what is usual for as many photos.
        limit: the gap that photos of the same kind stay under in 99 % of cases.
        changed: measures whose gap lies above the limit, the largest first.
    """

    num_photos: int
    gap: float
    limit: float
    changed: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What to tell the user; "" where nothing is odd."""
        if not self.changed:
            return ""
        return (
            f"These {self.num_photos} photos do not look like those the model was calibrated on: {self.changed[0]} "
            "differs most. Stated error rates may not hold; calibrate on photos like these."
        )


@dataclass(frozen=True)
class DriftSketch:
    """What the calibration photos look like, as quantiles.

    Attributes:
        num_photos: how many there were.
        average: `(embed_dim,)` mean of their embeddings.
        quantiles: `(num_measures, NUM_QUANTILES)` evenly spaced quantiles of each measure in `MEASURES`.
        usual: `(num_measures,)` gap of a measure, times the root of the number of photos, that 10 % of replays exceed.
        limit: of the largest gap over its usual one.
    """

    num_photos: int
    average: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]
    usual: tuple[float, ...]
    limit: float

    def compare(self, embeddings: np.ndarray, looks: np.ndarray | None = None) -> Drift:
        """Compares new photos by the largest Kolmogorov-Smirnov gap of any measure.

        Args:
            embeddings: `(num_photos, embed_dim)` floats.
            looks: `(num_photos, len(PHOTO_MEASURES))` of `measure_images`; None compares embeddings alone.
        """
        measures = _measures(embeddings, looks, np.array(self.average))
        if len(measures) < FEWEST_PHOTOS:
            return Drift(len(measures), 0.0, self.limit, ())
        root = np.sqrt(len(measures) * self.num_photos / (len(measures) + self.num_photos))
        gaps = root * np.array(
            [_gap(np.sort(values), np.array(own)) for values, own in zip(measures.T, self.quantiles, strict=True)]
        )
        gaps = gaps / np.array(self.usual)
        changed = [MEASURES[index] for index in np.argsort(-gaps, kind="stable") if gaps[index] > self.limit]
        return Drift(len(measures), float(gaps.max()), self.limit, tuple(dict.fromkeys(changed)))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DriftSketch:
        """Makes the sketch that `to_dict` wrote.

        Raises:
            ModelFolderError: a value is missing or of another shape.
        """
        try:
            sketch = cls(
                int(values["num_photos"]),
                tuple(float(value) for value in values["average"]),
                tuple(tuple(float(value) for value in row) for row in values["quantiles"]),
                tuple(float(value) for value in values["usual"]),
                float(values["limit"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFolderError(
                f"A drift sketch must hold what was saved. Received: {error}. Save the model again."
            ) from error
        if {len(sketch.quantiles), len(sketch.usual)} != {len(MEASURES)}:
            raise ModelFolderError(
                f"A drift sketch must have {len(MEASURES)} measures. Received: {len(sketch.quantiles)}. "
                "Save the model again."
            )
        return sketch


def fit_drift(embeddings: np.ndarray, read: Read, identity: np.ndarray, *, seed: int = 0) -> DriftSketch:
    """Sketches the calibration photos, and learns how far photos of the same kind stray.

    Photos of one animal are alike, so a set of few animals strays further than chance among photos would let it. The
    limit is learnt from replays: photos of three to half of the animals, drawn at random, against the others' photos.

    Args:
        embeddings: `(num_photos, embed_dim)` floats, of photos that the model was not trained on.
        read: gives the prepared images, 0 to 255, of some rows: `(num_rows, height, width, channels)`.
        identity: `(num_photos,)` individuals; each photo of an unknown one ("") stands for itself.
        seed: of the draws.

    Raises:
        SiameseError: there are fewer than `2 * FEWEST_PHOTOS` photos.
    """
    if len(embeddings) < 2 * FEWEST_PHOTOS:
        raise SiameseError(
            f"A drift sketch must be made of at least {2 * FEWEST_PHOTOS} photos. Received: {len(embeddings)}. "
            "Give more validation photos."
        )
    rng = np.random.default_rng(seed)
    kept = np.sort(rng.permutation(len(embeddings))[:MOST_PHOTOS])
    average = np.asarray(embeddings[kept], dtype=np.float64).mean(axis=0)
    blocks = (kept[start : start + BLOCK] for start in range(0, len(kept), BLOCK))
    looks = np.concatenate([measure_images(read(rows)) for rows in blocks])
    measures = _measures(embeddings[kept], looks, average)
    identity = np.asarray(identity, dtype=object)[kept]
    names: dict[str | int, int] = {}
    code = np.array([names.setdefault(name or row, len(names)) for row, name in enumerate(identity)])
    replays = (_replayed_gaps(measures, code, len(names), rng) for _ in range(NUM_REPLAYS))
    gaps = np.array([gaps for gaps in replays if gaps is not None]).reshape(-1, measures.shape[1])
    if not len(gaps):
        raise SiameseError(
            f"A drift sketch must be made of {FEWEST_PHOTOS} photos in each half of the animals. Received: "
            f"{len(names)} animals. Give more validation photos."
        )
    usual = np.maximum(np.quantile(gaps, USUAL, axis=0), 1e-9)
    return DriftSketch(
        len(measures),
        tuple(average.tolist()),
        tuple(tuple(float(value) for value in row) for row in _quantiles(measures).T),
        tuple(usual.tolist()),
        float(np.quantile(np.max(gaps / usual, axis=1), 1 - LEVEL)),
    )


def measure_images(images: np.ndarray) -> np.ndarray:
    """Returns `(num_images, 3)`: brightness, contrast and sharpness (mean step between neighbours) of each image.

    An image's numbers don't depend on the others, so a collection can be measured in blocks.

    Args:
        images: `(num_images, height, width, channels)` prepared images, 0 to 255. Not changed.

    Example:
    >>> measure_images(np.array([[[[0], [200]], [[0], [200]]]], dtype=np.uint8)).tolist()
    [[100.0, 100.0, 200.0]]
    """
    grey = np.asarray(np.mean(images, axis=-1, dtype=np.float64))
    height, width = grey.shape[1:]
    steps = ((1, (height - 1) * width), (2, height * (width - 1)))
    sharpness = sum(np.abs(np.diff(grey, axis=axis)).sum(axis=(1, 2)) / max(1, count) for axis, count in steps)
    return np.column_stack([grey.mean(axis=(1, 2)), grey.std(axis=(1, 2)), sharpness])


def _measures(embeddings: np.ndarray, looks: np.ndarray | None, average: np.ndarray) -> np.ndarray:
    """Returns `(num_photos, num_measures)` numbers that tell what photos look like, to a person and to the model."""
    embeddings = np.asarray(embeddings, dtype=np.float64)
    seen = np.full((len(embeddings), len(PHOTO_MEASURES)), np.nan) if looks is None else looks
    length = np.linalg.norm(embeddings, axis=1)
    likeness = embeddings @ average / np.maximum(length * np.linalg.norm(average), 1e-12)
    return np.column_stack([seen, length, likeness])


def _replayed_gaps(
    measures: np.ndarray, code: np.ndarray, num_codes: int, rng: np.random.Generator
) -> np.ndarray | None:
    """Returns the gaps between some individuals' photos and the others', times the root of the numbers of photos.

    None where one side has too few.
    """
    num_chosen = int(rng.integers(min(3, num_codes // 2), num_codes // 2 + 1)) or 1
    chosen = np.isin(code, rng.permutation(num_codes)[:num_chosen])
    num_own, num_others = np.count_nonzero(chosen), np.count_nonzero(~chosen)
    if num_own < FEWEST_PHOTOS or num_others < FEWEST_PHOTOS:
        return None
    root = np.sqrt(num_own * num_others / len(code))
    quantiles = _quantiles(measures[~chosen])
    return root * np.array([_gap(np.sort(own), q) for own, q in zip(measures[chosen].T, quantiles.T, strict=True)])


def _quantiles(measures: np.ndarray) -> np.ndarray:
    return np.quantile(measures, np.linspace(0, 1, NUM_QUANTILES), axis=0)


def _gap(values: np.ndarray, quantiles: np.ndarray) -> float:
    """Returns the Kolmogorov-Smirnov distance of sorted values from a distribution given by its quantiles."""
    if np.isnan(values).any():
        return 0.0
    distinct, last = np.unique(quantiles[::-1], return_index=True)
    shares = np.linspace(0, 1, len(quantiles))
    above = np.interp(values, distinct, shares[len(quantiles) - 1 - last], left=0.0, right=1.0)
    place = np.arange(len(values) + 1) / len(values)
    return float(max(np.max(place[1:] - above), np.max(above - place[:-1])))
