"""Copying symbols over time: all at the beginning, or scattered among blanks."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_dtype, check_key, check_positive
from recur._types import Array, Float, Int, Key


def copy_memory(
    key: Key[Array, ""], count: int, delay: int, *, items: int = 10, symbols: int = 8, dtype: Any = jnp.float32
) -> tuple[Float[Array, "N T V"], Int[Array, "N T"]]:
    """Draws sequences to be repeated after a delay: symbols, blanks, a delimiter, blanks to write the symbols in.

        input:   s_1 .. s_K   blank (delay - 1 times)   delimiter   blank (K times)
        target:  blank (delay + K times)                            s_1 .. s_K

    of T = delay + 2 K steps, each s independent and uniform. The loss is the cross-entropy, mean over all T steps.

    It can be jitted with all but `key` static, and put under vmap over keys.

    Args:
        key: PRNG key; the same key draws the same sequences.
        count: Sequences N.
        delay: Steps from the last symbol to the delimiter, what the literature calls T.
        items: Symbols K of a sequence.
        symbols: Kinds of symbols, numbered from 0; then come blank (number `symbols`) and delimiter.
        dtype: Floating dtype of the input.

    Returns:
        ``x [N, T, V]``, one-hot over V = symbols + 2, and target numbers ``y [N, T]``, at most `symbols`.

    Raises:
        TypeError: `key` is no key, or a number is not whole.
        ValueError: A number below 1.

    Reference:
        Hochreiter and Schmidhuber (1997), https://doi.org/10.1162/neco.1997.9.8.1735; in this form Arjovsky, Shah and
        Bengio (2016), https://arxiv.org/abs/1511.06464.

    Example:
        >>> import jax, recur.tasks
        >>> x, y = recur.tasks.copy_memory(jax.random.key(3), 1, 4, items=2)
        >>> x.argmax(axis=-1)[0].tolist(), y[0].tolist()
        ([3, 3, 8, 8, 8, 9, 8, 8], [8, 8, 8, 8, 8, 8, 3, 3])
    """
    check_key("key", key)
    check_dtype("dtype", dtype)
    sizes = {"count": count, "delay": delay, "items": items, "symbols": symbols}
    count, delay, items, symbols = (check_positive(name, value) for name, value in sizes.items())
    drawn = jax.random.randint(key, (count, items), 0, symbols)
    blank = jnp.full((count, delay + items), symbols)
    x = jnp.concatenate([drawn, blank.at[:, delay - 1].set(symbols + 1)], axis=1)
    return jax.nn.one_hot(x, symbols + 2, dtype=dtype), jnp.concatenate([blank, drawn], axis=1)


def copy_memory_floor(delay: int, *, items: int = 10, symbols: int = 8) -> float:
    """Returns the cross-entropy in nats of blanks where they stand and guesses elsewhere: K ln symbols / (delay + 2 K).

    Example:
        >>> import recur.tasks
        >>> round(recur.tasks.copy_memory_floor(100), 6)
        0.173287
    """
    sizes = {"delay": delay, "items": items, "symbols": symbols}
    delay, items, symbols = (check_positive(name, value) for name, value in sizes.items())
    return items * math.log(symbols) / (delay + 2 * items)


def selective_copy(
    key: Key[Array, ""], count: int, length: int, *, items: int = 16, symbols: int = 14, dtype: Any = jnp.float32
) -> tuple[Float[Array, "N T V"], Int[Array, "N K"]]:
    """Draws symbols scattered among blanks, to be repeated in their order when the markers come.

        input:   K symbols at places drawn without repetition among the first T - K steps, blanks between, K markers
        target:  at the k-th marker the k-th symbol

    Which steps to keep depends on what they hold, so no fixed delay solves it. The loss is the cross-entropy, mean
    over the K markers: the last K steps.

    It can be jitted with all but `key` static, and put under vmap over keys.

    Args:
        key: PRNG key; the same key draws the same sequences.
        count: Sequences N.
        length: Steps T, at least 2 K.
        items: Symbols K of a sequence.
        symbols: Kinds of symbols, numbered from 0; then come blank and marker.
        dtype: Floating dtype of the input.

    Returns:
        ``x [N, T, V]``, one-hot over V = symbols + 2, and target numbers ``y [N, K]``, below `symbols`.

    Raises:
        TypeError: `key` is no key, or a number is not whole.
        ValueError: A number below 1, or a `length` without room.

    Reference:
        Gu and Dao (2023), https://arxiv.org/abs/2312.00752, section 4.1.1; T = 4096, K = 16 there.

    Example:
        >>> import jax, recur.tasks
        >>> x, y = recur.tasks.selective_copy(jax.random.key(0), 1, 9, items=2, symbols=3)
        >>> x.argmax(axis=-1)[0].tolist(), y[0].tolist()
        ([3, 3, 1, 2, 3, 3, 3, 4, 4], [1, 2])
    """
    check_key("key", key)
    check_dtype("dtype", dtype)
    sizes = {"count": count, "length": length, "items": items, "symbols": symbols}
    count, length, items, symbols = (check_positive(name, value) for name, value in sizes.items())
    if length < 2 * items:
        raise ValueError(f"length: expected at least 2 * items = {2 * items} steps, got {length}")
    for_symbols, for_places = jax.random.split(key)
    drawn = jax.random.randint(for_symbols, (count, items), 0, symbols)
    # The places of the K largest of as many random numbers as there are places.
    _, places = jax.lax.top_k(jax.random.uniform(for_places, (count, length - items)), items)
    x = jnp.full((count, length), symbols).at[:, length - items :].set(symbols + 1)
    x = x.at[jnp.arange(count)[:, None], jnp.sort(places, axis=1)].set(drawn)
    return jax.nn.one_hot(x, symbols + 2, dtype=dtype), drawn


def selective_copy_floor(*, symbols: int = 14) -> float:
    """Returns the cross-entropy of guessing, in nats: ln symbols.

    Example:
        >>> import recur.tasks
        >>> round(recur.tasks.selective_copy_floor(symbols=8), 6)
        2.079442
    """
    return math.log(check_positive("symbols", symbols))
