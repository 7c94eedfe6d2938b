"""The tables of the literature and of the oracle scorecard."""

from collections.abc import Mapping, Sequence
from typing import Any

from recur.report._series import clean
from recur.report._words import few

Record = Mapping[str, Any]

LITERATURE = (
    "Ours beside published, each with its budget. A baseline is worth what its budget is: the same plain LSTM on "
    "sequential MNIST was published with 24.1\u00a0% (RIN, Hu et al. 2018: RMSprop at 1e-6), 87.2\u00a0% (TCN, Bai "
    "et al. 2018), 91.0 ± 4.5\u00a0% (Skip RNN, Campos et al. 2018: 600 epochs) and 98.9\u00a0% (BN-LSTM, Cooijmans "
    "et al. 2017: recurrent matrix started as the identity). Where more than the budget differs, a column says so."
)
_CHECK = ("name", "cell", "engine", "expected", "measured", "tolerance", "note")


def literature_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Makes the rows of the literature table.

    Args:
        records: of kind "literature".

    Returns:
        One row a record, for `html_table` and `markdown_table`; what we did not measure is a dash.
    """
    runs = any("run" in record for record in records)
    return [
        {
            "task": record["task"],
            "cell": record["cell"],
            "metric": record["metric"],
            **({"run": record.get("run")} if runs else {}),
            "published": record["published"],
            "ours": record.get("ours"),
            "differs": record.get("differs"),
            "published budget": record["budget"],
            "our budget": record.get("ours_budget"),
            "source": record["source"],
        }
        for record in records
    ]


def check_tables(records: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
    """Makes the tables of the scorecard.

    Args:
        records: of kind "check".

    Returns:
        Caption to rows: how many pass in each group, then all checks by group. What failed comes first.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        name = ", ".join(str(record[key]) for key in ("group", "run") if key in record)
        groups.setdefault(clean(name), []).append(record)
    ordered = sorted(groups.items(), key=lambda group: all(record["passed"] for record in group[1]))
    counts = [
        {"group": name, "passed": sum(record["passed"] for record in group), "of": len(group)}
        for name, group in ordered
    ]
    shown = [key for key in _CHECK if any(record.get(key) is not None for record in records)]
    rows = [
        {"group": name, **{key: record.get(key) for key in shown}, "passed": "yes" if record["passed"] else "NO"}
        for name, group in ordered
        for record in group
    ]
    rows.sort(key=lambda row: row["passed"] == "yes")
    return {"Checks by group.": counts, "All checks: expected, measured, and the tolerance that rounding allows.": rows}


def passed_of(records: Sequence[Record]) -> str:
    """Counts the checks that pass.

    Args:
        records: of kind "check".

    Returns:
        "12 of 13 checks pass".
    """
    return f"{sum(record['passed'] for record in records)} of {len(records)} checks pass"


def check_sentences(records: Sequence[Record]) -> list[str]:
    """Says in words how the scorecard came out.

    Args:
        records: of kind "check".

    Returns:
        The count, and the failed checks by name.
    """
    failed = [
        f"FAILED: {clean(record['group'])}, {clean(record['name'])}" for record in records if not record["passed"]
    ]
    return [f"{passed_of(records)} on this device", *few(failed)]
