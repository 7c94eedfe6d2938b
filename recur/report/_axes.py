"""Limits and ticks of linear and logarithmic axes."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recur.report._decades import power_of_ten

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def linear_axis(axes: "Axes", values: Iterable[float]) -> None:
    """Sets limits of a linear y axis, whose ticks show plain numbers.

    Args:
        axes: where.
        values: all values to be drawn; non-finite ones are passed over.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    spare = 0.04 * (high - low) or 0.5
    axes.set_ylim(low - spare, high + spare)
    axes.ticklabel_format(axis="y", useOffset=False)


def log_axis(axes: "Axes", ticks: Sequence[float], axis: str = "x") -> None:
    """Makes an axis logarithmic, with these ticks alone.

    Args:
        axes: where.
        ticks: their positions, greater than zero.
        axis: "x" or "y".
    """
    getattr(axes, f"set_{axis}scale")("log")
    getattr(axes, f"set_{axis}ticks")(ticks, labels=[_plain(tick) for tick in ticks])
    getattr(axes, f"set_{axis}ticks")([], minor=True)


def decade_ticks(first: float, last: float) -> list[float]:
    """Lists the powers of ten from below one value up to another.

    Args:
        first: greater than zero.
        last: the other value.

    Returns:
        At most eight powers; over more decades some are left out.
    """
    low, high = math.floor(math.log10(first)), math.floor(math.log10(max(last, 1)) + 1e-9)
    return [10.0**power for power in range(low, high + 1, math.ceil((high - low + 1) / 8))]


def log_ticks(values: Iterable[float]) -> list[float]:
    """Chooses ticks of a logarithmic axis: the values themselves where they are few and short, else round numbers.

    Args:
        values: what is drawn, greater than zero.

    Returns:
        Two to nine positions.
    """
    places = sorted({float(value) for value in values})
    short = all(place.is_integer() or math.isclose(float(f"{place:.3g}"), place, rel_tol=1e-9) for place in places)
    if short and 2 <= len(places) <= 7 and all(b >= 1.5 * a for a, b in zip(places, places[1:], strict=False)):
        return places
    low, high = places[0], places[-1]
    if high >= 50 * low:
        return [tick for tick in decade_ticks(low, high) if tick >= low * 0.999]
    digits = (1, 2, 5) if high >= 4 * low else (1, 1.5, 2, 3, 4, 5, 7)
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    ticks = np.outer(10.0 ** np.array(powers), digits).ravel()
    return [float(tick) for tick in ticks if 0.99 * low <= tick <= 1.01 * high] or [low]


def _plain(tick: float) -> str:
    power = round(math.log10(tick))
    return power_of_ten(power) if power >= 5 and math.isclose(tick, 10.0**power) else f"{tick:g}"


def edges_of(centres: np.ndarray) -> np.ndarray:
    """Finds where bins end: halfway between their centres.

    Args:
        centres: [N] ascending.

    Returns:
        [N + 1] edges.
    """
    if centres.size == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
