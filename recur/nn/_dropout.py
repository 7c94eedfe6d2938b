"""Dropout whose key comes in with the call; no key, no dropout."""

from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import brief, check_key
from recur._types import Array, Float, Int, Key, Params, PyTree

# What a cell calls the weights from its state to its gates.
RECURRENT_KERNEL = "recurrent_kernel"


def drop(key: Key[Array, ""] | None, values: Float[Array, "*A"], rate: float) -> Float[Array, "*A"]:
    """Sets entries to zero with probability `rate` and divides the others by ``1 - rate``; nothing without a key."""
    if key is None or rate == 0:
        return values
    kept = jax.random.bernoulli(key, 1 - rate, values.shape)
    return jnp.where(kept, values / (1 - rate), 0)


def drop_recurrent_kernels(key: Key[Array, ""] | None, params: Params, rate: float) -> Params:
    """Drops entries of every recurrent kernel of a cell's parameters, each kernel's by a key of its own."""
    if key is None or rate == 0:
        return params
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    return treedef.unflatten(
        drop(jax.random.fold_in(key, index), leaf, rate) if _is_recurrent_kernel(path) else leaf
        for index, (path, leaf) in enumerate(leaves)
    )


def check_recurrent_dropout(rate: Any, cell: Any, params: PyTree) -> float:
    """Returns the probability as it is, or raises unless it is one, of a cell that has recurrent kernels."""
    check_rate(rate, "recurrent_dropout")
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    if rate > 0 and not any(map(_is_recurrent_kernel, paths)):
        raise ValueError(
            f"recurrent_dropout: expected 0 with {cell!r}, which has no parameter {RECURRENT_KERNEL!r}, got {rate}"
        )
    return rate


def _is_recurrent_kernel(path: tuple[Any, ...]) -> bool:
    return any(getattr(entry, "key", None) == RECURRENT_KERNEL for entry in path)


def check_rate(rate: Any, name: str = "dropout") -> float:
    """Returns the probability of a dropout as it is, or raises unless it is one."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        raise TypeError(f"{name}: expected a probability in [0, 1), got {brief(rate)}")
    if not 0 <= rate < 1:
        raise ValueError(f"{name}: expected a probability in [0, 1), got {rate}")
    return rate


def fold_key(key: Key[Array, ""] | None, place: int | Int[Array, ""]) -> Key[Array, ""] | None:
    """Returns the key of one place in a model that drops; None without a key.

    Raises:
        TypeError: Something that is no key.
    """
    if key is None:
        return None
    check_key("key", key)
    return jax.random.fold_in(key, place)
