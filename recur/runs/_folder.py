"""The folder of a run: who may train in it, what it says about itself, its summary."""

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recur import report
from recur.runs import _machine
from recur.runs._config import CellConfig

# May change when a run is continued: where it is, what is done beside it and at its end, and how long it goes on.
FREE = ("workdir", "eval_data", "resume", "checkpoint_every_s", "probe_every", "flow", "tensorboard", "patience")
MAY_GROW = ("epochs", "steps")


def check_folder(name: str, config: CellConfig) -> Path:
    """Makes the folder, or checks that the run in it is the one asked for.

    Raises:
        ValueError: It holds another run, or one at all without `resume`, or cannot be made or written.
    """
    workdir = _machine.writable_folder("workdir", config.workdir)
    path = workdir / "config.json"
    if path.exists():
        _check_same_run(path, identity(name, config), config)
    return workdir


def identity(name: str, config: CellConfig) -> dict[str, Any]:
    """Returns what a run is: the experiment and every option."""
    return {"experiment": name, **config.options()}


def write_config(workdir: Path, name: str, config: CellConfig) -> None:
    """Writes ``config.json``: what the run is, and with what it is made."""
    report.write_json(
        workdir / "config.json",
        {
            "experiment": name,
            "config": config.options(),
            "command": sys.orig_argv,
            **_machine.facts(),
            "seeds": [config.seed + index for index in range(config.seeds)],
        },
    )


def _check_same_run(path: Path, values: Mapping[str, Any], config: CellConfig) -> None:
    if not config.resume:
        raise ValueError(f"workdir: {path.parent} holds a run already; give another --workdir, or --resume to go on")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        # Of an option that is younger than the run it has what was done before there was one.
        before = {"experiment": stored["experiment"], **stored["config"]}
        younger = [field for field in dataclasses.fields(config) if field.name not in before]
        before |= {field.name: _before_there_was(field, stored["config"]) for field in younger}
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
        if type(before[key]) is not type(values[key]):
            raise ValueError(f"{path}: {key}: expected a number, got {before[key]!r}; give another --workdir")
        if before[key] > values[key]:
            raise ValueError(
                f"{key}: the run in {path.parent} was made for {before[key]}, asked for are {values[key]}; "
                "give another --workdir, or at least as many"
            )


def _before_there_was(option: dataclasses.Field, stored: Mapping[str, Any]) -> Any:
    return option.metadata["before"](stored) if option.metadata["before"] else option.default


def write_summary(
    workdir: Path,
    name: str,
    config: CellConfig,
    metrics: Mapping[str, Any],
    wall_s: float,
    broken: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes ``summary.json`` and returns it.

    Args:
        workdir: Folder of the run.
        name: Of the experiment.
        config: Of the run.
        metrics: Arrays ``[S]``, or already summarised.
        wall_s: Seconds of training.
        broken: Seeds that stopped for numbers that were infinite or not a number, with the step; they are named in the
            summary, and median, lowest and highest are of the others.
    """
    sound = np.array([str(config.seed + index) not in (broken or {}) for index in range(config.seeds)])
    summary = {
        "experiment": name,
        "metrics": {key: value if isinstance(value, dict) else _spread(value, sound) for key, value in metrics.items()},
        "wall_s": round(wall_s, 3),
        "config": config.options(),
        **({"broken": dict(broken)} if broken else {}),
    }
    report.write_json(workdir / "summary.json", summary)
    return summary


def as_text(title: str, summary: Mapping[str, Any]) -> str:
    """Returns the metrics of a summary as aligned lines, and a line for each broken seed."""
    metrics, broken = summary["metrics"], summary.get("broken", {})
    width = max(map(len, metrics))
    lines = [
        f"  {key:{width}}  median {m['median']:.6g}   min {m['min']:.6g}   max {m['max']:.6g}   "
        f"n {len(m['values']) - len(broken)}"
        for key, m in metrics.items()
    ]
    return "\n".join([title, *lines, *(f"  {line}" for line in broken_lines(broken))])


def broken_lines(broken: Mapping[str, int]) -> list[str]:
    """Returns a line for each broken seed."""
    return [f"seed {seed} is broken: it stopped at step {step:,} and is left out" for seed, step in broken.items()]


def _spread(values: np.ndarray, sound: np.ndarray) -> dict[str, Any]:
    values = np.asarray(values, np.float64)
    own = values[sound]
    spread = {"median": float(np.median(own)), "min": float(own.min()), "max": float(own.max())}
    return {**spread, "values": values.tolist()}
