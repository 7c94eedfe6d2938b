"""The plots of gradient flow: gradient by lag, parameter gradient by sequence length."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recur.report._axes import decade_ticks, log_axis
from recur.report._decades import decade_axis
from recur.report._series import clean, describe, draw_curve
from recur.report._style import INK, drawing, finish, line_styles, new_figure, reference_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LN10 = math.log(10.0)
_QUANTITIES = {
    "adjoint": ("Gradient at the state k steps back", "gradient norm ‖dL(T) / ds(T−k)‖"),
    "input": ("Gradient at the input k steps back", "gradient norm ‖dL(T) / dx(T−k)‖"),
}


def lag_curves(
    records: Sequence[Mapping[str, Any]],
    *,
    closed_forms: Sequence[Mapping[str, Any]] = (),
    title: str | None = None,
    x_scale: Literal["linear", "log"] = "linear",
    styles: Sequence[Mapping[str, Any]] | None = None,
) -> "Figure":
    """Plots gradient norms against the lag: medians as lines, 10th to 90th percentile as bands.

    The values are natural logarithms and stay logarithms, so 1e-90 and 1e+80 stand in one plot. Every lag is drawn;
    a log axis begins at lag 1, since lag 0 has no place on it. A curve that becomes exactly zero, infinite or
    not-a-number ends with a marker and a word in the legend. A thin line marks norm 1, where every adjoint begins.

    Args:
        records: records of kind "lag_curve" and one quantity, each with `lag_steps`, `ln_median`, `ln_p10`, `ln_p90`
            of equal lengths [L].
        closed_forms: records of kind "closed_form", each with `label`, `lag_steps`, `ln_norm`, drawn dashed.
        title: heading of the plot; by default what the quantity means.
        x_scale: "linear" or "log".
        styles: keyword arguments of each record's line; by default colours in the order of the records.

    Returns:
        The figure; `to_svg` and `save_figure` take it.

    Raises:
        ValueError: there is no record, or they are of several quantities, or `x_scale` is another word.
    """
    quantities = {record["quantity"] for record in records}
    if len(quantities) != 1 or not quantities <= set(_QUANTITIES):
        raise ValueError(
            f"records: expected lag curves of one quantity, adjoint or input, got {sorted(map(str, quantities))}; "
            "make one plot of each"
        )
    if x_scale not in ("linear", "log"):
        raise ValueError(f"x_scale: expected 'linear' or 'log', got {x_scale!r}")
    default_title, y_label = _QUANTITIES[quantities.pop()]
    labels, common = describe(records)
    styles = styles or [line_styles(labels)[label] for label in labels]
    longest = max(max(record["lag_steps"]) for record in records)
    curves = [_visible(record, ("ln_median", "ln_p10", "ln_p90"), x_scale, longest) for record in records]
    forms = [_visible(record, ("ln_norm",), x_scale, longest) for record in closed_forms]
    with drawing():
        figure = new_figure(title or default_title, common)
        axes = figure.axes[0]
        decade_axis(axes, np.concatenate([values.ravel() for _, values in curves + forms]))
        axes.axhline(0.0, color=INK, linewidth=0.8, alpha=0.5)
        for label, style, (lags, (middle, low, high)) in zip(labels, styles, curves, strict=True):
            draw_curve(axes, lags, middle, (low, high), label=label, style=style, x_word="lag")
        for index, (record, (lags, (values,))) in enumerate(zip(closed_forms, forms, strict=True)):
            label, style = clean(record["label"]), reference_style(index)
            draw_curve(axes, lags, values, None, label=label, style=style, x_word="lag")
        axes.set_ylabel(y_label)
        if x_scale == "log":
            log_axis(axes, decade_ticks(1, longest))
            axes.set_xlim(1, max(longest, 2))
            axes.set_xlabel("lag k in steps (log axis, from lag 1)")
        else:
            axes.set_xlim(0, max(longest, 1))
            axes.set_xlabel("lag k in steps")
        finish(figure)
    return figure


def parameter_norms(
    records: Sequence[Mapping[str, Any]],
    *,
    title: str = "Gradient of the parameters by sequence length",
    styles: Sequence[Mapping[str, Any]] | None = None,
) -> "Figure":
    """Plots parameter gradient norms against sequence length, both axes logarithmic: medians and 10-90 % bands.

    Args:
        records: records of kind "parameter_norm", each with `length`, `ln_median`, `ln_p10`, `ln_p90`.
        title: heading of the plot.
        styles: keyword arguments of each record's line; by default colours in the order of the records.

    Returns:
        The figure; `to_svg` and `save_figure` take it.

    Raises:
        ValueError: there is no record.
    """
    if not records:
        raise ValueError("records: expected at least one of kind 'parameter_norm', got none")
    labels, common = describe(records, leave_out=("length",))
    styles = dict(zip(labels, styles, strict=True)) if styles else line_styles(labels)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record, label in zip(records, labels, strict=True):
        groups.setdefault(label, []).append(record)
    with drawing():
        figure = new_figure(title, common)
        axes = figure.axes[0]
        keys = ("ln_median", "ln_p10", "ln_p90")
        decade_axis(axes, np.concatenate([_log10([record[key] for record in records]) for key in keys]))
        for label, group in groups.items():
            group = sorted(group, key=lambda record: record["length"])
            lengths = [record["length"] for record in group]
            middle, low, high = (_log10([record[key] for record in group]) for key in keys)
            style = {**styles[label], "marker": "o", "markersize": 4}
            draw_curve(axes, lengths, middle, (low, high), label=label, style=style, x_word="length")
            if len(group) == 1:
                # A band over one point has no width.
                axes.vlines(lengths, *np.clip([low, high], *axes.get_ylim()), color=style["color"], alpha=0.4)
        lengths = sorted({record["length"] for record in records})
        log_axis(axes, lengths if len(lengths) <= 9 else decade_ticks(lengths[0], lengths[-1]))
        axes.set_xlim(lengths[0] / 1.15, lengths[-1] * 1.15)
        axes.set_xlabel("sequence length T in steps")
        axes.set_ylabel("gradient norm ‖dL(T) / dθ‖")
        finish(figure)
    return figure


def _log10(ln_values: Iterable[float]) -> np.ndarray:
    return np.asarray(ln_values, np.float64) / _LN10


def _visible(record: Mapping[str, Any], keys: Sequence[str], x_scale: str, longest: float) -> tuple:
    """Gives the lags that have a place on the x axis, [N], and their values in log10 units, [len(keys), N]."""
    lags = np.asarray(record["lag_steps"])
    keep = (lags >= (1 if x_scale == "log" else 0)) & (lags <= longest)
    return lags[keep], np.stack([_log10(record[key])[keep] for key in keys])
