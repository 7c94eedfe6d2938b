"""Checks of arguments that run before anything is traced; each error names argument, expected, got, remedy."""

import inspect
import numbers
import operator
import os
import pathlib
import reprlib
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LARGEST = 2**31 - 1
"""The largest size of an axis, and the largest number of steps, that 32-bit integers count."""


def as_array(name: str, array: Any) -> jax.Array:
    """Returns `array` as a JAX array, or raises TypeError where JAX knows none like it; see `as_native`."""
    if isinstance(array, np.ndarray | np.generic):
        array = as_native(name, array)
    try:
        array = jnp.asarray(array)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name}: expected an array, got {type(array).__name__}: {error}") from None
    if jnp.issubdtype(array.dtype, jax.dtypes.extended):
        raise TypeError(f"{name}: expected an array of numbers, got dtype {array.dtype}")
    return array


def as_native(name: str, array: np.ndarray | np.generic) -> np.ndarray | np.generic:
    """Returns an array of NumPy in the machine's order of bytes.

    Raises:
        ValueError: Whole numbers that JAX, which makes 32 bits of 64 unless it is told not to, would wrap.
    """
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    narrow = jax.dtypes.canonicalize_dtype(array.dtype) if array.dtype.kind in "iu" else array.dtype
    if narrow != array.dtype and array.size:
        least, most = array.min(), array.max()
        if least < np.iinfo(narrow).min or most > np.iinfo(narrow).max:
            raise ValueError(f"{name}: expected numbers that {narrow} holds, got {least} to {most}; count from 0")
    return array


def as_numpy(name: str, values: Any, what: str = "an array") -> np.ndarray:
    """Returns an array of NumPy, or raises TypeError where it knows none like it; `what` is told to be expected."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name}: expected {what}, got {type(values).__name__}: {error}") from None


def as_numbers(name: str, values: Any) -> np.ndarray:
    """Returns real numbers as an array of NumPy in float64, or raises TypeError where they are none."""
    array = as_numpy(name, values, "an array of numbers")
    if not (array.dtype.kind in "biu" or jnp.issubdtype(array.dtype, jnp.floating)):
        raise TypeError(f"{name}: expected an array of real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def as_whole_numbers(name: str, values: Any, below: int | None = None) -> np.ndarray:
    """Returns whole numbers as an array of NumPy, or raises where they are none, or outside of 0 to `below` - 1."""
    array = as_numpy(name, values, "whole numbers")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name}: expected whole numbers, got {brief(values)}; give their index in the vocabulary")
    if below is not None and array.size and not 0 <= array.min() <= array.max() < below:
        raise ValueError(f"{name}: expected numbers from 0 to {below - 1}, got {array.min()} to {array.max()}")
    return array if array.size else np.zeros(array.shape, np.int64)


def check_sized(name: str, values: Any, kinds: Any = Sequence) -> None:
    """Raises TypeError unless `values` is a sequence, or an array with at least one axis."""
    if not (isinstance(values, kinds) or getattr(values, "ndim", 0) > 0):
        raise TypeError(f"{name}: expected a sequence, got {brief(values)}")


def as_path(name: str, path: Any) -> pathlib.Path:
    """Returns `path` as a path, or raises TypeError where it is none."""
    try:
        is_path = isinstance(path, str | os.PathLike) and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        # A lone surrogate that stands for no byte.
        is_path = False
    if not is_path:
        raise TypeError(f"{name}: expected the path of a file, got {brief(path)}")
    return pathlib.Path(path)


def as_list(name: str, values: Any) -> list:
    """Returns what `values` holds as a list, or raises TypeError where there is nothing to go through."""
    try:
        return list(values)
    except TypeError:
        raise TypeError(f"{name}: expected a sequence, got {brief(values)}; put it in a list") from None


def is_one_of(value: Any, choices: Collection[Any]) -> bool:
    """Whether `value` is among the choices; an array, or a list, which no set or dict can be asked for, never is."""
    try:
        hash(value)
    except TypeError:
        return False
    return value in choices


def as_flags(name: str, flags: Any, shape: tuple[int, ...], remedy: str) -> jax.Array | None:
    """Returns `flags` as a boolean array of this shape, None as None, or raises for another dtype or shape."""
    if flags is None:
        return None
    flags = as_array(name, flags)
    if flags.dtype != jnp.bool_:
        raise TypeError(f"{name}: expected dtype bool, got {flags.dtype}; compare it, as in {name} > 0")
    check_shape(name, flags, shape, remedy)
    return flags


def check_positive(name: str, value: Any) -> int:
    """Returns `value` as an int, or raises if it is no whole number of at least 1, or one that no array can have."""
    number = check_whole(name, value, ">= 1")
    if not 1 <= number <= LARGEST:
        bound = f"expected a whole number {'>= 1' if number < 1 else f'<= {LARGEST}'}"
        raise ValueError(f"{name}: {bound}, got {number}")
    return number


def check_whole(name: str, value: Any, bound: str = "") -> int:
    """Returns `value` as an int, or raises TypeError if it is no whole number; `bound` is told beside it."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number{bound and ' '}{bound}, got {brief(value)}") from None


def check_batch_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Returns `shape` as a tuple of ints, or raises unless it is one of sizes of at least 0."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{name}: expected a tuple of sizes, got {brief(shape)}")
    sizes = tuple(check_whole(name, size, ">= 0 for each axis") for size in shape)
    if not all(0 <= size <= LARGEST for size in sizes):
        raise ValueError(f"{name}: expected sizes from 0 to {LARGEST}, got {sizes}")
    return sizes


def check_dtype(name: str, dtype: Any, kind: Any = jnp.floating) -> Any:
    """Returns `dtype`, or raises TypeError unless it is a floating one; with `jnp.inexact`, real or complex."""
    try:
        # NumPy reads bytes as the name of a type.
        is_none = dtype is None or isinstance(dtype, jax.Array | np.ndarray | np.generic | bytes)
        is_floating = not is_none and jnp.issubdtype(jnp.dtype(dtype), kind)
    except (TypeError, ValueError):
        is_floating = False
    if not is_floating:
        raise TypeError(f"{name}: expected a floating dtype, got {brief(dtype)}; give one such as jnp.float32")
    return dtype


def check_key(name: str, key: Any) -> None:
    """Raises TypeError unless `key` is one PRNG key, of the new kind or the old (uint32 [2])."""
    is_key = isinstance(key, jax.Array) and (
        jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or (key.dtype == jnp.uint32 and key.ndim == 1)
    )
    if not is_key:
        raise TypeError(f"{name}: expected a PRNG key, got {brief(key)}; make one with jax.random.key(seed)")
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim > 0:
        raise TypeError(f"{name}: expected one PRNG key, got keys of shape {key.shape}; jax.vmap runs over many")


def check_arrays(name: str, tree: Any) -> None:
    """Raises TypeError unless all leaves of a tree are arrays."""
    check_sortable(name, tree)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            label = name + jax.tree_util.keystr(path)
            raise TypeError(f"{label}: expected an array, got {brief(leaf)}; make it one, or leave it out")
        if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "USOMm":
            label = name + jax.tree_util.keystr(path)
            raise TypeError(
                f"{label}: expected an array of numbers, got dtype {leaf.dtype}; make it one, or leave it out"
            )


def check_sortable(name: str, tree: Any) -> None:
    """Raises TypeError unless JAX can go through a tree: the keys of each dict must have an order."""
    try:
        jax.tree.structure(tree)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}: expected dicts whose keys can be sorted, got {brief(tree)}; name all by str"
        ) from None


def check_hashable(name: str, value: Any) -> None:
    """Raises TypeError unless `value` can stand in a cache, as the static argument of a jitted function must."""
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(
            f"{name}: expected a hashable value (a frozen dataclass), got {brief(value)}: {error}"
        ) from None


def check_number(name: str, value: Any) -> float:
    """Returns `value` as a float, or raises if it is no real number, or one that is too large for a float."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a number, got {brief(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name}: expected a number that a float can hold, got {brief(value)}") from None


def check_callable(name: str, value: Any, form: str, arguments: int) -> None:
    """Raises TypeError unless `value` is a function of so many arguments, as far as it says; `form` shows which."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name}: expected a function {form}, got {brief(value)}")
    faults = []
    # What a wrapper says of itself, or of the function in it: either may be what is called.
    for follows in (True, False):
        try:
            inspect.signature(value, follow_wrapped=follows).bind(*[None] * arguments)
        except TypeError as error:
            faults.append(str(error))
        except ValueError:
            # Of some functions of C nothing is known.
            return
    if len(faults) == 2:
        raise TypeError(f"{name}: expected a function {form}, got {brief(value)}: {faults[0]}")


def check_bool(name: str, value: Any) -> bool:
    """Returns `value` as a bool, or raises TypeError if it is none: a static choice, no array."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {brief(value)}; it is static, not an array")
    return bool(value)


def check_floating(name: str, array: Any, remedy: str) -> None:
    """Raises TypeError unless `array` has a real or complex floating dtype."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise TypeError(f"{name}: expected a floating dtype, got {array.dtype}; {remedy}")


def check_shape(name: str, array: Any, expected: tuple[int, ...], remedy: str) -> None:
    """Raises ValueError unless `array` has exactly the shape `expected`."""
    if tuple(array.shape) != tuple(expected):
        raise ValueError(f"{name}: expected shape {tuple(expected)}, got {tuple(array.shape)}; {remedy}")


def check_tree(name: str, tree: Any, expected: Any, remedy: str, *, dtypes: bool = True) -> None:
    """Raises unless `tree` has the structure, leaf shapes and leaf dtypes of `expected`.

    Args:
        name: Argument name for the message; leaves are named by their path, as in ``params['kernel']``.
        tree: What came.
        expected: Pytree of arrays or `jax.ShapeDtypeStruct`.
        remedy: How to get a right one.
        dtypes: Whether dtypes must agree too.

    Raises:
        TypeError: Other structure or dtype.
        ValueError: Other shape.
    """
    check_sortable(name, tree)
    if jax.tree.structure(tree) != jax.tree.structure(expected):
        raise TypeError(f"{name}: expected {_outline(expected)}, got {_outline(tree)}; {remedy}")
    for (path, leaf), want in zip(jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(expected), strict=True):
        label = name + jax.tree_util.keystr(path)
        if not hasattr(leaf, "shape"):
            raise TypeError(f"{label}: expected an array of shape {want.shape}, got {leaf!r}; {remedy}")
        check_shape(label, leaf, want.shape, remedy)
        if dtypes and leaf.dtype != want.dtype:
            raise TypeError(f"{label}: expected dtype {want.dtype}, got {leaf.dtype}; {remedy}")


def brief(value: Any) -> str:
    """Returns a value's repr, cut to fit one line: a dict of arrays would fill the screen."""
    if isinstance(value, (jax.Array, dict)):
        return _outline(value)
    shown = reprlib.Repr()
    shown.maxother = shown.maxstring = 100
    return shown.repr(value)


def _outline(tree: Any) -> str:
    """Names a tree's containers and fields without its numbers."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{k!r}: {_outline(v)}" for k, v in tree.items()) + "}"
    if hasattr(tree, "_fields"):
        pairs = zip(tree._fields, tree, strict=True)
        return f"{type(tree).__name__}({', '.join(f'{k}={_outline(v)}' for k, v in pairs)})"
    if isinstance(tree, (list, tuple)):
        return f"{type(tree).__name__} of {len(tree)}"
    return "array" if hasattr(tree, "shape") else type(tree).__name__
