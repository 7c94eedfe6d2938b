"""Number columns of CSV files, beside their times."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recur._checks import as_list, brief, check_bool, is_one_of
from recur.tasks._columns import Missing, Unsorted, filled, numbers_of, place_of, time_column, times_of
from recur.tasks._rows import read_rows
from recur.tasks._times import gaps_of, is_ordered


class Table(NamedTuple):
    """Columns of numbers, and when each row was.

    Args:
        values: float64 ``[N, X]``; with ``missing="mask"`` ``[N, 2 X]``: 0 for what is missing, and after all columns
            a channel for each, 1 where its value is there, and 0 where it is missing.
        names: Of the columns, ``[X]``.
        times: Of the rows, ``[N]``: datetime64 in UTC, or float64; None without a time column, and for dates such as
            2/3/1990 throughout, which may be the second of March or the third of February.
        gaps: float64 ``[N]``, the time since the row before: in seconds for dates, otherwise in the unit of the
            column; 0 for the first row. None where `times` is.
    """

    values: np.ndarray
    names: tuple[str, ...]
    times: np.ndarray | None
    gaps: np.ndarray | None


def read_series(
    path: str | os.PathLike,
    *,
    columns: Sequence[str | int] | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    header: bool | None = None,
    time: str | int | None = None,
    time_format: str | None = None,
    unsorted: Unsorted = "refuse",
    missing: Missing = "refuse",
) -> np.ndarray:
    r"""Reads the number columns of a CSV file; `read_table` says what the options do, and returns the times too.

    Returns:
        float64 ``[N, X]``, or ``[N, 2 X]`` with ``missing="mask"``.

    Raises:
        ImportError: As `read_table`.
        TypeError: As `read_table`.
        ValueError: As `read_table`.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.csv"
        ...     _ = path.write_text("day;wind;rain\n1990-01-02;3,5;0\n1990-01-03;;2\n1990-01-05;4,5;1\n")
        ...     read_series(path, decimal=",", columns=["wind"], missing="forward").tolist()
        [[3.5], [3.5], [4.5]]
    """
    return read_table(
        path,
        columns=columns,
        delimiter=delimiter,
        decimal=decimal,
        header=header,
        time=time,
        time_format=time_format,
        unsorted=unsorted,
        missing=missing,
    ).values


def read_table(
    path: str | os.PathLike,
    *,
    columns: Sequence[str | int] | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    header: bool | None = None,
    time: str | int | None = None,
    time_format: str | None = None,
    unsorted: Unsorted = "refuse",
    missing: Missing = "refuse",
) -> Table:
    """Reads the number columns of a CSV file and its time column.

    Args:
        path: A UTF-8 file.
        columns: The columns to read, by their names in the header, or by their numbers from 0; by default all but the
            time column.
        delimiter: What parts the cells; by default the one of comma, semicolon, tab and ``|`` that parts all rows in
            equally many.
        decimal: ``"."`` or ``","``.
        header: Whether the first row holds the names of the columns. By default it must, and none of its cells may be
            a number or a date.
        time: The column of times, by name or number. By default, where no `columns` are named, the first of several
            columns if it holds no number: dates, or labels that are numbered (d1, d2).
        time_format: Of dates, as in ``"%d.%m.%Y"``; by default found by pandas.
        unsorted: What to do where times are not in order: ``"refuse"``, or ``"sort"`` the rows.
        missing: What to do where a value is missing (an empty cell, NA, NaN, null, ?, -): ``"refuse"``,
            ``"forward"`` repeats the last one, ``"interpolate"`` draws a line, in time where there is a time column,
            between the one before and the one after, ``"mask"`` adds a channel for each column. Nothing fills what is
            missing before the first value, or for a line after the last one: that is refused.

    Returns:
        `Table`.

    Raises:
        ImportError: pandas is missing, which parses dates and fills in values.
        TypeError: An option of another type.
        ValueError: A missing, unreadable or empty file, bytes that are no UTF-8, rows of unequal length, several
            signs that part the rows, a first row of numbers, an unknown or unnamed column, a column of text, a
            missing value, nan or inf, times that are none, out of order or that can be read in two ways; file, line
            and column are named.
    """
    _check_options(columns, delimiter, decimal, header, time_format, unsorted, missing)
    rows = read_rows(path, delimiter, decimal, header)
    timed = time_column(rows) if time is None and columns is None else None
    timed = timed if time is None else place_of("time", time, rows, path)
    if columns is None:
        chosen = [place for place in range(len(rows.names)) if place != timed]
        unnamed = next((place for place in chosen if not rows.names[place]), None)
        if unnamed is not None or not chosen:
            found = "none" if not chosen else f"none for column {unnamed}"
            raise ValueError(f"data: expected columns with names, got {found} in {path}; choose them with columns=")
    else:
        chosen = [place_of("columns", name, rows, path) for name in columns]
    times = None
    if timed is not None:
        times = times_of(rows, timed, decimal, time_format, unsorted, path, is_asked_for=time is not None)
    values = np.stack([numbers_of(rows, place, decimal, missing, path) for place in chosen], axis=1)
    if times is not None and not is_ordered(times):
        order = np.argsort(times, kind="stable")
        values, times = values[order], times[order]
    values = filled(values, times, missing, [rows.names[place] for place in chosen], path)
    gaps = None if times is None else gaps_of(times)
    return Table(values, tuple(rows.names[place] for place in chosen), times, gaps)


def _check_options(
    columns: Any, delimiter: Any, decimal: Any, header: Any, time_format: Any, unsorted: Any, missing: Any
) -> None:
    if isinstance(columns, str):
        raise TypeError(f"columns: expected a list of names, got {columns!r}; put it in a list")
    if columns is not None and not as_list("columns", columns):
        raise ValueError("columns: expected at least one name, got none; leave it out for all")
    is_sign = isinstance(delimiter, str) and len(delimiter) == 1 and delimiter not in '\r\n"'
    if delimiter is not None and not is_sign:
        raise ValueError(f"delimiter: expected one sign such as ';' or '\\t', got {brief(delimiter)}")
    for name, value, choices in (
        ("decimal", decimal, (".", ",")),
        ("unsorted", unsorted, ("refuse", "sort")),
        ("missing", missing, ("refuse", "forward", "interpolate", "mask")),
    ):
        if not is_one_of(value, choices):
            raise ValueError(f"{name}: expected one of {list(choices)}, got {brief(value)}")
    if delimiter == decimal:
        raise ValueError(f"delimiter: expected another sign than the decimal one, got {delimiter!r} for both")
    if header is not None:
        check_bool("header", header)
    if time_format is not None and not isinstance(time_format, str):
        raise TypeError(f"time_format: expected a format such as '%d.%m.%Y', got {brief(time_format)}")
