"""Whether pairs can be made of the training photos."""

from __future__ import annotations

import numpy as np

from siamese.errors import InfeasiblePairing, ManifestError


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
    identity = np.asarray(identity, dtype=object)
    names, counts = np.unique(identity[identity != ""], return_counts=True)
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
