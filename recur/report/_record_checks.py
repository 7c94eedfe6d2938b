"""What records of the plot table must look like; anything else is said in one line."""

import math
from collections.abc import Mapping
from typing import Any

from recur.report._plot_table import PLOTS

Record = Mapping[str, Any]

# The verdict table is no plot, and yet a cell may be missing from it.
VERDICTS = "summary"
_AXES = {"series": ("x",), "matrix": ("x", "y"), "points": ("x", "y")}
# Kinds that are written as rows, and what of them may be a list of numbers.
_PLAIN = {
    "lag_curve": ("lag_steps", "ln_"),
    "closed_form": ("lag_steps", "ln_"),
    "parameter_norm": (),
    "summary": (),
    "series": ("x", "median", "p10", "p90"),
    "points": ("x", "y", "names"),
    "matrix": ("x", "y", "values"),
}
_TEXTS = ("cell", "quantity", "tensor", "verdict", "label")
_NUMBERS = ("length", "ln_median", "ln_p10", "ln_p90", "ln_norm", "lag_steps")
_SPREADS = ("rate_", "half_life_", "horizon_")
_VALUES = {"series": ("median", "p10", "p90"), "points": ()}


def is_unknown(record: Record) -> bool:
    """Tells whether a record belongs to a plot that the table does not hold.

    Args:
        record: any record.

    Returns:
        Whether it is counted and not shown.
    """
    if record["kind"] == "skipped" and record["plot"] == VERDICTS:
        return False
    return record["kind"] in (*_AXES, "number", "skipped") and str(record["plot"]) not in PLOTS


def problem_of(record: Record) -> str | None:
    """Finds what is wrong with a record that has all its fields.

    Args:
        record: of any kind; those without a plot, and those of unknown plots, are passed over.

    Returns:
        What was expected, what came, and a remedy; None if nothing is wrong.
    """
    kind = str(record.get("kind"))
    if kind in _PLAIN and not is_unknown(record) and (problem := _plain_problem(record, kind)):
        return problem
    if kind == "check":
        if not isinstance(record["passed"], bool):
            return f"passed: expected true or false, got {record['passed']!r}; write a boolean"
        return None
    if kind not in (*_AXES, "number", "skipped") or is_unknown(record):
        return None
    if kind == "number":
        value = record["value"]
        if not _is_number(value.get("median") if isinstance(value, Mapping) else value):
            return f'value: expected a number or {{"median", "p10", "p90"}}, got {value!r}; write one of the two'
        return None
    if kind == "skipped":
        return None
    plot = record["plot"]
    if PLOTS[plot].kind != kind:
        return f"kind: expected {PLOTS[plot].kind!r} for the plot {plot!r}, got {kind!r}; write that kind"
    return _list_problem(record, kind)


def _plain_problem(record: Record, kind: str) -> str | None:
    """Finds a field of another type than the report reads: text, number, list of numbers or spread."""
    lists = _PLAIN[kind]
    for key, value in record.items():
        told = str(value)[:60]
        if lists and key.startswith(lists):
            numbers_alone = kind not in _AXES
            if not isinstance(value, list) or (numbers_alone and not all(map(_is_number, value))):
                return f"{key}: expected a list of numbers, got {told}; write a number a position"
        elif kind == "summary" and key.startswith(_SPREADS) and not key.endswith("_capped"):
            entries = value.values() if isinstance(value, Mapping) else (value,)
            if not isinstance(value, Mapping | None) or not all(e is None or _is_number(e) for e in entries):
                return f'{key}: expected {{"median", "p10", "p90"}} of numbers, got {told}; write these'
        elif key in _TEXTS and not isinstance(value, str):
            return f"{key}: expected text, got {told}; write a word"
        elif key in _NUMBERS and not _is_number(value):
            return f"{key}: expected a number, got {told}; write one"
        elif isinstance(value, list) or (isinstance(value, Mapping) and kind != "summary"):
            return f"{key}: expected text or a number, got {told}; write a field for each entry"
    return None


def _list_problem(record: Record, kind: str) -> str | None:
    present = [key for key in (*_AXES[kind], *_VALUES.get(kind, ())) if key in record]
    for key in present:
        value = record[key]
        if not isinstance(value, list) or not value or not all(map(_is_number, value)):
            return f"{key}: expected a list of numbers, at least one, got {str(value)[:60]}; write them as numbers"
        if key in _AXES[kind] and not (kind == "points" or all(map(math.isfinite, value))):
            return f"{key}: expected finite positions, got {str(value)[:60]}; leave the others out"
    if kind == "matrix":
        rows, width = record["values"], len(record["x"])
        shape = [len(row) if isinstance(row, list) else None for row in rows] if isinstance(rows, list) else None
        if shape != [width] * len(record["y"]):
            return (
                f"values: expected {len(record['y'])} lists of {width} numbers, got {str(shape)[:60]}; write a list a y"
            )
        if not all(_is_number(value) for row in rows for value in row):
            return 'values: expected numbers alone; write what is not finite as "inf", "-inf" or "nan"'
        return None
    sizes = {key: len(record[key]) for key in (*present, *(("names",) if kind == "points" else ()))}
    if len(set(sizes.values())) > 1:
        return f"expected lists of one length, got {sizes}; write a value a position"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
