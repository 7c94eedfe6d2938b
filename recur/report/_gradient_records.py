"""The records of a gradient-norm run: looked at, sorted, and laid out as rows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recur.report._series import name_of

Record = Mapping[str, Any]

_NEEDED = {
    "lag_curve": ("quantity", "cell", "length", "lag_steps", "ln_median", "ln_p10", "ln_p90"),
    "parameter_norm": ("tensor", "cell", "length", "ln_median", "ln_p10", "ln_p90"),
    "summary": ("cell", "length", "verdict"),
    "closed_form": ("label", "lag_steps", "ln_norm"),
    "run": (),
}
_MEASURED = ("lag_curve", "parameter_norm", "summary")
_RESULTS = ("ln_", "lag_steps", "rate_", "half_life_", "horizon_", "verdict")


def by_kind(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Sorts records by kind, after a look at each of them.

    Args:
        records: plain records, as `read_jsonl` gives them.

    Returns:
        Kind to its records, in their order; every kind of the report is there, and the others that came.

    Raises:
        ValueError: a record lacks a field, its lists differ in length, it measures what another one did, or there is
            no lag curve or no summary.
    """
    kinds: dict[str, list[Record]] = {kind: [] for kind in _NEEDED}
    seen: dict[str, int] = {}
    for number, record in enumerate(records, start=1):
        kind = str(record.get("kind"))
        if missing := [key for key in _NEEDED.get(kind, ()) if key not in record]:
            raise ValueError(f"record {number}: a {kind} needs {', '.join(missing)}; write these fields")
        if kind in ("lag_curve", "closed_form"):
            sizes = {key: len(value) for key, value in record.items() if isinstance(value, list)}
            if len(set(sizes.values())) != 1 or 0 in sizes.values():
                raise ValueError(f"record {number}: expected lists of one length, got {sizes}; write a value a lag")
        if kind in _MEASURED:
            identity = repr(sorted(item for item in record.items() if not item[0].startswith(_RESULTS)))
            if (first := seen.setdefault(identity, number)) != number:
                raise ValueError(f"record {number}: measures the same as record {first}; keep one run a file")
        kinds.setdefault(kind, []).append(record)
    for kind in ("summary", "lag_curve"):
        if not kinds[kind]:
            raise ValueError(f"records: expected some of kind {kind!r}, got none; is this a gradient-norm run?")
    return kinds


def group_by_name(records: Iterable[Record], fields: Sequence[str]) -> dict[str, list[Record]]:
    """Groups records by name, each group sorted by sequence length.

    Args:
        records: records of one kind.
        fields: the fields that make up the name.

    Returns:
        Name to its records, shortest sequence first; names in the order first seen.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(name_of(record, fields), []).append(record)
    return {name: sorted(group, key=lambda record: record["length"]) for name, group in groups.items()}


def flat_row(record: Record) -> dict[str, Any]:
    """Flattens a record for a CSV file.

    Args:
        record: any record without lists.

    Returns:
        The record without its kind; an entry {"median": ...} of `name` becomes `name_median`, and so on.
    """
    row = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            row |= {f"{key}_{part}": entry for part, entry in value.items()}
        elif key != "kind":
            row[key] = value
    return row


def lag_rows(record: Record) -> list[dict[str, Any]]:
    """Makes one row of each lag of a lag curve, for a CSV file.

    Args:
        record: a record of kind "lag_curve".

    Returns:
        [L] rows: everything the record says of itself, and the values at one lag.
    """
    columns = [key for key, value in record.items() if isinstance(value, list)]
    common = {key: value for key, value in record.items() if key not in columns and key != "kind"}
    rows = zip(*(record[key] for key in columns), strict=True)
    return [common | dict(zip(columns, values, strict=True)) for values in rows]


def run_facts(kinds: Mapping[str, Sequence[Record]]) -> dict[str, list[dict[str, Any]]]:
    """Makes the tables that say how a run was made.

    Args:
        kinds: what `by_kind` gives.

    Returns:
        Caption to rows: when, where and how long; settings; versions. Records that the report does not show are
        counted.
    """
    facts: dict[str, list[dict[str, Any]]] = {}
    for number, run in enumerate(kinds["run"], start=1):
        suffix = f" {number}" if len(kinds["run"]) > 1 else ""
        plain = {key: value for key, value in run.items() if key not in ("kind", "config", "versions")}
        facts[f"Run{suffix}"] = _pairs(plain)
        facts[f"Settings{suffix}"] = _pairs(run.get("config") or {})
        facts[f"Versions{suffix}"] = _pairs(run.get("versions") or {})
    others = {f"{kind} (not shown)": len(found) for kind, found in kinds.items() if kind not in _NEEDED}
    counts = {kind: len(kinds[kind]) for kind in _NEEDED if kinds[kind]}
    facts["Records"] = [{"kind": kind, "count": count} for kind, count in (counts | others).items()]
    return {caption: rows for caption, rows in facts.items() if rows}


def _pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "value": json.dumps(value) if isinstance(value, list | dict) else value}
        for name, value in values.items()
    ]
