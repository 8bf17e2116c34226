"""The embedding map: photos as points, near where the encoder finds them alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from sklearn.decomposition import PCA

from siamese.checks.plots import svg_plot
from siamese.palette import AMBER, BLUE, GREEN, ORANGE, PURPLE, SKY
from siamese.report.sheets import without_middle

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER)
LONGEST_NAME = 24  # characters: two names stand beside each other
OTHERS = 600  # points of other individuals that are drawn: a page must stay small


@dataclass(frozen=True, eq=False)
class EmbeddingMap:
    """Embeddings in two dimensions.

    Attributes:
        points: `(num_images, 2)` floats, along the two directions in which the embeddings differ most.
        explained: share of their variance that both directions hold.
        names: the commonest individuals, most photos first.
    """

    points: np.ndarray
    explained: float
    names: tuple[str, ...]


def embedding_map(embeddings: np.ndarray, identity: np.ndarray, *, num_names: int = len(COLOURS)) -> EmbeddingMap:
    """Projects embeddings on their first two principal components.

    Args:
        embeddings: `(num_images, embed_dim)` floats, two images at least. Not changed.
        identity: `(num_images,)` names; "" is an unknown individual.
        num_names: commonest individuals that are named; equals by name.
    """
    with np.errstate(invalid="ignore", divide="ignore"):  # embeddings that are all alike have no variance to share out
        fitted = PCA(n_components=2, svd_solver="full").fit(embeddings)
    explained = float(np.nan_to_num(fitted.explained_variance_ratio_.sum()))
    counts = pd.Series(identity[identity != ""], dtype=object).value_counts().sort_index()
    commonest = counts.sort_values(ascending=False, kind="stable").index[:num_names]
    return EmbeddingMap(fitted.transform(embeddings), explained, tuple(commonest))


def embedding_plot(drawn: EmbeddingMap, identity: np.ndarray, is_query: np.ndarray, *, seed: int = 0) -> str:
    """Draws the map as SVG: the commonest individuals in colour, a sample of the others in grey.

    Args:
        drawn: of `embedding_map`.
        identity: `(num_images,)` names.
        is_query: `(num_images,)` bool; queries are triangles, catalog photos dots.
        seed: chooses the others that are drawn.
    """
    others = np.flatnonzero(~np.isin(identity, drawn.names))
    sample = np.random.default_rng(seed).choice(others, size=min(OTHERS, len(others)), replace=False)

    def draw(axes: Axes) -> None:
        axes.scatter(drawn.points[sample, 0], drawn.points[sample, 1], s=7, color="#ced4da", linewidths=0)
        for name, colour in zip(drawn.names, COLOURS, strict=False):
            for marker, side in (("o", ~is_query), ("^", is_query)):
                x, y = drawn.points[(identity == name) & side].T
                label = colour if marker == "o" else None
                axes.scatter(x, y, s=26, color=colour, marker=marker, label=label, edgecolors="white", linewidths=0.4)
        axes.set(xlabel="first principal component", ylabel="second principal component")
        if not drawn.names:
            return
        legend = axes.legend(fontsize=9, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        for text, name in zip(legend.get_texts(), drawn.names, strict=True):
            text.set(text=_shown(str(name)), parse_math=False)  # "_a" and "$" are names like others

    return svg_plot(draw, (5.4, 4.4))


def _shown(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else without_middle(name, LONGEST_NAME - 1)
