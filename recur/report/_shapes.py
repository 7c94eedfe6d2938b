"""One figure function a shape: lines with bands and dashed references, heatmap, histogram, scatter."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recur.report._axes import linear_axis, log_axis, log_ticks
from recur.report._decades import decade_axis, power_of_ten
from recur.report._plot_data import LN10, Line, Plot
from recur.report._series import clean, draw_curve
from recur.report._style import COLORS, INK, drawing, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Points stand out on a line of few of them, and crowd a line of many.
_MOST_MARKS = 16
_MARKERS = "osD^vP*"


class Styled(NamedTuple):
    """A line with the keyword arguments it is drawn with."""

    line: Line
    style: Mapping[str, Any]


def line_figure(
    plot: Plot, measured: Sequence[Styled], references: Sequence[Styled], *, title: str, subtitle: str
) -> "Figure":
    """Draws series as lines with bands, and theory as dashed lines over the same range.

    Args:
        plot: row of the plot table.
        measured: what was measured.
        references: closed forms and theory; cut off where the measured lines end.
        title: heading.
        subtitle: circumstances.

    Returns:
        The figure.
    """
    drawn = [Styled(_in_axis_units(plot, line), style) for line, style in measured]
    limits = _limits([entry.line for entry in drawn])
    forms = [Styled(_cut(plot, _in_axis_units(plot, line), limits), style) for line, style in references]
    forms = [entry for entry in forms if entry.line.x.size]
    dodge = plot.x_scale == "log" and plot.y_scale == "linear" and plot.level is None
    with drawing():
        figure = new_figure(title, subtitle)
        axes = figure.axes[0]
        everything = [*drawn, *forms]
        _y_axis(axes, plot, np.concatenate([values for entry in everything for values in _values(entry.line)]))
        if plot.level is not None:
            axes.axhline(plot.level / (LN10 if plot.y_scale == "decades" else 1), color=INK, linewidth=0.8, alpha=0.5)
        theories = {style["color"] for _, style in forms}
        for index, (line, style) in enumerate(drawn):
            line = _without_unmeasured(plot, line)
            x = line.x * 1.03 ** (index - (len(drawn) - 1) / 2) if dodge else line.x
            width = _layer(index, len(drawn)) if plot.layered else {}
            marks = {"marker": "o", "markersize": 3.5} if line.x.size <= _MOST_MARKS else {}
            pale = {"linewidth": 3.5, "alpha": 0.45} if style["color"] in theories else {}
            style = {**style, **marks, **width, **pale}
            # Bands over one another would hide what lines that cover each other are to show.
            band = None if plot.layered else line.band
            draw_curve(axes, x, line.y, band, label=line.label, style=style, x_word=plot.x_word)
        for line, style in forms:
            keywords = {**style, "zorder": 3}
            draw_curve(axes, line.x, line.y, None, label=line.label, style=keywords, x_word=plot.x_word)
        _x_axis(axes, plot, [entry.line.x for entry in everything], dodge)
        _labels(axes, plot)
        finish(figure)
    return figure


def histogram_figure(plot: Plot, measured: Sequence[Styled], *, title: str, subtitle: str) -> "Figure":
    """Draws histograms over each other, each scaled to its own peak so that narrow ones do not flatten the others.

    Args:
        plot: row of the plot table.
        measured: bin centres and densities.
        title: heading.
        subtitle: circumstances.

    Returns:
        The figure.
    """
    with drawing():
        figure = new_figure(title, subtitle)
        axes = figure.axes[0]
        for line, style in measured:
            density = np.where(np.isfinite(line.y), line.y, 0.0)
            height = density / (density.max() or 1.0)
            edges = _edges(line.x)
            axes.stairs(height, edges, fill=True, color=style["color"], alpha=0.15, linewidth=0)
            axes.stairs(height, edges, label=line.label, linewidth=1.4, **style)
        axes.set_ylim(0, 1.08)
        _labels(axes, plot)
        finish(figure)
    return figure


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
        (left, right), (low, high) = (_edges(x)[[0, -1]], _edges(y)[[0, -1]])
        axes.set_xlim(left, right)
        lit = y[(values > bounds[1]).any(axis=1)]
        axes.set_ylim(low, min(high, 1.25 * lit.max() if lit.size else high))
        bar = figure.colorbar(ScalarMappable(norm, ListedColormap(colors)), ax=axes, ticks=bounds, pad=0.02)
        bar.ax.set_yticklabels([_bound_name(bound) for bound in bounds])
        bar.set_label(plot.color_label)
        bar.outline.set_edgecolor(INK)
        _labels(axes, plot)
        finish(figure)
    return figure


def scatter_figure(plot: Plot, records: Sequence[Mapping[str, Any]], *, title: str, subtitle: str) -> "Figure":
    """Draws points with names; a group of points has a colour and a mark.

    A zero has no place on a logarithmic axis: it stands at the edge, which then is called "none".

    Args:
        plot: row of the plot table.
        records: of kind "points".
        title: heading.
        subtitle: circumstances.

    Returns:
        The figure.
    """
    groups = [[np.asarray(record[key], np.float64) for key in ("x", "y")] for record in records]
    ticks = [log_ticks(_positive(np.concatenate([group[axis] for group in groups]))) for axis in (0, 1)]
    with drawing():
        figure = new_figure(title, subtitle)
        axes = figure.axes[0]
        places, names = [], []
        for index, (record, group) in enumerate(zip(records, groups, strict=True)):
            x, y = (_on_log_axis(values, ticks[axis]) for axis, values in enumerate(group))
            color, marker = COLORS[index % len(COLORS)], _MARKERS[index % len(_MARKERS)]
            axes.plot(x, y, marker, color=color, markersize=6, alpha=0.85, label=record["label"])
            places += zip(np.log10(x), np.log10(y), strict=True)
            names += [clean(name, 36) for name in record["names"]]
        for axis, name in ((0, "x"), (1, "y")):
            log_axis(axes, ticks[axis], name)
            _zero_tick(axes, name, ticks[axis], np.concatenate([group[axis] for group in groups]))
        _labels(axes, plot)
        finish(figure)
        _name_points(axes, np.array(places), names)
    return figure


def _labels(axes: "Axes", plot: Plot) -> None:
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)


def _in_axis_units(plot: Plot, line: Line) -> Line:
    """Turns recorded positions and values into those of the axes, and leaves out what a log axis has no place for."""

    def convert(values: np.ndarray) -> np.ndarray:
        if plot.y_scale == "linear":
            return values
        if plot.y_scale == "decades":
            return values / LN10
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(values)

    x = line.x if plot.x_of is None else plot.x_of(line.x)
    keep = np.isfinite(x) & ((x > 0) | (plot.x_scale == "linear"))
    band = None if line.band is None else tuple(convert(edge)[keep] for edge in line.band)
    return line._replace(x=x[keep], y=convert(line.y)[keep], band=band)


def _without_unmeasured(plot: Plot, line: Line) -> Line:
    """Says once how many values are missing where that is no accident, instead of a mark at each."""
    if plot.unmeasured is None:
        return line
    missing = ~np.isfinite(line.y)
    if not missing.any():
        return line
    keep = ~missing
    band = None if line.band is None else tuple(edge[keep] for edge in line.band)
    label = f"{line.label} ({plot.unmeasured} at {missing.sum()} of {missing.size})"
    return line._replace(label=label, x=line.x[keep], y=line.y[keep], band=band)


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    ends = [end for line in lines if line.x.size for end in (line.x[0], line.x[-1])]
    return (min(ends), max(ends)) if ends else (-math.inf, math.inf)


def _cut(plot: Plot, line: Line, limits: tuple[float, float]) -> Line:
    """Ends a theory where the measured lines end, at a point in between its own ones if need be."""
    ends = np.clip(limits, line.x[0], line.x[-1]) if line.x.size else np.empty(0)
    inside = (line.x > limits[0]) & (line.x < limits[1])
    x = np.union1d(line.x[inside], ends[(ends >= limits[0]) & (ends <= limits[1])])
    place = np.log if plot.x_scale == "log" else np.asarray
    return line._replace(x=x, y=np.interp(place(x), place(line.x), line.y), band=None)


def _values(line: Line) -> list[np.ndarray]:
    return [line.y, *(line.band or ())]


def _y_axis(axes: "Axes", plot: Plot, values: np.ndarray) -> None:
    if plot.y_scale == "linear":
        linear_axis(axes, [*values, *(plot.y_range or ())])
    elif plot.lowest is None:
        decade_axis(axes, values)
    else:
        # An infinity is passed over; what lies below the end of the axis must not be, or the axis would end early.
        decade_axis(axes, np.where(np.isfinite(values), np.maximum(values, plot.lowest / LN10), values))


def _x_axis(axes: "Axes", plot: Plot, positions: Sequence[np.ndarray], dodge: bool) -> None:
    x = np.concatenate(positions)
    if plot.x_scale == "log" and x.size:
        log_axis(axes, log_ticks(x))
        spare = 1.25 if dodge else 1.08
        axes.set_xlim(x.min() / spare, x.max() * spare)
    elif x.size:
        low, high = x.min(), x.max()
        spare = 0.0 if low == 0 and min(map(len, positions)) > _MOST_MARKS else 0.03 * (high - low)
        axes.set_xlim(low - spare, high + spare or low + 1)


def _layer(index: int, count: int) -> dict[str, float]:
    """Broad and pale below, thin and full on top, so that equal lines can all be seen."""
    share = 1 - index / max(count - 1, 1)
    return {"linewidth": 1.3 + 5.5 * share, "alpha": 1 - 0.55 * share}


def _edges(centres: np.ndarray) -> np.ndarray:
    if centres.size == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


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
    across, up = _edges(x), _edges(y)
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


def _positive(values: np.ndarray) -> np.ndarray:
    found = values[np.isfinite(values) & (values > 0)]
    return found if found.size else np.ones(1)


def _on_log_axis(values: np.ndarray, ticks: Sequence[float]) -> np.ndarray:
    return np.where(np.isfinite(values) & (values > 0), values, _floor(ticks))


def _floor(ticks: Sequence[float]) -> float:
    return min(ticks) / 2


def _zero_tick(axes: "Axes", name: str, ticks: Sequence[float], values: np.ndarray) -> None:
    if not (np.isfinite(values) & (values > 0)).all():
        getattr(axes, f"set_{name}ticks")([_floor(ticks), *ticks], labels=["none", *[f"{tick:g}" for tick in ticks]])


def _name_points(axes: "Axes", places: np.ndarray, names: Sequence[str]) -> None:
    """Writes each name once, beside a point where there is room; the others stand in the CSV file alone."""
    to_pixels = axes.transData.transform
    box = axes.get_window_extent()
    points = to_pixels(10.0**places)
    height = 8.5 * axes.figure.dpi / 72
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    written = set()
    for (x, y), name in zip(points, names, strict=True):
        if name in written:
            continue
        width = 0.5 * height * len(name)
        for dx, dy in ((7, -height / 2), (-7 - width, -height / 2), (-width / 2, 6), (-width / 2, -6 - height)):
            area = (x + dx, y + dy, x + dx + width, y + dy + height)
            inside = area[0] > box.x0 and area[2] < box.x1 and area[1] > box.y0 and area[3] < box.y1
            if inside and not any(_overlap(area, other) for other in taken):
                taken.append(area)
                written.add(name)
                axes.annotate(name, axes.transData.inverted().transform(area[:2]), fontsize=7, annotation_clip=False)
                break


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
