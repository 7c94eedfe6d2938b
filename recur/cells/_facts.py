"""Facts of a step, read off its program in one walk: what depends on what, and how.

Every entry of every array in the program carries four numbers: the degree in which it depends on the state, the fields
of the state and the unit that it depends on, and a recipe, which is equal for two entries that are computed in the same
way from entries of the same places but of different units. Operations that move entries move these numbers; arithmetic
joins them; whatever is not known here depends on all that it gets, in no degree that could be relied on.
"""

import functools
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

NO_UNIT, MANY = -1, -2
FREE, AFFINE, OTHER = range(3)
"""Degrees: free of the state; affine in it, with a slope that no state enters; anything else."""


class Facts(NamedTuple):
    """What a program tells of its results, each entry by itself.

    Args:
        degree: `FREE`, `AFFINE` or `OTHER`, for each result.
        fields: The fields of the state that each entry depends on, as bits.
        unit: The unit that each entry depends on; `NO_UNIT` or `MANY`.
        recipe: Equal for entries that are computed alike.
        only_reverse: Whether it holds a function whose derivative is known in reverse mode alone (`jax.custom_vjp`).
    """

    degree: tuple[np.ndarray, ...]
    fields: tuple[np.ndarray, ...]
    unit: tuple[np.ndarray, ...]
    recipe: tuple[np.ndarray, ...]
    only_reverse: bool

    def mixes_units(self) -> bool:
        """Whether an entry depends on another unit than its own, or on several."""
        return any(not ((unit == NO_UNIT) | (unit == _own(unit))).all() for unit in self.unit)

    def is_affine(self) -> bool:
        """Whether result i is affine in field i, unit by unit, and free of all other fields."""
        pairs = enumerate(zip(self.degree, self.fields, strict=True))
        alone = all((degree <= AFFINE).all() and not (fields & ~(1 << i)).any() for i, (degree, fields) in pairs)
        return alone and not self.mixes_units()

    def recipes(self) -> tuple[int | None, ...]:
        """Returns the recipe of each result, None where its units are not computed alike."""
        rows = [recipe.reshape(-1, recipe.shape[-1]) if recipe.ndim else recipe.reshape(1, 1) for recipe in self.recipe]
        return tuple(hash(row[:, 0].tobytes()) if row.size and (row == row[:, :1]).all() else None for row in rows)


def _own(unit: np.ndarray) -> np.ndarray:
    return np.arange(unit.shape[-1]) if unit.ndim else np.array(NO_UNIT)


class _Marks(NamedTuple):
    """The four numbers, as arrays of the shape of what they stand for."""

    degree: np.ndarray
    fields: np.ndarray
    unit: np.ndarray
    recipe: np.ndarray

    def map(self, move: Callable[[np.ndarray], np.ndarray]) -> "_Marks":
        return _Marks(*map(move, self))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.degree.shape


def facts(program: ClosedJaxpr, units: int, state: Sequence[int]) -> Facts:
    """Walks a program.

    Args:
        program: The program. The last axis of each argument, where `units` divides it, is units within blocks.
        units: Number of units H.
        state: For each argument which field of the state it is, -1 for none.
    """
    walk = _Walk()
    arguments = []
    for place, (aval, field) in enumerate(zip(program.in_avals, state, strict=True)):
        shape, size = aval.shape, aval.shape[-1] if aval.shape else 0
        by_unit = bool(size) and size % units == 0
        index = np.arange(size)
        unit = np.broadcast_to(index % units if by_unit else np.array(NO_UNIT), shape)
        block = np.broadcast_to(index // units if by_unit else index, shape) if shape else np.zeros(shape, int)
        rows = np.arange(math.prod(shape[:-1])).reshape(*shape[:-1], *(1,) * bool(shape)) if shape else 0
        recipe = _mix(_word(f"argument {place}"), _mix(block.astype(np.uint64), np.asarray(rows, np.uint64)))
        arguments.append(
            _Marks(
                np.full(shape, FREE if field < 0 else AFFINE, np.int8),
                np.full(shape, 0 if field < 0 else 1 << field, np.int64),
                np.array(unit),
                np.broadcast_to(recipe, shape),
            )
        )
    results = walk.run(program.jaxpr, program.consts, arguments)
    columns = zip(*results, strict=True) if results else ((), (), (), ())
    return Facts(*map(tuple, columns), walk.only_reverse)


def reads(program: ClosedJaxpr) -> list[bool]:
    """Returns which arguments a program reads."""
    needed = {id(atom) for atom in program.jaxpr.outvars if not isinstance(atom, Literal)}
    for equation in reversed(program.jaxpr.eqns):
        if any(id(variable) in needed for variable in equation.outvars):
            needed |= {id(atom) for atom in equation.invars if not isinstance(atom, Literal)}
    return [id(variable) in needed for variable in program.jaxpr.invars]


_LINEAR = frozenset(("add", "add_any", "complex", "conj", "copy", "copy_p", "imag", "mul", "neg", "real", "sub"))
_ELEMENTWISE = _LINEAR | frozenset(
    (
        *("abs", "acos", "acosh", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "clamp", "cos"),
        *("convert_element_type", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1"),
        *("floor", "ge", "gt", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max"),
        *("min", "ne", "nextafter", "not", "or", "pow", "reduce_precision", "rem", "round", "rsqrt", "select_n"),
        *("shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square"),
        *("stop_gradient", "tan", "tanh", "xor"),
    )
)
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr"} | {
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}
_OWN_RULES = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


def _broadcast(marks: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    spread = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], marks.shape, strict=True):
        spread[axis] = size
    return np.broadcast_to(marks.reshape(spread), params["shape"])


_MOVES: dict[str, Callable[[np.ndarray, dict[str, Any]], Any]] = {
    "broadcast_in_dim": _broadcast,
    "expand_dims": lambda x, p: np.expand_dims(x, p["dimensions"]),
    "optimization_barrier": lambda x, p: x,
    "pvary": lambda x, p: x,
    "reshape": lambda x, p: x.reshape(p["new_sizes"]),
    "rev": lambda x, p: np.flip(x, p["dimensions"]),
    "sharding_constraint": lambda x, p: x,
    "slice": lambda x, p: x[tuple(map(slice, p["start_indices"], p["limit_indices"], p["strides"] or (1,) * x.ndim))],
    "split": lambda x, p: np.split(x, np.cumsum(p["sizes"])[:-1], axis=p["axis"]),
    "squeeze": lambda x, p: np.squeeze(x, p["dimensions"]),
    "tile": lambda x, p: np.tile(x, p["reps"]),
    "transpose": lambda x, p: np.transpose(x, p["permutation"]),
}


class _Walk:
    """Follows the marks through a program and those that it calls."""

    def __init__(self) -> None:
        self.only_reverse = False

    def run(self, jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[_Marks]) -> list[_Marks]:
        known = dict(zip(jaxpr.invars, arguments, strict=True))
        known |= zip(jaxpr.constvars, map(_constant, consts), strict=True)

        def read(atom: Any) -> _Marks:
            return _constant(atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            results = self._apply(equation, [read(atom) for atom in equation.invars])
            known |= zip(equation.outvars, results, strict=True)
        return [read(atom) for atom in jaxpr.outvars]

    def _apply(self, equation: Any, inputs: list[_Marks]) -> list[_Marks]:
        name, params = equation.primitive.name, equation.params
        shapes = [variable.aval.shape for variable in equation.outvars]
        if name in _CALLS:
            return self._call(name, params, inputs)
        if name in _MOVES and len(inputs) == 1:
            moved = [_MOVES[name](array, params) for array in inputs[0]]
            return [_Marks(*part) for part in zip(*moved, strict=True)] if name == "split" else [_Marks(*moved)]
        if name == "concatenate":
            parts = zip(*inputs, strict=True)
            return [_Marks(*(np.concatenate(arrays, axis=params["dimension"]) for arrays in parts))]
        if name == "pad" and not any(low < 0 or high < 0 or inside for low, high, inside in params["padding_config"]):
            room = [(low, high) for low, high, _ in params["padding_config"]]
            pairs = zip(*inputs, strict=True)
            return [_Marks(*(np.pad(array, room, constant_values=fill.item()) for array, fill in pairs))]
        if name == "dynamic_update_slice" and all(isinstance(place, Literal) for place in equation.invars[2:]):
            return [_updated(*inputs[:2], [int(place.val) for place in equation.invars[2:]])]
        if name in _ELEMENTWISE and len(shapes) == 1:
            return [self._each(name, params, shapes[0], inputs, equation)]
        if name in ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"):
            return [_reduced(name, inputs[0], params["axes"])]
        if name == "iota":
            values = np.arange(params["shape"][params["dimension"]], dtype=np.uint64)
            spread = np.expand_dims(values, [i for i in range(len(params["shape"])) if i != params["dimension"]])
            return [_free(shapes[0], _mix(_word("iota"), np.broadcast_to(spread, shapes[0])))]
        return _unknown(name, params, shapes, inputs)

    def _call(self, name: str, params: dict[str, Any], inputs: list[_Marks]) -> list[_Marks]:
        inner = params[_CALLS[name]]
        inner, consts = (inner.jaxpr, inner.consts) if isinstance(inner, ClosedJaxpr) else (inner, ())
        self.only_reverse |= "vjp" in name
        results = self.run(inner, consts, inputs)
        if name in _OWN_RULES:
            # The derivative may be any other than that of the values.
            results = [marks._replace(degree=_other(marks.degree)) for marks in results]
        return results

    def _each(
        self, name: str, params: dict[str, Any], shape: tuple[int, ...], inputs: list[_Marks], equation: Any
    ) -> _Marks:
        inputs = [marks.map(lambda array: np.broadcast_to(array, shape)) for marks in inputs]
        degrees = [marks.degree for marks in inputs]
        if name == "mul":
            degree = np.minimum(degrees[0] + degrees[1], OTHER)
        elif name == "div":
            degree = np.where(degrees[1] == FREE, degrees[0], OTHER)
        elif name == "select_n":
            chosen = np.maximum.reduce(degrees[1:])
            degree = np.where(degrees[0] == FREE, chosen, OTHER)
        elif name in _LINEAR or (name == "integer_pow" and params["y"] == 1):
            degree = np.maximum.reduce(degrees)
        elif name == "convert_element_type" and _keeps_numbers(equation):
            degree = degrees[0]
        else:
            degree = _other(np.maximum.reduce(degrees))
        options = {key: value for key, value in params.items() if key not in ("sharding", "accuracy", "weak_type")}
        recipe = _word(f"{name} {sorted(options.items(), key=str)}")
        for marks in inputs:
            recipe = _mix(recipe, marks.recipe)
        return _Marks(degree.astype(np.int8), _fields(inputs), _units(inputs), np.broadcast_to(recipe, shape))


def _keeps_numbers(equation: Any) -> bool:
    kinds = [equation.invars[0].aval.dtype, equation.outvars[0].aval.dtype]
    return all(jax.numpy.issubdtype(kind, jax.numpy.inexact) for kind in kinds)


def _other(degree: np.ndarray) -> np.ndarray:
    return np.where(degree == FREE, FREE, OTHER).astype(np.int8)


def _fields(inputs: Sequence[_Marks]) -> np.ndarray:
    return np.bitwise_or.reduce([marks.fields for marks in inputs])


def _units(inputs: Sequence[_Marks]) -> np.ndarray:
    joined = inputs[0].unit
    for marks in inputs[1:]:
        same = (joined == marks.unit) | (marks.unit == NO_UNIT)
        joined = np.where(same, joined, np.where(joined == NO_UNIT, marks.unit, MANY))
    return joined


def _reduced(name: str, marks: _Marks, axes: Sequence[int]) -> _Marks:
    for axis in sorted(axes, reverse=True):
        if not marks.shape[axis]:
            return _free(tuple(np.delete(marks.shape, axes)), _word(name))
        parts = [marks.map(functools.partial(np.take, indices=place, axis=axis)) for place in range(marks.shape[axis])]
        degree = np.max(marks.degree, axis)
        recipe = _word(name)
        for part in parts:
            recipe = _mix(recipe, part.recipe)
        degree = degree if name == "reduce_sum" else _other(degree)
        marks = _Marks(degree, _fields(parts), _units(parts), np.asarray(recipe))
    return marks


def _unknown(name: str, params: dict[str, Any], shapes: Sequence[tuple], inputs: Sequence[_Marks]) -> list[_Marks]:
    """Every entry depends on all there is: in degree 1 where a product has one factor that does, else in no degree."""
    flat = [marks.map(np.ravel) for marks in inputs if marks.degree.size]
    degrees = [int(marks.degree.max()) for marks in flat]
    degree = max(degrees, default=FREE)
    if not (name == "dot_general" and sum(degrees) <= AFFINE) and degree:
        degree = OTHER
    fields = int(np.bitwise_or.reduce([np.bitwise_or.reduce(marks.fields) for marks in flat])) if flat else 0
    seen = np.unique(np.concatenate([marks.unit for marks in flat])) if flat else np.array([NO_UNIT])
    seen = seen[seen != NO_UNIT]
    unit = NO_UNIT if not seen.size else int(seen[0]) if seen.size == 1 else MANY
    word = _word(f"{name} {sorted(map(str, params.items()))}")
    for marks in flat:
        word = _mix(word, _word(np.ascontiguousarray(marks.recipe).tobytes()))
    results = []
    for number, shape in enumerate(shapes):
        places = np.arange(math.prod(shape), dtype=np.uint64).reshape(shape)
        results.append(
            _Marks(
                np.full(shape, degree, np.int8),
                np.full(shape, fields, np.int64),
                np.full(shape, unit),
                _mix(_mix(word, np.uint64(number)), places),
            )
        )
    return results


def _updated(into: _Marks, update: _Marks, places: list[int]) -> _Marks:
    index = tuple(slice(start, start + size) for start, size in zip(places, update.shape, strict=True))

    def write(array: np.ndarray, part: np.ndarray) -> np.ndarray:
        array = np.array(array)
        array[index] = part
        return array

    return _Marks(*map(write, into, update))


def _constant(value: Any) -> _Marks:
    array = np.asarray(value)
    words = [_word(entry.tobytes()) for entry in array.ravel()] if array.size <= 2**16 else range(array.size)
    return _free(array.shape, np.array(list(words), np.uint64).reshape(array.shape))


def _free(shape: tuple[int, ...], recipe: Any) -> _Marks:
    return _Marks(
        np.full(shape, FREE, np.int8),
        np.zeros(shape, np.int64),
        np.full(shape, NO_UNIT),
        np.broadcast_to(np.asarray(recipe, np.uint64), shape),
    )


def _word(text: str | bytes) -> np.uint64:
    data = text.encode() if isinstance(text, str) else text
    return np.uint64(zlib.crc32(data) | zlib.crc32(data, 0x5BD1E995) << 32)


def _mix(one: Any, other: Any) -> Any:
    """Joins two words into one, the order of which counts."""
    with np.errstate(over="ignore"):
        joined = np.asarray(one, np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.asarray(other, np.uint64)
        joined = (joined ^ (joined >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        return joined ^ (joined >> np.uint64(32))
