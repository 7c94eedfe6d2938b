"""The adding problem: remember two marked numbers, return their sum."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from recur._checks import check_dtype, check_key, check_positive, is_one_of
from recur._types import Array, Float, Key
from recur.tasks._marks import any_pair, read, windows

Marks = Literal["halves", "any", "hs97"]
SHORTEST = {"halves": 2, "any": 2, "hs97": 8}


def adding(
    key: Key[Array, ""], count: int, length: int, *, marks: Marks = "halves", dtype: Any = jnp.float32
) -> tuple[Float[Array, "N T 2"], Float[Array, "N 1"]]:
    """Draws sequences of numbers, two of them marked, and the sum of these two.

        x_t = (v_t, [t = p or t = q]),   v_t ~ U[0, 1),   y = v_p + v_q

    The literature draws p and q in two ways, and they are not equally hard: with one mark a half, the last numbers
    never decide alone. ``hs97`` is the original task, with values and target of its own: v_t ~ U[-1, 1),
    y = 1/2 + (v_p + v_q) / 4, and with the marker -1 at the first and the last step.

    It can be jitted with `count`, `length` and `marks` static, and put under vmap over keys.

    Args:
        key: PRNG key; the same key draws the same sequences.
        count: Sequences N.
        length: Steps T, at least 2; at least 8 for ``hs97``.
        marks: ``"halves"``: p uniform in the first half, q in the second (uRNN, coRNN, LEM); ``"any"``: uniform over
            all pairs of steps (TCN); ``"hs97"``: both among the first ``T // 2 - 1`` steps, p among the first 10.
            There the very first, whose marker is -1, is left out.
        dtype: Floating dtype of both results.

    Returns:
        ``x [N, T, 2]``, value and marker, and ``y [N, 1]``.

    Raises:
        TypeError: `key` is no key, or a number is not whole.
        ValueError: `count` below 1, a `length` that is too short, or unknown `marks`.

    Departs from Hochreiter and Schmidhuber (1997) with ``hs97``: all sequences are of one length, and the first step
    is never drawn (there it may be, and then counts as 0).

    Reference:
        Hochreiter and Schmidhuber (1997), https://doi.org/10.1162/neco.1997.9.8.1735, section 5.4; one mark a half:
        Arjovsky, Shah and Bengio (2016), https://arxiv.org/abs/1511.06464; any pair: Bai, Kolter and
        Koltun (2018), https://arxiv.org/abs/1803.01271, and its code.

    Example:
        >>> import jax, recur.tasks
        >>> x, y = recur.tasks.adding(jax.random.key(0), 5, 100)
        >>> x.shape, y.shape, x[:, :50, 1].sum(axis=1).tolist()
        ((5, 100, 2), (5, 1), [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    check_key("key", key)
    check_dtype("dtype", dtype)
    count, length = check_positive("count", count), check_positive("length", length)
    if not is_one_of(marks, SHORTEST):
        raise ValueError(f"marks: expected one of {list(SHORTEST)}, got {marks!r}")
    if length < SHORTEST[marks]:
        raise ValueError(f"length: expected at least {SHORTEST[marks]} steps with marks={marks!r}, got {length}")
    for_values, for_marks = jax.random.split(key)
    values = jax.random.uniform(for_values, (count, length), dtype, -1.0 if marks == "hs97" else 0.0, 1.0)
    if marks == "halves":
        places = windows(for_marks, count, [(0, length // 2), (length // 2, length)])
    elif marks == "any":
        places = any_pair(for_marks, count, length, length)
    else:
        free = length // 2 - 2
        places = 1 + any_pair(for_marks, count, min(9, free), free)
    x, marked = read(values, places)
    total = marked.sum(axis=1, keepdims=True)
    if marks != "hs97":
        return x, total
    return x.at[:, jnp.array([0, length - 1]), 1].set(-1), 0.5 + total / 4


def adding_floor(marks: Marks = "halves") -> float:
    """Returns the mean squared error of the best constant guess: Var(u + v) = 1/6; of ``hs97`` Var((u + v) / 4) = 1/24.

    Example:
        >>> import recur.tasks
        >>> round(recur.tasks.adding_floor(), 6), round(recur.tasks.adding_floor("hs97"), 6)
        (0.166667, 0.041667)
    """
    if not is_one_of(marks, SHORTEST):
        raise ValueError(f"marks: expected one of {list(SHORTEST)}, got {marks!r}")
    return 1 / 24 if marks == "hs97" else 1 / 6
