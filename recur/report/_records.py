"""Records on disk: strict JSON, JSON lines and CSV."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from recur._files import named, open_regular, open_to_append, write_text

_NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def write_json(path: str | os.PathLike, value: Any) -> Path:
    """Writes one value as strict, indented JSON, whole or not at all.

    Args:
        path: the file.
        value: what `write_jsonl` takes as a row, or a list or a scalar of such.

    Returns:
        The path written.

    Raises:
        TypeError: the value holds something that JSON cannot carry.
    """
    return write_text(path, json.dumps(_plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_jsonl(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes records as JSON lines, whole or not at all.

    Strict JSON knows no infinities: they are written as the strings "inf", "-inf" and "nan", and `read_jsonl`
    turns exactly these strings back into numbers wherever they stand as values.

    Args:
        path: the file.
        rows: one mapping a line; values are strings, numbers, booleans, None, arrays, and lists and mappings of
            them.

    Returns:
        The path written.

    Raises:
        TypeError: a row holds something that JSON cannot carry; names where.
    """
    return write_text(path, "".join(_line(row) for row in rows))


def append_jsonl(path: str | os.PathLike, row: Mapping[str, Any]) -> None:
    """Appends one record as one line and hands it to the disk before returning.

    For one writer at a time. A last line that a killed process left torn is cut off first: it never was a
    record.

    Args:
        path: the file; made, with its folder, if it is missing.
        row: as in `write_jsonl`.

    Raises:
        TypeError: the row holds something that JSON cannot carry; nothing is written then.
        OSError: the disk is full, or the file cannot be written; a part of the line may be there.
    """
    line = _line(row).encode("utf-8", "backslashreplace")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open_to_append(path) as file:
            _mend_last_line(file)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise named(error, path) from None


def read_jsonl(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads the records of a JSON-lines file.

    A last line without a line break that is no whole record was torn by a killed process, and is left out.

    Args:
        path: a file written by `write_jsonl` or `append_jsonl`.

    Returns:
        One dictionary a line, blank lines left out, non-finite numbers decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, holds no record, or a line, which is named, is no strict JSON object.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            data = file.read()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; expected JSON lines, one record a line") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); expected a file of JSON lines") from None
    rows = []
    lines = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == len(lines) and _is_torn(line)):
            continue
        try:
            rows.append(_parse(line))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {number}: expected one JSON object, got {line[:60]!r} ({error}); "
                "delete that line or make the file again"
            ) from None
    if not rows:
        raise ValueError(f"{path}: holds no record; expected JSON lines, one record a line; make the file again")
    return rows


def write_csv(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes rows as a CSV table, whole or not at all.

    Args:
        path: the file.
        rows: one mapping a row. The columns are all their keys in the order first seen; what a row lacks, and
            None, stays empty. Infinities are written inf and -inf, not-a-number nan. Text that a spreadsheet would run
            (it begins with =, +, -, @ and is no number) gets an apostrophe before it.

    Returns:
        The path written.

    Raises:
        ValueError: a value is a list or a mapping, which one cell of a table cannot hold.
    """
    rows = [{_inert(key): _inert(_plain(value, key)) for key, value in row.items()} for row in rows]
    for number, row in enumerate(rows, start=1):
        for key, value in row.items():
            if isinstance(value, list | dict):
                raise ValueError(
                    f"row {number}, column {key!r}: expected a single value, got a {type(value).__name__}; "
                    "make one row or one column of each entry"
                )
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def _inert(value: Any) -> Any:
    """Puts an apostrophe before text that a spreadsheet would take for a formula."""
    if not isinstance(value, str) or not value.lstrip().startswith(("=", "+", "-", "@")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def normalize(value: Any) -> Any:
    """Turns a value into what `read_jsonl` gives back once it is written: lists, dictionaries, plain numbers.

    Args:
        value: what `write_jsonl` takes as a row, or a list of such.

    Returns:
        The same content in plain Python types.

    Raises:
        TypeError: the value holds something that JSON cannot carry.
    """
    return _decode(_plain(value))


def _line(row: Mapping[str, Any]) -> str:
    if not isinstance(row, Mapping):
        raise TypeError(f"a record must be a mapping of names to values, got {type(row).__name__}")
    return json.dumps(_plain(row), allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any, where: str = "record") -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        # float() also strips subclasses such as numpy.float64, which print differently.
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, f"{where}.{key}") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    # Arrays of any library, jax's among them, without importing it.
    if hasattr(value, "__array__") and np.asarray(value).dtype.kind != "O":
        return _plain(np.asarray(value).tolist(), where)
    raise TypeError(f"{where}: expected a string, number, array, list or mapping, got {type(value).__name__}")


def _decode(value: Any) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, list):
        return [_decode(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _decode(entry) for key, entry in value.items()}
    return value


def _parse(line: bytes) -> dict[str, Any]:
    def refuse(name: str):
        raise ValueError(f"{name} is no strict JSON; write it as a string")

    row = json.loads(line.decode("utf-8"), parse_constant=refuse)
    if not isinstance(row, dict):
        raise ValueError(f"a {type(row).__name__}, not an object")
    return _decode(row)


def _is_torn(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def _mend_last_line(file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    tail = file.read().rpartition(b"\n")[2]
    if _is_torn(tail):
        file.truncate(size - len(tail))
    else:
        file.write(b"\n")
