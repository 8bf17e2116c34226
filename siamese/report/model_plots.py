"""How the model sees the photos: the embedding map, and what the comparator learned of two values of a feature."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from siamese.checks.plots import svg_plot
from siamese.explanations.evidence import Surface
from siamese.palette import BLUE
from siamese.report.embedding_map import EmbeddingMap, embedding_plot
from siamese.report.page import Section, plots_html


def model_section(drawn: EmbeddingMap, identity: np.ndarray, is_query: np.ndarray, surface: Surface) -> Section:
    """Shows the embeddings and the comparator.

    Args:
        drawn: of `embedding_map`.
        identity: `(num_images,)` names of its points.
        is_query: `(num_images,)` bool, the test photos.
        surface: of `comparator_surface`.
    """
    plots = [
        (
            "Embedding map",
            embedding_plot(drawn, identity, is_query),
            "Photos as points: the commonest animals in colours, triangles for test photos, grey for others.",
        ),
        (
            "What two values of a feature say",
            surface_plot(surface.values, surface.evidence),
            "The comparator's function g of the values of one feature in two photos, symmetric about the diagonal.",
        ),
        ("Weights of the features", weights_plot(surface.weights), "The weights, from the largest to the smallest."),
    ]
    explanation = (
        "Embedding map: photos of one animal should lie together; the two directions hold "
        f"{100 * drawn.explained:.0f} % of the variance, so what lies together here may be apart in the others. "
        "The comparator was not told to measure a distance: it learned what two values of a feature say (orange: one "
        "animal, where the feature's weight is over 0), and how much each feature weighs."
    )
    return Section("How the model sees the photos", explanation, (plots_html(plots),))


def surface_plot(values: np.ndarray, evidence: np.ndarray) -> str:
    """Draws the function as a map, orange where two values speak for one animal if the feature's weight is over 0.

    Args:
        values: `(num_points,)` feature values.
        evidence: `(num_points, num_points)` the function.
    """
    furthest = max(float(np.abs(evidence).max()), 1e-12)

    def draw(axes: Axes) -> None:
        shown = axes.imshow(
            evidence,
            origin="lower",
            extent=(values[0], values[-1], values[0], values[-1]),
            cmap="PuOr_r",
            norm=TwoSlopeNorm(0, -furthest, furthest),
            interpolation="bilinear",
        )
        axes.contour(values, values, evidence, levels=8, colors="#495057", linewidths=0.5)
        axes.figure.colorbar(shown, ax=axes, label="g(u, v) - g(0, 0)")
        axes.grid(False)
        axes.set(xlabel="feature of one photo, u", ylabel="feature of the other, v")

    return svg_plot(draw, (5.4, 4.2))


def weights_plot(weights: np.ndarray) -> str:
    """Draws the weights of the features from the largest to the smallest.

    Args:
        weights: `(embed_dim,)` floats.
    """

    def draw(axes: Axes) -> None:
        axes.axhline(0, color="#adb5bd", linewidth=1)
        axes.plot(np.arange(1, len(weights) + 1), np.sort(weights)[::-1], color=BLUE, linewidth=1.8)
        axes.set(xlabel="feature, sorted", ylabel="weight")

    return svg_plot(draw)
