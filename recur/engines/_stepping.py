"""Step by step over time, with a lean gradient for cells whose step is taken apart (`FactoredCell`).

The tangent of a whole run is one linear scan over what the forward scan kept of the gates:

    d_sums_t = d_projected_t + h_{t-1} dU + dh_{t-1} U,    ds_t = update_tangent(d_sums_t, ds_{t-1})

The first two terms are computed for all steps in one product. JAX transposes the scan for the gradient: the loop
backwards holds one product with U^T and elementwise work on kept gates, and no weight gradient, which becomes one
contraction over all steps. Being a rule for tangents, it allows forward mode, second derivatives and vmap as well.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from recur._types import Array, Bool, PyTree, State
from recur.cells._base import Cell, FactoredCell
from recur.engines._flags import before_each_step, select

Flags = Bool[Array, "T *B"] | None


def plain_scan(
    cell: Cell,
    reverse: bool,
    unroll: int,
    prepared: Any,
    projected: PyTree,
    start: State,
    restart: State,
    mask: Flags,
    reset: Flags,
) -> State:
    """Returns the state after every step, leaves ``[T, *B, ...]`` (see `Engine.run`), of any cell."""

    def step(before: State, projected: PyTree) -> tuple[State, None]:
        return cell.advance(prepared, before, projected), None

    return run_steps(step, projected, start, restart, mask, reset, reverse=reverse, unroll=unroll)[0]


lean_scan = jax.custom_jvp(plain_scan, nondiff_argnums=(0, 1, 2))
"""`plain_scan` for a `FactoredCell`: the same values, derivatives by the rule below."""


@lean_scan.defjvp
def _tangent_of_run(
    cell: FactoredCell, reverse: bool, unroll: int, primals: tuple, tangents: tuple
) -> tuple[State, State]:
    states, kept = keeping_scan(cell, *primals, reverse=reverse, unroll=unroll)
    _, _, start, restart, _, reset = primals
    before = before_each_step(states, start, restart, reset, reverse)
    return states, linear_scan(cell, before, kept, primals, tangents, reverse=reverse, unroll=unroll)


def keeping_scan(
    cell: FactoredCell,
    prepared: Any,
    projected: PyTree,
    start: State,
    restart: State,
    mask: Flags,
    reset: Flags,
    *,
    reverse: bool,
    unroll: int,
) -> tuple[State, PyTree]:
    """Returns the states of `plain_scan`, and what is kept of the gates at every step."""

    def step(before: State, projected: PyTree) -> tuple[State, PyTree]:
        kept = cell.keep(projected, cell.recurrent_share(prepared, before[0]))
        return cell.update(prepared, before, projected, kept), kept

    return run_steps(step, projected, start, restart, mask, reset, reverse=reverse, unroll=unroll)


def linear_scan(
    cell: FactoredCell,
    before: State,
    kept: PyTree,
    primals: tuple,
    tangents: tuple,
    *,
    reverse: bool,
    unroll: int,
) -> State:
    """Returns the tangents of all states of a run, from the state before each step and what was kept there.

    `primals` and `tangents` are the array arguments of `plain_scan`.
    """
    prepared, projected, _, _, mask, reset = primals
    d_prepared, d_projected, d_start, d_restart, _, _ = tangents
    entering = cell.input_tangent(d_projected, cell.recurrent_share(d_prepared, before[0], of_tangent=True))
    known, flags = (prepared, before, projected, kept), (d_start, d_restart, mask, reset)
    return tangent_scan(cell, known, d_prepared, entering, flags, reverse=reverse, unroll=unroll)


def tangent_scan(
    cell: FactoredCell,
    known: tuple[Any, State, PyTree, PyTree],
    d_prepared: Any,
    entering: tuple[PyTree, PyTree],
    flags: tuple[State, State, Flags, Flags],
    *,
    reverse: bool,
    unroll: int,
) -> State:
    """Returns the tangents of all states from those of what enters them step by step.

    `known` are prepared parameters, states before, shares of the input, and what was kept; `entering` is what
    `FactoredCell.input_tangent` returns; `flags` are tangents of start and restart, then mask and reset.
    """
    prepared, *of_steps = known

    # Recomputed backwards: otherwise a forward scan would store every coefficient, many times what is kept.
    @functools.partial(jax.checkpoint, prevent_cse=False, policy=jax.checkpoint_policies.nothing_saveable)
    def push(d_before: State, inputs: tuple) -> tuple[State, None]:
        before, projected, kept, d_sums, d_split = inputs
        share = cell.recurrent_share(prepared, d_before[0])
        d_sums = d_sums if share is None else d_sums + share
        return cell.update_tangent(prepared, before, projected, kept, d_prepared, d_before, d_sums, d_split), None

    return run_steps(push, (*of_steps, *entering), *flags, reverse=reverse, unroll=unroll)[0]


def run_steps(
    step: Callable[[State, PyTree], tuple[State, PyTree]],
    inputs: PyTree,
    start: State,
    restart: State,
    mask: Flags,
    reset: Flags,
    *,
    reverse: bool,
    unroll: int,
) -> tuple[State, PyTree]:
    """Scans ``step(before, input) -> (after, extra)``; returns the states after each step and the extras."""

    def body(state: State, inputs: tuple) -> tuple[State, tuple]:
        inputs, mask, reset = inputs
        before = state if reset is None else select(reset, restart, state)
        after, extra = step(before, inputs)
        if mask is not None:
            after = select(mask, after, state)
        return after, (after, extra)

    return jax.lax.scan(body, start, (inputs, mask, reset), reverse=reverse, unroll=unroll)[1]
