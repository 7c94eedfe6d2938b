"""Programs of one unit, evaluated on arrays of objects: one object an entry, for all units at once.

In such a program every array holds a few entries, ``[m]``: gate after gate, say. Moving them about is done while it is
evaluated; arithmetic is left to an algebra, which emits instructions.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var

Entries = np.ndarray
"""Array of objects, one an entry: vectors of LLVM."""

MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": lambda x, p: _broadcast(x, p["shape"], p["broadcast_dimensions"]),
    "concatenate": lambda *xs: np.concatenate(xs[:-1], axis=xs[-1]["dimension"]),
    "copy": lambda x, p: x,
    "copy_p": lambda x, p: x,
    "expand_dims": lambda x, p: np.expand_dims(x, p["dimensions"]),
    "pad": lambda x, fill, p: _pad(x, fill, p["padding_config"]),
    "mesh_cast": lambda x, p: x,
    "pvary": lambda x, p: x,
    "reshard": lambda x, p: x,
    "reshape": lambda x, p: x.reshape(p["new_sizes"]),
    "sharding_constraint": lambda x, p: x,
    "slice": lambda x, p: x[tuple(map(slice, p["start_indices"], p["limit_indices"], p["strides"] or (1,) * x.ndim))],
    "split": lambda x, p: np.split(x, np.cumsum(p["sizes"])[:-1], axis=p["axis"]),
    "squeeze": lambda x, p: np.squeeze(x, p["dimensions"]),
    "stop_gradient": lambda x, p: x,
    "tile": lambda x, p: np.tile(x, p["reps"]),
    "transpose": lambda x, p: np.transpose(x, p["permutation"]),
}
"""Primitives that compute nothing."""

CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr"} | {
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}
"""Primitives that call a program, and the parameter that holds it."""


def _broadcast(x: Entries, shape: Sequence[int], dimensions: Sequence[int]) -> Entries:
    spread = [1] * len(shape)
    for axis, size in zip(dimensions, x.shape, strict=True):
        spread[axis] = size
    return np.broadcast_to(x.reshape(spread), shape)


def _pad(x: Entries, fill: Entries, config: Sequence[tuple[int, int, int]]) -> Entries:
    if any(low < 0 or high < 0 or inside for low, high, inside in config):
        raise UnsupportedError("pad")
    return np.pad(x, [(low, high) for low, high, _ in config], constant_values=fill.item())


class UnsupportedError(Exception):
    """A primitive that is not compiled; its text is the name."""


class Algebra(Protocol):
    """Arithmetic on entries."""

    def constant(self, value: Any) -> Any:
        """Returns the entry that a number is."""

    def apply(self, name: str, params: dict[str, Any], *entries: Any) -> Any:
        """Returns the result of a primitive for one entry."""


class _Nothing:
    """Computes nothing: what a program holds is looked at, and no more."""

    def constant(self, value: Any) -> None:
        """Returns nothing."""

    def apply(self, name: str, params: dict[str, Any], *entries: None) -> None:
        """Returns nothing."""


ARITHMETIC = frozenset(
    (
        *(
            "abs",
            "add",
            "add_any",
            "and",
            "ceil",
            "clamp",
            "convert_element_type",
            "div",
            "eq",
            "exp",
            "expm1",
            "floor",
        ),
        *("ge", "gt", "integer_pow", "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "not"),
        *("one_minus_square", "or", "rsqrt", "select_n", "sign", "sqrt", "square", "sub", "tanh"),
    )
)
"""Primitives of one entry that an algebra knows."""


def evaluate(program: ClosedJaxpr, arguments: Sequence[Entries], algebra: Algebra) -> list[Entries]:
    """Evaluates a program on arrays of objects.

    Raises:
        UnsupportedError: It holds a primitive that is not compiled, or other numbers than float32 and flags.
    """
    return _evaluate(program.jaxpr, program.consts, arguments, algebra)


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Entries], algebra: Algebra) -> list[Entries]:
    known: dict[Var, Entries] = {}

    def constant(value: Any) -> Entries:
        values = np.asarray(value)
        if values.size > 1:
            raise UnsupportedError(f"a constant array of shape {list(values.shape)}")
        return _filled(values.shape, algebra.constant(values.item()))

    def read(atom: Any) -> Entries:
        return constant(atom.val) if isinstance(atom, Literal) else known[atom]

    known |= zip(jaxpr.constvars, map(constant, consts), strict=True)
    known |= zip(jaxpr.invars, arguments, strict=True)
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        inputs = [read(atom) for atom in equation.invars]
        _check_dtypes(name, equation)
        if name in CALLS:
            inner = params[CALLS[name]]
            inner, inner_consts = (inner.jaxpr, inner.consts) if isinstance(inner, ClosedJaxpr) else (inner, ())
            results = _evaluate(inner, inner_consts, inputs, algebra)
        elif name in MOVES:
            result = MOVES[name](*inputs, params)
            results = result if isinstance(result, list) else [result]
        elif name == "dynamic_update_slice":
            results = [_updated(equation, *inputs[:2])]
        elif name == "reduce_sum":
            results = [_summed(inputs[0], params["axes"], algebra)]
        elif name in ARITHMETIC:
            results = [_each(name, params, equation.outvars[0].aval.shape, inputs, algebra)]
        else:
            raise UnsupportedError(name)
        known |= zip(equation.outvars, results, strict=True)
    return [read(atom) for atom in jaxpr.outvars]


def _check_dtypes(name: str, equation: Any) -> None:
    if name in CALLS or name in ("dynamic_update_slice",):
        return
    kinds = {str(atom.aval.dtype) for atom in (*equation.invars, *equation.outvars)}
    if not kinds <= {"float32", "bool"}:
        raise UnsupportedError(f"{name} of {sorted(kinds - {'float32', 'bool'})[0]}")


def _each(name: str, params: dict, shape: tuple[int, ...], inputs: list[Entries], algebra: Algebra) -> Entries:
    # A scalar flag or bound may stand beside arrays.
    inputs = [np.broadcast_to(entries, shape) for entries in inputs]
    result = np.empty(shape, object)
    for index in np.ndindex(*shape):
        result[index] = algebra.apply(name, params, *(entries[index] for entries in inputs))
    return result


def _summed(entries: Entries, axes: Sequence[int], algebra: Algebra) -> Entries:
    for axis in sorted(axes, reverse=True):
        parts = np.split(entries, entries.shape[axis], axis)
        total, *rest = (np.squeeze(part, axis) for part in parts)
        for part in rest:
            total = _each("add", {}, total.shape, [total, part], algebra)
        entries = total
    return entries


def _updated(equation: Any, into: Entries, update: Entries) -> Entries:
    places = equation.invars[2:]
    if not all(isinstance(place, Literal) for place in places):
        raise UnsupportedError("dynamic_update_slice at a place that is computed")
    result = into.copy()
    index = zip((int(place.val) for place in places), update.shape, strict=True)
    result[tuple(slice(start, start + size) for start, size in index)] = update
    return result


def _filled(shape: tuple[int, ...], entry: Any) -> Entries:
    result = np.empty(shape, object)
    for index in np.ndindex(*shape):
        result[index] = entry
    return result


def entries_of(values: Sequence[Any]) -> Entries:
    """Returns a one-dimensional array of objects."""
    result = np.empty(len(values), object)
    result[:] = values
    return result


def check_supported(program: ClosedJaxpr) -> None:
    """Raises UnsupportedError if the program of one unit holds what is not compiled."""
    evaluate(program, [_filled(aval.shape, None) for aval in program.in_avals], _Nothing())
