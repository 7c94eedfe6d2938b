"""Numbers in sentences: horizons, rates and factors of recorded curves."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recur.report._decades import power_of_ten
from recur.report._plot_data import LN10, Line, Record
from recur.report._series import clean
from recur.report._tables import show

_MOST_SENTENCES = 16


def brief(value: float) -> str:
    """Writes a number with three digits, and a whole one as it is: a lag of 4096 steps is not 4100.

    Args:
        value: any number.

    Returns:
        The text.
    """
    if abs(value) < 1e7 and float(value).is_integer():
        return str(int(value)).replace("-", "−")
    return show(float(f"{value:.3g}")) if math.isfinite(value) else show(float(value))


def factor(ln_value: float) -> str:
    """Writes a number that is given by its natural logarithm.

    Args:
        ln_value: the logarithm.

    Returns:
        Three digits, or a power of ten where the number is far from 1.
    """
    if math.isinf(ln_value):
        return "exactly zero" if ln_value < 0 else "infinite"
    exponent = ln_value / LN10
    return brief(math.exp(ln_value)) if abs(exponent) < 4 else f"about {power_of_ten(round(exponent))}"


def steps(count: float) -> str:
    """Writes a number of steps.

    Args:
        count: how many.

    Returns:
        "1 step", "3.4 steps".
    """
    text = brief(count)
    return f"{text} step{'' if text == '1' else 's'}"


def per_step(rate: float) -> str:
    """Says what an exponent does to a vector.

    Args:
        rate: nats a step.

    Returns:
        "halves every 2.2 steps", "doubles every ...", or "neither grows nor shrinks".
    """
    if abs(rate) < 1e-6:
        return "neither grows nor shrinks"
    if math.isinf(rate):
        return "is gone after one step" if rate < 0 else "is infinite after one step"
    return f"{'halves' if rate < 0 else 'doubles'} every {steps(math.log(2) / abs(rate))}"


def horizon(x: np.ndarray, ln_values: np.ndarray, share: float = 1e-3) -> tuple[float, bool]:
    """Finds how far a curve keeps a share of its first value.

    Args:
        x: [N] lags in steps.
        ln_values: [N].
        share: of the first value.

    Returns:
        The last lag before it first has less, and whether the curve ends before that.
    """
    with np.errstate(invalid="ignore"):
        below = np.flatnonzero(~(ln_values - ln_values[0] >= math.log(share)))
    if not below.size:
        return float(x[-1]), True
    return float(x[max(below[0] - 1, 0)]), False


def reach(found: tuple[float, bool]) -> str:
    """Writes what `horizon` found.

    Args:
        found: lag, and whether the curve ends before.

    Returns:
        "31 steps", or "at least 100 steps".
    """
    return ("at least " if found[1] else "") + steps(found[0])


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Fits a straight line.

    Args:
        x: [N].
        y: [N]; values that are not finite are passed over.

    Returns:
        Its slope; not-a-number from fewer than two points.
    """
    keep = np.isfinite(x) & np.isfinite(y)
    if len(set(x[keep])) < 2:
        return math.nan
    return float(np.polyfit(x[keep], y[keep], 1)[0])


def spread(line: Line, index: int) -> str:
    """Writes a median with its band.

    Args:
        line: a series.
        index: which of its points.

    Returns:
        "0.147 (0.143 to 0.151)".
    """
    if line.band is None:
        return brief(line.y[index])
    return f"{brief(line.y[index])} ({brief(line.band[0][index])} to {brief(line.band[1][index])})"


def pairs(lines: Sequence[Line]) -> list[tuple[str, Line, Line]]:
    """Matches the series before training with those after it.

    Args:
        lines: series with a `state`, "init" or "trained".

    Returns:
        Name without the state, series before, series after.
    """
    found: dict[tuple, dict[str, Line]] = {}
    for line in lines:
        found.setdefault(_but_state(line.record), {})[line.record.get("state")] = line
    return [
        (", ".join(clean(line["init"].record[key]) for key in ("cell", "run") if key in line["init"].record), *both)
        for line in found.values()
        if {"init", "trained"} <= set(line)
        for both in [(line["init"], line["trained"])]
    ]


def few(sentences: Sequence[str]) -> list[str]:
    """Keeps as many sentences as one reads.

    Args:
        sentences: any number.

    Returns:
        The first ones, and how many more there are.
    """
    left = len(sentences) - _MOST_SENTENCES
    return [*sentences[:_MOST_SENTENCES], *([f"... and {left} more"] if left > 0 else [])]


def _but_state(record: Record) -> tuple[Any, ...]:
    return tuple(
        sorted(
            (key, str(record[key]))
            for key in ("cell", "run", "initializer", "hidden_size", "task", "gain")
            if key in record
        )
    )
