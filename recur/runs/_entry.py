"""An own experiment: from Python, as a script with flags, and as a sweep over options."""

import dataclasses
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NoReturn

from recur.runs import _compare, _config, _main, _run
from recur.runs._config import RunConfig
from recur.runs._problem import Problem

Pose = Callable[[Any], Problem]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Options of an experiment, each of them a flag; a subclass adds its own with `option`.

    ``cell`` is a name of `recur.cells.CELLS`, several of them with commas, ``module:factory``, ``file.py:factory``, or
    a `recur.cells.Cell`. `make_cell` returns it.

    Raises:
        ValueError: A value out of its range, or an unknown cell; the nearest known name is told.
        TypeError: A value of another type than its default.
    """


def run(config: RunConfig, problem: Pose, *, name: str | None = None) -> dict[str, Any]:
    """Trains an experiment in its folder, and returns the summary that it also writes.

    A run that is found in the folder goes on, and ends as if it had never been stopped. ``config.workdir`` then holds
    ``config.json``, ``history.csv`` and ``history.jsonl``, ``summary.json``, pictures, ``index.html`` and
    ``checkpoints/``.

    Args:
        config: The options.
        problem: ``problem(config) -> Problem``: model, loss and data for these options.
        name: Of the experiment; by default that of the module that `problem` is defined in.

    Returns:
        ``{"experiment", "metrics": {NAME: {"median", "min", "max", "values"}}, "wall_s", "config"}``.

    Raises:
        ValueError: A value or file that does not fit, or another run in the folder.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
    """
    if not isinstance(config, RunConfig):
        raise TypeError(f"config: expected a recur.runs.Config, got {type(config).__name__}")
    return _run.run(name or _name(problem), config, _checked(problem))


def main(config: type[RunConfig], problem: Pose, *, name: str | None = None) -> NoReturn:
    """Makes a script of an experiment; call it under ``if __name__ == "__main__"``.

    Every option is a flag, ``--help`` lists them. The process ends with exit code 0; with 2 and one line for a wrong
    flag, value or file that recur refuses; with 130 for Ctrl-C, after a checkpoint. An error of your own code keeps its
    traceback.

    Args:
        config: The class of the options.
        problem: As for `run`.
        name: As for `run`.
    """
    _config.define_flags(config)
    _main.run(lambda argv: run(_config.from_flags(config), problem, name=name))


def sweep(
    problem: Pose,
    config: RunConfig,
    grid: Mapping[str, Sequence[Any]],
    workdir: str | Path,
    *,
    executor: Executor | None = None,
    name: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Runs an experiment for every combination of some options, each in a folder of its own, and compares them.

    Settings run one after the other, or as jobs of an executor. A sweep that is stopped goes on with what is missing.

    Args:
        problem: As for `run`; with an executor of processes, a function of a module that they can import.
        config: The other options.
        grid: Values by option.
        workdir: Folder of the sweep; ``index.html`` in it compares the runs.
        executor: Any `concurrent.futures.Executor`, or what has its ``submit``.
        name: As for `run`.

    Returns:
        Summary by setting, as ``"learning_rate=0.01,cell=gru"``.

    Raises:
        ValueError: An unknown option, or one without values.
    """
    known = {field.name for field in dataclasses.fields(config)}
    for option, values in grid.items():
        if option not in known:
            raise ValueError(f"grid: expected options among {sorted(known)}, got {option!r}")
        if not values:
            raise ValueError(f"grid: expected at least one value of {option!r}, got none")
    root, jobs = Path(workdir), {}
    for values in itertools.product(*grid.values()):
        setting = dict(zip(grid, values, strict=True))
        label = ",".join(f"{option}={value}" for option, value in setting.items())
        own = dataclasses.replace(config, **setting, workdir=str(root / _run.label(label.replace(":", "_"))))
        jobs[label] = own
    options = {"name": name or _name(problem)}
    if executor is None:
        found = {label: run(own, problem, **options) for label, own in jobs.items()}
    else:
        futures = {label: executor.submit(run, own, problem, **options) for label, own in jobs.items()}
        found = {label: future.result() for label, future in futures.items()}
    _compare.compare({label: own.workdir for label, own in jobs.items()}, root)
    return found


def _checked(problem: Pose) -> Pose:
    def pose(config: Any) -> Problem:
        posed = problem(config)
        if not isinstance(posed, Problem):
            raise TypeError(
                f"problem: expected a function that returns a recur.runs.Problem, got {type(posed).__name__}"
            )
        return posed

    return pose


def _name(problem: Pose) -> str:
    module = getattr(problem, "__module__", None) or "run"
    if module == "__main__":
        return Path(sys.argv[0]).stem or "run"
    return module.rpartition(".")[2]
