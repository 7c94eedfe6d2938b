"""A series with a season, and windows of series."""

import math

import numpy as np

from recur._checks import as_numpy, check_number, check_positive, check_sized
from recur._types import Array, Key
from recur.tasks._random import host_generator


def seasonal_series(
    key: Key[Array, ""], count: int, *, period_steps: int = 24, correlation: float = 0.8, noise: float = 0.3
) -> np.ndarray:
    """Draws a series of a sine and a noise that remembers its last value.

        y_t = sin(2 pi t / P) + u_t,   u_t = r u_{t-1} + s e_t,   e_t ~ N(0, 1),   u stationary

    Args:
        key: PRNG key; the same key draws the same series.
        count: Steps N.
        period_steps: P.
        correlation: r, in (-1, 1).
        noise: s, at least 0.

    Returns:
        float64 ``[N, 1]``, like a column that `read_series` read.

    Raises:
        TypeError: `key` is no key, or a number is not one.
        ValueError: A number below 1, negative noise, or a correlation outside of (-1, 1).
    """
    count, period_steps = check_positive("count", count), check_positive("period_steps", period_steps)
    if not -1 < check_number("correlation", correlation) < 1:
        raise ValueError(f"correlation: expected a number between -1 and 1, got {correlation}")
    if check_number("noise", noise) < 0:
        raise ValueError(f"noise: expected a standard deviation >= 0, got {noise}")
    shocks = noise * host_generator(key).standard_normal(count)
    rest = np.empty(count)
    value = shocks[0] / math.sqrt(1 - correlation**2)
    for step in range(count):
        value = correlation * value + shocks[step] if step else value
        rest[step] = value
    return (np.sin(2 * np.pi * np.arange(count) / period_steps) + rest)[:, None]


def seasonal_series_floor(*, noise: float = 0.3) -> float:
    """Returns the mean squared error of the best forecast one step ahead, that of who knows all but the shock: s^2.

    Example:
        >>> round(seasonal_series_floor(), 6)
        0.09
    """
    noise = check_number("noise", noise)
    return noise * noise


def sliding_windows(values: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts all windows of a series, and the value that follows each.

        x_nt = v_{n + t},   y_n = v_{n + T},   n = 0..N-T-1,  t = 0..T-1

    Args:
        values: The series v, ``[N, X]``.
        length: Values T of a window.

    Returns:
        ``x [N - T, T, X]``, which shares the memory of `values` and cannot be written to, and ``y [N - T, X]``.

    Raises:
        TypeError: `length` is not whole.
        ValueError: A series without room for a window and the value after it.

    Example:
        >>> x, y = sliding_windows(np.arange(4)[:, None], 2)
        >>> x[..., 0].tolist(), y[:, 0].tolist()
        ([[0, 1], [1, 2]], [2, 3])
    """
    values = as_numpy("values", values)
    check_sized("values", values)
    if check_positive("length", length) >= len(values):
        raise ValueError(f"length: expected less than the {len(values)} values that there are, got {length}")
    windows = np.lib.stride_tricks.sliding_window_view(values[:-1], length, axis=0)
    return np.moveaxis(windows, -1, 1), values[length:]
