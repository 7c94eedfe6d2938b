"""What a curve is called, and how it is drawn when it stops being finite."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The circumstances of a measurement, in the order in which they are told.
_WORDS = {
    "cell": "{}",
    "tensor": "{}",
    "length": "length {}",
    "seeds": "{} seeds",
    "hidden_size": "{} hidden units",
    "dtype": "{}",
    "initializer": "{} initialiser",
    "gain": "gain {}",
    "input": "{} input",
    "task": "{}",
    "state": "{}",
    "run": "{}",
}
FIELDS = tuple(_WORDS)
_STATES = {"init": "at initialisation", "trained": "after training"}

# What a value that no axis can show is called, and the marker at the last point before it.
_ENDS = (
    (np.isneginf, "▼ exactly zero", "v"),
    (np.isposinf, "▲ infinite", "^"),
    (np.isnan, "× not a number", "x"),
)


def clean(text: Any, most: int = 60) -> str:
    """Makes one printable line of a label that comes from data.

    Args:
        text: any value.
        most: characters that are kept.

    Returns:
        Its text, runs of white space and control characters as one space, cut with an ellipsis where it is too long.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def distinct(names: Sequence[str], most: int = 48) -> list[str]:
    """Shortens long names in the middle, and keeps apart what was apart.

    Args:
        names: of runs or cells, no two of them equal.
        most: characters that are kept.

    Returns:
        One printable name each, no two equal.
    """
    found: list[str] = []
    for name in names:
        line = short = clean(name, max(len(name), 1))
        if len(line) > most:
            short = f"{line[: most // 2]}…{line[-(most - most // 2 - 1) :]}"
        number = 2
        while short in found:
            short = f"{line[: most // 2 - 4]}…{line[-(most // 2 - 4) :] if len(line) > most else line} ({number})"
            number += 1
        found.append(short)
    return found


def differing(records: Sequence[Mapping[str, Any]], leave_out: Sequence[str] = ()) -> tuple[str, ...]:
    """Finds the fields that set records apart.

    Args:
        records: records that tell their circumstances: cell, length, seeds, dtype, ...
        leave_out: names of fields not to look at, such as the one on the x axis.

    Returns:
        The names of the fields that are not the same in all records; the cell alone if none differs.
    """
    fields = [name for name in _WORDS if name not in leave_out]
    return tuple(f for f in fields if len({_tell(f, record) for record in records}) > 1) or ("cell",)


def naming(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Finds the fields that name what was measured in tables and headings.

    Args:
        records: of one page.

    Returns:
        The cell, and what else sets the records apart; what stands on an axis is left out.
    """
    apart = differing(records, leave_out=("length", "tensor")) if records else ()
    return tuple(field for field in FIELDS if field == "cell" or field in apart)


def name_of(record: Mapping[str, Any], fields: Sequence[str]) -> str:
    """Names a record by some of its fields, as "lstm, float32".

    Args:
        record: a record that tells its circumstances.
        fields: the fields to tell; those that the record lacks are passed over.

    Returns:
        One line.
    """
    return ", ".join(filter(None, (_tell(field, record) for field in fields)))


def describe(records: Sequence[Mapping[str, Any]], leave_out: Sequence[str] = ()) -> tuple[list[str], str]:
    """Tells what sets each record apart, and what all of them share.

    Args:
        records: records of one kind.
        leave_out: names of fields not to speak of.

    Returns:
        One label a record, and one line of what is the same in all.
    """
    fields = differing(records, leave_out)
    shared = (_tell(f, records[0]) for f in _WORDS if f not in fields and f not in leave_out)
    return [name_of(record, fields) for record in records], " · ".join(filter(None, shared))


def draw_curve(
    axes: "Axes",
    x: Sequence[float],
    middle: Sequence[float],
    band: tuple[Sequence[float], Sequence[float]] | None,
    *,
    label: str,
    style: Mapping[str, Any],
    x_word: str,
) -> None:
    """Draws a line with its band, on axes whose limits are already set.

    Where the values stop being finite the line breaks: a marker stands on the last point before, and the legend says
    what happened and where. A band that reaches down to zero or up to infinity is filled to the edge of the axes.

    Args:
        axes: where.
        x: [N] positions.
        middle: [N] values of the line, in the units of the y axis.
        band: lower and upper edge, [N] each; or None.
        label: entry in the legend.
        style: keyword arguments of the line.
        x_word: what a position is called in the legend, as "lag".
    """
    x, middle = np.asarray(x, float), np.asarray(middle, float)
    notes = []
    for test, name, marker in _ENDS:
        indices = np.flatnonzero(test(middle))
        if not indices.size:
            continue
        starts = indices[np.diff(indices, prepend=-2) > 1]
        for start in starts:
            _mark(axes, x, middle, start, marker, style["color"])
        to_the_end = starts.size == 1 and indices.size == len(x) - starts[0] and indices.size > 1
        more = f" and {indices.size - 1} more" if indices.size > 1 and not to_the_end else ""
        notes.append(f"{name} {'from' if to_the_end else 'at'} {x_word} {x[starts[0]]:g}{more}")
    if notes:
        label = f"{label} ({'; '.join(notes)})"
    if band is not None:
        low, high = axes.get_ylim()
        # A whole view beyond the edges, so that no edge of the band shows inside.
        edges = [np.clip(np.asarray(edge, float), 2 * low - high, 2 * high - low) for edge in band]
        axes.fill_between(x, *edges, color=style["color"], alpha=0.18, linewidth=0)
    axes.plot(x, np.where(np.isfinite(middle), middle, math.nan), label=label, **style)


def _mark(axes: "Axes", x: np.ndarray, y: np.ndarray, start: int, marker: str, color: str) -> None:
    if start > 0 and math.isfinite(y[start - 1]):
        place, transform = (x[start - 1], y[start - 1]), axes.transData
    else:
        # No point to stand on: the marker goes to the edge of the axes.
        place, transform = (x[start], 0.98 if marker == "^" else 0.02), axes.get_xaxis_transform()
    axes.plot(
        *([value] for value in place),
        marker=marker,
        color=color,
        markersize=7,
        linestyle="none",
        transform=transform,
        clip_on=False,
        zorder=4,
    )


def _tell(field: str, record: Mapping[str, Any]) -> str:
    value = record.get(field)
    if value is None:
        return ""
    if field in ("seeds", "hidden_size") and value == 1:
        return _WORDS[field].format(1).removesuffix("s")
    if field == "tensor" and value == "all":
        return "all parameters"
    if field == "state":
        return _STATES.get(value, clean(value))
    return _WORDS[field].format(f"{value:g}" if isinstance(value, float) else clean(value))
