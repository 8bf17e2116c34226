"""Evidence: which features, and which places of a photo, make two photos alike for the comparator."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from siamese.errors import SiameseError
from siamese.models.comparator import Comparator
from siamese.models.encoder import GeneralisedMeanPooling, Stripes
from siamese.scoring.tiles import check_embeddings, comparator_weights, reference_evidence

SURFACE_POINTS = 81
SEEN = 99.5  # percentile of the feature values at which the surface ends


def feature_evidence(comparator: keras.layers.Layer, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Takes a pair's score apart into what each feature adds: w_d g(u_d, v_d) of the comparator (Piotte 2018).

    Args:
        comparator: a built `Comparator`.
        left: `(num_pairs, embed_dim)` floats.
        right: `(num_pairs, embed_dim)` floats.

    Returns:
        `(num_pairs, embed_dim)` float64; a row's sum and the comparator's bias are the logit of the pair.

    Raises:
        SiameseError: another layer, which has no such parts, or embeddings that do not fit.
    """
    if not isinstance(comparator, Comparator):
        raise SiameseError(
            f"Only the score of a `Comparator` has a part for each feature. Received: {type(comparator).__name__}. "
            "Use an occlusion map, which works for every model."
        )
    check_embeddings(left, right)
    *shared, weight, _ = comparator_weights(comparator)
    return reference_evidence(shared, left, right) * weight[:, 0]


def evidence_of_match(
    comparator: keras.layers.Layer, query: np.ndarray, match: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Says by how much each feature lifts a match over the usual score of the query.

    What all pairs share, such as a constant of the comparator, is thereby left out.

    Args:
        comparator: a built `Comparator`.
        query: `(embed_dim,)` floats.
        match: `(embed_dim,)` floats.
        others: `(num_others, embed_dim)` floats: photos of other individuals.

    Returns:
        `(embed_dim,)` float64; the sum is the score of the match minus the mean score with the others.

    Raises:
        SiameseError: as `feature_evidence`.
    """
    usual = feature_evidence(comparator, np.broadcast_to(query, others.shape), others).mean(axis=0)
    return feature_evidence(comparator, query[None], match[None])[0] - usual


@dataclass(frozen=True, eq=False)
class LastMaps:
    """The encoder's last maps, before they are pooled into an embedding.

    Attributes:
        maps: `(num_images, rows, columns, channels)` float32, not negative.
        shares: `(num_images, stripes, rows, columns, channels)` float32: the part of a pooled feature that a place
            gave; they add up to 1 over the places of a stripe and are 0 elsewhere. The embedding holds the channels of
            the first upright stripe, those of the second, ...
    """

    maps: np.ndarray
    shares: np.ndarray

    @property
    def stripes(self) -> int:
        """Number of upright stripes that are pooled apart."""
        return self.shares.shape[1]

    def spread(self, evidence: np.ndarray, image: int) -> np.ndarray:
        """Puts the evidence of features back where they were seen.

        Args:
            evidence: `(embed_dim,)` floats.
            image: which of the images.

        Returns:
            `(rows, columns)` floats with the same sum.
        """
        return np.einsum("srwc,sc->rw", self.shares[image], evidence.reshape(self.stripes, -1))


def last_maps(encoder: keras.Model, images: np.ndarray) -> LastMaps:
    """Computes the last maps of some images, and what each place gave to the pooled features.

    Args:
        encoder: made by `build_encoder`.
        images: `(num_images, height, width, channels)` uint8. Not changed.
    """
    cut = next((layer for layer in encoder.layers if isinstance(layer, Stripes)), None)
    pooling = encoder.layers[-2] if cut else encoder.get_layer("embedding")
    until_maps = keras.Model(encoder.input, cut.input if cut else pooling.input)
    maps = keras.ops.convert_to_numpy(until_maps(images, training=False))
    shares = np.zeros((len(maps), cut.count if cut else 1, *maps.shape[1:]), np.float32)
    for stripe, columns in enumerate(_stripe_columns(cut, maps.shape[2])):
        shares[:, stripe, :, columns] = _shares(maps[:, :, columns], pooling)
    return LastMaps(maps, shares)


def _stripe_columns(cut: Stripes | None, width: int) -> list[slice]:
    """Returns the columns of each stripe; neighbours may share one."""
    if not cut:
        return [slice(0, width)]
    parts = [keras.ops.convert_to_numpy(part).ravel() for part in cut(np.arange(width).reshape(1, 1, width, 1))]
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def _shares(maps: np.ndarray, pooling: keras.layers.Layer) -> np.ndarray:
    """Returns the part of each place in what is pooled over all places, of the shape of the maps."""
    largest = maps.max(axis=(1, 2), keepdims=True)
    if isinstance(pooling, keras.layers.GlobalMaxPooling2D):
        weights = (maps == largest).astype(np.float32)
    else:
        power = pooling.power if isinstance(pooling, GeneralisedMeanPooling) else 1.0
        # powers of large values would overflow
        weights = (np.maximum(maps, 1e-6) / np.maximum(largest, 1e-6)) ** power
    return weights / weights.sum(axis=(1, 2), keepdims=True)


@dataclass(frozen=True, eq=False)
class Surface:
    """The comparator's learned function of two feature values.

    Attributes:
        values: `(num_points,)` feature values, ascending.
        evidence: `(num_points, num_points)` g(u, v) minus g(0, 0), symmetric; times a feature's weight it is what the
            feature adds to the score.
        weights: `(embed_dim,)` weights of the features.
    """

    values: np.ndarray
    evidence: np.ndarray
    weights: np.ndarray


def comparator_surface(comparator: keras.layers.Layer, embeddings: np.ndarray) -> Surface:
    """Tabulates the comparator's function over the feature values that occur.

    Args:
        comparator: a built `Comparator`.
        embeddings: `(num_images, embed_dim)` floats, which tell how far the values reach.

    Raises:
        SiameseError: another layer, which has no such function.
    """
    if not isinstance(comparator, Comparator):
        raise SiameseError(f"Only a `Comparator` has such a surface. Received: {type(comparator).__name__}.")
    *shared, weight, _ = comparator_weights(comparator)
    values = np.linspace(0, max(float(np.percentile(embeddings, SEEN)), 1e-6), SURFACE_POINTS)
    table = reference_evidence(shared, values[:, None], values[None])
    return Surface(values, table - table[0, 0], weight[:, 0])
