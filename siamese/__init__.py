"""Tells individual animals apart by photo.

Importing the package costs nothing; Keras is imported when a model is loaded or trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from siamese.matcher import Matcher

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(folder: str | Path) -> Matcher:
    """Loads a trained model.

    Args:
        folder: a model folder, such as `runs/flukes/model`.

    Returns:
        A `Matcher` with `embed`, `score`, `verify` and `rank`.

    Raises:
        ModelFolderError: a part is missing or was changed after it was saved.
    """
    from siamese.matcher import load as load_matcher

    return load_matcher(folder)
