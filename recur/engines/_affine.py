"""Runs of cells whose step is affine in the state, as linear recurrences."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur._types import Array, Bool, PyTree, State
from recur.cells._base import Cell
from recur.engines._flags import hold
from recur.engines._recurrence import linear_recurrence

Flags = Bool[Array, "T *B"] | None


def affine_scan(
    cell: Cell,
    reverse: bool,
    unroll: int,
    prepared: Any,
    projected: PyTree,
    start: State,
    restart: State,
    mask: Flags,
    reset: Flags,
    *,
    parallel: bool = False,
    solve: Callable[[jax.Array, jax.Array, bool], jax.Array] | None = None,
) -> State:
    """Returns the state after every step, as `plain_scan` does, of a cell that is affine in the state; for T >= 1.

    The recurrence is `linear_recurrence`, or ``solve(decay, drive, reverse)`` in its place. What does not depend on the
    state (the decays, the readout of a core) is computed for all steps at once.
    """
    parts = cell.affine(prepared, projected)

    def leaf(decay: jax.Array, drive: jax.Array, start: jax.Array, restart: jax.Array) -> jax.Array:
        def flags(values: jax.Array) -> jax.Array:
            return values.reshape(values.shape + (1,) * (drive.ndim - values.ndim))

        if decay.ndim < drive.ndim and (mask is not None or reset is not None):
            decay = jnp.broadcast_to(decay, drive.shape)
        if reset is not None:
            drive = jnp.where(flags(reset), decay * restart[None] + drive, drive)
            decay = jnp.where(flags(reset), 0, decay)
        if mask is not None:
            drive, decay = jnp.where(flags(mask), drive, 0), jnp.where(flags(mask), decay, 1)
        first = -1 if reverse else 0
        drive = drive.at[first].add((decay if decay.ndim < drive.ndim else decay[first]) * start)
        if solve is not None:
            return solve(decay, drive, reverse)
        return linear_recurrence(decay, drive, reverse, parallel, unroll)

    core: Any = jax.tree.map(leaf, parts.decay, parts.drive, cell.core(start), cell.core(restart))
    states = cell.from_core(prepared, core, projected)
    return states if mask is None else hold(states, start, mask, reverse)
