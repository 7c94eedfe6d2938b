"""A run over time by kernels, with its derivative."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from recur._types import Array, Bool, Float, PyTree, State
from recur.cells._base import FactoredCell, add_bias
from recur.engines._flags import before_each_step
from recur.engines.kernels._runs import run_forward, run_linear
from recur.engines.kernels._trees import Known, Linear


def fused_scan(
    cell: FactoredCell,
    reverse: bool,
    prepared: Any,
    product: Float[Array, "T *B N"],
    bias: Float[Array, "N"],
    start: State,
    restart: State,
    mask: Bool[Array, "T *B"] | None,
    reset: Bool[Array, "T *B"] | None,
) -> State:
    """Returns the state after every step, leaves ``[T, *B, H]`` (see `Engine.run`), for T >= 1.

    The input's share comes in two parts, `product` and `bias` (see `FactoredCell.input_product`): a pass over all of
    it is saved.
    """
    batch = product.shape[1:-1]

    def rows(tree: PyTree, lead: int) -> PyTree:
        """Makes one axis of those of a batch, behind `lead` others."""
        return jax.tree.map(lambda leaf: leaf.reshape(*leaf.shape[:lead], -1, *leaf.shape[lead + len(batch) :]), tree)

    # In the dtype of the state, as they are read at every step.
    weights, matrix = jax.tree.map(lambda leaf: leaf.astype(start[0].dtype), cell.take_apart(prepared))
    restart = None if reset is None else rows(restart, 0)
    flags = (rows(mask, 1), rows(reset, 1))
    bias = bias.astype(product.dtype)
    states = _scan(cell, reverse, weights, matrix, bias, rows(product, 1), rows(start, 0), restart, *flags)
    return jax.tree.map(lambda leaf: leaf.reshape(len(leaf), *batch, leaf.shape[-1]), states)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _scan(cell: FactoredCell, reverse: bool, *known: PyTree) -> State:
    return run_forward(cell, Known(*known), reverse=reverse, keep=False)[0]


@_scan.defjvp
def _tangent(cell: FactoredCell, reverse: bool, primals: tuple, tangents: tuple) -> tuple[State, State]:
    known = Known(*primals)
    states, kept = run_forward(cell, known, reverse=reverse, keep=True)
    d_weights, d_matrix, d_bias, d_product, d_start, d_restart, _, _ = tangents
    d_projected = add_bias(d_product, d_bias)
    before = before_each_step(states, known.start, known.restart, known.reset, reverse)
    share = cell.recurrent_share(cell.put_together(d_weights, d_matrix), before[0], of_tangent=True)
    d_sums, d_split = cell.input_tangent(d_projected, share)
    # One for every row, so that the transpose gives one for every row too, whatever the batch is part of.
    rows = known.start[0].shape[0]
    d_weights = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (rows, *leaf.shape)), d_weights)
    entering = Linear(d_weights, d_sums, d_split, d_start, d_restart)
    return states, run_linear(cell, known._replace(states=states, kept=kept), entering, reverse=reverse)
