"""Affine recurrences in parallel over time."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from recur._types import State
from recur.cells._base import Cell
from recur.engines._base import Info, Problem
from recur.engines._flags import hold
from recur.engines._recurrence import linear_recurrence


@dataclasses.dataclass(frozen=True)
class Associative:
    """Runs cells whose step is affine in the state, entry by entry, such as `min_gru` and `lru`: exact, depth O(log T).

    Steps compose: two of them in a row are one with ``decay = decay_2 decay_1``, ``drive = decay_2 drive_1 + drive_2``.
    A tree of such pairs gives all states, for any T, real or complex. Sums are taken in another order than `Scan` takes
    them, so results agree to rounding.

    Reference:
        Blelloch (1990), "Prefix sums and their applications"; Martin and Cundy (2018),
        https://arxiv.org/abs/1709.04057.
    """

    def refusal(self, cell: Cell) -> str:
        """Says why `cell` cannot be run, or nothing."""
        return "" if cell.is_affine else "its step is not affine in the state, entry by entry"

    def run(self, cell: Cell, problem: Problem, *, reverse: bool) -> tuple[State, State, Info]:
        """Runs the cell (see `Engine.run`)."""
        params, xs, start, restart, mask, reset = problem
        info = Info(engine="associative", reason="asked for")
        prepared = cell.prepare(params)
        projected = cell.project(prepared, xs)
        if not len(xs):
            return jax.tree.map(lambda leaf: jnp.zeros((0, *leaf.shape), leaf.dtype), start), start, info
        parts = cell.affine(prepared, projected)

        def leaf(decay: jax.Array, drive: jax.Array, start: jax.Array, restart: jax.Array) -> jax.Array:
            def flags(values: jax.Array) -> jax.Array:
                return values.reshape(values.shape + (1,) * (drive.ndim - values.ndim))

            if reset is not None:
                drive = jnp.where(flags(reset), decay * restart[None] + drive, drive)
                decay = jnp.where(flags(reset), 0, decay)
            if mask is not None:
                drive, decay = jnp.where(flags(mask), drive, 0), jnp.where(flags(mask), decay, 1)
            first = -1 if reverse else 0
            drive = drive.at[first].add(decay[first] * start)
            return linear_recurrence(decay, drive, reverse)

        core: Any = jax.tree.map(leaf, parts.decay, parts.drive, cell.core(start), cell.core(restart))
        states = cell.from_core(prepared, core, projected)
        if mask is not None:
            states = hold(states, start, mask, reverse)
        return states, jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), info
