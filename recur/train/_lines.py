"""Records in a file, line by line, that a run which goes on does not write twice."""

import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from recur._checks import as_path, check_callable
from recur._files import open_regular, open_to_append, write_text
from recur.train._records import Probed, Record


class JsonLines:
    """A file of JSON lines, one for each `Record` or `Probed`, for ``on_record`` or ``on_probe`` of `Hooks`.

    Each line is handed to the disk before the call returns. A run that goes on after a kill takes the steps after its
    last checkpoint again; before it does, `fit` calls `rewind`, which removes their lines. Of several processes the
    first writes.

    Args:
        path: The file; made, with its folder, when the first line is written.
        row: What a line says, ``row(record) -> dict`` with a number ``step``; by default all of the record. Infinite
            numbers are written as the texts "inf" and "-inf", and what is none as "nan".

    Raises:
        TypeError: The path or the function is none.

    Example:
        >>> from recur import train
        >>> hooks = train.Hooks(on_record=[train.JsonLines("history.jsonl")])
    """

    def __init__(self, path: str | os.PathLike, row: Callable[[Any], Mapping[str, Any]] | None = None):
        self.path = as_path("path", path)
        if row is not None:
            check_callable("row", row, "(record) -> dict", 1)
        self._row = row or _row

    def __call__(self, record: Record | Probed) -> None:
        """Appends the line of a record.

        Raises:
            OSError: It cannot be written.
            TypeError: The row holds what JSON cannot carry, or has no step.
        """
        row = _plain(self._row(record))
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            raise TypeError(f"{self.path}: expected rows that are dicts with a whole number 'step', got {row!r}")
        if jax.process_index() > 0:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open_to_append(self.path) as file:
            file.write(json.dumps(row, allow_nan=False).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def rewind(self, step: int) -> None:
        """Removes the lines of later steps; of a run that begins, at step 0, all lines.

        Raises:
            OSError: The file cannot be read or written.
            ValueError: It holds lines that are no records; then nothing is removed.
        """
        if jax.process_index() > 0 or not self.path.exists():
            return
        with open_regular(self.path) as file:
            lines = file.read().decode("utf-8", "replace").splitlines(keepends=True)
        # A last line without an end was torn by a kill, and never was a record.
        whole = [line for line in lines if line.endswith("\n")]
        steps = [self._step(number, line) for number, line in enumerate(whole, start=1)]
        kept = [line for line, of_line in zip(whole, steps, strict=True) if step and of_line <= step]
        if kept == lines:
            return
        write_text(self.path, "".join(kept))

    def _step(self, number: int, line: str) -> int:
        try:
            step = json.loads(line)["step"]
            if type(step) is not int:
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(
                f"{self.path}, line {number}: expected a record with a step, got {line[:60]!r}; give another file"
            ) from None
        return step


def _row(record: Record | Probed) -> dict[str, Any]:
    if isinstance(record, Record):
        return record.to_json()
    paths = jax.tree_util.tree_leaves_with_path(record.values)
    values = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in paths}
    return {"step": record.step, "values": values}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return _plain(np.asarray(value).tolist()) if hasattr(value, "__array__") else value
