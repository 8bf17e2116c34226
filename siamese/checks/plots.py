"""Plots of a collection, drawn as SVG text for the page."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from siamese.checks.statistics import MEASURES
from siamese.palette import BLUE, GREEN, GREY, ORANGE, PURPLE

SIDES = {"train": BLUE, "catalog": GREEN, "validation": PURPLE, "test": ORANGE}
UNITS = {
    "contrast": "standard deviation of the pixels, grey levels",
    "brightness": "mean of the pixels, grey levels",
    "sharpness": "sharpness (higher is sharper)",
}
LAST_BAR = 18  # Table 2.2 of the Overview report counts 18 photos and more together
NUM_BINS, NUM_SIDE_BINS = 40, 22  # fewer where several outlines share a plot
MOST_MONTHS = 120
INCHES = (5.4, 3.3)
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small files, sharp on any screen
    "svg.hashsalt": "siamese",  # the same collection gives the same bytes
    "font.size": 10,
    "axes.edgecolor": "#adb5bd",
    "text.color": "#212529",
    "axes.labelcolor": "#495057",
    "xtick.color": "#495057",
    "ytick.color": "#495057",
}


def photos_per_identity_plot(identities: Mapping[str, Any]) -> str:
    """Draws how many individuals have 1, 2, 3, ... photos, and the cumulated share.

    Args:
        identities: what `identity_statistics` counted.
    """
    sizes = {int(size): count for size, count in identities["photos_per_identity"].items()}
    last = min(LAST_BAR, max(sizes))
    bars = [sum(count for size, count in sizes.items() if min(size, last) == bar) for bar in range(1, last + 1)]
    total = max(1, sum(bars))

    def draw(axes: Axes) -> None:
        places = np.arange(1, last + 1)
        drawn = axes.bar(places, bars, color=BLUE, width=0.8)
        axes.bar_label(drawn, fmt="{:,.0f}", fontsize=7.5, color=GREY, padding=1)
        axes.set_ylim(0, 1.12 * max(bars))
        more = last < max(sizes)
        axes.set_xticks(places, [f"{bar}+" if more and bar == last else str(bar) for bar in places], fontsize=8)
        shares = axes.twinx()
        shares.plot(places, np.cumsum(bars) / total, color=ORANGE, linewidth=1.6, marker="o", markersize=3)
        shares.set_ylim(0, 1.12)
        shares.set_yticks(np.linspace(0, 1, 6))
        shares.yaxis.set_major_formatter(PercentFormatter(1))
        shares.set_ylabel("cumulated share", color=ORANGE)
        shares.spines[["top", "left"]].set_visible(False)
        axes.set(xlabel="photos of an individual", ylabel="individuals")
        _thousands(axes)

    return svg_plot(draw)


def sizes_plot(sizes: pd.DataFrame) -> str:
    """Draws the sizes of the photos as bubbles whose area tells how many have that size.

    Args:
        sizes: columns width and height, pixels; one row for each photo.
    """
    counted = sizes.groupby(["width", "height"]).size().sort_values(ascending=False, kind="stable")
    width, height = (counted.index.get_level_values(name).to_numpy(dtype=float) for name in ("width", "height"))
    area = 5 + 700 * counted.to_numpy() / counted.sum()

    def draw(axes: Axes) -> None:
        bubbles = axes.scatter(width, height, s=area, color=BLUE, alpha=0.35, linewidths=0)
        bubbles.set_rasterized(len(counted) > 300)  # thousands of circles would weigh more than a picture of them
        axes.set(xlim=(0, 1.08 * width.max()), ylim=(0, 1.12 * height.max()), xlabel="width, pixels")
        axes.set_ylabel("height, pixels")
        _thousands(axes)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_major_locator(MaxNLocator(5))

    return svg_plot(draw)


def measure_plot(values: pd.Series, name: str, side: pd.Series) -> str:
    """Draws the histogram of a measure, one line for each side of the split where there is one.

    Args:
        values: one number for each photo.
        name: the measure: contrast, brightness or sharpness.
        side: the side of each photo, "" without one.
    """
    assert name in MEASURES
    top = values.max() if name != "sharpness" else values.quantile(0.99)  # a few photos of text are far sharper
    shown = [of_side for of_side in SIDES if (side == of_side).any()]
    edges = np.linspace(0, max(float(top), 1e-9), (NUM_BINS if len(shown) < 2 else NUM_SIDE_BINS) + 1)

    def draw(axes: Axes) -> None:
        for of_side in shown if len(shown) > 1 else [""]:
            these = values[side == of_side] if of_side else values
            weights = np.full(len(these), 1 / len(these))
            style = {"histtype": "step", "linewidth": 1.7} if of_side else {"alpha": 0.75}
            label = f"{of_side} ({len(these):,})"
            clipped = these.clip(upper=edges[-1])
            axes.hist(clipped, edges.tolist(), weights=weights, color=SIDES.get(of_side, BLUE), label=label, **style)
        if len(shown) > 1:
            axes.legend(frameon=False, fontsize=8.5)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.set(xlabel=UNITS[name], ylabel="share of photos")

    return svg_plot(draw)


def dates_plot(by_month: Mapping[str, int]) -> str:
    """Draws the number of photos by month, or by year where there are very many months.

    Args:
        by_month: number of photos by "2019-07", as `date_statistics` counts them.
    """
    months = pd.Series({pd.Period(month, "M"): count for month, count in by_month.items()}).sort_index()
    months.index = pd.PeriodIndex(months.index)
    span = pd.period_range(months.index[0], months.index[-1], freq="M")
    bars = months.reindex(span, fill_value=0)
    if len(bars) > MOST_MONTHS:
        bars = bars.groupby(bars.index.year).sum()

    def draw(axes: Axes) -> None:
        places = np.arange(len(bars))
        axes.bar(places, bars.to_numpy(), color=BLUE, width=0.85)
        ticks = places[:: max(1, -(-len(bars) // 6))]
        axes.set_xticks(ticks, [str(bars.index[tick]) for tick in ticks], fontsize=8)
        axes.set(ylabel="photos")
        _thousands(axes)

    return svg_plot(draw)


def _thousands(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def svg_plot(draw: Callable[[Axes], None], inches: tuple[float, float] = INCHES) -> str:
    """Draws one plot in the style of the page and returns it as SVG text.

    Args:
        draw: draws into the axes it is given.
        inches: width and height.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=inches, dpi=140, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e9ecef")
        axes.set_axisbelow(True)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()
