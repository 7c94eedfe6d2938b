"""What the program of a declared step tells about its structure."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from recur.cells._base import Affine, parameter_shapes

if TYPE_CHECKING:
    from recur.cells._pointwise import PointwiseCell


def affine_parts(cell: "PointwiseCell", prepared: Any, projected: jax.Array) -> Affine | None:
    """Returns decay and drive of a step that is affine in the state, unit by unit; None of another one."""
    if not is_affine(cell):
        return None
    start = cell.initial_state(projected.shape[:-1], jnp.result_type(jnp.float32, projected.dtype))
    ones = jax.tree.map(jnp.ones_like, start)
    drive, decay = jax.jvp(lambda state: cell.advance(prepared, state, projected), (start,), (ones,))
    return Affine(decay, drive)


@functools.cache
def is_affine(cell: "PointwiseCell") -> bool:
    """Reads off whether every field is affine in itself, with a slope that no state enters, and sees no other field."""
    if cell.declaration.recurrence == "dense":
        return False
    prepared = jax.eval_shape(cell.prepare, parameter_shapes(cell, 1))
    state = jax.eval_shape(cell.initial_state)
    projected = jax.eval_shape(cell.project, prepared, jax.ShapeDtypeStruct((1,), jnp.float32))

    def step(prepared: Any, projected: jax.Array, *fields: jax.Array) -> tuple:
        return tuple(cell.advance(prepared, type(state)(*fields), projected))

    def slopes(prepared: Any, projected: jax.Array, *fields: jax.Array) -> tuple:
        ones = tuple(map(jnp.ones_like, fields))
        return jax.jvp(functools.partial(step, prepared, projected), fields, ones)[1]

    alone = all(seen <= {field} for field, seen in enumerate(_dependencies(step, (prepared, projected), state)))
    return alone and not any(_dependencies(slopes, (prepared, projected), state))


def _dependencies(function: Callable[..., tuple], others: tuple, arguments: tuple) -> list[set[int]]:
    """Returns, for each result of ``function(*others, *arguments)``, the arguments that it may depend on."""
    program = jax.make_jaxpr(function)(*others, *arguments).jaxpr
    first = len(jax.tree.leaves(others))
    sources = {variable: {index} for index, variable in enumerate(program.invars[first:])}

    def of(atom: Any) -> set[int]:
        return set() if isinstance(atom, Literal) else sources.get(atom, set())

    for equation in program.eqns:
        together = set().union(*map(of, equation.invars))
        sources |= dict.fromkeys(equation.outvars, together)
    return [of(atom) for atom in program.outvars]
