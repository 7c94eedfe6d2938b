"""Jacobians of all steps in a form that an engine asks for, and the linear recurrences that they make."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._types import Array, Float, PyTree, State
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines._linear import How, apply, linear_recurrence, start_with
from recur.engines._reach import over
from recur.engines._steps import Steps, before_each, linear_scan, shield


class JacobianForm(NamedTuple):
    """How Jacobians are laid out.

    Args:
        full: ``[T, *B, n, n]`` over the whole state of n numbers; else ``[T, *B, H, S, S]``, each unit's S fields.
        exact: Whether nothing is left out.
    """

    full: bool
    exact: bool


def jacobians(
    cell: PointwiseCell, form: JacobianForm, prepared: Any, before: State, projected: PyTree, kept: PyTree
) -> jax.Array:
    """Returns the Jacobian of every step with respect to the state it began with."""
    push = functools.partial(cell.update_tangent, prepared, before, projected, kept, None)
    if not form.full:
        columns = []
        for field in range(len(before)):
            unit = type(before)(*(jnp.full_like(leaf, index == field) for index, leaf in enumerate(before)))
            share = cell.diagonal_share(prepared, before[0]) if field == 0 else None
            columns.append(jnp.stack(push(unit, share, None), axis=-1))
        return jnp.stack(columns, axis=-1)

    def one(vector: jax.Array) -> jax.Array:
        tangent = _unflatten(before, jnp.broadcast_to(vector, (*before[0].shape[:-1], vector.size)))
        return _flatten(push(tangent, cell.recurrent_share(prepared, tangent[0]), None))

    size = sum(leaf.shape[-1] for leaf in before)
    return jax.vmap(one, out_axes=-1)(jnp.eye(size, dtype=before[0].dtype))


def solve(form: JacobianForm, blocks: jax.Array, drive: State, d_steps: Steps) -> State:
    """Solves ``e_t = J_t e_{t-1} + drive_t`` in parallel over time; a masked step holds e, a reset sets it back.

    `d_steps` holds what e begins with and is set back to (None for zero), and mask and reset.
    """
    _, _, d_start, d_restart, mask, reset = d_steps

    def flat(state: State) -> jax.Array:
        return _flatten(state) if form.full else jnp.stack(state, axis=-1)

    like, drive = drive, flat(drive)
    cut = reset if mask is None or reset is None else reset & mask
    if cut is not None:
        back = 0 if d_restart is None else apply(blocks, jnp.broadcast_to(flat(d_restart), drive.shape))
        drive = jnp.where(over(cut, drive), drive + back, drive)
    if mask is not None:
        drive = jnp.where(over(mask, drive), drive, 0)
        still = jnp.broadcast_to(jnp.eye(blocks.shape[-1], dtype=blocks.dtype), blocks.shape)
        blocks = jnp.where(over(mask, blocks), blocks, still)
    if d_start is not None:
        drive = start_with(blocks, drive, cut, flat(d_start))
    solved = linear_recurrence(blocks, drive, cut, How(parallel=True))
    if form.full:
        return _unflatten(like, solved)
    return type(like)(*(solved[..., field] for field in range(len(like))))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def at_solution(cell: PointwiseCell, form: JacobianForm | None, steps: Steps, states: State) -> State:
    """Returns the solution `states` with the derivative that a run step by step has there.

    In parallel over time with an exact `form` of the Jacobian; step by step with None.
    """
    return states


@at_solution.defjvp
def _tangent_at_solution(
    cell: PointwiseCell, form: JacobianForm | None, primals: tuple, tangents: tuple
) -> tuple[State, State]:
    (steps, found), (d_steps, _) = primals, tangents
    states = at_solution(cell, form, steps, found)
    before = before_each(states, steps.start, steps.restart, steps.reset)
    kept = cell.keep(steps.projected, cell.recurrent_share(steps.prepared, before[0]))
    shielded = shield(steps, before, states, kept)
    before, kept, steps, _ = shielded
    if form is None:
        return states, shielded.guard(linear_scan(cell, before, kept, steps, d_steps))
    d_sums, d_split = cell.input_tangent(d_steps.projected, cell.recurrent_share(d_steps.prepared, before[0]))
    still, known = jax.tree.map(jnp.zeros_like, before), (steps.prepared, before, steps.projected, kept)
    drive = cell.update_tangent(*known, d_steps.prepared, still, d_sums, d_split)
    blocks = jacobians(cell, form, *known)
    return states, shielded.guard(solve(form, blocks, drive, d_steps._replace(mask=steps.mask, reset=steps.reset)))


def _flatten(state: State) -> Float[Array, "*A n"]:
    return jnp.concatenate(state, axis=-1)


def _unflatten(like: State, flat: Float[Array, "*A n"]) -> State:
    sizes = [leaf.shape[-1] for leaf in like]
    stops = [sum(sizes[: index + 1]) for index in range(len(sizes) - 1)]
    return type(like)(*jnp.split(flat, stops, axis=-1))
