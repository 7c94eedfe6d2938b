"""Runs of cells whose step is affine in the state, as linear recurrences."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur._types import State
from recur.cells._base import Cell
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines._linear import How, linear_recurrence, start_with
from recur.engines._reach import over
from recur.engines._steps import Steps, hold, plain_scan


def refusal(cell: Cell) -> str:
    """Says why a cell is no linear recurrence, or nothing."""
    return "" if cell.is_affine else "its step is not affine in the state, entry by entry"


@functools.lru_cache(maxsize=256)
def _check_affine(cell: Cell) -> None:
    """Raises ValueError where a cell's `affine` does not say what its step does; looked at once a cell.

    The declared ones are read off their program and need no check.
    """
    if isinstance(cell, PointwiseCell):
        return
    xs = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    with jax.ensure_compile_time_eval():
        params, start = cell.init(jax.random.key(0), 3), cell.initial_state((2,))

    def far(params: Any, start: State, xs: jax.Array) -> jax.Array:
        prepared = cell.prepare(params)
        steps = Steps(prepared, cell.project(prepared, xs), start, start, None, None)
        found, wanted = _by_parts(cell, How(), steps), plain_scan(cell, 1, steps)
        pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
        return jnp.stack([jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b), initial=1e-3) for a, b in pairs]).max()

    with jax.disable_jit(False):
        distance = float(jax.jit(far).lower(params, start, xs).compile()(params, start, xs))
    if not distance < 1e-3:
        raise ValueError(
            f"cell: expected the affine of {cell!r} to give the states that its step gives, got other ones (off by "
            f"{distance:.2g} of the largest); mend affine, or let is_affine be False"
        )


def affine_scan(cell: Cell, how: How, steps: Steps) -> State:
    """Returns the state after every step, as `plain_scan` does, of a cell that is affine in the state.

    What does not depend on the state (the decays, the readout of a linear state) is computed for all steps at once.

    Raises:
        ValueError: What the cell says of its step is not so.
    """
    _check_affine(cell)
    return _by_parts(cell, how, steps)


def _by_parts(cell: Cell, how: How, steps: Steps) -> State:
    prepared, projected, start, restart, mask, reset = steps
    parts = cell.affine(prepared, projected)
    cut = reset if mask is None or reset is None else reset & mask

    def leaf(decay: jax.Array, drive: jax.Array, start: jax.Array, restart: jax.Array) -> jax.Array:
        if cut is not None or mask is not None:
            decay = jnp.broadcast_to(decay, drive.shape)
        if cut is not None:
            drive = jnp.where(over(cut, drive), decay * restart[None] + drive, drive)
        if mask is not None:
            drive, decay = jnp.where(over(mask, drive), drive, 0), jnp.where(over(mask, decay), decay, 1)
        return linear_recurrence(decay, start_with(decay, drive, cut, start), cut, how)

    linear: Any = jax.tree.map(leaf, parts.decay, parts.drive, cell.linear_state(start), cell.linear_state(restart))
    states = cell.from_linear_state(prepared, linear, projected)
    return states if mask is None else hold(states, start, mask)
