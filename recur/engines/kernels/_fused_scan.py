"""A run over time by kernels, with its derivative."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from recur._types import PyTree, State
from recur.cells._base import FactoredCell
from recur.engines._flags import before_each_step
from recur.engines.kernels._runs import run_forward, run_linear
from recur.engines.kernels._trees import Known, Linear


def fused_scan(cell, reverse, prepared, projected, start, restart, mask, reset) -> State:
    """Returns the state after every step."""
    batch = projected.shape[1:-1]
    rows = math.prod(batch)

    def flat(leaf: Any, lead: int) -> Any:
        return leaf.reshape(*leaf.shape[:lead], rows, *leaf.shape[lead + len(batch) :])

    tree = functools.partial(jax.tree.map, lambda leaf: flat(leaf, 0))
    flags = jax.tree.map(lambda leaf: flat(leaf, 1), (mask, reset))
    weights, matrix = cell.take_apart(prepared)
    restart = None if reset is None else tree(restart)
    states = _scan(cell, reverse, weights, matrix, flat(projected, 1), tree(start), restart, *flags)
    return jax.tree.map(lambda leaf: leaf.reshape(len(leaf), *batch, leaf.shape[-1]), states)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _scan(cell, reverse, weights, matrix, projected, start, restart, mask, reset) -> State:
    known = Known(weights, matrix, projected, start, restart, mask, reset)
    return run_forward(cell, known, reverse=reverse, keep=False)[0]


@_scan.defjvp
def _tangent(cell: FactoredCell, reverse: bool, primals: tuple, tangents: tuple) -> tuple[State, State]:
    known = Known(*primals)
    states, kept = run_forward(cell, known, reverse=reverse, keep=True)
    d_weights, d_matrix, d_projected, d_start, d_restart, _, _ = tangents
    before = before_each_step(states, known.start, known.restart, known.reset, reverse)
    d_prepared = cell.put_together(d_weights, d_matrix)
    d_sums, d_split = cell.input_tangent(d_projected, cell.recurrent_share(d_prepared, before[0]))
    rows = known.start[0].shape[0]
    of_rows = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (rows, *leaf.shape)), d_weights)
    entering = Linear(of_rows, d_sums, d_split, d_start, d_restart)
    return states, run_linear(cell, known._replace(states=states, kept=kept), entering, reverse=reverse)
