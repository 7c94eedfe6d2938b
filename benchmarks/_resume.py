"""The records of a run as they grow, job by job, so that a stopped run goes on where it stopped."""

import pathlib
from collections.abc import Collection, Sequence
from typing import Any

from recur import report

Record = dict[str, Any]


def finished(path: pathlib.Path, run: Record, names: Collection[str]) -> tuple[list[Record], set[str]]:
    """Reads what a stopped run with the same configuration has finished.

    Nothing is taken from a run that came to its end, whose wall_s is written last: the same command measures anew.

    Args:
        path: Its records.jsonl.
        run: The record of the run that is about to begin.
        names: Jobs whose records are wanted.

    Returns:
        The records of the jobs that were finished, and the names of these jobs.
    """
    if not path.exists():
        return [], set()
    try:
        before, *rows = report.read_jsonl(path)
    except ValueError:
        return [], set()
    if "wall_s" in before or any(before.get(key) != run[key] for key in ("config", "versions")):
        return [], set()
    kept, done, block = [], set(), []
    for row in rows:
        block.append(row)
        if row.get("kind") == "done":
            if row["job"] in names:
                kept += block
                done.add(row["job"])
            block = []
    return kept, done


def keep(path: pathlib.Path, name: str, rows: Sequence[Record], wall_s: float) -> list[Record]:
    """Appends the records of a finished job, and returns them with the one that closes them."""
    closed = [*rows, {"kind": "done", "job": name, "wall_s": round(wall_s, 2)}]
    for row in closed:
        report.append_jsonl(path, row)
    return closed
