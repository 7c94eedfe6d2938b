"""Figures of series: lines with bands and dashed references, and histograms."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recur.report._axes import edges_of, linear_axis, log_axis, log_ticks
from recur.report._decades import decade_axis
from recur.report._plot_data import LN10, Line, Plot
from recur.report._series import draw_curve
from recur.report._style import INK, drawing, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Points stand out on a line of few of them, and crowd a line of many.
_MOST_MARKS = 16


class Styled(NamedTuple):
    """A line with the keyword arguments it is drawn with."""

    line: Line
    style: Mapping[str, Any]


def line_figure(
    plot: Plot,
    measured: Sequence[Styled],
    references: Sequence[Styled],
    *,
    mark: tuple[float, str] | None = None,
    title: str,
    subtitle: str,
) -> "Figure":
    """Draws series as lines with bands, and theory as dashed lines over the same range.

    Args:
        plot: row of the plot table.
        measured: what was measured.
        references: closed forms and theory; cut off where the measured lines end.
        mark: position and name of a vertical line.
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
        if mark is not None:
            axes.axvline(mark[0], color=INK, linewidth=1.1, linestyle=(0, (1, 2)), label=mark[1])
        _x_axis(axes, plot, [entry.line.x for entry in everything], dodge)
        axes.set(xlabel=plot.x_label, ylabel=plot.y_label)
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
            edges = edges_of(line.x)
            axes.stairs(height, edges, fill=True, color=style["color"], alpha=0.15, linewidth=0)
            axes.stairs(height, edges, label=line.label, linewidth=1.4, **style)
        axes.set_ylim(0, 1.08)
        axes.set(xlabel=plot.x_label, ylabel=plot.y_label)
        finish(figure)
    return figure


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
