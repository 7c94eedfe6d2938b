"""Runs side by side: losses overlaid, the options that differ, metrics with their seeds."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from recur import report


def compare(folders: Mapping[str, str | Path], out: str | Path) -> Path:
    """Writes a page that compares the runs in some folders.

    Args:
        folders: Folder of each run, by the name to show.
        out: Folder of the page.

    Returns:
        The path of the page.

    Raises:
        ValueError: No run, or a folder without a finished one.
    """
    if not folders:
        raise ValueError("folders: expected at least one run, got none")
    runs = {name: _read(name, Path(folder)) for name, folder in folders.items()}
    page = report.Page("Runs compared", f"{len(runs)} runs: {', '.join(runs)}")
    options = sorted({option for run in runs.values() for option in run["summary"]["config"]})
    differ = [
        option
        for option in options
        if option != "workdir" and len({str(run["summary"]["config"].get(option)) for run in runs.values()}) > 1
    ]
    page.heading("Options that differ")
    rows = [{"run": name, **{o: str(run["summary"]["config"].get(o)) for o in differ}} for name, run in runs.items()]
    page.table(rows)
    page.heading("Numbers")
    page.table(
        [
            {"run": name, "metric": metric, "n": len(m["values"]), **{key: m[key] for key in ("median", "min", "max")}}
            for name, run in runs.items()
            for metric, m in run["summary"]["metrics"].items()
        ]
    )
    for metric in ("val_loss", "train_loss"):
        curves = {name: _curve(run["history"], metric) for name, run in runs.items() if _has(run["history"], metric)}
        if curves:
            page.heading(f"{metric} by step")
            positive = all((values > 0).all() for _, values in curves.values())
            style = {"x_label": "step", "y_label": metric, "y_scale": "log" if positive else "linear"}
            page.figure(report.to_svg(report.loss_curves(curves, title=metric, subtitle="", **style)))
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    page.write(target / "index.html")
    return target / "index.html"


def _read(name: str, folder: Path) -> dict[str, Any]:
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        history = report.read_jsonl(folder / "history.jsonl") if (folder / "history.jsonl").exists() else []
        summary["metrics"], summary["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"folders: expected the folder of a finished run for {name!r}, got {str(folder)!r} ({error!r})"
        ) from None
    return {"summary": summary, "history": history}


def _has(history: list[dict[str, Any]], metric: str) -> bool:
    return bool(history) and metric in history[0]


def _curve(history: list[dict[str, Any]], metric: str) -> tuple[list[float], np.ndarray]:
    return [row["step"] for row in history], np.asarray([row[metric] for row in history], np.float64).T


USAGE = """usage: recur compare FOLDER FOLDER ... [--out=FOLDER]

Writes a page that compares finished runs: losses overlaid, options that differ, metrics with their seeds."""


def main(argv: Sequence[str]) -> int:
    """`recur compare`: returns 0, or 2 for a folder without a run."""
    values = flags.FlagValues()
    flags.DEFINE_string("out", "runs/compared", "Folder of the page.", flag_values=values)
    if {"-h", "--help"} & set(argv):
        print(f"{USAGE}\n{values.get_help()}")
        return 0
    try:
        folders = values(["recur compare", *argv])[1:]
        names = [Path(folder).name for folder in folders]
        shown = folders if len(set(names)) < len(names) else names
        print(compare(dict(zip(shown, folders, strict=True)), values.out))
    except (TypeError, ValueError, flags.Error) as error:
        print(f"recur compare: {error}", file=sys.stderr)
        return 2
    return 0
