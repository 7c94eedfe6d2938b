"""Arithmetic of programs of one unit, as instructions of LLVM for a vector of units."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr
from llvmlite import ir

from recur.engines.kernels import _math
from recur.engines.kernels._evaluate import Entries, evaluate


def _fast(operation: str) -> Callable[[ir.IRBuilder, Any, Any], Any]:
    """Returns an instruction that may be fused with another one into a multiply-add."""
    return lambda b, x, y: getattr(b, operation)(x, y, flags=("contract",))


def _is_flag(x: Any) -> bool:
    return x.type.element == ir.IntType(1)


def _compare(symbol: str) -> Callable[[ir.IRBuilder, Any, Any], Any]:
    def emit(b: ir.IRBuilder, x: Any, y: Any) -> Any:
        if _is_flag(x):
            return b.icmp_unsigned(symbol, x, y)
        return b.fcmp_unordered(symbol, x, y) if symbol == "!=" else b.fcmp_ordered(symbol, x, y)

    return emit


def _extreme(symbol: str) -> Callable[[ir.IRBuilder, Any, Any], Any]:
    def emit(b: ir.IRBuilder, x: Any, y: Any) -> Any:
        if _is_flag(x):
            return b.or_(x, y) if symbol == ">" else b.and_(x, y)
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
    "add": _fast("fadd"),
    "add_any": _fast("fadd"),
    "and": lambda b, x, y: b.and_(x, y),
    "ceil": lambda b, x: _math.call(b, "ceil", x),
    "div": _fast("fdiv"),
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
    "mul": _fast("fmul"),
    "ne": _compare("!="),
    "neg": lambda b, x: b.fneg(x),
    "not": lambda b, x: b.not_(x),
    "one_minus_square": lambda b, x: _math.fma(b, b.fneg(x), x, _math.splat(1.0, x.type)),
    "or": lambda b, x, y: b.or_(x, y),
    "rsqrt": lambda b, x: b.fdiv(_math.splat(1.0, x.type), _math.call(b, "sqrt", x)),
    "sign": _sign,
    "sqrt": lambda b, x: _math.call(b, "sqrt", x),
    "square": lambda b, x: b.fmul(x, x, flags=("contract",)),
    "sub": _fast("fsub"),
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
            return self._converted(entries[0], params["new_dtype"])
        return FUNCTIONS[name](self._builder, *entries)

    def _converted(self, entry: Any, dtype: Any) -> Any:
        """Returns a flag as 0 or 1, a number as whether it is not 0."""
        to_flag = np.dtype(dtype) == bool
        if _is_flag(entry) == to_flag:
            return entry
        if to_flag:
            return self._builder.fcmp_unordered("!=", entry, _math.splat(0.0, self._kind))
        return self._builder.uitofp(entry, self._kind)


def emit(builder: ir.IRBuilder, lanes: int, program: ClosedJaxpr, arguments: Sequence[Entries]) -> list[Entries]:
    """Emits a program for vectors of units."""
    return evaluate(program, arguments, Vectors(builder, lanes))
