"""Places in sequences: drawn from windows or as pairs, marked, and read."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from recur._types import Array, Float, Int, Key


def windows(key: Key[Array, ""], count: int, bounds: Sequence[tuple[int, int]]) -> Int[Array, "N M"]:
    """Draws one place in each window ``[start, stop)``, uniformly and independently."""
    starts, stops = jnp.array(bounds).T
    return jax.random.randint(key, (count, len(bounds)), starts[None], stops[None])


def any_pair(key: Key[Array, ""], count: int, first: int, most: int) -> Int[Array, "N 2"]:
    """Draws a place among the `first` steps, and another among all `most` steps."""
    # A step, and a gap that is never 0 around a circle: the second place is uniform over all but the first.
    drawn = jax.random.randint(key, (count, 2), jnp.array([[0, 1]]), jnp.array([[first, most]]))
    return jnp.stack([drawn[:, 0], drawn.sum(axis=1) % most], axis=1)


def read(values: Float[Array, "N T"], places: Int[Array, "N M"]) -> tuple[Float[Array, "N T 2"], Float[Array, "N M"]]:
    """Returns the values beside a marker of the places, and the values that stand there."""
    steps = jnp.arange(values.shape[1])
    marks = (steps[None, :, None] == places[:, None]).any(axis=2).astype(values.dtype)
    return jnp.stack([values, marks], axis=-1), jnp.take_along_axis(values, places, axis=1)
