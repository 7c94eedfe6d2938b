"""The linear recurrence ``y_t = decay_t y_{t-1} + drive_t``, entry by entry."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from recur._types import Array, PyTree, Shaped


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def linear_recurrence(
    decay: Shaped[Array, "..."], drive: Shaped[Array, "T *A"], reverse: bool, parallel: bool, unroll: int
) -> Shaped[Array, "T *A"]:
    """Returns y from ``y_0 = 0`` on, for T >= 1; with `reverse` from the last step to the first.

    A decay that is the same at every step has no time axis.

    In parallel: depth O(log T), work O(T). Else one step after the other, `unroll` of them in an iteration of the loop.
    Its derivative is such a recurrence again, which keeps the residuals down to decay and y.
    """
    return _solve(decay, drive, reverse, parallel, unroll)


@linear_recurrence.defjvp
def _tangent(
    reverse: bool, parallel: bool, unroll: int, primals: tuple, tangents: tuple
) -> tuple[jax.Array, jax.Array]:
    (decay, drive), (d_decay, d_drive) = primals, tangents
    y = linear_recurrence(decay, drive, reverse, parallel, unroll)
    before = shifted(y, jnp.zeros_like(y[0]), reverse)
    if d_decay.ndim < before.ndim:
        d_decay = d_decay[None]
    return y, _solve(decay, d_decay * before + d_drive, reverse, parallel, unroll)


def _solve(decay: jax.Array, drive: jax.Array, reverse: bool, parallel: bool, unroll: int) -> jax.Array:
    constant = decay.ndim < drive.ndim
    if parallel:

        def join(first: tuple, second: tuple) -> tuple:
            return second[0] * first[0], second[0] * first[1] + second[1]

        decays = jnp.broadcast_to(decay, drive.shape) if constant else decay
        return jax.lax.associative_scan(join, (decays, drive), reverse=reverse)[1]

    def step(before: jax.Array, inputs: tuple) -> tuple[jax.Array, jax.Array]:
        now, drive = inputs
        after = (decay if constant else now) * before + drive
        return after, after

    inputs = (None if constant else decay, drive)
    return jax.lax.scan(step, jnp.zeros_like(drive[0]), inputs, reverse=reverse, unroll=unroll)[1]


def shifted(after: PyTree, start: PyTree, reverse: bool) -> PyTree:
    """Returns what stood before each step: ``after [T, ...]`` moved by one, `start` in front (behind, in reverse)."""

    def leaf(after: Any, start: Any) -> jax.Array:
        parts = [after[1:], start[None]] if reverse else [start[None], after[:-1]]
        return jnp.concatenate(parts)

    return jax.tree.map(leaf, after, start)
