"""Vectors of any magnitude as a float part and an exact binary exponent: ``v = part * 2**exponent``."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._types import Array, Float, Int, PyTree

LN_2 = 0.6931471805599453


class Scaled(NamedTuple):
    """A tree of arrays times a power of two.

    Args:
        part: Arrays whose largest magnitude lies in [1/2, 1), or all zero.
        exponent: Whole number ``[]``; sums of exponents are exact, so no rounding piles up over lags.
    """

    part: PyTree
    exponent: Int[Array, ""]


def rescale(part: PyTree, exponent: Int[Array, ""]) -> Scaled:
    """Moves the magnitude of `part` into the exponent. Exact: only powers of two are multiplied.

    Zero stays zero, and what is not finite stays as it is.
    """
    largest = jnp.stack([jnp.max(jnp.abs(leaf), initial=0.0) for leaf in jax.tree.leaves(part)]).max()
    shift = jnp.where(jnp.isfinite(largest), jnp.frexp(largest)[1], 0)
    return Scaled(times_power(part, -shift), exponent + shift)


def times_power(tree: PyTree, exponent: Int[Array, "..."]) -> PyTree:
    """Multiplies by ``2**exponent`` in two halves, each of which the dtype can hold; below their square all is zero.

    `exponent` is one number, or an array of the rank of the leaves.
    """

    def leaf(array: jax.Array) -> jax.Array:
        real = jnp.finfo(array.dtype)
        most = 2 * min(real.maxexp - 3, -real.minexp - 1)
        within = jnp.clip(exponent, -most, most)
        half, one = within // 2, jnp.ones((), real.dtype)
        return array * jnp.ldexp(one, half) * jnp.ldexp(one, within - half)

    return jax.tree.map(leaf, tree)


def log_norm(part: PyTree, exponent: Int[Array, ""]) -> Float[Array, ""]:
    """Returns ``ln ||part * 2**exponent||_2`` over all leaves; -inf for zero."""
    scaled, exponent = rescale(part, exponent)
    squares = sum(jnp.sum(jnp.square(jnp.abs(leaf))) for leaf in jax.tree.leaves(scaled))
    return 0.5 * jnp.log(squares) + LN_2 * exponent.astype(squares.dtype)


def add(a: Scaled, b: Scaled) -> Scaled:
    """Returns the sum of two scaled trees; what is too small to count against the other is lost, as in any sum."""
    top = jnp.maximum(_magnitude(a), _magnitude(b))
    total = jax.tree.map(jnp.add, times_power(a.part, a.exponent - top), times_power(b.part, b.exponent - top))
    return rescale(total, top)


def _magnitude(a: Scaled) -> Any:
    """The exponent, or the least one for zero, which must not decide the scale of a sum."""
    nonzero = jnp.stack([jnp.any(leaf != 0) for leaf in jax.tree.leaves(a.part)]).any()
    return jnp.where(nonzero, a.exponent, jnp.iinfo(a.exponent.dtype).min // 2)
