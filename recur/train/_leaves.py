"""The leaves of a state on their way to a checkpoint and back: their names, their memory, their forms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur._types import PyTree
from recur.train._names import escape
from recur.train._state import Best, Good, Health, TrainState


def named_leaves(tree: PyTree, *, escaped: bool = True) -> dict[str, Any]:
    """Returns the leaves by their path, parts joined by dots; up to layout 3 parts were not escaped."""
    write = escape if escaped else str
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {".".join(write(jax.tree_util.keystr((part,), simple=True)) for part in path): leaf for path, leaf in leaves}


def as_saved(like: TrainState, saved: set[str]) -> TrainState:
    """Returns a state that has what `fit` adds to it where it is saved, and only there.

    Older versions did not count bad steps, and what to do about them may change from run to run.
    """
    health = Health(*[like.step] * len(Health._fields)) if "health" in saved else None
    good = Good(like.params, like.opt_state, like.ema, like.carry) if "good" in saved else None
    return like._replace(health=health, good=good)


def marked(best: Best) -> jax.Array:
    """Returns the value of the best, with the mark of today where there is none."""
    return jnp.where(best.step == 0, jnp.full_like(best.value, jnp.inf), best.value)


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def raw(leaf: jax.Array) -> jax.Array:
    """Returns the words of a PRNG key, any other array as it is."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def copied(leaf: jax.Array) -> np.ndarray | jax.Array:
    """Returns a copy, because training goes on and gives the state's own memory to the next steps.

    Of an array on the devices of several processes it stays there: each of them writes its part.
    """
    return np.array(leaf, copy=True) if leaf.is_fully_addressable else jnp.copy(leaf)


def cooked(stored: np.ndarray, like: jax.Array) -> jax.Array:
    """Returns the array in memory of JAX's own, which may be donated; a key if `like` is one."""
    array = jnp.array(stored, copy=True)
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(like)) if _is_key(like) else array


def check_same(where: str, stored: dict, wanted: dict[str, jax.ShapeDtypeStruct]) -> None:
    """Raises ValueError unless names, shapes and dtypes that are stored are those wanted; names the first."""

    def outline(leaf: jax.ShapeDtypeStruct | None) -> str:
        return "nothing" if leaf is None else f"{np.dtype(leaf.dtype)} {list(leaf.shape)}"

    names = [*wanted, *(name for name in stored if name not in wanted)]
    different = [name for name in names if outline(stored.get(name)) != outline(wanted.get(name))]
    if different:
        name, more = different[0], len(different) - 1
        raise ValueError(
            f"{where}: checkpoint of another model: {name} is {outline(stored.get(name))} there and "
            f"{outline(wanted.get(name))} here{f', {more} more differ' if more else ''}; "
            "restore it with the configuration it was made with, or train in another folder"
        )
