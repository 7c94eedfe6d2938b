"""Jacobians of all steps in a form that an engine asks for, and the linear recurrences that they make."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._types import Array, Bool, Float, PyTree, State
from recur.cells._base import FactoredCell
from recur.engines._flags import before_each_step
from recur.engines._stepping import linear_scan

Flags = Bool[Array, "T *B"] | None


class JacobianForm(NamedTuple):
    """How Jacobians are laid out.

    Args:
        full: ``[T, *B, n, n]`` over the whole state of n numbers; else ``[T, *B, H, S, S]``, each unit's S fields.
        exact: Whether nothing is left out.
    """

    full: bool
    exact: bool


def jacobians(
    cell: FactoredCell, form: JacobianForm, prepared: Any, before: State, projected: PyTree, kept: PyTree
) -> jax.Array:
    """Returns the Jacobian of every step with respect to the state it began with."""
    push = functools.partial(cell.update_tangent, prepared, before, projected, kept, None)
    if not form.full:
        columns = []
        for field in range(len(before)):
            unit = type(before)(*(jnp.full_like(leaf, index == field) for index, leaf in enumerate(before)))
            share = cell.own_share(prepared, before[0]) if field == 0 else None
            columns.append(jnp.stack(push(unit, share, None), axis=-1))
        return jnp.stack(columns, axis=-1)

    def one(vector: jax.Array) -> jax.Array:
        tangent = _unflatten(before, jnp.broadcast_to(vector, (*before[0].shape[:-1], vector.size)))
        return _flatten(push(tangent, cell.recurrent_share(prepared, tangent[0]), None))

    size = sum(leaf.shape[-1] for leaf in before)
    return jax.vmap(one, out_axes=-1)(jnp.eye(size, dtype=before[0].dtype))


def solve(
    form: JacobianForm,
    blocks: jax.Array,
    drive: State,
    d_start: State | None,
    d_restart: State | None,
    mask: Flags,
    reset: Flags,
    *,
    reverse: bool,
) -> State:
    """Solves ``e_t = J_t e_{t-1} + drive_t`` in parallel over time; a masked step holds e, a reset sets it back.

    `d_start` and `d_restart` are what e begins with and is set back to, None for zero.
    """
    like, drive = drive, _flatten(drive) if form.full else jnp.stack(drive, axis=-1)
    rank = drive.ndim

    def over(flags: jax.Array, array: jax.Array) -> jax.Array:
        return flags.reshape(flags.shape + (1,) * (array.ndim - flags.ndim))

    def flat(state: State) -> jax.Array:
        return _flatten(state) if form.full else jnp.stack(state, axis=-1)

    if reset is not None:
        if d_restart is not None:
            back = jnp.broadcast_to(flat(d_restart), drive.shape[1:])
            drive = jnp.where(over(reset, drive), drive + _apply(blocks, back[None]), drive)
        blocks = jnp.where(over(reset, blocks), 0, blocks)
    if mask is not None:
        drive = jnp.where(over(mask, drive), drive, 0)
        blocks = jnp.where(
            over(mask, blocks), blocks, jnp.eye(blocks.shape[-1], dtype=blocks.dtype)[(None,) * (rank - 1)]
        )
    if d_start is not None:
        first = -1 if reverse else 0
        drive = drive.at[first].add(_apply(blocks[first], flat(d_start)))

    def join(first: tuple, second: tuple) -> tuple:
        return _compose(second[0], first[0], form), _apply(second[0], first[1]) + second[1]

    solved = jax.lax.associative_scan(join, (blocks, drive), reverse=reverse)[1]
    if form.full:
        return _unflatten(like, solved)
    return type(like)(*(solved[..., field] for field in range(len(like))))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def at_solution(
    cell: FactoredCell,
    form: JacobianForm | None,
    reverse: bool,
    prepared: Any,
    projected: PyTree,
    start: State,
    restart: State,
    mask: Flags,
    reset: Flags,
    states: State,
) -> State:
    """Returns the solution `states` with the derivative that a run step by step has there.

    In parallel over time with an exact `form` of the Jacobian; step by step with None.
    """
    return states


@at_solution.defjvp
def _tangent_at_solution(
    cell: FactoredCell, form: JacobianForm | None, reverse: bool, primals: tuple, tangents: tuple
) -> tuple[State, State]:
    prepared, projected, start, restart, mask, reset, _ = primals
    d_prepared, d_projected, d_start, d_restart, *_ = tangents
    states = at_solution(cell, form, reverse, *primals)
    before = before_each_step(states, start, restart, reset, reverse)
    kept = cell.keep(projected, cell.recurrent_share(prepared, before[0]))
    if form is None:
        return states, linear_scan(cell, before, kept, primals[:-1], tangents[:-1], reverse=reverse, unroll=1)
    d_sums, d_split = cell.input_tangent(d_projected, cell.recurrent_share(d_prepared, before[0]))
    still = jax.tree.map(jnp.zeros_like, before)
    drive = cell.update_tangent(prepared, before, projected, kept, d_prepared, still, d_sums, d_split)
    blocks = jacobians(cell, form, prepared, before, projected, kept)
    return states, solve(form, blocks, drive, d_start, d_restart, mask, reset, reverse=reverse)


def _apply(blocks: jax.Array, vectors: jax.Array) -> jax.Array:
    return jnp.sum(blocks * vectors[..., None, :], axis=-1)


def _compose(second: jax.Array, first: jax.Array, form: JacobianForm) -> jax.Array:
    if form.full:
        return jnp.matmul(second, first, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(second[..., :, :, None] * first[..., None, :, :], axis=-2)


def _flatten(state: State) -> Float[Array, "*A n"]:
    return jnp.concatenate(state, axis=-1)


def _unflatten(like: State, flat: Float[Array, "*A n"]) -> State:
    sizes = [leaf.shape[-1] for leaf in like]
    stops = [sum(sizes[: index + 1]) for index in range(len(sizes) - 1)]
    return type(like)(*jnp.split(flat, stops, axis=-1))
