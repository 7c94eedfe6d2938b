"""Masks and resets over trees of states."""

import jax
import jax.numpy as jnp

from recur._types import Array, Bool, State
from recur.engines._recurrence import shifted


def select(where: Bool[Array, "*B"], yes: State, no: State) -> State:
    """Takes the state `yes` where `where` is true and `no` elsewhere."""

    def leaf(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(where.reshape(where.shape + (1,) * (a.ndim - where.ndim)), a, b)

    return jax.tree.map(leaf, yes, no)


def hold(states: State, start: State, mask: Bool[Array, "T *B"], reverse: bool) -> State:
    """Replaces the state of every masked step by that of the last unmasked one before it, bit by bit.

    For engines in parallel over time, which have no state to carry on.
    """
    length = len(mask)
    steps = jnp.arange(length).reshape(-1, *(1,) * (mask.ndim - 1))
    if reverse:
        last = jax.lax.cummin(jnp.where(mask, steps, length), axis=0, reverse=True)
    else:
        last = jax.lax.cummax(jnp.where(mask, steps + 1, 0), axis=0)

    def leaf(states: jax.Array, start: jax.Array) -> jax.Array:
        every = jnp.concatenate([states, start[None]] if reverse else [start[None], states])
        index = last.reshape(last.shape + (1,) * (states.ndim - last.ndim))
        return jnp.take_along_axis(every, index, axis=0)

    return jax.tree.map(leaf, states, start)


def before_each_step(
    states: State, start: State, restart: State, reset: Bool[Array, "T *B"] | None, reverse: bool
) -> State:
    """Returns the state that every step began with, resets included, leaves ``[T, *B, ...]``."""
    before = shifted(states, start, reverse)
    if reset is None:
        return before
    return select(reset, jax.tree.map(lambda a, b: jnp.broadcast_to(a, b.shape), restart, before), before)
