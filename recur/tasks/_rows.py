"""Rows and cells of CSV files: how lines are parted, which is the header, which cells are numbers."""

import csv
import io
import itertools
import math
import os
import re
from typing import NamedTuple

from recur._checks import brief
from recur.tasks._text import read_text

_DELIMITERS = (",", ";", "\t", "|")
# So many rows decide what parts them.
_LOOKED_AT = 50
_MISSING = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "nat", "null", "none", "?", "-", "."))
# What float() takes and a column of numbers has: no underscores, no words. Only one part of it can match a digit, so
# that a cell of thousands of them is read in one go.
_NUMBER = re.compile(r"\s*[+-]?(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class Rows(NamedTuple):
    """A file of equally long rows.

    Args:
        names: Of the columns; their numbers from 0 where there is no header.
        lines: Of each row the line it ends in, counted from 1.
        cells: Of each row its cells.
    """

    names: tuple[str, ...]
    lines: list[int]
    cells: list[list[str]]


def read_rows(path: str | os.PathLike, delimiter: str | None, decimal: str, header: bool | None) -> Rows:
    """Reads the rows of a CSV file; `read_table` says what the options do.

    Raises:
        ValueError: A file that cannot be read, rows of several lengths, no rows, no header where there has to be one.
    """
    text = read_text(path)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter or _delimiter(text, decimal, path))
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"data: expected CSV, got {error} in line {reader.line_num} of {path}; mend it") from None
    if len(rows) < (1 if header is False else 2):
        wanted = "rows" if header is False else "a header and rows"
        raise ValueError(f"data: expected {wanted} of numbers, got {len(rows)} lines in {path}")
    first = rows[0][1]
    if header is None and any(number(cell, decimal) is not None or is_date(cell) for cell in first):
        raise ValueError(
            f"data: expected a header in line {rows[0][0]}, got {brief(first)} in {path}; add names of the columns, "
            "or say header=False (or True, if these are names)"
        )
    for line, row in rows:
        if len(row) != len(first):
            raise ValueError(
                f"data: expected {len(first)} columns, got {len(row)} in line {line} of {path}; mend the line"
            )
    names = map(str, range(len(first))) if header is False else (cell.strip() for cell in first)
    kept = rows if header is False else rows[1:]
    return Rows(tuple(names), [line for line, _ in kept], [row for _, row in kept])


def number(cell: str, decimal: str = ".") -> float | None:
    """Returns the number of a cell; None for text, nothing, nan and what overflows."""
    if decimal == ",":
        cell = cell.replace(".", "_").replace(",", ".")
    found = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    return found if math.isfinite(found) else None


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return cell.strip().lower() in _MISSING


def is_date(cell: str) -> bool:
    """Whether a cell begins or ends with a year, month and day, or a year and month, in numbers."""
    return re.fullmatch(r"\s*(\d{4}([-/.])\d{1,2}(\2\d{1,2}.*)?|\d{1,2}([-/.])\d{1,2}\4\d{2,4}.*)", cell) is not None


def could_be_number(cell: str) -> bool:
    """Whether a cell belongs to a column of numbers: one, with a comma too, a missing one, or an infinity."""
    read = (number(cell, sign) for sign in ".,")
    return any(found is not None for found in read) or is_missing(cell) or "inf" in cell.lower()


def _delimiter(text: str, decimal: str, path: str | os.PathLike) -> str:
    """Returns the one sign that parts the first rows in equally many cells; without one a comma, or a semicolon."""
    signs = [sign for sign in _DELIMITERS if sign != decimal]
    found = [sign for sign in signs if _parts_alike(text, sign)]
    # Of a single column of decimal commas, a comma in the header makes two; then a semicolon is often there as well.
    if found == [","] and ";" in text.partition("\n")[0]:
        found = [",", ";"]
    if len(found) > 1:
        raise ValueError(
            f"data: expected rows that one sign parts, got {' and '.join(map(repr, found))} in {path}; "
            "say which with delimiter="
        )
    return (found or signs)[0]


def _parts_alike(text: str, delimiter: str) -> bool:
    try:
        rows = itertools.islice(csv.reader(io.StringIO(text), delimiter=delimiter), _LOOKED_AT)
        lengths = {len(row) for row in rows if row}
    except csv.Error:
        return False
    return len(lengths) == 1 and min(lengths) > 1
