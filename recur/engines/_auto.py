"""The engine that chooses."""

import dataclasses
import functools
import logging

import jax
import jax.numpy as jnp

from recur._types import State
from recur.cells._base import Cell
from recur.engines._associative import Associative
from recur.engines._base import Engine, Info, Problem
from recur.engines._scan import Scan

PARALLEL_FROM_STEPS = 32
PARITY_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Auto:
    """Chooses an engine by the first rule that fits; says which and why in ``info``, and once in the log.

    1. A cell whose step is affine in the state, on an accelerator, for 32 steps or more: `Associative`, which needs
       O(log T) steps where each step costs a kernel launch. On a CPU nothing is gained: the steps of all units fill it.
    2. Any other case: `Scan`, which runs every cell exactly on every platform.

    `Newton` is never chosen: whether it pays depends on how chaotic the network is, which no shape tells. Nor is
    `Cudnn`, which takes no mask, no vmap and no forward mode: whether a caller needs them is not known here.

    An engine other than `Scan` is chosen only where it passes parity: once a process, it runs the cell on eight steps
    of noise on that platform, and must agree with `Scan` in values and gradients.
    """

    def refusal(self, cell: Cell) -> str:
        """Says nothing: every cell has an engine."""
        del cell
        return ""

    def run(self, cell: Cell, problem: Problem, *, reverse: bool) -> tuple[State, State, Info]:
        """Runs the cell with the engine chosen (see `Engine.run`)."""
        engine, reason = choose(cell, len(problem.xs), jax.default_backend())
        _log(cell, engine, reason)
        states, final, info = engine.run(cell, problem, reverse=reverse)
        return states, final, dataclasses.replace(info, reason=f"auto: {reason}")


def choose(cell: Cell, steps: int, platform: str) -> tuple[Engine, str]:
    """Returns the engine for a run of so many steps on a platform, and the reason."""
    if platform == "cpu" or steps < PARALLEL_FROM_STEPS or Associative().refusal(cell):
        return Scan(), "runs every cell exactly"
    if not agrees(cell, Associative()):
        return Scan(), f"Associative does not agree with Scan on this {platform}"
    return Associative(), f"the step is affine in the state, and {platform} runs {steps} steps in parallel"


@functools.cache
def agrees(cell: Cell, engine: Engine) -> bool:
    """Whether the engine gives values and gradients of `Scan` for this cell here, on eight steps of noise."""
    with jax.ensure_compile_time_eval():
        for_params, for_xs = jax.random.split(jax.random.key(0))
        params, xs = cell.init(for_params, 2), jax.random.normal(for_xs, (8, 3, 2))
        start = cell.initial_state((3,))

        def loss(engine: Engine, params: dict, xs: jax.Array) -> jax.Array:
            states, final, _ = engine.run(cell, Problem(params, xs, start, start, None, None), reverse=False)
            return sum(jnp.mean(jnp.square(leaf)) for leaf in jax.tree.leaves((states, final)))

        found, wanted = (jax.value_and_grad(functools.partial(loss, e), (0, 1))(params, xs) for e in (engine, Scan()))
        close = jax.tree.map(lambda a, b: bool(jnp.allclose(a, b, PARITY_TOLERANCE, PARITY_TOLERANCE)), found, wanted)
        return all(jax.tree.leaves(close))


@functools.cache
def _log(cell: Cell, engine: Engine, reason: str) -> None:
    logging.getLogger("recur").info("%r runs on %r: %s", cell, engine, reason)
