"""Parity: whether the number of ones is odd."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_dtype, check_key, check_positive
from recur._types import Array, Float, Int, Key


def parity(
    key: Key[Array, ""], count: int, length: int, *, every_step: bool = False, dtype: Any = jnp.float32
) -> tuple[Float[Array, "N T 1"], Int[Array, "N *T"]]:
    """Draws sequences of bits, and whether their sum is odd.

        x_t uniform in {0, 1},   y = (x_0 + ... + x_{T-1}) mod 2

    No bit may be missed and all but one tell nothing: a network must keep one bit of state and flip it exactly.

    It can be jitted with `count`, `length` and `every_step` static, and put under vmap over keys.

    Args:
        key: PRNG key; the same key draws the same sequences.
        count: Sequences N.
        length: Steps T.
        every_step: Whether the parity so far is asked at every step, not only that of all bits at the last.
        dtype: Floating dtype of the input.

    Returns:
        ``x [N, T, 1]``, and the class ``y [N]``, or ``[N, T]`` with `every_step`, 1 where the sum is odd.

    Raises:
        TypeError: `key` is no key, or a number is not whole.
        ValueError: A number below 1.

    Reference:
        Graves (2016), https://arxiv.org/abs/1603.08983, section 3.1, in another form; Hahn (2020),
        https://arxiv.org/abs/1906.06755.

    Example:
        >>> import jax, recur.tasks
        >>> x, y = recur.tasks.parity(jax.random.key(0), 1, 6, every_step=True)
        >>> x[0, :, 0].tolist(), y[0].tolist()
        ([0.0, 0.0, 1.0, 1.0, 0.0, 1.0], [0, 0, 1, 0, 0, 1])
    """
    check_key("key", key)
    check_dtype("dtype", dtype)
    count, length = check_positive("count", count), check_positive("length", length)
    bits = jax.random.bernoulli(key, shape=(count, length)).astype(jnp.int32)
    so_far = jnp.cumsum(bits, axis=1) % 2
    return bits[..., None].astype(dtype), so_far if every_step else so_far[:, -1]


def parity_floor() -> float:
    """Returns the cross-entropy of guessing, in nats: ln 2.

    Example:
        >>> import recur.tasks
        >>> round(recur.tasks.parity_floor(), 6)
        0.693147
    """
    return math.log(2)
