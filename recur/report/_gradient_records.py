"""The records of a gradient-norm run: looked at, sorted, and laid out as rows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recur.report._record_checks import is_unknown, problem_of
from recur.report._series import clean, name_of

Record = Mapping[str, Any]

_NEEDED = {
    "lag_curve": ("quantity", "cell", "length", "lag_steps", "ln_median", "ln_p10", "ln_p90"),
    "parameter_norm": ("tensor", "cell", "length", "ln_median", "ln_p10", "ln_p90"),
    "summary": ("cell", "length", "verdict"),
    "closed_form": ("label", "lag_steps", "ln_norm"),
    "run": (),
    "series": ("plot", "label", "x", "median"),
    "matrix": ("plot", "label", "x", "y", "values"),
    "points": ("plot", "label", "x", "y", "names"),
    "number": ("plot", "name", "value"),
    "skipped": ("plot", "cell", "reason"),
    "literature": ("source", "task", "cell", "metric", "published", "budget"),
    "check": ("group", "name", "expected", "measured", "tolerance", "passed"),
    "done": (),
    "failed": ("job", "error"),
}
_MEASURED = ("lag_curve", "parameter_norm", "summary", "series", "matrix", "points")
_SHOWN = ("lag_curve", "parameter_norm", "summary", "series", "matrix", "points", "literature", "check")
_RESULTS = ("ln_", "lag_steps", "rate_", "half_life_", "horizon_", "verdict", "lyapunov_", "condition_")
_LISTS = ("x", "y", "median", "p10", "p90", "values", "names")


def by_kind(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Sorts records by kind, after a look at each of them.

    Args:
        records: plain records, as `read_jsonl` gives them.

    Returns:
        Kind to its records, in their order; every kind of the report is there, and the others that came.

    Raises:
        ValueError: a record lacks a field, its lists differ in length, it measures what another one did, or there is
            nothing to show.
    """
    kinds: dict[str, list[Record]] = {kind: [] for kind in _NEEDED}
    seen: dict[str, int] = {}
    for number, record in enumerate(records, start=1):
        if not isinstance(record, Mapping) or not isinstance(record.get("kind"), str):
            raise ValueError(f"record {number}: expected a record with the field kind, a word, got {str(record)[:60]}")
        kind = record["kind"]
        if missing := [key for key in _NEEDED.get(kind, ()) if key not in record]:
            raise ValueError(f"record {number}: a {kind} needs {', '.join(missing)}; write these fields")
        if kind in ("lag_curve", "closed_form"):
            sizes = {key: len(value) for key, value in record.items() if isinstance(value, list)}
            if len(set(sizes.values())) != 1 or 0 in sizes.values():
                raise ValueError(f"record {number}: expected lists of one length, got {sizes}; write a value a lag")
        if nested := _nested(record):
            raise ValueError(f"record {number}: expected single values of {nested}; make a record of each entry")
        if problem := problem_of(record):
            raise ValueError(f"record {number}: {problem}")
        # A theory may be told by several parts of a benchmark; it is drawn once.
        if kind in _MEASURED and not record.get("reference"):
            told = (item for item in record.items() if not item[0].startswith(_RESULTS) and item[0] not in _LISTS)
            identity = repr(sorted(told))
            if (first := seen.setdefault(identity, number)) != number:
                raise ValueError(f"record {number}: measures the same as record {first}; keep one run a file")
        kinds.setdefault(kind, []).append(record)
    if not any(kinds[kind] for kind in (*_SHOWN, "skipped", "failed")):
        raise ValueError(f"records: expected some of kinds {', '.join(_SHOWN)}, got none; is this a gradient-norm run?")
    return kinds


def _nested(record: Record) -> str:
    """Names a field that a table of such records has no cell for, '' if there is none."""
    if record["kind"] == "lag_curve":
        row = {key: value for key, value in record.items() if not isinstance(value, list)}
    else:
        row = flat_row(record) if record["kind"] in ("summary", "parameter_norm") else {}
    return next((key for key, value in row.items() if isinstance(value, list | Mapping)), "")


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
        suffix = f" {run.get('run', number)}" if len(kinds["run"]) > 1 else ""
        plain = {key: value for key, value in run.items() if key not in ("kind", "run", "config", "versions")}
        facts[f"Run{suffix}"] = _pairs(plain)
        facts[f"Settings{suffix}"] = _pairs(run.get("config") or {})
        facts[f"Versions{suffix}"] = _pairs(run.get("versions") or {})
    counts: dict[str, int] = {}
    for record in (record for found in kinds.values() for record in found if record["kind"] != "done"):
        kind = clean(record["kind"])
        if is_unknown(record):
            kind += f" of plot {clean(record['plot'])} (not shown)"
        elif kind not in _NEEDED:
            kind += " (not shown)"
        counts[kind] = counts.get(kind, 0) + 1
    facts["Records"] = [{"kind": kind, "count": count} for kind, count in counts.items()]
    return {caption: rows for caption, rows in facts.items() if rows}


def series_rows(record: Record) -> list[dict[str, Any]]:
    """Makes one row of each point of a series, a scatter or a heatmap, for a CSV file.

    Args:
        record: a record of kind "series", "points" or "matrix".

    Returns:
        Rows: everything the record says of itself, and the values at one point.
    """
    if record["kind"] == "points":
        record = {("name" if key == "names" else key): value for key, value in record.items()}
    if record["kind"] != "matrix":
        return lag_rows(record)
    common = {key: value for key, value in record.items() if key not in ("kind", "x", "y", "values")}
    return [
        common | {"x": x, "y": y, "value": value}
        for y, row in zip(record["y"], record["values"], strict=True)
        for x, value in zip(record["x"], row, strict=True)
    ]


def _pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "value": json.dumps(value) if isinstance(value, list | dict) else value}
        for name, value in values.items()
    ]
