"""The records of a study as they grow, job by job, so that a stopped one goes on where it stopped."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from recur import report
from recur.runs._machine import writable_folder

Record = dict[str, Any]


class Journal:
    """Keeps the records of finished jobs, in a file where there is a folder; only its process writes them.

    Args:
        folder: Where ``records.jsonl`` lies; None for memory alone.
        run: The record of the study that is about to begin.
        names: Its jobs, in their order.

    Attributes:
        done: Names of the jobs that are finished, those of a stopped study with the same configuration too.

    Raises:
        ValueError: A folder that cannot be written.
    """

    def __init__(self, folder: str | os.PathLike | None, run: Record, names: Iterable[str]) -> None:
        self._order = list(names)
        self._blocks: dict[str, list[Record]] = {}
        self._path = None if folder is None else writable_folder("out", folder) / "records.jsonl"
        if self._path is not None:
            self._blocks = _finished(self._path, run, set(self._order))
            report.write_jsonl(self._path, [run, *self.rows()])

    @property
    def done(self) -> set[str]:
        """Names of the jobs that are finished."""
        return set(self._blocks)

    def rows(self) -> list[Record]:
        """Returns all records in the order of the jobs, whatever the order in which they ended."""
        return [row for name in self._order for row in self._blocks.get(name, ())]

    def keep(self, name: str, rows: Sequence[Record], wall_s: float | None) -> None:
        """Adds the records of a job, with the one that closes them; without a time the job has failed."""
        end = [] if wall_s is None else [{"kind": "done", "job": name, "wall_s": round(wall_s, 2)}]
        self._blocks[name] = [*rows, *end]
        if self._path is not None:
            for row in self._blocks[name]:
                report.append_jsonl(self._path, row)

    def close(self, rows: Sequence[Record]) -> None:
        """Writes the whole file anew, in order."""
        if self._path is not None:
            report.write_jsonl(self._path, rows)


def _finished(path: pathlib.Path, run: Record, names: set[str]) -> dict[str, list[Record]]:
    """Reads what a stopped study with the same configuration has finished; what failed is tried again.

    Nothing is taken from one that came to its end, whose wall_s is written last: the same command measures anew. One
    that ended with failed jobs is finished, too: only these are run.
    """
    if not path.exists():
        return {}
    try:
        before, *rows = report.read_jsonl(path)
    except ValueError:
        return {}
    whole = "wall_s" in before and not any(row.get("kind") == "failed" for row in rows)
    if whole or any(before.get(key) != report.normalize(run[key]) for key in ("config", "versions")):
        return {}
    found, block = {}, []
    for row in rows:
        if row.get("kind") == "failed":
            block = []
            continue
        block.append(row)
        if row.get("kind") == "done":
            if row["job"] in names:
                found[row["job"]] = block
            block = []
    return found
