"""A run step by step: masks and resets as part of the step, and derivatives that are linear runs of the same kind.

    before_t = pick(reset_t, restart, s_{t-1}),   s_t = pick(mask_t, advance(before_t), s_{t-1})

Everything is selected, nothing multiplied by zero, in values and in derivatives: what stands before a reset does not
reach what follows it, not even where it is no number.

The tangent of a whole run is one linear scan over what the forward scan kept. For a `PointwiseCell` that is

    d_sums_t = d_projected_t + h_{t-1} dU + dh_{t-1} U,    ds_t = update_tangent(d_sums_t, ds_{t-1})

with the first two terms computed for all steps in one product. JAX transposes the scan for the gradient: the loop
backwards holds one product with U^T and elementwise work on kept gates, and no weight gradient, which becomes one
contraction over all steps. Being a rule for tangents, it allows forward mode, second derivatives and vmap as well.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur._types import Array, Bool, PyTree, State
from recur.cells._base import Cell
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines._linear import shifted
from recur.engines._reach import guard, over, select, spoilt

Flags = Bool[Array, "T *B"] | None


class Steps(NamedTuple):
    """A run, prepared: one value.

    Args:
        prepared: What ``cell.prepare`` makes of the parameters.
        projected: What ``cell.project`` makes of the inputs, leaves ``[T, *B, ...]``.
        start: State before the first step, leaves ``[*B, ...]``.
        restart: State that a reset returns to, leaves ``[*B, ...]``.
        mask: False where a step holds the state, ``[T, *B]``; None where all steps count.
        reset: True where the state is set to `restart` before the step; None where it never is.
    """

    prepared: Any
    projected: PyTree
    start: State
    restart: State
    mask: Flags
    reset: Flags


def scan_steps(
    step: Callable[[State, PyTree], tuple[State, PyTree]],
    inputs: PyTree,
    start: State,
    restart: State,
    mask: Flags,
    reset: Flags,
    unroll: int = 1,
) -> tuple[State, PyTree]:
    """Scans ``step(before, input) -> (after, extra)``; returns the states after each step and the extras."""

    def body(state: State, inputs: tuple) -> tuple[State, tuple]:
        inputs, mask, reset = inputs
        before = state if reset is None else select(reset, restart, state)
        after, extra = step(before, inputs)
        if mask is not None:
            after = select(mask, after, state)
        return after, (after, extra)

    return jax.lax.scan(body, start, (inputs, mask, reset), unroll=unroll)[1]


def before_each(states: State, start: State, restart: State, reset: Flags) -> State:
    """Returns the state that every step began with, resets included, leaves ``[T, *B, ...]``."""
    before = shifted(states, start)
    return before if reset is None else select(reset, restart, before)


def hold(states: State, start: State, mask: Bool[Array, "T *B"]) -> State:
    """Replaces the state of every masked step by that of the last unmasked one before it, bit by bit.

    For engines in parallel over time, which have no state to carry on.
    """
    steps = jnp.arange(1, len(mask) + 1).reshape(-1, *(1,) * (mask.ndim - 1))
    last = jax.lax.cummax(jnp.where(mask, steps, 0), axis=0)

    def leaf(states: jax.Array, start: jax.Array) -> jax.Array:
        return jnp.take_along_axis(jnp.concatenate([start[None], states]), over(last, states), axis=0)

    return jax.tree.map(leaf, states, start)


def plain_scan(cell: Cell, unroll: int, steps: Steps) -> State:
    """Returns the state after every step, leaves ``[T, *B, ...]``, of any cell."""

    def step(before: State, projected: PyTree) -> tuple[State, None]:
        return cell.advance(steps.prepared, before, projected), None

    return scan_steps(step, *steps[1:], unroll)[0]


shielded_scan = jax.custom_jvp(plain_scan, nondiff_argnums=(0, 1))
"""`plain_scan` of a cell with resets: the same values, derivatives that nothing before a reset reaches."""


@shielded_scan.defjvp
def _tangent_of_any(cell: Cell, unroll: int, primals: tuple, tangents: tuple) -> tuple[State, State]:
    (steps,), (d_steps,) = primals, tangents
    states = shielded_scan(cell, unroll, steps)
    before = before_each(states, steps.start, steps.restart, steps.reset)
    shielded = shield(steps, before, states, None)
    before, _, steps, _ = shielded

    @_recomputed
    def push(d_before: list, inputs: tuple) -> tuple[list, None]:
        before, projected, d_projected = inputs
        smooth, merge = _apart((steps.prepared, before, projected))
        tangents = [*_apart(d_steps.prepared)[0], *d_before, *d_projected]
        return jax.jvp(lambda leaves: _apart(cell.advance(*merge(leaves)))[0], (smooth,), (tangents,))[1], None

    d_projected, d_start, d_restart = (_apart(tree)[0] for tree in (d_steps.projected, *d_steps[2:4]))
    inputs, flags = (before, steps.projected, d_projected), (steps.mask, steps.reset)
    smooth = iter(scan_steps(push, inputs, d_start, d_restart, *flags, unroll)[0])
    # The tangents of whole numbers are of a dtype of their own.
    d_states = [
        next(smooth) if jnp.issubdtype(leaf.dtype, jnp.inexact) else np.zeros(leaf.shape, jax.dtypes.float0)
        for leaf in jax.tree.leaves(states)
    ]
    return states, shielded.guard(jax.tree.unflatten(jax.tree.structure(states), d_states))


def _apart(tree: PyTree) -> tuple[list[jax.Array], Callable[[list[jax.Array]], PyTree]]:
    """Returns the leaves that are no whole numbers, which have no tangents, and what puts others in their place."""
    leaves, form = jax.tree.flatten(tree)
    places = [place for place, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]

    def merge(smooth: list[jax.Array]) -> PyTree:
        given = dict(zip(places, smooth, strict=True))
        return form.unflatten([given.get(place, leaf) for place, leaf in enumerate(leaves)])

    return [leaves[place] for place in places], merge


lean_scan = jax.custom_jvp(plain_scan, nondiff_argnums=(0, 1))
"""`plain_scan` for a `PointwiseCell`: the same values, derivatives by the rule below."""


@lean_scan.defjvp
def _tangent_of_run(cell: PointwiseCell, unroll: int, primals: tuple, tangents: tuple) -> tuple[State, State]:
    (steps,), (d_steps,) = primals, tangents
    states, kept = keeping_scan(cell, steps, unroll)
    before = before_each(states, steps.start, steps.restart, steps.reset)
    shielded = shield(steps, before, states, kept)
    return states, shielded.guard(linear_scan(cell, *shielded[:3], d_steps, unroll))


class Shielded(NamedTuple):
    """What derivatives of a run with resets read, all of it finite.

    Args:
        before: State that each step began with.
        kept: What was kept of the gates.
        steps: The run, with spoilt steps masked.
        spoilt: Which these are, ``[T, *B]``; None in a run without resets, where nothing is cut off.
    """

    before: State
    kept: PyTree
    steps: Steps
    spoilt: Flags

    def guard(self, tangents: State) -> State:
        """Returns the tangents of all states, NaN where one that is not zero meets a spoilt step."""
        return tangents if self.spoilt is None else guard(self.spoilt, tangents)


def shield(steps: Steps, before: State, states: State, kept: PyTree) -> Shielded:
    """Masks what is not finite (see `recur.engines._reach`)."""
    if steps.reset is None:
        return Shielded(before, kept, steps, None)
    seen = steps.reset if steps.mask is None else steps.reset & steps.mask
    gone = spoilt(seen, before, states, kept, steps.projected)
    # Any numbers will do, if a step can be taken from them.
    none = jax.tree.map(jnp.zeros_like, (kept, steps.projected))
    kept, projected = select(gone, none, (kept, steps.projected))
    mask = ~gone if steps.mask is None else steps.mask & ~gone
    steps = steps._replace(projected=projected, mask=mask)
    return Shielded(select(gone, steps.restart, before), kept, steps, gone)


def keeping_scan(cell: PointwiseCell, steps: Steps, unroll: int = 1) -> tuple[State, PyTree]:
    """Returns the states of `plain_scan`, and what is kept of the gates at every step."""

    def step(before: State, projected: PyTree) -> tuple[State, PyTree]:
        kept = cell.keep(projected, cell.recurrent_share(steps.prepared, before[0]))
        return cell.update(steps.prepared, before, projected, kept), kept

    return scan_steps(step, *steps[1:], unroll)


def linear_scan(
    cell: PointwiseCell, before: State, kept: PyTree, steps: Steps, d_steps: Steps, unroll: int = 1
) -> State:
    """Returns the tangents of all states of a run, from the state before each step and what was kept there."""
    share = cell.recurrent_share(d_steps.prepared, before[0], of_tangent=True)
    entering = cell.input_tangent(d_steps.projected, share)
    return tangent_scan(cell, before, kept, steps, d_steps, entering, unroll)


def tangent_scan(
    cell: PointwiseCell,
    before: State,
    kept: PyTree,
    steps: Steps,
    d_steps: Steps,
    entering: tuple[PyTree, PyTree],
    unroll: int = 1,
) -> State:
    """Returns the tangents of all states from those of what enters step by step (`PointwiseCell.input_tangent`)."""

    @_recomputed
    def push(d_before: State, inputs: tuple) -> tuple[State, None]:
        before, projected, kept, d_sums, d_split = inputs
        share = cell.recurrent_share(steps.prepared, d_before[0])
        d_sums = d_sums if share is None else d_sums + share
        known = (steps.prepared, before, projected, kept)
        return cell.update_tangent(*known, d_steps.prepared, d_before, d_sums, d_split), None

    inputs, flags = (before, steps.projected, kept, *entering), (steps.mask, steps.reset)
    return scan_steps(push, inputs, d_steps.start, d_steps.restart, *flags, unroll)[0]


def _recomputed(push: Callable) -> Callable:
    # Backwards: otherwise a forward scan would store every coefficient, many times what is kept.
    return jax.checkpoint(push, prevent_cse=False, policy=jax.checkpoint_policies.nothing_saveable)
