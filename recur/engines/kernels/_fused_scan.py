"""A run over time by kernels, with its derivative."""

import functools

import jax
import jax.numpy as jnp

from recur._types import Array, Float, PyTree, State
from recur.cells._base import add_bias
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines._steps import Steps, before_each, shield
from recur.engines.kernels._runs import run_forward, run_linear
from recur.engines.kernels._trees import Known, Linear


def fused_scan(cell: PointwiseCell, bias: Float[Array, "N"], steps: Steps) -> State:
    """Returns the state after every step, leaves ``[T, *B, H]`` (see `Engine.run`).

    The input's share comes in two parts, ``steps.projected`` and `bias` (see `PointwiseCell.input_product`): a pass
    over all of it is saved.
    """
    prepared, product, start, restart, mask, reset = steps
    batch = product.shape[1:-1]

    def rows(tree: PyTree, lead: int) -> PyTree:
        """Makes one axis of those of a batch, behind `lead` others."""
        return jax.tree.map(lambda leaf: leaf.reshape(*leaf.shape[:lead], -1, *leaf.shape[lead + len(batch) :]), tree)

    # In the dtype of the state, as they are read at every step.
    weights, matrix = jax.tree.map(lambda leaf: leaf.astype(start[0].dtype), cell.split_params(prepared))
    restart = None if reset is None else rows(restart, 0)
    flags = (rows(mask, 1), rows(reset, 1))
    bias = bias.astype(product.dtype)
    states = _scan(cell, Known(weights, matrix, bias, rows(product, 1), rows(start, 0), restart, *flags))
    return jax.tree.map(lambda leaf: leaf.reshape(len(leaf), *batch, leaf.shape[-1]), states)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _scan(cell: PointwiseCell, known: Known) -> State:
    return run_forward(cell, known, keep=False)[0]


@_scan.defjvp
def _tangent(cell: PointwiseCell, primals: tuple, tangents: tuple) -> tuple[State, State]:
    (known,), (d_known,) = primals, tangents
    states, kept = run_forward(cell, known, keep=True)
    d_projected = add_bias(d_known.projected, d_known.bias)
    steps = Steps(None, known.projected, known.start, known.restart, known.mask, known.reset)
    shielded = shield(steps, before_each(states, *steps[2:4], known.reset), states, kept)
    before, kept, steps, _ = shielded
    share = cell.recurrent_share(cell.merge_params(d_known.weights, d_known.matrix), before[0], of_tangent=True)
    d_sums, d_split = cell.input_tangent(d_projected, share)
    # One for every row, so that the transpose gives one for every row too, whatever the batch is part of.
    rows = known.start[0].shape[0]
    d_weights = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (rows, *leaf.shape)), d_known.weights)
    entering = Linear(d_weights, d_sums, d_split, d_known.start, d_known.restart)
    after = states
    if known.reset is not None:
        # The kernel reads the states before its steps from those after them.
        after, start = _finite(states), _finite(known.start)
        known = known._replace(projected=steps.projected, mask=steps.mask, start=start)
    return states, shielded.guard(run_linear(cell, known._replace(states=after, kept=kept), entering))


def _finite(state: State) -> State:
    """Replaces what is not finite: nothing that is read reaches it, where a step is masked or reset."""
    return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(leaf), leaf, 0), state)
