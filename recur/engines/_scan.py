"""The oracle engine: one step after the other."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from recur._checks import brief, check_positive
from recur._types import PyTree, State
from recur.cells._base import Cell, FactoredCell
from recur.engines._base import Info, Problem
from recur.engines._stepping import lean_scan, plain_scan


@dataclasses.dataclass(frozen=True)
class Scan:
    """Runs any cell step by step with `jax.lax.scan`; the input's share is computed for many steps at once.

    The gradient of a `FactoredCell`, such as `pointwise` declares, works on what the forward pass kept of the gates;
    any other cell is differentiated by JAX. Both are exact and take every transformation.

    Args:
        unroll: Steps per iteration of the compiled loop; the result does not depend on it.
        remat: Steps of a block whose inside is computed anew in the backward pass, which then remembers one state a
            block and one block: memory O(T/k + k) for k, least, O(sqrt T), for ``"sqrt"``; time of about one more
            forward pass. By default None, which remembers every step. Gradients are the same.
    """

    unroll: int = 1
    remat: int | Literal["sqrt"] | None = None

    def __post_init__(self) -> None:
        """Checks the knobs."""
        check_positive("unroll", self.unroll)
        if isinstance(self.remat, str) and self.remat != "sqrt":
            raise ValueError(f"remat: expected None, 'sqrt' or a number of steps, got {brief(self.remat)}")
        if self.remat is not None and self.remat != "sqrt":
            check_positive("remat", self.remat)

    def refusal(self, cell: Cell) -> str:
        """Says nothing: every cell runs."""
        del cell
        return ""

    def run(self, cell: Cell, problem: Problem, *, reverse: bool) -> tuple[State, State, Info]:
        """Runs the cell (see `Engine.run`)."""
        params, xs, start, restart, mask, reset = problem
        info = Info(engine="scan", reason="asked for")
        prepared = cell.prepare(params)
        scan = lean_scan if isinstance(cell, FactoredCell) and len(xs) else plain_scan

        def steps(state: State, inputs: tuple) -> tuple[State, State]:
            xs, mask, reset = inputs
            projected = cell.project(prepared, xs)
            states = scan(cell, reverse, self.unroll, prepared, projected, state, restart, mask, reset)
            return jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states) if len(xs) else state, states

        if self.remat is None or not len(xs):
            final, states = steps(start, (xs, mask, reset))
        else:
            size = math.isqrt(len(xs)) if self.remat == "sqrt" else min(self.remat, len(xs))
            final, states = _in_blocks(steps, start, (xs, mask, reset), size, reverse=reverse)
        return states, final, info


def _in_blocks(
    steps: Callable[[State, tuple], tuple[State, State]], start: State, inputs: PyTree, size: int, *, reverse: bool
) -> tuple[State, State]:
    """Scans blocks of `size` steps, and the rest of them last; each block is computed anew backwards."""
    block = functools.partial(jax.checkpoint, prevent_cse=False, policy=jax.checkpoint_policies.nothing_saveable)(steps)
    count, rest = divmod(len(inputs[0]), size)
    whole = slice(rest, None) if reverse else slice(0, count * size)
    last = slice(0, rest) if reverse else slice(count * size, None)

    def cut(leaf: jax.Array) -> jax.Array:
        return leaf[whole].reshape(count, size, *leaf.shape[1:])

    state, states = jax.lax.scan(block, start, jax.tree.map(cut, inputs), reverse=reverse)
    states = jax.tree.map(lambda leaf: leaf.reshape(count * size, *leaf.shape[2:]), states)
    if rest:
        state, more = block(state, jax.tree.map(lambda leaf: leaf[last], inputs))
        pair = (more, states) if reverse else (states, more)
        states = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *pair)
    return state, states
