"""Figures of points with names, on logarithmic axes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recur.report._axes import log_axis, log_ticks
from recur.report._plot_data import Plot
from recur.report._series import clean
from recur.report._style import COLORS, drawing, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP*"


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
        axes.set(xlabel=plot.x_label, ylabel=plot.y_label)
        finish(figure)
        _name_points(axes, np.array(places), names)
    return figure


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
