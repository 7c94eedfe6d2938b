"""Single numbers of a plot: read, correlated, and told in words."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from recur.report._plot_data import Record
from recur.report._series import clean
from recur.report._words import brief, factor

_UNITS = ("steps", "nats a step", "sequences")


def told(numbers: Iterable[Record], places: Sequence[str] = ("label", "cell", "task", "run")) -> list[str]:
    """Says numbers that have no sentence of their own.

    Args:
        numbers: records of kind "number".
        places: fields that say what a number is of.

    Returns:
        A sentence each, as "lstm, first zero: 126 (120 to 130)".
    """
    sentences = []
    for number in numbers:
        place = [clean(number[key]) for key in places if number.get(key) is not None]
        name, unit = clean(str(number["name"]).replace("_", " ").removesuffix(", ln"), most=160), ""
        for known in _UNITS:
            if name.endswith(f", {known}"):
                name, unit = name.removesuffix(f", {known}"), f" {known}"
        sentences.append(f"{', '.join([*dict.fromkeys(place), name])}: {value_of(number)}{unit}")
    return sentences


def value_of(number: Record) -> str:
    """Writes the value of a number.

    Args:
        number: of kind "number". One whose name ends in ", ln" is a natural logarithm, and is written as what it is
            the logarithm of.

    Returns:
        "0.83 (0.71 to 0.9)", or "0.83" where it has no spread.
    """
    value, cap = number["value"], number.get("capped_at")
    plain = factor if str(number["name"]).endswith(", ln") else brief

    def write(value: float) -> str:
        # What was measured only so far is at least that.
        return f"at least {plain(cap)}" if cap is not None and value >= cap else plain(value)

    if not isinstance(value, Mapping):
        return write(value)
    band = [write(value[key]) for key in ("p10", "p90") if value.get(key) is not None]
    middle_text = write(value["median"])
    return middle_text + (f" ({' to '.join(band)})" if len(band) == 2 and set(band) != {middle_text} else "")


def middle(number: Record) -> float:
    """Reads a number.

    Args:
        number: of kind "number".

    Returns:
        Its value, or the median of its values.
    """
    value = number["value"]
    return float(value["median"] if isinstance(value, Mapping) else value)


def lowest(number: Record) -> float:
    """Reads the lower end of a number.

    Args:
        number: of kind "number".

    Returns:
        Its 10th percentile, or its value where it has no spread.
    """
    value = number["value"]
    return float(value.get("p10", value["median"]) if isinstance(value, Mapping) else value)


def highest(number: Record) -> float:
    """Reads the upper end of a number.

    Args:
        number: of kind "number".

    Returns:
        Its 90th percentile, or its value where it has no spread.
    """
    value = number["value"]
    return float(value.get("p90", value["median"]) if isinstance(value, Mapping) else value)


def ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks values; equal ones share the mean of their ranks.

    Args:
        values: [N].

    Returns:
        [N] ranks from 1.
    """
    values = np.asarray(values, np.float64)
    return np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Correlates ranks.

    Args:
        x: [N].
        y: [N].

    Returns:
        From -1 to 1; not-a-number where one of the two does not vary.
    """
    a, b = ranks(x), ranks(y)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])
