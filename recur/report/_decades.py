"""An axis in powers of ten for values that no float can hold: it is linear in log10."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(exponent: int) -> str:
    """Writes a power of ten in Unicode, as 10⁻⁹⁰.

    Args:
        exponent: the power.

    Returns:
        The text.
    """
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def decade_axis(axes: "Axes", exponents: Iterable[float]) -> None:
    """Sets limits and ticks of a y axis whose data are log10 of what the labels say.

    Over three decades and more the ticks are powers of ten; below that 1, 2, 5 times such powers. The axis spans at
    least a factor of four, so that rounding in a flat curve does not look like a movement.

    Args:
        axes: where; only its y axis is touched.
        exponents: log10 of every value to be drawn; non-finite ones are passed over.
    """
    finite = [exponent for exponent in exponents if math.isfinite(exponent)] or [0.0]
    low, high = min(finite), max(finite)
    spare = max(0.04 * (high - low), (math.log10(4) - (high - low)) / 2)
    low, high = low - spare, high + spare
    ticks = _ticks(low, high)
    axes.set_ylim(low, high)
    axes.set_yticks(list(ticks), labels=list(ticks.values()))


def _ticks(low: float, high: float) -> dict[float, str]:
    if high - low >= 3:
        step = _round_step((high - low) / 7)
        first = math.ceil(low / step) * step
        return {float(exponent): power_of_ten(exponent) for exponent in range(first, math.floor(high) + 1, step)}
    digits = (1, 2, 5) if high - low > 1 else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = {}
    for exponent in range(math.floor(low), math.floor(high) + 1):
        for digit in digits:
            if low <= (position := exponent + math.log10(digit)) <= high:
                ticks[position] = _number(digit, exponent)
    return ticks


def _round_step(least: float) -> int:
    scale = 10 ** max(0, math.floor(math.log10(least)))
    return next(math.ceil(digit * scale) for digit in (1, 2, 5, 10) if digit * scale >= least)


def _number(digit: float, exponent: int) -> str:
    if -5 <= exponent <= 4:
        return f"{digit * 10.0**exponent:.10f}".rstrip("0").rstrip(".")
    return power_of_ten(exponent) if digit == 1 else f"{digit:g}×{power_of_ten(exponent)}"
