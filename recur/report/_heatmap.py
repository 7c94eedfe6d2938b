"""Figures of matrices: bands of colour, each a range of decades."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from recur.report._axes import edges_of
from recur.report._decades import power_of_ten
from recur.report._plot_data import LN10, Plot
from recur.report._style import INK, drawing, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def heatmap_figure(plot: Plot, record: Mapping[str, Any], *, title: str, subtitle: str) -> "Figure":
    """Draws a matrix of natural logarithms in bands of colour, each a range of decades.

    Neighbours in a column that share a colour are one rectangle, so that the picture stays small and stays a drawing.

    Args:
        plot: row of the plot table.
        record: of kind "matrix".
        title: heading.
        subtitle: circumstances.

    Returns:
        The figure.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import BoundaryNorm, ListedColormap

    x, y = np.asarray(record["x"], np.float64), np.asarray(record["y"], np.float64)
    values = np.asarray(record["values"], np.float64)[np.argsort(y, kind="stable")][:, np.argsort(x, kind="stable")]
    x, y, values = np.sort(x), np.sort(y), values / LN10
    bounds = _band_bounds(values)
    colors = _ramp(len(bounds) - 1)
    norm = BoundaryNorm(bounds, len(colors))
    boxes, bands = _boxes(np.clip(np.digitize(values, bounds[1:-1]), 0, len(colors) - 1), np.isnan(values), x, y)
    with drawing():
        figure = new_figure(title, subtitle)
        axes = figure.axes[0]
        faces = [colors[band] for band in bands]
        axes.add_collection(PolyCollection(boxes, facecolors=faces, edgecolors=faces, linewidths=0.6))
        axes.grid(False)
        # The outer half of the first and last bins lies where nothing was measured.
        (left, right), (low, high) = (v[[0, -1]] if v.size > 1 else edges_of(v) for v in (x, y))
        axes.set_xlim(left, right)
        lit = y[(values > bounds[1]).any(axis=1)]
        axes.set_ylim(low, min(high, 1.25 * lit.max() if lit.size else high))
        bar = figure.colorbar(ScalarMappable(norm, ListedColormap(colors)), ax=axes, ticks=bounds, pad=0.02)
        bar.ax.set_yticklabels([_bound_name(bound) for bound in bounds])
        bar.set_label(plot.color_label)
        bar.outline.set_edgecolor(INK)
        axes.set(xlabel=plot.x_label, ylabel=plot.y_label)
        finish(figure)
    return figure


def _band_bounds(values: np.ndarray) -> list[float]:
    """Cuts the range of log10 values into four to ten bands; what lies below twelve decades shares the lowest."""
    finite = values[np.isfinite(values)]
    high = math.ceil(max(float(finite.max()) if finite.size else 0.0, 0.0) - 1e-9)
    low = math.floor(min(max(float(finite.min()) if finite.size else -1.0, high - 12), high - 1))
    step = next(step for step in (0.25, 0.5, 1, 2, 5, 10, 50, 1000, 100000) if (high - low) / step <= 10)
    low = math.floor(low / step) * step
    return [low + step * index for index in range(round((high - low) / step) + 1)]


def _ramp(count: int) -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](share)) for share in np.linspace(0.0, 0.97, count)]


def _boxes(bands: np.ndarray, hole: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[list[np.ndarray], list[int]]:
    """Joins equal neighbours of each column: corners of the rectangles, and the band of each."""
    across, up = edges_of(x), edges_of(y)
    boxes, found = [], []
    bands = np.where(hole, -1, bands)
    for column in range(x.size):
        starts = np.flatnonzero(np.diff(bands[:, column], prepend=-2))
        for start, stop in zip(starts, [*starts[1:], y.size], strict=True):
            if (band := int(bands[start, column])) >= 0:
                left, right, low, high = across[column], across[column + 1], up[start], up[stop]
                boxes.append(np.array([(left, low), (right, low), (right, high), (left, high)]))
                found.append(band)
    return boxes, found


def _bound_name(bound: float) -> str:
    return power_of_ten(round(bound)) if float(bound).is_integer() else f"{10**bound:.2g}"
