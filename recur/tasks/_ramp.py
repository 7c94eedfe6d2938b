"""Windows of a straight line, and the value that follows."""

from typing import Any

import jax.numpy as jnp

from recur._checks import check_dtype, check_number, check_positive
from recur._types import Array, Float


def ramp(
    count: int, length: int = 4, *, start: float = 0.0, step: float = 0.1, dtype: Any = jnp.float32
) -> tuple[Float[Array, "N T 1"], Float[Array, "N 1"]]:
    """Cuts all windows of a ramp: each is the one before, moved by one step.

        x_nt = start + (n + t) step,   y_n = start + (n + T) step,   n = 0..N-1,  t = 0..T-1

    Nothing is random, so there is no key.

    Args:
        count: Windows N.
        length: Values T of a window.
        start: First value of the first window.
        step: Distance of neighbours.
        dtype: Floating dtype of both results.

    Returns:
        ``x [N, T, 1]`` and ``y [N, 1]``.

    Raises:
        TypeError: `count` or `length` is not whole.
        ValueError: `count` or `length` below 1.

    Example:
        >>> import recur.tasks
        >>> x, y = recur.tasks.ramp(6)
        >>> x[0].ravel().round(1).tolist(), y[0].round(1).tolist()
        ([0.0, 0.10000000149011612, 0.20000000298023224, 0.30000001192092896], [0.4000000059604645])
    """
    count, length = check_positive("count", count), check_positive("length", length)
    start, step = check_number("start", start), check_number("step", step)
    check_dtype("dtype", dtype)
    # Whole numbers first: index times step is rounded once, a running sum would be rounded at every step.
    index = jnp.arange(count)[:, None] + jnp.arange(length + 1)[None]
    line = start + step * index.astype(dtype)
    return line[:, :length, None], line[:, length:]


def ramp_floor(count: int, *, step: float = 0.1) -> float:
    """Returns the mean squared error of the best constant guess over `count` windows: step^2 (count^2 - 1) / 12.

    Example:
        >>> import recur.tasks
        >>> round(recur.tasks.ramp_floor(6), 6)
        0.029167
    """
    step, count = check_number("step", step), check_positive("count", count)
    return step * step * (count**2 - 1) / 12
