"""The tasks of memory in one shape, so that one program learns all of them at all lengths."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from recur import tasks

SYMBOLS = 6
FEATURES = SYMBOLS + 2


class Batch(NamedTuple):
    """Sequences that are filled up in front to one number of steps T.

    Args:
        steps: Steps of the sequence itself, ``[N]``.
        values: Numbers to read, ``[N, T]``.
        symbols: Symbols to read, or marks of the numbers, ``[N, T]``.
        is_number: Whether the task is one of numbers, ``[N]``.
        number: What is to be said at the last step, if it is, ``[N]``.
        labels: Symbols to be said, if not, ``[N, T]``.
        weights: What a symbol counts in the loss, ``[N, T]``.
    """

    steps: jax.Array
    values: jax.Array
    symbols: jax.Array
    is_number: jax.Array
    number: jax.Array
    labels: jax.Array
    weights: jax.Array


class Problem(NamedTuple):
    """A task at any length.

    Args:
        name: In records.
        sequences: ``sequences(key, count, T) -> (x, y)`` of the task.
        floor: Loss of the best guess without memory at T.
        scored: Last steps whose symbols count, None for all; numbers count at the last step.
        is_number: Whether numbers are read and one is said.
        more: Steps that a sequence has beside T.
    """

    name: str
    sequences: Callable[[jax.Array, int, int], tuple[jax.Array, jax.Array]]
    floor: Callable[[int], float]
    is_number: bool = False
    scored: int | None = 1
    more: int = 0


NAMES = ("adding", "multiplication", "temporal order", "copy", "selective copy")


@functools.cache
def problems(items: int) -> dict[str, Problem]:
    """Returns the tasks of `NAMES`; `items` symbols of six kinds are copied, over T steps or scattered among more."""
    copied = {"items": items, "symbols": SYMBOLS}
    both = {"more": 2 * items}
    found = (
        Problem("adding", tasks.adding, lambda t: tasks.adding_floor(), is_number=True),
        Problem("multiplication", tasks.multiplication, lambda t: tasks.multiplication_floor(), is_number=True),
        Problem("temporal order", tasks.temporal_order, lambda t: tasks.temporal_order_floor()),
        Problem(
            "copy",
            functools.partial(tasks.copy_memory, **copied),
            functools.partial(tasks.copy_memory_floor, **copied),
            scored=None,
            **both,
        ),
        Problem(
            "selective copy",
            lambda key, count, t: tasks.selective_copy(key, count, t + 2 * items, **copied),
            lambda t: tasks.selective_copy_floor(symbols=SYMBOLS),
            scored=items,
            **both,
        ),
    )
    return {problem.name: problem for problem in found}


@functools.cache
def recall(lag: int) -> Problem:
    """Returns delayed recall of the number `lag` steps before the end."""
    return Problem(
        "delayed recall",
        lambda key, count, t: tasks.delayed_recall(key, count, t, lag),
        lambda t: tasks.delayed_recall_floor(),
        is_number=True,
    )


# For programs that XLA takes longer to optimise than it takes to run them: random bits, a few looks.
QUICKLY = {"xla_backend_optimization_level": 1}


@functools.partial(jax.jit, static_argnames=("problem", "lengths", "count", "longest"), compiler_options=QUICKLY)
def draw(
    keys: jax.Array, chunk: jax.Array, *, problem: Problem, lengths: tuple[int, ...], count: int, longest: int
) -> Batch:
    """Draws the sequences of a chunk for each length and each of S keys, leaves ``[lengths * S, count, ...]``."""

    def one(length: int, key: jax.Array) -> Batch:
        key = jax.random.fold_in(jax.random.fold_in(key, length), chunk)
        return _filled(problem, *problem.sequences(key, count, length), longest)

    drawn = [jax.vmap(functools.partial(one, length))(keys) for length in lengths]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *drawn)


def _filled(problem: Problem, x: jax.Array, y: jax.Array, longest: int) -> Batch:
    count, steps, _ = x.shape

    def fill(array: jax.Array, dtype: jnp.dtype) -> jax.Array:
        return jnp.pad(array.astype(dtype), ((0, 0), (longest - array.shape[1], 0)))

    if problem.is_number:
        values, symbols, number = x[..., 0], x[..., 1], y[:, 0]
        labels = weights = jnp.zeros((count, 0))
    else:
        values, symbols, number = jnp.zeros((count, 0)), x.argmax(axis=-1), jnp.zeros(count)
        labels = y.reshape(count, -1)
        weights = jnp.full((count, problem.scored or steps), 1 / (problem.scored or steps))
    return Batch(
        jnp.full(count, steps, jnp.int32),
        fill(values, jnp.float32),
        fill(symbols, jnp.int8),
        jnp.full(count, problem.is_number),
        number.astype(jnp.float32),
        fill(labels, jnp.int8),
        fill(weights, jnp.float32),
    )


def inputs(batch: Batch) -> jax.Array:
    """Returns what the network reads, ``[T, N, 8]``: a number, its mark and six zeros, or a symbol, one-hot."""
    marked = jnp.stack([batch.values, batch.symbols.astype(jnp.float32)], axis=-1)
    marked = jnp.pad(marked, ((0, 0), (0, 0), (0, FEATURES - 2)))
    written = jax.nn.one_hot(batch.symbols, FEATURES, dtype=jnp.float32)
    return jnp.moveaxis(jnp.where(batch.is_number[:, None, None], marked, written), 0, 1)
