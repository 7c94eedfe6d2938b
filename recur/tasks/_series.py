"""Number columns of CSV files."""

import csv
import math
import os
import pathlib

import numpy as np


def read_series(path: str | os.PathLike) -> np.ndarray:
    """Reads the number columns of a CSV file with a header; a first column that holds no numbers is taken as dates.

    Returns:
        float64 ``[N, X]``, rows in file order.

    Raises:
        ValueError: A missing, unreadable or empty file, bytes that are no UTF-8, a row with other columns than the
            header, an empty cell, text in a number column, nan or inf; file and line are named.
    """
    path = pathlib.Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise ValueError(f"data: expected a readable CSV file, got {path}: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"data: expected UTF-8 text, got {path}: {error.reason} at byte {error.start}") from None
    if len(rows) < 2:
        raise ValueError(f"data: expected a header and rows of numbers, got {len(rows)} lines in {path}")
    header, first = rows[0], rows[1]
    if all(_number(cell) is not None for cell in header):
        raise ValueError(f"data: expected a header in line 1, got the numbers {header} in {path}; add column names")
    skip = 1 if len(header) > 1 and _number(first[0]) is None else 0
    values = []
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise ValueError(f"data: expected {len(header)} columns, got {len(row)} in line {line} of {path}")
        for name, cell in zip(header[skip:], row[skip:], strict=True):
            number = _number(cell)
            if number is None or not math.isfinite(number):
                raise ValueError(f"data: expected a number in column {name!r}, got {cell!r} in line {line} of {path}")
            values.append(number)
    return np.array(values).reshape(len(rows) - 1, len(header) - skip)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
