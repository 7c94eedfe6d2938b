"""The engine that chooses."""

import dataclasses
import functools
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur._types import State
from recur.cells._base import Cell
from recur.engines._associative import Associative
from recur.engines._base import Engine, Info, Problem
from recur.engines._fused import Fused
from recur.engines._scan import Scan

PARALLEL_FROM_STEPS = 32
PARITY_TOLERANCE = 1e-4
RUNS_ONCE = {"xla_backend_optimization_level": 0}
"""How a CPU's compiler is told that its own time is what counts."""


@dataclasses.dataclass(frozen=True)
class Auto:
    """Chooses an engine by the first rule that fits; says which and why in ``info``, and once in the log.

    1. A cell declared unit by unit, on a CPU, with a state of float32: `Fused`, one compiled kernel for all steps.
    2. A cell whose step is affine in the state, on an accelerator, for 32 steps or more: `Associative`, which needs
       O(log T) steps where each step costs a kernel launch. On a CPU nothing is gained: the steps of all units fill it.
    3. Any other case: `Scan`, which runs every cell exactly on every platform.

    `Newton` is never chosen: whether it pays depends on how chaotic the network is, which no shape tells. Nor is
    `Cudnn`, which takes no mask, no vmap and no forward mode: whether a caller needs them is not known here.

    An engine other than `Scan` is chosen only where it passes parity: once a process, it runs the cell on eight steps
    of noise on that platform, with parameters as ``cell.init`` draws them, and must agree with `Scan` in values and
    gradients, each array relative to its largest entry. Whatever stops it, an error of the user's function or of a
    compiler, is told in ``info.reason``, and `Scan` runs the cell.
    """

    def refusal(self, cell: Cell) -> str:
        """Says nothing: every cell has an engine."""
        del cell
        return ""

    def run(self, cell: Cell, problem: Problem) -> tuple[State, Info]:
        """Runs the cell with the engine chosen (see `Engine.run`)."""
        engine, reason = choose(cell, problem.length, jax.default_backend(), problem.dtype)
        _log(cell, engine, reason)
        states, info = engine.run(cell, problem)
        return states, dataclasses.replace(info, reason=f"auto: {reason}")


def choose(cell: Cell, steps: int, platform: str, dtype: Any = jnp.float32) -> tuple[Engine, str]:
    """Returns the engine for a run of so many steps on a platform, with a state of a dtype, and the reason."""
    if platform == "cpu" and dtype == jnp.float32 and not Fused().refusal(cell):
        engine, reason = Fused(), "the step is declared unit by unit, and one kernel runs all steps on a cpu"
    elif platform != "cpu" and steps >= PARALLEL_FROM_STEPS and not Associative().refusal(cell):
        engine, reason = (
            Associative(),
            f"the step is affine in the state, and {platform} runs {steps} steps in parallel",
        )
    else:
        return Scan(), "runs every cell exactly"
    if jax.config.jax_disable_jit:
        return Scan(), "nothing is compiled while jax_disable_jit is set"
    fault = disagreement(cell, engine, platform)
    return (Scan(), fault) if fault else (engine, reason)


@functools.lru_cache(maxsize=256)
def disagreement(cell: Cell, engine: Engine, platform: str) -> str:
    """Says why the engine does not give values and gradients of `Scan` for this cell here; '' if it does.

    On eight steps of noise, with the cell's own number of units and its own parameters: those of another number, or
    noise in their place, may be what its step does not take.
    """
    name = type(engine).__name__
    try:
        agrees = _agrees(cell, engine)
    except Exception as error:  # of the user's function, of a compiler: Scan may still run the cell
        words = str(error).strip().splitlines() or [""]
        return f"{name} cannot run it on this {platform} ({type(error).__name__}: {words[0][:200]})"
    return "" if agrees else f"{name} does not agree with Scan on this {platform}"


def _agrees(cell: Cell, engine: Engine) -> bool:
    xs = np.random.default_rng(0).standard_normal((8, 3, 2)).astype(np.float32)
    # What is being traced around it sees nothing of the draw.
    with jax.ensure_compile_time_eval():
        params = cell.init(jax.random.key(0), 2)
        start = cell.initial_state((3,))

    def loss(engine: Engine, start: State, params: dict, xs: jax.Array) -> jax.Array:
        states, _ = engine.run(cell, Problem(params, xs, start, start, None, None))
        return sum(jnp.mean(jnp.square(leaf)) for leaf in jax.tree.leaves(states))

    def close(a: jax.Array, b: jax.Array) -> jax.Array:
        # Where noise is outside of what a function takes, there is nothing to compare.
        finite = jnp.isfinite(b)
        largest = jnp.max(jnp.where(finite, jnp.abs(b), 0.0), initial=1e-3)
        return jnp.all(jnp.where(finite, jnp.abs(a - b), 0.0) <= PARITY_TOLERANCE * largest)

    def compare(*problem: Any) -> jax.Array:
        found, wanted = (jax.value_and_grad(functools.partial(loss, e), (1, 2))(*problem) for e in (engine, Scan()))
        return jnp.stack(jax.tree.leaves(jax.tree.map(close, found, wanted))).all()

    # Compiled as a whole, and called as it is: what is being traced around it sees nothing of it.
    options = RUNS_ONCE if jax.default_backend() == "cpu" else None
    return bool(jax.jit(compare).lower(start, params, xs).compile(options)(start, params, xs))


@functools.lru_cache(maxsize=256)
def _log(cell: Cell, engine: Engine, reason: str) -> None:
    logging.getLogger("recur").info("%r runs on %r: %s", cell, engine, reason)
