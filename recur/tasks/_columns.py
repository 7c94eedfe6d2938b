"""Columns of a table: found by name, read as numbers or times, and filled where values are missing."""

import bisect
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from recur._checks import brief
from recur.tasks._extras import extra
from recur.tasks._rows import Rows, could_be_number, is_missing, number
from recur.tasks._times import is_ordered, parse_times

Missing = Literal["refuse", "forward", "interpolate", "mask"]
Unsorted = Literal["refuse", "sort"]
_FILL = "fill it in, remove the line, or say missing='forward', 'interpolate' or 'mask'"


def place_of(argument: str, name: str | int, rows: Rows, path: str | os.PathLike) -> int:
    """Returns the number of a column."""
    if isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(rows.names):
        return name
    if not isinstance(name, str) or rows.names.count(name) != 1:
        found = "two of that name" if isinstance(name, str) and name in rows.names else brief(list(rows.names))
        raise ValueError(f"{argument}: expected a column of {path}, got {brief(name)} where there are {found}")
    return rows.names.index(name)


def time_column(rows: Rows) -> int | None:
    """Returns 0 where the first of several columns holds no number at all, and so has to be one of times."""
    if len(rows.names) == 1 or any(could_be_number(row[0]) for row in rows.cells):
        return None
    return 0


def times_of(
    rows: Rows,
    place: int,
    decimal: str,
    time_format: str | None,
    unsorted: Unsorted,
    path: str | os.PathLike,
    *,
    is_asked_for: bool,
) -> np.ndarray | None:
    """Returns the times of the rows in a column; None where nobody asked for them and they have two readings."""
    cells, name = [row[place] for row in rows.cells], rows.names[place]
    found = parse_times(cells, decimal, time_format)
    if not found:
        upto = range(1, len(cells))
        at = bisect.bisect_left(upto, True, key=lambda n: not parse_times(cells[:n], decimal, time_format))
        raise ValueError(
            f"data: expected dates or numbers in column {name!r}, got {cells[at][:60]!r} in line {rows.lines[at]} of "
            f"{path}; mend the line, say time_format=, or choose the columns to read with columns="
        )
    if unsorted == "refuse" and not is_ordered(found[0]):
        at = int(np.flatnonzero(found[0][1:] < found[0][:-1])[0]) + 1
        raise ValueError(
            f"data: expected times in order in column {name!r}, got {cells[at][:60]!r} after {cells[at - 1][:60]!r} "
            f"in line {rows.lines[at]} of {path}; say unsorted='sort', or time_format= if they were misread"
        )
    if len(found) > 1 and (is_asked_for or not is_ordered(found[0])):
        raise ValueError(
            f"data: expected dates of one reading in column {name!r}, got {cells[0][:60]!r}, which may be day or month "
            f"first, in {path}; say time_format='%d/%m/%Y' or '%m/%d/%Y'"
        )
    return found[0] if len(found) == 1 else None


def numbers_of(rows: Rows, place: int, decimal: str, missing: Missing, path: str | os.PathLike) -> np.ndarray:
    """Returns a column, NaN for what is missing."""
    values = np.full(len(rows.cells), np.nan)
    for n, (line, row) in enumerate(zip(rows.lines, rows.cells, strict=True)):
        found = number(row[place], decimal)
        if found is not None:
            values[n] = found
        elif missing == "refuse" or not is_missing(row[place]):
            remedy = _FILL if is_missing(row[place]) else "mend it, remove the line, or choose other columns"
            if number(row[place], "," if decimal == "." else ".") is not None:
                other = "," if decimal == "." else "."
                remedy = f"say decimal={other!r} if that is what it is, or write thousands without a sign"
            raise ValueError(
                f"data: expected a number in column {rows.names[place]!r}, got {row[place][:60]!r} in line {line} of "
                f"{path}; {remedy}"
            )
    return values


def filled(
    values: np.ndarray, times: np.ndarray | None, missing: Missing, names: Sequence[str], path: str | os.PathLike
) -> np.ndarray:
    """Returns the columns with nothing missing, as `missing` says; a line is drawn in time where there are times."""
    is_there = np.isfinite(values)
    if missing == "mask":
        return np.concatenate([np.where(is_there, values, 0), is_there], axis=1)
    if is_there.all():
        return values
    frame = extra("pandas", "read_series").DataFrame(values)
    if missing == "interpolate":
        if times is not None:
            frame.index = times
        full = frame.interpolate("linear" if times is None else "index", limit_area="inside").to_numpy()
    else:
        full = frame.ffill().to_numpy()
    if not np.isfinite(full).all():
        place = int(np.argwhere(~np.isfinite(full))[0, 1])
        where = "before and after" if missing == "interpolate" else "before"
        raise ValueError(
            f"data: expected values {where} what is missing in column {names[place]!r}, got none in {path}; "
            "cut these rows off, or say missing='mask'"
        )
    return full
