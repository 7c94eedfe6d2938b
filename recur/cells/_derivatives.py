"""Elementwise derivatives of a declared step, and what its program tells about its structure."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from recur._types import Array, Float, State
from recur.cells._base import Affine, parameter_shapes

if TYPE_CHECKING:
    from recur.cells._pointwise import PointwiseCell


class Derivatives(NamedTuple):
    """Derivatives of the next state, unit by unit; an entry that is zero for all values is left out.

    With the recurrent shares ``r_g = h U_g``, the Jacobian of field a with respect to field b is

        diag(by_state[a][b]) + [b is h] sum_g diag(by_gate[a][g]) U_g^T

    Args:
        by_gate: For each field of the next state, by index of the gate: ``d field / d r_g``, ``[*B, H]``.
        by_state: For each field of the next state, by index of the field: ``d field / d field'`` at fixed r.
    """

    by_gate: tuple[dict[int, Float[Array, "*B H"]], ...]
    by_state: tuple[dict[int, Float[Array, "*B H"]], ...]


class Structure(NamedTuple):
    """What the next state depends on: for each of its fields indices of gates and fields, and whether it is affine."""

    gates: tuple[frozenset[int], ...]
    fields: tuple[frozenset[int], ...]
    affine: bool


def derivatives(cell: "PointwiseCell", prepared: Any, state: State, projected: jax.Array) -> Derivatives:
    """Differentiates the declared step of `cell`, at any number of leading axes."""
    depends = structure(cell)
    share = cell.recurrent_share(prepared, state[0])
    shares = () if share is None else tuple(share[..., gate, :] for gate in range(share.shape[-2]))

    def step(shares: tuple[jax.Array, ...], fields: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        recurrent = jnp.stack(shares, axis=-2) if shares else None
        return tuple(cell.update(prepared, cell.activate(projected, recurrent), type(state)(*fields)))

    by_gate = _columns(lambda shares: step(shares, tuple(state)), shares)
    by_state = _columns(lambda fields: step(shares, fields), tuple(state))
    return Derivatives(
        tuple({gate: by_gate[gate][field] for gate in sorted(gates)} for field, gates in enumerate(depends.gates)),
        tuple({old: by_state[old][field] for old in sorted(olds)} for field, olds in enumerate(depends.fields)),
    )


def affine_parts(cell: "PointwiseCell", prepared: Any, projected: jax.Array) -> Affine | None:
    """Returns decay and drive of a step that is affine in the state, unit by unit; None of another one."""
    if not structure(cell).affine:
        return None
    start = cell.initial_state(projected.shape[:-2], jnp.result_type(jnp.float32, projected.dtype))
    ones = jax.tree.map(jnp.ones_like, start)
    drive, decay = jax.jvp(lambda state: cell.advance(prepared, state, projected), (start,), (ones,))
    return Affine(decay, drive)


@functools.cache
def structure(cell: "PointwiseCell") -> Structure:
    """Reads off the program of a step what each field of the next state depends on."""
    prepared = jax.eval_shape(cell.prepare, parameter_shapes(cell, 1))
    state = jax.eval_shape(cell.initial_state)
    projected = jax.eval_shape(cell.project, prepared, jax.ShapeDtypeStruct((1,), jnp.float32))
    recurrence = cell.declaration.recurrence
    gates = range(0 if recurrence == "none" else projected.shape[-2])

    def step(prepared: Any, projected: jax.Array, shares: tuple, fields: tuple) -> tuple:
        recurrent = jnp.stack(shares, axis=-2) if shares else None
        return tuple(cell.update(prepared, cell.activate(projected, recurrent), type(state)(*fields)))

    by_gate = _dependencies(
        lambda prepared, projected, fields, *shares: step(prepared, projected, shares, fields),
        (prepared, projected, tuple(state)),
        (state[0],) * len(gates),
    )
    by_field = _dependencies(
        lambda prepared, projected, shares, *fields: step(prepared, projected, shares, fields),
        (prepared, projected, (state[0],) * len(gates)),
        tuple(state),
    )
    diagonal = recurrence != "dense" and all(olds <= {field} for field, olds in enumerate(by_field))
    alone = diagonal and (len(state) == 1 or not any(by_gate))
    return Structure(by_gate, by_field, alone and not any(_dependencies(_slopes(cell), (prepared, projected), state)))


def _slopes(cell: "PointwiseCell") -> Callable[..., tuple]:
    """Returns the function that gives the derivative of a diagonal step with respect to the state."""

    def slopes(prepared: Any, projected: jax.Array, *fields: jax.Array) -> tuple:
        state = type(cell.initial_state())(*fields)
        ones = jax.tree.map(jnp.ones_like, state)
        return tuple(jax.jvp(lambda state: cell.advance(prepared, state, projected), (state,), (ones,))[1])

    return slopes


def _columns(function: Callable[[tuple], tuple], arguments: tuple[jax.Array, ...]) -> list[tuple[jax.Array, ...]]:
    """Differentiates an elementwise function by each of its arguments."""
    columns = []
    for index, argument in enumerate(arguments):

        def of_one(value: jax.Array, index: int = index) -> tuple:
            return function((*arguments[:index], value, *arguments[index + 1 :]))

        columns.append(jax.jvp(of_one, (argument,), (jnp.ones_like(argument),))[1])
    return columns


def _dependencies(function: Callable[..., tuple], others: tuple, arguments: tuple) -> tuple[frozenset[int], ...]:
    """Returns, for each result of ``function(*others, *arguments)``, the arguments that it may depend on."""
    program = jax.make_jaxpr(function)(*others, *arguments).jaxpr
    first = len(jax.tree.leaves(others))
    sources = {variable: {index} for index, variable in enumerate(program.invars[first:])}

    def of(atom: Any) -> set[int]:
        return set() if isinstance(atom, Literal) else sources.get(atom, set())

    for equation in program.eqns:
        together = set().union(*map(of, equation.invars))
        sources |= dict.fromkeys(equation.outvars, together)
    return tuple(frozenset(of(atom)) for atom in program.outvars)
