"""What a run left out, and why: in a few words beside a plot, in full in a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from recur.report._series import clean

Record = Mapping[str, Any]

REASONS = "Not measured"
_REASONS_IN_PLACE = 2


def not_measured(skipped: Sequence[Record]) -> list[str]:
    """Says which cells did not take part.

    Args:
        skipped: records of that kind.

    Returns:
        A sentence each, with the reason; where there are many, one sentence for all, the reasons being in the
        table that `reasons` makes.
    """
    if len(skipped) <= _REASONS_IN_PLACE:
        return [f"{_skipped_name(record)}: not measured, {clean(record['reason'], 160)}" for record in skipped]
    cells: dict[str, list[str]] = {}
    for record in skipped:
        cells.setdefault(clean(record["cell"]), []).extend(
            [clean(record["initializer"])] if "initializer" in record else []
        )
    names = [f"{cell} ({', '.join(which)})" if which else cell for cell, which in cells.items()]
    return [f"not measured, for reasons that stand under {REASONS!r}: {', '.join(names)}"]


def reasons(skipped: Sequence[Record]) -> list[dict[str, Any]]:
    """Makes the table of what was not measured.

    Args:
        skipped: records of that kind, and of jobs that failed.

    Returns:
        A row for each cell, initialiser and reason.
    """
    rows = [
        {"not measured": clean(record["job"]), "why": f"failed: {clean(record['error'], 400)}"}
        if record["kind"] == "failed"
        else {"not measured": _skipped_name(record), "why": clean(record["reason"], 400)}
        for record in skipped
    ]
    return [dict(row) for row in dict.fromkeys(tuple(row.items()) for row in rows)]


def _skipped_name(record: Record) -> str:
    return ", ".join(clean(record[field]) for field in ("cell", "initializer", "run") if field in record)
