"""What the program of a declared step tells about its structure."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur.cells._base import Affine, parameter_shapes
from recur.cells._facts import facts


class Structure(NamedTuple):
    """What engines ask of a step.

    Args:
        affine: Whether it is affine in the state, unit by unit and field by field, with slopes that no state enters.
        mixes_units: Whether apart from the recurrent product a unit's next state depends on other units.
        unlike: Why the step of one unit is not that of every other, in words that follow the cell's name; '' if it is.
        only_reverse: Whether it holds a function whose derivative is known in reverse mode alone (`jax.custom_vjp`).
    """

    affine: bool
    mixes_units: bool
    unlike: str
    only_reverse: bool


@functools.lru_cache(maxsize=256)
def structure(cell: Any) -> Structure:
    """Reads the structure off the program of a step, traced for the cell's own number of units.

    The step of one unit is that of every unit if all are computed alike, and as in a cell of a single unit.
    """
    found = _facts(cell)
    recipes, unlike = found.recipes(), ""
    if found.mixes_units():
        unlike = "its step mixes units"
    elif None in recipes:
        unlike = "its units are not alike"
    else:
        try:
            single = _facts(cell.with_units(1)).recipes()
        except Exception as error:  # the user's function raises what it likes for another number of units
            unlike = f"its step depends on the number of units ({type(error).__name__}: {error})"
        else:
            unlike = "" if single == recipes else "its step depends on the number of units"
    affine = cell.own_units and found.is_affine()
    return Structure(affine, found.mixes_units(), unlike, found.only_reverse)


def affine_parts(cell: Any, prepared: Any, projected: jax.Array) -> Affine | None:
    """Returns decay and drive of a step that is affine in the state, unit by unit; None of another one."""
    if not structure(cell).affine:
        return None
    start = cell.initial_state(projected.shape[:-1], jnp.result_type(jnp.float32, projected.dtype))
    ones = jax.tree.map(jnp.ones_like, start)
    drive, decay = jax.jvp(lambda state: cell.advance(prepared, state, projected), (start,), (ones,))
    return Affine(decay, drive)


def _facts(cell: Any) -> Any:
    """Facts of the step from the state, per-unit weights and both shares of the gates; a product is not part of it."""

    def shapes(params: Any, x: jax.Array) -> tuple:
        prepared, state = cell.prepare(params), cell.initial_state()
        projected = cell.project(prepared, x)
        share = None if cell.own_units else cell.recurrent_share(prepared, state[0])
        return cell.split_params(prepared)[0], projected, share, state

    def step(weights: Any, projected: jax.Array, share: Any, state: Any) -> tuple:
        if cell.own_units:
            share = cell.recurrent_share(weights, state[0])
        return tuple(cell.update(weights, state, projected, cell.keep(projected, share)))

    *others, state = jax.eval_shape(shapes, parameter_shapes(cell, 1), jax.ShapeDtypeStruct((1,), jnp.float32))
    program = jax.make_jaxpr(step)(*others, state)
    fields = [-1] * len(jax.tree.leaves(others)) + list(range(len(state)))
    return facts(program, state[0].shape[-1], fields)
