"""Sine with a gap: see a wave for a while, then say where it is after a time in the dark."""

from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_dtype, check_key, check_positive
from recur._types import Array, Float, Key

# A turn of the phase, counted in whole numbers that wrap around: no length makes it inexact.
_TURN = 2**32


def sine_with_gap(
    key: Key[Array, ""],
    count: int,
    length: int,
    gap: int,
    *,
    periods_steps: tuple[int, int] = (10, 40),
    dtype: Any = jnp.float32,
) -> tuple[Float[Array, "N T 2"], Float[Array, "N 1"]]:
    """Draws sine waves whose last steps are hidden, and their value at the last step.

        s_t = sin(2 pi (f t + phi)),   f ~ U[1 / longest, 1 / shortest),   phi ~ U[0, 1)
        x_t = (s_t, 1) for t < T - gap, (0, 0) after,   y = s_{T-1}

    The network must go on with the wave by itself: neither its frequency nor its phase may drift in the gap.

    It can be jitted with all but `key` static, and put under vmap over keys.

    Args:
        key: PRNG key; the same key draws the same sequences.
        count: Sequences N.
        length: Steps T.
        gap: Hidden steps at the end, 1 to T - 2: two values are the least that tells frequency and phase.
        periods_steps: The shortest and the longest period, at least 2.
        dtype: Floating dtype of both results.

    Returns:
        ``x [N, T, 2]``, value and whether it is seen, and ``y [N, 1]``.

    Raises:
        TypeError: `key` is no key, or a number is not whole.
        ValueError: A number below 1, a `gap` without two steps before it, or periods below 2 or the wrong way round.

    Example:
        >>> import jax, recur.tasks
        >>> x, y = recur.tasks.sine_with_gap(jax.random.key(0), 5, 100, 20)
        >>> x.shape, y.shape, x[0, 80:].tolist() == [[0.0, 0.0]] * 20
        ((5, 100, 2), (5, 1), True)
    """
    check_key("key", key)
    check_dtype("dtype", dtype)
    sizes = {"count": count, "length": length, "gap": gap}
    count, length, gap = (check_positive(name, value) for name, value in sizes.items())
    if gap > length - 2:
        raise ValueError(f"gap: expected 1 to length - 2 = {length - 2} steps, got {gap}; draw longer sequences")
    shortest, longest = (check_positive("periods_steps", period) for period in periods_steps)
    if not 2 <= shortest < longest:
        raise ValueError(f"periods_steps: expected 2 <= shortest < longest, got {periods_steps}")
    for_phase, for_frequency = jax.random.split(key)
    phase = jax.random.bits(for_phase, (count, 1), jnp.uint32)
    frequency = jax.random.uniform(for_frequency, (count, 1), minval=_TURN / longest, maxval=_TURN / shortest)
    turned = phase + frequency.astype(jnp.uint32) * jnp.arange(length, dtype=jnp.uint32)[None]
    wave = jnp.sin(2 * jnp.pi / _TURN * turned.astype(jnp.float32)).astype(dtype)
    seen = (jnp.arange(length) < length - gap).astype(dtype)[None]
    return jnp.stack([wave * seen, jnp.broadcast_to(seen, wave.shape)], axis=-1), wave[:, -1:]


def sine_with_gap_floor() -> float:
    """Returns the mean squared error of the best constant guess, 0: E sin^2 = 1/2.

    Example:
        >>> import recur.tasks
        >>> recur.tasks.sine_with_gap_floor()
        0.5
    """
    return 0.5
