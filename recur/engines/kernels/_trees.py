"""What enters a run over time, as trees of arrays with one axis of rows, B."""

from typing import NamedTuple

import jax

from recur._types import PyTree


class Known(NamedTuple):
    """What a run is computed from, with one axis B, and what is known after it. None where there is nothing such.

    Args:
        weights: Per-unit weights ``[m H]``.
        matrix: Recurrent kernel ``[H, N]``.
        bias: What is added to the input's share at every step, ``[N]``.
        projected: Input's share without it, ``[T, B, N]``.
        start: State before the first step, ``[B, H]``.
        restart: State that a reset returns to, ``[B, H]``.
        mask: ``[T, B]``.
        reset: ``[T, B]``.
        states: State after every step, ``[T, B, H]``.
        kept: What is kept of the gates, ``[T, B, H]``.
    """

    weights: PyTree
    matrix: jax.Array | None
    bias: jax.Array | None
    projected: jax.Array | None
    start: PyTree
    restart: PyTree
    mask: jax.Array | None
    reset: jax.Array | None
    states: PyTree = None
    kept: PyTree = None


class Linear(NamedTuple):
    """Tangents, or cotangents, of what enters a run.

    Args:
        weights: For every row, ``[B, m H]``.
        sums: Of the gates' sums, ``[T, B, N]``.
        split: Of the input's share of split gates, ``[T, B, M]``; None without them.
        start: ``[B, H]``.
        restart: ``[B, H]``; None without resets.
    """

    weights: PyTree
    sums: jax.Array
    split: jax.Array | None
    start: PyTree
    restart: PyTree
