"""Which photos train, which choose the thresholds, which are only evaluated."""

from __future__ import annotations

import numpy as np

from siamese.errors import InfeasiblePairing, ManifestError
from siamese.settings import SplitSettings


def open_set_split(identity: np.ndarray, settings: SplitSettings, *, rng: np.random.Generator) -> np.ndarray:
    """Divides photos the way the humpback challenges did: known and new individuals among the queries.

    The training photos are the catalog. Queries of known individuals come from identities with two photos and more, of
    which one always stays in training. Queries of new individuals are photos of unknown individuals; where those are
    too few, whole identities, such with one photo first. Shares are upper bounds: a collection that lacks such photos
    gets fewer queries, in the same ratio of validation to test.

    Args:
        identity: `(num_images,)` names; "" is an unknown individual. Not changed.
        settings: shares of validation, test and new individuals.
        rng: the only source of chance.

    Returns:
        `(num_images,)` objects "train", "validation" or "test".

    Example:
    >>> names = np.array(["Mara"] * 10 + [""] * 10, dtype=object)
    >>> split = open_set_split(names, SplitSettings(), rng=np.random.default_rng(0))
    >>> [int((split == side).sum()) for side in ("train", "validation", "test")]
    [14, 3, 3]
    """
    identity = np.asarray(identity, dtype=object)
    split = np.full(len(identity), "train", dtype=object)
    queries = [round(share * len(identity)) for share in (settings.validation_share, settings.test_share)]
    new = [round(settings.new_share * count) for count in queries]
    known = [count - part for count, part in zip(queries, new, strict=True)]
    _mark(split, rng.permutation(np.flatnonzero(identity == "")), new)
    missing = [want - int((split == side).sum()) for want, side in zip(new, ("validation", "test"), strict=True)]
    _mark_whole_identities(split, identity, missing, rng)
    _mark(split, _spare_photos(identity, split == "train", rng), known)
    return split


def check_trainable(identity: np.ndarray, *, min_photos: int = 2) -> None:
    """Refuses training photos that no pairs can be made of. Unknown individuals are not counted.

    Args:
        identity: `(num_images,)` names of the training photos; "" is an unknown individual.
        min_photos: individuals with fewer photos do not train.

    Raises:
        ManifestError: fewer than two individuals have two photos.
        InfeasiblePairing: one individual has over half of the photos that train.

    Example:
    >>> check_trainable(np.array(["Mara", "Mara", "Tano", "Tano", ""], dtype=object))
    """
    names, counts = _counts(np.asarray(identity, dtype=object))
    names, counts = names[counts >= min_photos], counts[counts >= min_photos]
    if (counts > 1).sum() < 2:
        raise ManifestError(
            f"Training needs at least two individuals with {max(2, min_photos)} photos each. "
            f"Received: {(counts > 1).sum()} among {len(identity)} training photos. "
            "Add photos, or fill in `identity` where it is empty."
        )
    largest, total = counts.argmax(), counts.sum()
    if 2 * counts[largest] > total:
        raise InfeasiblePairing(
            "No individual may have more than half of the photos that train, for each photo needs a partner of another "
            f"individual. Received: {names[largest]!r} with {counts[largest]} of {total}. "
            f"Leave out {2 * counts[largest] - total} photos of it, or add photos of others."
        )


def _counts(identity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Names of the known individuals, sorted, and how many photos each has."""
    return np.unique(identity[identity != ""], return_counts=True)


def _mark(split: np.ndarray, photos: np.ndarray, wanted: list[int]) -> None:
    """Writes the query sides into `split` for the first of `photos`, in the wanted ratio if they do not suffice."""
    validation, test = wanted
    if len(photos) < validation + test:
        validation = len(photos) * validation // (validation + test)
        test = len(photos) - validation
    split[photos[:validation]] = "validation"
    split[photos[validation : validation + test]] = "test"


def _mark_whole_identities(
    split: np.ndarray, identity: np.ndarray, wanted: list[int], rng: np.random.Generator
) -> None:
    """Moves whole identities to the side that lacks most, while they fit; changes `split` and `wanted`."""
    names, counts = _counts(identity)
    shuffled = rng.permutation(len(names))
    for chosen in shuffled[np.argsort(counts[shuffled] > 1, kind="stable")]:
        side = int(wanted[1] > wanted[0])
        if counts[chosen] <= wanted[side]:
            split[identity == names[chosen]] = ("validation", "test")[side]
            wanted[side] -= counts[chosen]


def _spare_photos(identity: np.ndarray, free: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of all free photos of known individuals but one, drawn by chance, for each individual."""
    photos = rng.permutation(np.flatnonzero(free & (identity != "")))
    _, first = np.unique(identity[photos], return_index=True)
    return np.delete(photos, first)
