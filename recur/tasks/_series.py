"""Number columns of CSV files."""

import csv
import io
import math
import os
import re

import numpy as np

from recur._checks import brief
from recur.tasks._text import read_text

# What float() takes and a column of numbers has: no underscores, no words. Only one part of it can match a digit, so
# that a cell of thousands of them is read in one go.
_NUMBER = re.compile(r"\s*[+-]?(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def read_series(path: str | os.PathLike) -> np.ndarray:
    """Reads the number columns of a CSV file with a header; a first column that holds no numbers is taken as dates.

    Returns:
        float64 ``[N, X]``, rows in file order.

    Raises:
        ValueError: A missing, unreadable or empty file, bytes that are no UTF-8, a row with other columns than the
            header, an empty cell, text in a number column, nan or inf; file, line and column are named.
    """
    reader = csv.reader(io.StringIO(read_text(path)))
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"data: expected CSV, got {error} in line {reader.line_num} of {path}; mend it") from None
    if len(rows) < 2:
        raise ValueError(f"data: expected a header and rows of numbers, got {len(rows)} lines in {path}")
    (_, header), (_, first) = rows[:2]
    if all(_number(cell) is not None for cell in header):
        raise ValueError(
            f"data: expected a header in line 1, got the numbers {brief(header)} in {path}; add column names"
        )
    skip = 1 if len(header) > 1 and first[0].strip() and _number(first[0]) is None else 0
    values = []
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise ValueError(
                f"data: expected {len(header)} columns, got {len(row)} in line {line} of {path}; mend the line"
            )
        for name, cell in zip(header[skip:], row[skip:], strict=True):
            number = _number(cell)
            if number is None:
                raise ValueError(
                    f"data: expected a number in column {name!r}, got {cell[:60]!r} in line {line} of {path}; "
                    "fill it in, or remove the line"
                )
            values.append(number)
    return np.array(values).reshape(len(rows) - 1, len(header) - skip)


def _number(cell: str) -> float | None:
    """Returns the number of a cell; None for text, nothing, nan and what overflows."""
    number = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    return number if math.isfinite(number) else None
