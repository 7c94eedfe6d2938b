"""The folder of a run: who may train in it, what it says about itself, its summary."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments import _machine
from experiments._config import CellConfig
from recur import report

# May change when a run is continued: where it is, what is done beside it and at its end, and how long it goes on.
FREE = ("workdir", "eval_data", "resume", "checkpoint_every_s", "probe_every", "flow", "tensorboard", "patience")
MAY_GROW = ("epochs", "steps")


def open_folder(name: str, config: CellConfig) -> Path:
    """Makes the folder and writes ``config.json``, or checks that the run in it is the one asked for.

    Raises:
        ValueError: It holds another run, or one at all without `resume`, or cannot be made or written.
    """
    workdir = _machine.writable_folder("workdir", config.workdir)
    path = workdir / "config.json"
    values = {"experiment": name, **dataclasses.asdict(config)}
    if path.exists():
        _check_same_run(path, values, config)
    report.write_json(
        path,
        {
            "experiment": name,
            "config": dataclasses.asdict(config),
            "command": sys.orig_argv,
            **_machine.facts(),
            "seeds": [config.seed + index for index in range(config.seeds)],
        },
    )
    return workdir


def _check_same_run(path: Path, values: Mapping[str, Any], config: CellConfig) -> None:
    if not config.resume:
        raise ValueError(f"workdir: {path.parent} holds a run already; give another --workdir, or --resume to go on")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        before = {"experiment": stored["experiment"], **stored["config"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: holds no configuration of a run ({error!r}); give another --workdir") from None
    # Any other schedule depends on how long the run is, so that a longer one is another run from its first step.
    may_grow = MAY_GROW if values.get("schedule") == "constant" else ()
    free = [field.name for field in dataclasses.fields(config) if field.metadata["free"]]
    for key, value in values.items():
        if key not in (*FREE, *may_grow, *free) and before.get(key) != value:
            raise ValueError(
                f"{key}: the run in {path.parent} has {before.get(key)!r}, asked for is {value!r}; "
                "give another --workdir, or the same value"
            )
    for key in may_grow:
        if before.get(key, 0) > values[key]:
            raise ValueError(
                f"{key}: the run in {path.parent} was made for {before[key]}, asked for are {values[key]}; "
                "give another --workdir, or at least as many"
            )


def write_summary(
    workdir: Path, name: str, config: CellConfig, metrics: Mapping[str, Any], wall_s: float
) -> dict[str, Any]:
    """Writes ``summary.json`` and returns it; a metric is an array ``[S]``, or already summarised."""
    summary = {
        "experiment": name,
        "metrics": {key: value if isinstance(value, dict) else _spread(value) for key, value in metrics.items()},
        "wall_s": round(wall_s, 3),
        "config": dataclasses.asdict(config),
    }
    report.write_json(workdir / "summary.json", summary)
    return summary


def as_text(title: str, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the metrics as aligned lines."""
    width = max(map(len, metrics))
    lines = [
        f"  {key:{width}}  median {m['median']:.6g}   min {m['min']:.6g}   max {m['max']:.6g}   n {len(m['values'])}"
        for key, m in metrics.items()
    ]
    return "\n".join([title, *lines])


def _spread(values: np.ndarray) -> dict[str, Any]:
    values = np.asarray(values, np.float64)
    spread = {"median": float(np.median(values)), "min": float(values.min()), "max": float(values.max())}
    return {**spread, "values": values.tolist()}
