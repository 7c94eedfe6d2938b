"""Several runs on one page."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recur.report._gradients import LEAD, TITLE, write_report
from recur.report._records import read_jsonl
from recur.report._series import clean, distinct

Record = Mapping[str, Any]

# Facts of a run that always differ and decide nothing.
_INCIDENTAL = ("kind", "run", "config", "versions", "created", "wall_s")


def compare_pages(run_dirs: Sequence[str | os.PathLike], out_dir: str | os.PathLike) -> Path:
    """Writes the gradient-flow report of several runs together, from their records alone.

    Every plot shows the curves of all runs: a colour is a cell, a dash is a run, and a run goes by the name of its
    folder. A table says which settings differ. Leaves the same files as `gradient_page`.

    Args:
        run_dirs: folders that hold `records.jsonl`, at least two.
        out_dir: the folder of the page; made if it is missing.

    Returns:
        The path of `index.html`.

    Raises:
        FileNotFoundError: a folder has no records.
        ValueError: fewer than two folders, one named twice, or records that make no page.
    """
    folders = [Path(folder) for folder in run_dirs]
    if len(folders) < 2 or len({folder.resolve() for folder in folders}) < len(folders):
        named = ", ".join(map(str, folders)) or "none"
        raise ValueError(f"compare: expected at least two distinct folders, got {named}; name runs by their folders")
    names = distinct(_run_names(folders))
    runs = {name: read_jsonl(folder / "records.jsonl") for name, folder in zip(names, folders, strict=True)}
    records = [{**record, "run": name} for name, run in runs.items() for record in run]
    title = f"{TITLE}: {len(runs)} runs compared"
    lead = f"{LEAD} Runs: {', '.join(map(clean, names))}. A colour is a cell, a dash is a run."
    return write_report(records, Path(out_dir), title, lead, _differences(runs))


def _run_names(folders: Sequence[Path]) -> list[str]:
    """Names runs by as many last parts of their paths as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    count = next(n for n in range(1, max(map(len, parts)) + 1) if len({part[-n:] for part in parts}) == len(parts))
    return ["/".join(part[-count:]) for part in parts]


def _differences(runs: Mapping[str, Sequence[Record]]) -> list[dict[str, Any]]:
    """Lists the settings that are not the same in all runs, one row each, one column a run."""
    facts = {name: _flat(next((record for record in run if record["kind"] == "run"), {})) for name, run in runs.items()}
    settings = dict.fromkeys(setting for fact in facts.values() for setting in fact)
    return [
        {"setting": setting, **{_column(name): facts[name].get(setting) for name in facts}}
        for setting in settings
        if len({fact.get(setting) for fact in facts.values()}) > 1
    ]


def _flat(run: Record) -> dict[str, str]:
    facts = {key: value for key, value in run.items() if key not in _INCIDENTAL}
    facts |= {f"version of {key}": value for key, value in (run.get("versions") or {}).items()}
    facts |= run.get("config") or {}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


def _column(run: str) -> str:
    return "setting (run)" if run == "setting" else clean(run)
