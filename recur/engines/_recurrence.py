"""The linear recurrence ``y_t = decay_t y_{t-1} + drive_t``, entry by entry, in parallel over time."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from recur._types import Array, PyTree, Shaped


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def linear_recurrence(
    decay: Shaped[Array, "T *A"], drive: Shaped[Array, "T *A"], reverse: bool
) -> Shaped[Array, "T *A"]:
    """Returns y from ``y_0 = 0`` on, for T >= 1; with `reverse` from the last step to the first.

    Depth O(log T), work O(T). Its derivative is such a recurrence again, which keeps the residuals down to decay and y.
    """
    return _associative(decay, drive, reverse)


@linear_recurrence.defjvp
def _tangent(reverse: bool, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (decay, drive), (d_decay, d_drive) = primals, tangents
    y = linear_recurrence(decay, drive, reverse)
    before = shifted(y, jnp.zeros_like(y[0]), reverse)
    return y, _associative(decay, d_decay * before + d_drive, reverse)


def _associative(decay: jax.Array, drive: jax.Array, reverse: bool) -> jax.Array:
    def join(first: tuple, second: tuple) -> tuple:
        return second[0] * first[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(join, (decay, drive), reverse=reverse)[1]


def shifted(after: PyTree, start: PyTree, reverse: bool) -> PyTree:
    """Returns what stood before each step: ``after [T, ...]`` moved by one, `start` in front (behind, in reverse)."""

    def leaf(after: Any, start: Any) -> jax.Array:
        parts = [after[1:], start[None]] if reverse else [start[None], after[:-1]]
        return jnp.concatenate(parts)

    return jax.tree.map(leaf, after, start)
