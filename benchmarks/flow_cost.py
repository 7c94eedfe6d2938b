"""Measures what gradient-flow measurements cost on this machine, and holds them against goals for two CPU cores.

    python -m benchmarks.flow_cost
    python -m benchmarks.flow_cost --only=lag_curves,memory --repeats=5

Run times are the best of several calls of a compiled program; compiling is told apart. The load average says whether
something else was running: on a machine that is not idle the goals say nothing.
"""

import dataclasses
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags

from recur import cells, flow, report
from recur.runs import _machine, _main

FEATURES = 32
LAG_CURVES = ("elman", "gru", "lstm")


@dataclasses.dataclass(frozen=True)
class Task:
    """A measurement with its cost.

    Args:
        name: What is measured.
        function: To be compiled; of `arguments` alone.
        arguments: Arrays.
        goal_s: Seconds that a call may take; None without a goal.
    """

    name: str
    function: Callable[..., Any]
    arguments: Sequence[Any]
    goal_s: float | None = None


def tasks() -> dict[str, Iterator[Task]]:
    """Returns the measurements by the name that --only takes; goals of one name are of its tasks together."""
    return {
        "lag_curves": _lag_curves(),
        "top_exponents": _exponents("8 largest exponents, lstm, H = 256, T = 5,000", 256, 5000, 8, 2.0),
        "spectrum": _exponents("all 128 exponents, lstm, H = 64, T = 1,000", 64, 1000, 128, 10.0),
        "long_lag": _long_lag(),
        "memory": _memory(),
    }


def _draw(cell: cells.Cell, seeds: int, steps: int) -> tuple[Any, jax.Array]:
    for_params, for_inputs = jax.random.split(jax.random.key(0))
    drawn = [cell.init(key, FEATURES) for key in jax.random.split(for_params, seeds)]
    xs = jax.random.normal(for_inputs, (steps, seeds, FEATURES))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn), xs


def _adjoint(cell: cells.Cell) -> Callable[..., jax.Array]:
    return jax.vmap(lambda params, xs: flow.adjoint_log_norms(cell, params, xs), in_axes=(0, 1), out_axes=1)


def _lag_curves() -> Iterator[Task]:
    for name in LAG_CURVES:
        cell = cells.CELLS[name](64)
        told = f"lag curve, {name}, H = 64, T = 10,000, 16 seeds"
        yield Task(told, _adjoint(cell), _draw(cell, 16, 10_000), 6.0)


def _exponents(name: str, hidden_size: int, steps: int, k: int, goal_s: float) -> Iterator[Task]:
    cell = cells.lstm(hidden_size)
    params, xs = _draw(cell, 1, steps)
    params = jax.tree.map(lambda leaf: leaf[0], params)
    yield Task(name, lambda p, x: flow.lyapunov_spectrum(cell, p, x, k=k, warmup=100), (params, xs[:, 0]), goal_s)


def _long_lag() -> Iterator[Task]:
    cell = cells.elman(16)
    yield Task("lag curve, elman, H = 16, T = 1,000,000", _adjoint(cell), _draw(cell, 1, 1_000_000))


def _memory() -> Iterator[Task]:
    """Each length is four times the one before: so must be the memory, less what any program takes."""
    cell = cells.lstm(64)
    for steps in (5_000, 20_000, 80_000):
        yield Task(f"lag curve, lstm, H = 64, T = {steps:,}, 4 seeds", _adjoint(cell), _draw(cell, 4, steps))


def measure(task: Task, repeats: int) -> dict[str, Any]:
    """Compiles and runs a task.

    Returns:
        Seconds to compile, of the fastest run, memory that the program plans for, and of the whole process so far.
    """
    started = time.perf_counter()
    program = jax.jit(task.function).lower(*task.arguments).compile()
    compiled = time.perf_counter() - started
    walls = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(program(*task.arguments))
        walls.append(time.perf_counter() - started)
    planned = program.memory_analysis()
    sizes = [getattr(planned, f"{part}_size_in_bytes", 0) for part in ("argument", "output", "temp")]
    return {
        "measurement": task.name,
        "compile (s)": round(compiled, 2),
        "run (s)": round(min(walls), 2),
        "program (MiB)": round(sum(sizes) / 2**20, 1),
        "process peak (MiB)": _peak_mib(),
    }


def run(names: Sequence[str], repeats: int) -> None:
    """Measures, and prints a table and what became of the goals."""
    known = tasks()
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"only: expected names among {list(known)}, got {unknown}")
    print(f"{_machine.facts()['device']}; load average of the last minute: {_load()}", flush=True)
    rows, goals = [], []
    for name in known:
        if name not in (names or known):
            continue
        todo = list(known[name])
        found = [measure(task, repeats) for task in todo]
        rows += found
        if todo[0].goal_s is not None:
            total = sum(row["run (s)"] for row in found)
            met = "met" if total < todo[0].goal_s else "NOT met"
            goals.append(f"{name}: {total:.2f} s, goal {todo[0].goal_s:g} s on 2 idle cores: {met}")
    print(report.markdown_table(rows))
    print("\n".join([*goals, f"load average of the last minute: {_load()}"]))


def _peak_mib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def _load() -> str:
    return f"{os.getloadavg()[0]:.2f}"


def main(argv: Sequence[str]) -> None:
    del argv
    run(flags.FLAGS.only, flags.FLAGS.repeats)


if __name__ == "__main__":
    # Under the guard, for other scripts have flags of the same names.
    flags.DEFINE_list("only", [], "Measurements to run, by default all: lag_curves, top_exponents, spectrum, ...")
    flags.DEFINE_integer("repeats", 3, "Runs, of which the fastest counts.", lower_bound=1)
    _main.run(main)
