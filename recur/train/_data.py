"""What data and batches may be: arrays of numbers, in tuples and dicts."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur._checks import as_native, brief, check_sortable
from recur._types import PyTree


def as_data(name: str, tree: PyTree, *, copy: bool = False, take_numbers: bool = False) -> PyTree:
    """Returns a tree of arrays as JAX reads it, each in the byte order of this machine.

    Args:
        name: What to call it; leaves are named by their path.
        tree: What came.
        copy: Whether arrays of NumPy are copied, so that their memory may be filled again at once: JAX reads it later.
        take_numbers: Whether numbers of Python are leaves, too.

    Raises:
        TypeError: A list, whose entries may be samples or fields; a string; an array of another library, or masked,
            or not of numbers.
        ValueError: Whole numbers that the 32 bits of JAX do not hold.
    """
    check_sortable(name, tree)
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: isinstance(node, list))
    taken = []
    for path, leaf in leaves:
        label = name + jax.tree_util.keystr(path)
        if isinstance(leaf, np.ndarray | np.generic):
            leaf = _of_numpy(label, leaf)
            taken.append(np.array(leaf) if copy else leaf)
        elif isinstance(leaf, jax.Array) or (take_numbers and isinstance(leaf, numbers.Number)):
            taken.append(leaf)
        else:
            raise TypeError(f"{label}: expected {_wanted(leaf)}")
    return jax.tree.unflatten(structure, taken)


def outline(tree: PyTree) -> str:
    """Returns names, shapes and dtypes of arrays in words."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    shapes = [f"{jax.tree_util.keystr(path)} {leaf.dtype} {list(leaf.shape)}".strip() for path, leaf in leaves]
    return ", ".join(shapes)


def _wanted(leaf: Any) -> str:
    if isinstance(leaf, list):
        return (
            f"arrays in tuples or dicts, got a list of {len(leaf)}; join samples with np.stack, "
            "and put fields in a tuple"
        )
    kind = f"{type(leaf).__module__}.{type(leaf).__qualname__}".removeprefix("builtins.")
    if hasattr(leaf, "__array__"):
        return f"an array of NumPy or JAX, got {kind}; convert it with np.asarray"
    return f"an array of numbers, got {brief(leaf) if type(leaf).__module__ == 'builtins' else kind}; make it one"


def _of_numpy(label: str, array: np.ndarray | np.generic) -> np.ndarray | np.generic:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{label}: expected an array without a mask, got a masked one; fill it, and give the mask too")
    if array.dtype.kind in "USOMm" or (array.dtype.kind == "V" and not jnp.issubdtype(array.dtype, jnp.number)):
        raise TypeError(f"{label}: expected an array of numbers, got dtype {array.dtype}; make it one, or leave it out")
    return as_native(label, array)
