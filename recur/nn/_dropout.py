"""Dropout whose key comes in with the call; no key, no dropout."""

from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import brief, check_key
from recur._types import Array, Float, Int, Key


def drop(key: Key[Array, ""] | None, values: Float[Array, "*A"], rate: float) -> Float[Array, "*A"]:
    """Sets entries to zero with probability `rate` and divides the others by ``1 - rate``; nothing without a key."""
    if key is None or rate == 0:
        return values
    kept = jax.random.bernoulli(key, 1 - rate, values.shape)
    return jnp.where(kept, values / (1 - rate), 0)


def check_rate(rate: Any, name: str = "dropout") -> float:
    """Returns the probability of a dropout as a float of Python's, whose kind no array takes on, or raises."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        raise TypeError(f"{name}: expected a probability in [0, 1), got {brief(rate)}")
    if not 0 <= rate < 1:
        raise ValueError(f"{name}: expected a probability in [0, 1), got {rate}")
    return float(rate)


def fold_key(key: Key[Array, ""] | None, place: int | Int[Array, ""]) -> Key[Array, ""] | None:
    """Returns the key of one place in a model that drops; None without a key.

    Raises:
        TypeError: Something that is no key.
    """
    if key is None:
        return None
    check_key("key", key)
    return jax.random.fold_in(key, place)
