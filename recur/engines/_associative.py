"""Affine recurrences in parallel over time."""

import dataclasses

import jax
import jax.numpy as jnp

from recur._types import State
from recur.cells._base import Cell
from recur.engines._affine import affine_scan
from recur.engines._base import Info, Problem


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
        states = affine_scan(cell, reverse, 1, prepared, projected, start, restart, mask, reset, parallel=True)
        return states, jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), info
