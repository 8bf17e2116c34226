"""The photos of an individual become one embedding, the centre of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from siamese.identity_scores import IdentityScores, columns_by_identity, identity_scores

FEWEST = 4  # photos; of fewer, none is left out (3rd place, humpback 2019)
NEAR = 0.5  # cosine to the centre over which a photo is kept, if more than `MOST` of them are
MOST = 3 / 4
PASSES = 2


def mean_embedding(embeddings: np.ndarray) -> np.ndarray:
    """Returns the mean of `(num_photos, embed_dim)` embeddings."""
    return embeddings.mean(axis=0)


def robust_centroid(embeddings: np.ndarray) -> np.ndarray:
    """Returns the centre of the embeddings that point the same way; a few of another animal do not move it.

    Twice, while there are at least four: the centre is the normalised mean of the normalised embeddings; those with a
    cosine over 0.5 to it are kept if they are more than three quarters, else the nearest three quarters, rounded down
    (Park, 3rd place of humpback 2019). Park's embeddings have length 1. A comparator reads values, not directions
    alone, so the centre gets the mean length of what is kept.

    Args:
        embeddings: `(num_photos, embed_dim)` floats, at least one. Not changed.

    Returns:
        `(embed_dim,)` floats.

    Example:
    >>> photos = np.array([[2.0, 0.0]] * 4 + [[0.0, 9.0]])
    >>> robust_centroid(photos), mean_embedding(photos)
    (array([2., 0.]), array([1.6, 1.8]))
    """
    length = np.linalg.norm(embeddings, axis=1)
    kept = np.arange(len(embeddings))
    directions = embeddings / np.where(length > 0, length, 1)[:, None]
    for _ in range(PASSES):
        if len(kept) < FEWEST:
            break
        cosine = directions[kept] @ _normalised_mean(directions[kept])
        near, most = kept[cosine > NEAR], int(MOST * len(kept))
        kept = near if len(near) > most else kept[np.argsort(-cosine, kind="stable")[:most]]
    return _normalised_mean(directions[kept]) * length[kept].mean()


CENTRES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "centroid": mean_embedding,
    "robust_centroid": robust_centroid,
}


@dataclass(frozen=True, eq=False)
class CentroidCatalog:
    """Centroids that stand in for the photos of a catalog.

    Attributes:
        names: `(num_centroids,)` identities; one has several centroids where queries may see different photos of it.
        embeddings: `(num_centroids, width)` floats.
        photos: `(num_centroids,)` int, the catalog row nearest to each.
        allowed: `(num_queries, num_centroids)` bool: of each identity the one made of the photos a query may see.
    """

    names: np.ndarray
    embeddings: np.ndarray
    photos: np.ndarray
    allowed: np.ndarray

    def identity_scores(self, scores: np.ndarray) -> IdentityScores:
        """Returns the scores of the identities; `scores` are those with the centroids."""
        table = identity_scores(scores, self.names, allowed=self.allowed)
        return replace(table, best_image=np.append(self.photos, -1)[table.best_image].astype(np.int32))


class Centroids:
    """The centroids of a catalog; where a query may not see all photos of an individual, one is made of the others.

    Example:
    >>> names = np.array(["ann", "ann", "bob"], dtype=object)
    >>> centroids = Centroids(np.array([[1.0], [3.0], [7.0]]), names, mean_embedding)
    >>> found = centroids.for_queries(np.array([[True, True, True], [True, False, True]]))
    >>> found.names.tolist(), found.embeddings[:, 0].tolist(), found.allowed.astype(int).tolist()
    (['ann', 'ann', 'bob'], [2.0, 1.0, 7.0], [[1, 0, 1], [0, 1, 1]])
    """

    def __init__(
        self,
        embeddings: np.ndarray,
        catalog_identity: np.ndarray,
        centre: Callable[[np.ndarray], np.ndarray],
        *,
        num_views: int = 1,
    ) -> None:
        """Makes the centroid of each identity.

        Args:
            embeddings: `(num_catalog, num_views * embed_dim)` floats, the views side by side.
            catalog_identity: `(num_catalog,)` names; "" takes no part.
            centre: of `CENTRES`.
            num_views: each view has its own centre.
        """
        self._embeddings, self._centre, self._num_views = embeddings, centre, num_views
        self.names, columns, member = columns_by_identity(np.asarray(catalog_identity, dtype=object))
        starts = np.flatnonzero(np.diff(member, prepend=-1))
        self._photos = np.split(columns, starts[1:]) if len(columns) else []
        self._whole = [self._made_of(rows) for rows in self._photos]

    def for_queries(self, allowed: np.ndarray) -> CentroidCatalog:
        """Returns the centroids that some queries may see; `allowed` is `(num_queries, num_catalog)` bool."""
        made, names, seen_by = [], [], []
        for name, rows, whole in zip(self.names, self._photos, self._whole, strict=True):
            may = allowed[:, rows]
            everything = may.all(axis=1)
            some = np.unique(may[~everything], axis=0)
            parts = [(one, (may == one).all(axis=1)) for one in some if one.any()]
            for pattern, queries in [(None, everything), *parts]:
                made.append(whole if pattern is None else self._made_of(rows[pattern]))
                names.append(name)
                seen_by.append(queries)
        return CentroidCatalog(
            np.array(names, dtype=object),
            np.array([centre for centre, _ in made], np.float32).reshape(len(made), self._embeddings.shape[1]),
            np.array([photo for _, photo in made], dtype=np.int64),
            np.array(seen_by, dtype=bool).reshape(len(made), len(allowed)).T,
        )

    def _made_of(self, rows: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns the centre of some photos, and which of them is the nearest."""
        embeddings = self._embeddings[rows]
        centre = np.concatenate([self._centre(view) for view in np.split(embeddings, self._num_views, axis=1)])
        return centre, int(rows[np.argmin(((embeddings - centre) ** 2).sum(axis=1))])


def _normalised_mean(directions: np.ndarray) -> np.ndarray:
    mean = directions.mean(axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length > 0 else mean
