"""Temporal order: which of two symbols came first, second and third, far apart among others."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_dtype, check_key, check_positive, is_one_of
from recur._types import Array, Float, Int, Key
from recur.tasks._marks import windows

# Where the relevant symbols stand, in percent of the sequence: from, to (both included).
WINDOWS = {2: ((10, 20), (50, 60)), 3: ((10, 20), (33, 43), (66, 76))}
FIRST, LAST, DISTRACTORS, RELEVANT = 6, 7, 4, 4
VOCABULARY = 8


def temporal_order(
    key: Key[Array, ""], count: int, length: int, *, relevant: int = 2, dtype: Any = jnp.float32
) -> tuple[Float[Array, "N T 8"], Int[Array, "N"]]:
    """Draws sequences with two or three relevant symbols, X or Y each, whose order is the class.

        E  distractors of a, b, c, d, with X or Y at one step of each window  B

    The windows are 10-20 % and 50-60 % of the sequence (task 6a), or 10-20, 33-43 and 66-76 % (task 6b); the step in a
    window, the symbol there and all distractors are uniform and independent. The class is read off the order as a
    binary number, X = 0 and Y = 1, the first symbol the highest digit: 6a has XX, XY, YX, YY.

    It can be jitted with all but `key` static, and put under vmap over keys.

    Args:
        key: PRNG key; the same key draws the same sequences.
        count: Sequences N.
        length: Steps T, at least 2 + relevant.
        relevant: 2 for task 6a, 3 for task 6b.
        dtype: Floating dtype of the input.

    Returns:
        ``x [N, T, 8]``, one-hot over a, b, c, d, X, Y, E, B, and the class ``y [N]`` of 2^relevant.

    Raises:
        TypeError: `key` is no key, or a number is not whole.
        ValueError: `count` below 1, `relevant` neither 2 nor 3, or a `length` without room.

    Departs from Hochreiter and Schmidhuber (1997), who draw lengths of 100 to 110 and places in steps: here all
    sequences are of one length, and the windows grow with it.

    Reference:
        Hochreiter and Schmidhuber (1997), https://doi.org/10.1162/neco.1997.9.8.1735, section 5.6.

    Example:
        >>> import jax, recur.tasks
        >>> x, y = recur.tasks.temporal_order(jax.random.key(0), 1, 12)
        >>> "".join("abcdXYEB"[s] for s in x.argmax(axis=-1)[0].tolist()), ["XX", "XY", "YX", "YY"][int(y[0])]
        ('EYdbcaXbbabB', 'YX')
    """
    check_key("key", key)
    check_dtype("dtype", dtype)
    count, length = check_positive("count", count), check_positive("length", length)
    if not is_one_of(relevant, WINDOWS):
        raise ValueError(f"relevant: expected 2 (task 6a) or 3 (task 6b), got {relevant!r}")
    if length < 2 + relevant:
        raise ValueError(f"length: expected at least {2 + relevant} steps, got {length}")
    for_distractors, for_places, for_order = jax.random.split(key, 3)
    x = jax.random.randint(for_distractors, (count, length), 0, DISTRACTORS)
    x = x.at[:, 0].set(FIRST).at[:, -1].set(LAST)
    order = jax.random.randint(for_order, (count, relevant), 0, 2)
    places = windows(for_places, count, _windows(length, relevant))
    x = x.at[jnp.arange(count)[:, None], places].set(RELEVANT + order)
    digits = 2 ** jnp.arange(relevant)[::-1]
    return jax.nn.one_hot(x, VOCABULARY, dtype=dtype), (order * digits[None]).sum(axis=1)


def _windows(length: int, relevant: int) -> list[tuple[int, int]]:
    """Returns the windows in steps, ``[start, stop)``: none empty, disjoint, and off the first and last step."""
    bounds, free = [], 1
    for start, end in WINDOWS[relevant]:
        start = max(free, length * start // 100)
        free = max(start, length * end // 100) + 1
        bounds.append((start, free))
    return bounds


def temporal_order_floor(*, relevant: int = 2) -> float:
    """Returns the cross-entropy of guessing, in nats: relevant ln 2.

    Example:
        >>> import recur.tasks
        >>> round(recur.tasks.temporal_order_floor(), 6)
        1.386294
    """
    if not is_one_of(relevant, WINDOWS):
        raise ValueError(f"relevant: expected 2 (task 6a) or 3 (task 6b), got {relevant!r}")
    return relevant * math.log(2)
