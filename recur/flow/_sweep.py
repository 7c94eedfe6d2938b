"""The adjoint of one sequence, carried back in time in a scale of its own: what all gradients by lag stand on."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import as_array, check_floating, check_shape
from recur._types import Array, Float, State
from recur.cells import Cell
from recur.flow._lognorm import Scaled, rescale


def read_cotangent(cell: Cell, visited: State, cotangent: Float[Array, "*B H"] | None) -> Float[Array, "*B H"]:
    """Checks the gradient at the last output; by default all its entries are ``H**-0.5``.

    Raises:
        TypeError: No floating array.
        ValueError: A wrong shape, zero, or not finite.
    """
    wanted = jax.eval_shape(lambda states: cell.output(jax.tree.map(lambda leaf: leaf[-1], states)), visited)
    if cotangent is None:
        return jnp.full(wanted.shape, wanted.shape[-1] ** -0.5, wanted.dtype)
    cotangent = as_array("cotangent", cotangent)
    check_floating("cotangent", cotangent, f"give it as {wanted.dtype.name}")
    check_shape("cotangent", cotangent, wanted.shape, "one entry for each output unit, [*B, H]")
    _check_direction(cotangent)
    return cotangent.astype(wanted.dtype)


def _check_direction(cotangent: jax.Array) -> None:
    """Refuses what would only measure itself; under a transformation the numbers are not known yet."""
    if isinstance(cotangent, jax.core.Tracer):
        return
    if not jnp.isfinite(cotangent).all():
        raise ValueError("cotangent: expected finite numbers, got nan or inf; leave it out for H**-0.5 everywhere")
    if not jnp.any(cotangent != 0, axis=-1).all():
        raise ValueError(
            "cotangent: expected a direction other than zero, got zero, whose gradient is zero at every lag"
        )


def sweep(
    cell: Cell, visited: State, cotangent: jax.Array, inputs: Any, pull: Callable, share: Callable, carry: Any
) -> tuple[Scaled, Any, Any]:
    """Carries the adjoint of one sequence back in time and collects ``share(carry, adjoint, before, input)``.

    Args:
        cell: The recurrence.
        visited: States ``[T + 1, ...]``, the initial one first.
        cotangent: Gradient at the last output.
        inputs: What each step reads, leaves ``[T, ...]``.
        pull: ``pull(before, input)(adjoint)``: the adjoint of the state before a step from that after it.
        share: Makes the next carry and a result from the adjoint of the state *after* a step.
        carry: First carry.

    Returns:
        Adjoint at the initial state, last carry, results ``[T, ...]`` in the order of time.
    """
    before = jax.tree.map(lambda a: a[:-1], visited)
    last = jax.tree.map(lambda a: a[-1], visited)
    (adjoint,) = jax.vjp(cell.output, last)[1](cotangent)
    first = rescale(adjoint, jnp.zeros((), jnp.int32))

    def back(state: tuple[Scaled, Any], step_inputs: tuple[State, Any]) -> tuple[tuple[Scaled, Any], Any]:
        (adjoint, carry), (before, inputs) = state, step_inputs
        carry, result = share(carry, adjoint, before, inputs)
        earlier = pull(before, inputs)(adjoint.part)
        return (rescale(earlier, adjoint.exponent), carry), result

    (adjoint, carry), results = jax.lax.scan(back, (first, carry), (before, inputs), reverse=True)
    return adjoint, carry, results
