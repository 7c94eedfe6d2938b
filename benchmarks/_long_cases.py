"""One cell over one long sequence: the programs of its engines, and what they compute held against float64."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import recur
from benchmarks._speed_clock import Call
from benchmarks._speed_programs import planned_memory
from benchmarks._speed_rows import CELLS
from recur import cells, engines

MEASURES = ("forward", "gradients")
"""Outputs; gradients of their mean square to parameters and inputs."""

LONG_CELLS = ("min_gru", "diagonal_gru")
"""A step that is affine in the state, and one that is not and whose units see themselves alone."""


class Long(NamedTuple):
    """A cell, its parameters, and one sequence.

    Args:
        cell: The cell.
        params: Its parameters, float32.
        xs: The sequence ``[T, 1, X]``, float32.
    """

    cell: cells.Cell
    params: dict[str, Any]
    xs: Any


class Program(NamedTuple):
    """One of the `MEASURES` under one engine, ready to run.

    Args:
        call: Runs it once; see `_speed_clock.Call`.
        compile_s: Seconds until it could run.
        memory_bytes: What it plans to hold at its peak, arguments and results included.
    """

    call: Call
    compile_s: float
    memory_bytes: int | None


def make(cell: str, steps: int, hidden_size: int, input_size: int, seed: int) -> Long:
    """Draws parameters, and a sequence of normal numbers."""
    made = CELLS[cell](hidden_size)
    for_params, for_xs = jax.random.split(jax.random.key(seed))
    return Long(made, made.init(for_params, input_size), jax.random.normal(for_xs, (steps, 1, input_size)))


def fitting(cell: cells.Cell, max_iters: int) -> dict[str, engines.Engine]:
    """Returns the engines that run a cell, by name; the first is the one that others are compared with."""
    named = {
        "Scan": engines.Scan(),
        "Fused": engines.Fused(),
        "Fused(chunk=None)": engines.Fused(chunk=None),
        'Scan(remat="sqrt")': engines.Scan(remat="sqrt"),
        "Associative": engines.Associative(),
        "Newton": engines.Newton(max_iters=max_iters),
    }
    return {name: engine for name, engine in named.items() if not engine.refusal(cell)}


def compile_program(long: Long, engine: engines.Engine, measure: str) -> Program:
    """Compiles one of the `MEASURES`; a call of it returns ``(results, info)``."""
    function, arguments = _function(long.cell, engine, measure), (long.params, long.xs)
    started = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_s = time.perf_counter() - started
    return Program(lambda: jax.block_until_ready(compiled(*arguments)), compile_s, planned_memory(compiled, 1)[0])


def reference(long: Long, measure: str) -> list[np.ndarray]:
    """Returns the results under `recur.engines.Scan` in float64."""
    with jax.enable_x64(True):
        params, xs = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), np.float64), (long.params, long.xs))
        return _leaves(jax.jit(_function(long.cell, engines.Scan(), measure))(params, xs)[0])


def error(want: list[np.ndarray], results: Any) -> float:
    """Returns the largest difference from float64 of any array, relative to the largest entry of that array."""
    pairs = zip(_leaves(results), want, strict=True)
    # np.max, as max() would lose a NaN.
    return float(np.max([np.max(np.abs(got - true)) / np.max(np.abs(true)) for got, true in pairs]))


def tolerance(long: Long) -> float:
    """Returns the error that rounding explains: 16 float32 roundings times the root of the terms that are summed."""
    steps, _, inputs = long.xs.shape
    return 16 * 2.0**-23 * float(np.sqrt(steps + inputs + cells.output_size(long.cell)))


def memory_there() -> int:
    """Returns the bytes of memory that a program can have on this device."""
    told = jax.devices()[0].memory_stats() or {}
    return told.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def solver(info: engines.Info) -> Mapping[str, Any]:
    """Returns what a solver says of itself as plain numbers, None where nothing was solved."""
    told = {"iterations": info.iterations, "residual": info.residual, "converged": info.converged}
    return {name: None if value is None else np.asarray(value).item() for name, value in told.items()}


def _function(cell: cells.Cell, engine: engines.Engine, measure: str) -> Callable[[Any, Any], tuple[Any, Any]]:
    def forward(params: Any, xs: jax.Array) -> tuple[jax.Array, engines.Info]:
        run = recur.unroll(cell, params, xs, engine=engine)
        return run.outputs, run.info

    def objective(params: Any, xs: jax.Array) -> tuple[jax.Array, engines.Info]:
        outputs, info = forward(params, xs)
        return jnp.mean(outputs**2), info

    return forward if measure == "forward" else jax.grad(objective, (0, 1), has_aux=True)


def _leaves(results: Any) -> list[np.ndarray]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(results)]
