"""Runs in chunks of time, one after the other: what is computed ahead of the steps is then small."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from recur._checks import brief, check_positive
from recur._types import PyTree, State

Chunk = int | Literal["auto"] | None

WHOLE_BYTES = 2**24
"""Bytes of the inputs' share up to which all of it is computed at once: it stays in a cache until it is read."""
CHUNK_BYTES = 2**21
"""About as many are computed at once otherwise."""
CHUNK_ROWS = 1024
"""Rows of a product at least, so that it outweighs what each chunk adds to the gradient of the weights."""


def check_chunk(chunk: Any) -> None:
    """Raises for what is no number of steps, ``"auto"`` or None."""
    if isinstance(chunk, str) and chunk != "auto":
        raise ValueError(f"chunk: expected 'auto', None or a number of steps, got {brief(chunk)}")
    if chunk is not None and not isinstance(chunk, str):
        check_positive("chunk", chunk)


def chunk_steps(chunk: Chunk, share: PyTree, steps: tuple[int, ...], platform: str) -> int:
    """Returns how many steps are to be worked on at once.

    Args:
        chunk: What was asked for.
        share: Shapes of what is computed of the inputs ahead of the steps.
        steps: ``(T, *B)``.
        platform: Where.
    """
    length, *batch_shape = steps
    if not isinstance(chunk, str):
        return length if chunk is None else min(chunk, length)
    total = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(share))
    # Measured on CPUs only; accelerators are quick at large products, and slow at many small ones.
    if platform != "cpu" or total <= WHOLE_BYTES:
        return length
    least = -(-CHUNK_ROWS // max(math.prod(batch_shape), 1))
    most = min(max(length * CHUNK_BYTES // total, least), length)
    # Where there is one, a divisor of T, which leaves no rest.
    return next((size for size in range(most, most // 2, -1) if length % size == 0), most)


def in_chunks(
    run: Callable[[State, tuple], State],
    start: State,
    inputs: PyTree,
    size: int,
    *,
    carried: Callable[[State], State] = lambda state: state,
) -> State:
    """Scans ``run(state, inputs) -> states`` over chunks of `size` steps, and the rest of them last.

    From one chunk to the next goes ``carried(last state)``.
    """
    count, rest = divmod(len(jax.tree.leaves(inputs)[0]), size)
    if count == 1 and not rest:
        return run(start, inputs)

    def cut(leaf: jax.Array) -> jax.Array:
        return leaf[: count * size].reshape(count, size, *leaf.shape[1:])

    def body(state: State, inputs: tuple) -> tuple[State, State]:
        states = run(state, inputs)
        return carried(jax.tree.map(lambda leaf: leaf[-1], states)), states

    state, states = jax.lax.scan(body, start, jax.tree.map(cut, inputs))
    states = jax.tree.map(lambda leaf: leaf.reshape(count * size, *leaf.shape[2:]), states)
    if not rest:
        return states
    more = run(state, jax.tree.map(lambda leaf: leaf[count * size :], inputs))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), states, more)
