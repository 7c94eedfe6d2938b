"""The plot of training: loss by step or epoch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recur.report._axes import linear_axis
from recur.report._decades import decade_axis
from recur.report._series import clean, draw_curve
from recur.report._style import drawing, finish, line_styles, new_figure, reference_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def loss_curves(
    histories: Mapping[str, tuple[Sequence[float], Any]],
    *,
    title: str,
    subtitle: str = "",
    x_label: str = "step",
    y_label: str = "loss",
    y_scale: Literal["log", "linear"] = "log",
    floors: Mapping[str, float] | None = None,
) -> "Figure":
    """Plots training histories: the median over seeds as a line, lowest to highest seed as a band.

    Nothing is smoothed or left out. A value of exactly zero on a log axis, an infinity and a not-a-number end the
    line with a marker and a word in the legend.

    Args:
        histories: label to (steps [N], values [S, N] or [N]). A seed that stopped early is padded by the caller.
        title: heading of the plot.
        subtitle: what was trained, in one line.
        x_label: the unit of the steps, "step" or "epoch".
        y_label: what the values are.
        y_scale: "log" or "linear".
        floors: label to the value of a dashed horizontal line, such as the loss of a guess.

    Returns:
        The figure; `to_svg` and `save_figure` take it.

    Raises:
        ValueError: no history, shapes that do not agree, or a value that a log axis cannot hold.
    """
    if not histories:
        raise ValueError("histories: expected at least one, got none")
    if y_scale not in ("log", "linear"):
        raise ValueError(f"y_scale: expected 'log' or 'linear', got {y_scale!r}")
    # Each curve as [4, N]: steps, median, lowest, highest.
    curves = {clean(label): _statistics(label, *history) for label, history in histories.items()}
    levels = {clean(label): float(value) for label, value in (floors or {}).items()}
    if y_scale == "log":
        curves = {label: _logarithms(label, curve) for label, curve in curves.items()}
        for label, level in levels.items():
            if level <= 0:
                raise ValueError(f"floors[{label!r}]: no log axis holds {level}; choose y_scale='linear'")
        levels = {label: np.log10(level) for label, level in levels.items()}
    values = np.concatenate([curve[1:].ravel() for curve in curves.values()] + [np.array([*levels.values()])])
    with drawing():
        figure = new_figure(title, subtitle)
        axes = figure.axes[0]
        if y_scale == "log":
            decade_axis(axes, values)
        else:
            linear_axis(axes, values)
        styles = line_styles(curves)
        for label, (steps, middle, low, high) in curves.items():
            draw_curve(axes, steps, middle, (low, high), label=label, style=styles[label], x_word=x_label)
        for index, (label, level) in enumerate(levels.items()):
            axes.axhline(level, label=label, **reference_style(index))
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel(clean(x_label))
        axes.set_ylabel(clean(y_label))
        finish(figure)
    return figure


def _statistics(label: str, steps: Sequence[float], values: Any) -> np.ndarray:
    steps, seeds = np.asarray(steps, np.float64), np.atleast_2d(np.asarray(values, np.float64))
    if steps.ndim != 1 or not steps.size or seeds.ndim != 2 or seeds.shape[1] != steps.size:
        raise ValueError(
            f"histories[{label!r}]: expected steps [N] and values [S, N], got {steps.shape} and {np.shape(values)}"
        )
    return np.stack([steps, np.median(seeds, axis=0), seeds.min(axis=0), seeds.max(axis=0)])


def _logarithms(label: str, curve: np.ndarray) -> np.ndarray:
    if (curve[1:] < 0).any():
        raise ValueError(f"histories[{label!r}]: no log axis holds {curve[2].min()}; choose y_scale='linear'")
    with np.errstate(divide="ignore"):
        return np.concatenate([curve[:1], np.log10(curve[1:])])
