"""Derivatives of saturated units from what stands before their activation.

``1 - tanh(a)^2`` of a rounded tanh is zero in float32 from a = 9 on, where the truth is 6e-8; ``s (1 - s)`` of a
rounded sigmoid is zero from 17 on. A measurement of vanishing gradients must not round them away. So the program of a
step is evaluated anew with

    tanh'(a) = sech(a)^2 = 4 e / (1 + e)^2 with e = exp(-2 |a|),    sigmoid'(a) = sigmoid(a) sigmoid(-a)

wherever they stand in it, and with ``1 - sigmoid(a) = sigmoid(-a)``, which a step with a gate and its complement reads.
Other functions, such as softplus and erf, JAX differentiates from what they are applied to.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun


@jax.custom_jvp
def _tanh(a: jax.Array) -> jax.Array:
    return jnp.tanh(a)


@_tanh.defjvp
def _tangent_of_tanh(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (a,), (d,) = primals, tangents
    small = jnp.exp(-2 * jnp.abs(a))
    return _tanh(a), d * (4 * small / jnp.square(1 + small))


@jax.custom_jvp
def _sigmoid(a: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(a)


@_sigmoid.defjvp
def _tangent_of_sigmoid(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (a,), (d,) = primals, tangents
    return _sigmoid(a), d * (_sigmoid(a) * _sigmoid(-a))


def faithful(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the same function of trees of arrays, whose derivatives do not lose saturated units."""

    def wrapped(*args: Any) -> Any:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        results = _evaluate(program.jaxpr, program.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), [_value(result) for result in results])

    return wrapped


class _Sigmoid:
    """``sigmoid(a)``, and a, which operations that move entries carry along."""

    def __init__(self, a: jax.Array):
        self.a = a

    @property
    def value(self) -> jax.Array:
        """The number."""
        return _sigmoid(self.a)


class _Written:
    """An array into the first entries of which ``sigmoid(a)`` was written."""

    def __init__(self, value: jax.Array, a: jax.Array):
        self.value, self.a = value, a


_MOVES = frozenset(
    ("broadcast_in_dim", "copy", "expand_dims", "reshape", "rev", "slice", "split", "squeeze", "tile", "transpose")
)
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "checkpoint": "jaxpr", "remat2": "jaxpr"}


def _value(entry: Any) -> Any:
    return entry.value if isinstance(entry, _Sigmoid | _Written) else entry


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known |= zip(jaxpr.invars, arguments, strict=True)

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        results = _apply(jaxpr, equation, [read(atom) for atom in equation.invars])
        known |= zip(equation.outvars, results, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _apply(jaxpr: Jaxpr, equation: Any, inputs: list[Any]) -> list[Any]:
    name, params = equation.primitive.name, equation.params
    if name in _CALLS:
        inner = params[_CALLS[name]]
        inner, consts = (inner.jaxpr, inner.consts) if isinstance(inner, ClosedJaxpr) else (inner, ())
        return _evaluate(inner, consts, inputs)
    if name == "logistic":
        return [_Sigmoid(_value(inputs[0]))]
    if name == "tanh":
        return [_tanh(_value(inputs[0]))]
    if name in _MOVES and isinstance(inputs[0], _Sigmoid):
        return [_Sigmoid(a) for a in _run(jaxpr, equation, [inputs[0].a, *map(_value, inputs[1:])])]
    if name == "concatenate" and all(isinstance(part, _Sigmoid) for part in inputs):
        return [_Sigmoid(a) for a in _run(jaxpr, equation, [part.a for part in inputs])]
    if name == "dynamic_update_slice" and isinstance(inputs[1], _Sigmoid) and all(map(_is_zero, equation.invars[2:])):
        (value,) = _run(jaxpr, equation, [_value(entry) for entry in inputs])
        return [_Written(value, inputs[1].a)]
    if name == "slice" and isinstance(inputs[0], _Written):
        a, stops = inputs[0].a, params["limit_indices"]
        if all(stop <= size for stop, size in zip(stops, a.shape, strict=True)):
            cut = map(slice, params["start_indices"], stops, params["strides"] or [1] * a.ndim)
            return [_Sigmoid(a[tuple(cut)])]
    if name == "sub" and isinstance(inputs[1], _Sigmoid) and _is_one(equation.invars[0]):
        return [_Sigmoid(-inputs[1].a)]
    # A rule that is stated stays: of relu, softplus and their like, and of the user's own.
    return _run(jaxpr, equation, [_value(entry) for entry in inputs])


def _run(jaxpr: Jaxpr, equation: Any, inputs: list[Any]) -> list[Any]:
    """Runs one equation by itself."""
    known = {v: x for v, x in zip(equation.invars, inputs, strict=True) if not isinstance(v, Literal)}
    alone = jaxpr.replace(constvars=[], invars=list(known), outvars=list(equation.outvars), eqns=[equation])
    return list(jaxpr_as_fun(ClosedJaxpr(alone, ()))(*known.values()))


def _is_one(atom: Any) -> bool:
    return isinstance(atom, Literal) and bool(np.all(np.asarray(atom.val) == 1))


def _is_zero(atom: Any) -> bool:
    return isinstance(atom, Literal) and not np.any(atom.val)
