"""The page and the Markdown of `benchmarks.whole_run`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._speed_clock import quartiles
from recur import report

TITLE = "A whole run"
LEAD = (
    "experiments.multiplication with an LSTM: whole processes, compilation included, in turn on one machine; median "
    "and quartiles over the turns, ratios turn by turn. Absolute times mean nothing elsewhere."
)


def write(out: Path, run: Mapping[str, Any], records: Sequence[Mapping[str, Any]], reached: Sequence[dict]) -> None:
    """Writes whole_run.md and index.html, and prints the tables."""
    lead = f"{LEAD} {run['config']['epochs']} epochs; {run['device']}; load average {run['load']:.2f} at the start."
    page, lines = report.Page(TITLE, lead), [f"# {TITLE}\n", f"{lead}\n"]
    words = {True: "met", False: "NOT met", None: "not measured"}
    tables = {"Goals": [{**goal, "met": words[goal["met"]]} for goal in reached], "Times": _times(records)}
    for title, rows in tables.items():
        if rows:
            page.heading(title)
            page.table(rows)
            lines += [f"## {title}\n", report.markdown_table(rows)]
            print(f"\n{title}\n{report.markdown_table(rows)}", end="")
    report.write_text(out / "whole_run.md", "\n".join(lines))
    page.write(out / "index.html")


def _times(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for name in sorted({record["name"] for record in records}, reverse=True):
        mine = [record for record in records if record["name"] == name]
        rows.append(
            {
                "run": name,
                "process (s)": spread(quartiles(record["wall_s"] for record in mine)),
                "of which training (s)": spread(quartiles(record["train_s"] for record in mine)),
                "validation loss": float(np.median([record["val_loss"] for record in mine])),
                "test loss": float(np.median([record["test_loss"] for record in mine])),
                "runs": len(mine),
                "load": round(max(record["load"] for record in mine), 2),
            }
        )
    return rows


def spread(found: Mapping[str, float]) -> dict[str, Any]:
    """Returns median and quartiles with the words that a table shows."""
    return {**found, "text": "{median:.2f} ({p25:.2f} to {p75:.2f})".format(**found)}
