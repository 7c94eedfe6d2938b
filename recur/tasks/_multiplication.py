"""The multiplication problem: remember two of many numbers, return their product."""

from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_dtype, check_key, check_positive
from recur._types import Array, Float, Key
from recur.tasks._marks import any_pair, read


def multiplication(
    key: Key[Array, ""], count: int, length: int, *, dtype: Any = jnp.float32
) -> tuple[Float[Array, "N T 2"], Float[Array, "N 1"]]:
    """Draws sequences of numbers, two of them marked, and the product of these two.

        v_t ~ U[0, 1),   p != q uniform over all pairs of steps,
        x_t = (v_t, [t = p or t = q]),   y = v_p v_q

    It can be jitted with `count` and `length` static, and put under vmap over keys.

    Args:
        key: PRNG key; the same key draws the same sequences.
        count: Sequences N.
        length: Steps T, at least 2.
        dtype: Floating dtype of both results.

    Returns:
        ``x [N, T, 2]``, value and marker, and ``y [N, 1]``.

    Raises:
        TypeError: `key` is no key, or a number is not whole.
        ValueError: `count` below 1 or `length` below 2.

    Departs from Hochreiter and Schmidhuber (1997), who mark one of the first ten steps and one of the first half:
    here both marks stand anywhere.

    Reference:
        Hochreiter and Schmidhuber (1997), https://doi.org/10.1162/neco.1997.9.8.1735, section 5.5.

    Example:
        >>> import jax, recur.tasks
        >>> x, y = recur.tasks.multiplication(jax.random.key(0), 5, 100)
        >>> x.shape, y.shape, x[..., 1].sum(axis=1).tolist()
        ((5, 100, 2), (5, 1), [2.0, 2.0, 2.0, 2.0, 2.0])
    """
    check_key("key", key)
    check_dtype("dtype", dtype)
    count, length = check_positive("count", count), check_positive("length", length)
    if length < 2:
        raise ValueError(f"length: expected at least 2 steps, since two of them are marked, got {length}")
    value_key, mark_key = jax.random.split(key)
    values = jax.random.uniform(value_key, (count, length), dtype)
    x, marked = read(values, any_pair(mark_key, count, length, length))
    return x, marked.prod(axis=1, keepdims=True)


def multiplication_floor() -> float:
    """Returns the mean squared error of the best constant guess, 1/4: Var(uv) = E u^2 E v^2 - (E u E v)^2 = 7/144.

    Example:
        >>> import recur.tasks
        >>> round(recur.tasks.multiplication_floor(), 6)
        0.048611
    """
    return 1 / 9 - 1 / 16
