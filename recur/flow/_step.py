"""The linear map of one step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from recur._types import Array, Bool, Float, Int, Params, State
from recur.cells import Cell, PointwiseCell
from recur.flow._sequences import MeasuredCell
from recur.flow._trajectory import mark_not_finite, over_batch, trajectory


def jacobians(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
    declared: bool = True,
) -> Float[Array, "T n n *B"]:
    """Returns the Jacobian of every step, ``J_t = ds_t / ds_{t-1}`` of the whole state (h and c, all layers).

    Units that are saturated keep their derivative: tanh and sigmoid are differentiated from what they are applied to,
    not from their rounded value. Row i, column j is the derivative of entry i of the new state with respect to entry j
    of the old one; entries are the fields one after the other, as `jax.flatten_util.ravel_pytree` lays them out.

    Args:
        cell: The recurrence.
        params: Its parameters.
        xs: Inputs.
        initial_state: State before the first step (see `recur.unroll`).
        lengths: Steps of each sequence that count, from the first on; the Jacobian of the rest is one.
        mask: Which steps count, wherever they stand; in place of `lengths`.
        reset: Where a new sequence begins, from the cell's own initial state: the Jacobian there is zero.
        reverse: Whether the last step is taken first.
        declared: False for the derivatives that JAX forms, from rounded values, in which saturated units are lost.

    Returns:
        Jacobians ``[T, n, n, *B]``, n numbers in the state. Memory T n^2: for long sequences of wide cells take
        `adjoint_log_norms`, `lyapunov_spectrum` or `jacobian_log_singular_values`, which never form them.

    Raises:
        TypeError: As `recur.unroll`.
        ValueError: As `recur.unroll`.

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> cell = recur.cells.elman(2, recurrent_init=recur.cells.Identity(0.5))
        >>> params = cell.init(jax.random.key(0), 1)
        >>> recur.flow.jacobians(cell, params, jnp.zeros((1, 1)))[0].tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    found = trajectory(cell, params, xs, initial_state, lengths, mask, reset, reverse, align="none")
    _, params, xs, visited, _ = found
    cell = dataclasses.replace(found.cell, faithful=declared)
    prepared = cell.prepare(params)

    def one(projected: Any, visited: State) -> jax.Array:
        def step(before: State, projected: Any) -> jax.Array:
            flat, unravel = ravel_pytree(before)
            push = tangent_map(cell, prepared, before, projected)
            return jax.vmap(lambda v: ravel_pytree(push(unravel(v)))[0], out_axes=1)(
                jnp.eye(flat.size, dtype=flat.dtype)
            )

        before = jax.tree.map(lambda leaf: leaf[:-1], visited)
        return mark_not_finite(visited, jax.vmap(step)(before, projected))

    return over_batch(one, found.batch_axes, in_axes=(1, 1), out_axes=3)(cell.project(prepared, xs), visited)


def tangent_map(cell: Cell, prepared: Any, before: State, projected: Any) -> Callable[[State], State]:
    """Returns ``ds -> J ds`` of the step that leaves the state `before`."""
    if _only_reverse(cell):
        raise ValueError(
            f"cell: expected a step whose derivative is known forwards, got {cell!r}, which holds a function with "
            f"jax.custom_vjp; declare that function by jax.custom_jvp"
        )
    return jax.linearize(lambda state: cell.advance(prepared, state, projected), before)[1]


def adjoint_map(cell: Cell, prepared: Any, before: State, projected: Any) -> Callable[[State], State]:
    """Returns ``delta -> J^T delta`` of the step that leaves the state `before`."""
    if _only_reverse(cell):
        pull = jax.vjp(lambda state: cell.advance(prepared, state, projected), before)[1]
    else:
        pull = jax.linear_transpose(tangent_map(cell, prepared, before, projected), before)
    return lambda adjoint: pull(adjoint)[0]


def _only_reverse(cell: Cell) -> bool:
    own = cell.cell if isinstance(cell, MeasuredCell) else cell
    return isinstance(own, PointwiseCell) and own.structure.only_reverse
