"""Delayed recall: return the number that was marked a known number of steps ago."""

import operator
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_dtype, check_key, check_positive
from recur._types import Array, Float, Key
from recur.tasks._marks import read


def delayed_recall(
    key: Key[Array, ""], count: int, length: int, lag: int, *, dtype: Any = jnp.float32
) -> tuple[Float[Array, "N T 2"], Float[Array, "N 1"]]:
    """Draws sequences of numbers, one of them marked, always `lag` steps before the last, and that number.

        x_t = (v_t, [t = T - 1 - lag]),   v_t ~ U[0, 1),   y = v_{T-1-lag},   t = 0..T-1

    All that the target depends on lies at one lag: the task to see whether training lengthens the reach of gradients.

    It can be jitted with `count`, `length` and `lag` static, and put under vmap over keys.

    Args:
        key: PRNG key; the same key draws the same sequences.
        count: Sequences N.
        length: Steps T.
        lag: Steps between the marked number and the end, 0 <= lag < T.
        dtype: Floating dtype of both results.

    Returns:
        ``x [N, T, 2]``, value and marker, and ``y [N, 1]``.

    Raises:
        TypeError: `key` is no key, or a number is not whole.
        ValueError: `count` or `length` below 1, or `lag` outside 0..T-1.

    Example:
        >>> import jax, recur.tasks
        >>> x, y = recur.tasks.delayed_recall(jax.random.key(0), 5, 100, 60)
        >>> bool((x[:, 39, 0] == y[:, 0]).all())
        True
    """
    check_key("key", key)
    check_dtype("dtype", dtype)
    count, length = check_positive("count", count), check_positive("length", length)
    try:
        lag = operator.index(lag)
    except TypeError:
        raise TypeError(f"lag: expected a whole number, got {lag!r}") from None
    if not 0 <= lag < length:
        raise ValueError(f"lag: expected 0 <= lag < length = {length}, got {lag}; draw longer sequences")
    values = jax.random.uniform(key, (count, length), dtype)
    return read(values, jnp.full((count, 1), length - 1 - lag))


def delayed_recall_floor() -> float:
    """Returns the mean squared error of the best constant guess, 1/2: Var v = 1/12.

    Example:
        >>> import recur.tasks
        >>> round(recur.tasks.delayed_recall_floor(), 6)
        0.083333
    """
    return 1 / 12
