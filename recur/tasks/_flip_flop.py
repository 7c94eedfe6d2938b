"""Flip-flops: hold the sign of the last pulse of each channel."""

from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_dtype, check_key, check_number, check_positive
from recur._types import Array, Float, Key


def flip_flop(
    key: Key[Array, ""],
    count: int,
    length: int,
    *,
    bits: int = 3,
    probability: float = 0.2,
    dtype: Any = jnp.float32,
) -> tuple[Float[Array, "N T K"], Float[Array, "N T K"]]:
    """Draws channels of pulses up and down, and of each channel the sign of its last pulse at every step.

        x_tk = s_tk b_tk,   s_tk uniform in {-1, 1},   b_tk = 1 with `probability`, otherwise 0,   b_0k = 1
        y_tk = s_uk  for the last u <= t with b_uk = 1

    Each channel is a bit of memory of its own, so a network that solves the task has 2^K stable states. That makes its
    fixed points easy to look at. The loss is the mean squared error over all steps and channels.

    It can be jitted with all but `key` static, and put under vmap over keys.

    Args:
        key: PRNG key; the same key draws the same sequences.
        count: Sequences N.
        length: Steps T.
        bits: Channels K.
        probability: Chance of a pulse in a channel at each step after the first, above 0 and at most 1.
        dtype: Floating dtype of both results.

    Returns:
        ``x [N, T, K]``, of -1, 0 and 1, and ``y [N, T, K]``, of -1 and 1.

    Raises:
        TypeError: `key` is no key, or a number is not whole.
        ValueError: A number below 1, or a `probability` out of its range.

    Reference:
        Sussillo and Barak (2013), https://doi.org/10.1162/NECO_a_00409; with a pulse at the first step as in
        Golub and Sussillo (2018), https://doi.org/10.21105/joss.01003.

    Example:
        >>> import jax, recur.tasks
        >>> x, y = recur.tasks.flip_flop(jax.random.key(0), 1, 8, bits=1)
        >>> x[0, :, 0].astype(int).tolist(), y[0, :, 0].astype(int).tolist()
        ([1, 1, 0, 1, 1, 0, 0, -1], [1, 1, 1, 1, 1, 1, 1, -1])
    """
    check_key("key", key)
    check_dtype("dtype", dtype)
    sizes = {"count": count, "length": length, "bits": bits}
    count, length, bits = (check_positive(name, value) for name, value in sizes.items())
    probability = _check_probability(probability)
    for_pulses, for_signs = jax.random.split(key)
    shape, steps = (count, length, bits), jnp.arange(length)[None, :, None]
    is_pulse = jax.random.bernoulli(for_pulses, probability, shape) | (steps == 0)
    signs = jax.random.rademacher(for_signs, shape, dtype)
    # A pulse stays the latest one until the next.
    latest = jax.lax.cummax(jnp.where(is_pulse, steps, 0), axis=1)
    return jnp.where(is_pulse, signs, 0), jnp.take_along_axis(signs, latest, axis=1)


def flip_flop_floor(length: int, *, probability: float = 0.2) -> float:
    """Returns the mean squared error of the best guess without memory: the pulse where one is, and 0 elsewhere.

        (1 - probability) (T - 1) / T

    Example:
        >>> import recur.tasks
        >>> round(recur.tasks.flip_flop_floor(100), 6)
        0.792
    """
    length = check_positive("length", length)
    return (1 - _check_probability(probability)) * (length - 1) / length


def _check_probability(probability: float) -> float:
    probability = check_number("probability", probability)
    if not 0 < probability <= 1:
        raise ValueError(f"probability: expected a number above 0 and at most 1, got {probability}")
    return probability
