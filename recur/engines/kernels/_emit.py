"""Programs of one unit: traced by JAX from a cell with one unit, emitted for vectors of units.

In such a program every array holds a few entries, ``[m]``: gate after gate, say. Moving them about is done while
emitting, on arrays of objects; arithmetic becomes one instruction for a whole vector of units.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var
from llvmlite import ir

from recur.engines.kernels import _math

Entries = np.ndarray
"""Array of objects, one an entry: vectors of LLVM, or sets of the units that an entry depends on."""

MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": lambda x, p: _broadcast(x, p["shape"], p["broadcast_dimensions"]),
    "concatenate": lambda *xs: np.concatenate(xs[:-1], axis=xs[-1]["dimension"]),
    "copy": lambda x, p: x,
    "copy_p": lambda x, p: x,
    "expand_dims": lambda x, p: np.expand_dims(x, p["dimensions"]),
    "pad": lambda x, fill, p: _pad(x, fill, p["padding_config"]),
    "reduce_precision": lambda x, p: x,
    "reshape": lambda x, p: x.reshape(p["new_sizes"]),
    "slice": lambda x, p: x[tuple(map(slice, p["start_indices"], p["limit_indices"], p["strides"] or (1,) * x.ndim))],
    "split": lambda x, p: np.split(x, np.cumsum(p["sizes"])[:-1], axis=p["axis"]),
    "squeeze": lambda x, p: np.squeeze(x, p["dimensions"]),
    "stop_gradient": lambda x, p: x,
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


def fast(operation: str) -> Callable[[ir.IRBuilder, Any, Any], Any]:
    """Returns an instruction that may be fused with another one into a multiply-add."""
    return lambda b, x, y: getattr(b, operation)(x, y, flags=("contract",))


def _compare(symbol: str) -> Callable[[ir.IRBuilder, Any, Any], Any]:
    return lambda b, x, y: b.fcmp_unordered(symbol, x, y) if symbol == "!=" else b.fcmp_ordered(symbol, x, y)


def _extreme(symbol: str) -> Callable[[ir.IRBuilder, Any, Any], Any]:
    def emit(b: ir.IRBuilder, x: Any, y: Any) -> Any:
        # NaN in either argument comes out.
        chosen = b.select(b.fcmp_ordered(symbol, x, y), x, y)
        return b.select(b.fcmp_unordered("uno", x, x), x, chosen)

    return emit


def _sign(b: ir.IRBuilder, x: Any) -> Any:
    one = _math.splat(1.0, x.type)
    signed = _math.call(b, "copysign", one, x)
    # Zero and NaN are their own sign.
    return b.select(b.fcmp_ordered("!=", x, _math.splat(0.0, x.type)), signed, x)


def _power(b: ir.IRBuilder, x: Any, exponent: int) -> Any:
    result, square, left = None, x, abs(exponent)
    while left:
        if left & 1:
            result = square if result is None else b.fmul(result, square)
        left >>= 1
        square = b.fmul(square, square) if left else square
    one = _math.splat(1.0, x.type)
    result = one if result is None else result
    return result if exponent >= 0 else b.fdiv(one, result)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": lambda b, x: _math.call(b, "fabs", x),
    "add": fast("fadd"),
    "add_any": fast("fadd"),
    "and": lambda b, x, y: b.and_(x, y),
    "ceil": lambda b, x: _math.call(b, "ceil", x),
    "div": fast("fdiv"),
    "eq": _compare("=="),
    "exp": _math.exp,
    "expm1": _math.expm1,
    "floor": lambda b, x: _math.call(b, "floor", x),
    "ge": _compare(">="),
    "gt": _compare(">"),
    "le": _compare("<="),
    "log": _math.log,
    "log1p": _math.log1p,
    "logistic": _math.logistic,
    "lt": _compare("<"),
    "max": _extreme(">"),
    "min": _extreme("<"),
    "mul": fast("fmul"),
    "ne": _compare("!="),
    "neg": lambda b, x: b.fneg(x),
    "not": lambda b, x: b.not_(x),
    "or": lambda b, x, y: b.or_(x, y),
    "rsqrt": lambda b, x: b.fdiv(_math.splat(1.0, x.type), _math.call(b, "sqrt", x)),
    "sign": _sign,
    "sqrt": lambda b, x: _math.call(b, "sqrt", x),
    "square": lambda b, x: b.fmul(x, x, flags=("contract",)),
    "sub": fast("fsub"),
    "tanh": _math.tanh,
}
"""Primitives that are compiled, entry by entry."""


class Vectors:
    """Emits arithmetic on vectors of float32; comparisons give vectors of bits."""

    def __init__(self, builder: ir.IRBuilder, lanes: int):
        self._builder, self._kind = builder, ir.VectorType(_math.F32, lanes)

    def constant(self, value: Any) -> Any:
        """Returns a vector of one number."""
        if np.asarray(value).dtype == bool:
            return ir.Constant(ir.VectorType(ir.IntType(1), self._kind.count), [int(value)] * self._kind.count)
        return _math.splat(float(value), self._kind)

    def apply(self, name: str, params: dict[str, Any], *entries: Any) -> Any:
        """Emits a primitive for one entry."""
        if name == "select_n":
            return self._builder.select(entries[0], entries[2], entries[1])
        if name == "clamp":
            low = FUNCTIONS["max"](self._builder, entries[1], entries[0])
            return FUNCTIONS["min"](self._builder, low, entries[2])
        if name == "integer_pow":
            return _power(self._builder, *entries, params["y"])
        if name == "convert_element_type":
            return self._builder.uitofp(entries[0], self._kind) if entries[0].type != self._kind else entries[0]
        return FUNCTIONS[name](self._builder, *entries)


class Units:
    """Follows which units an entry depends on, to see that a program works unit by unit."""

    def constant(self, value: Any) -> frozenset:
        """Returns that a number depends on none."""
        return frozenset()

    def apply(self, name: str, params: dict[str, Any], *entries: frozenset) -> frozenset:
        """Returns what the result of a primitive depends on."""
        return frozenset().union(*entries)


SPECIAL = ("select_n", "clamp", "integer_pow", "convert_element_type")


def evaluate(program: ClosedJaxpr, arguments: Sequence[Entries], algebra: Any) -> list[Entries]:
    """Evaluates a program on arrays of objects.

    Raises:
        UnsupportedError: It holds a primitive that is not compiled, or other numbers than float32 and flags.
    """
    return _evaluate(program.jaxpr, program.consts, arguments, algebra)


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Entries], algebra: Any) -> list[Entries]:
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
        elif name in FUNCTIONS or name in SPECIAL:
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


def _each(name: str, params: dict, shape: tuple[int, ...], inputs: list[Entries], algebra: Any) -> Entries:
    # A scalar flag or bound may stand beside arrays.
    inputs = [np.broadcast_to(entries, shape) for entries in inputs]
    result = np.empty(shape, object)
    for index in np.ndindex(*shape):
        result[index] = algebra.apply(name, params, *(entries[index] for entries in inputs))
    return result


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


def mixes_units(trace: Callable[[int], ClosedJaxpr]) -> bool:
    """Returns whether in the program for two units a result depends on the other unit."""
    program = trace(2)
    arguments = [
        entries_of([frozenset({place % 2}) for place in range(aval.shape[-1])]) for aval in program.in_avals
    ]
    results = evaluate(program, arguments, Units())
    return any(not seen <= {place % 2} for result in results for place, seen in enumerate(result.ravel()))


def shapes(tree: Any) -> Any:
    """Returns the shapes of a tree of arrays."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
