"""What is not finite must not reach what does not depend on it: in a derivative zero times infinity would be NaN.

A step that holds what is no number is *spoilt*, and so are the steps behind it up to the next reset. Derivatives are
taken as if spoilt steps were masked, from numbers that are finite; and `guard` says NaN where a tangent or a cotangent
that is not zero meets a spoilt step. So a loss that does not depend on spoilt steps has the gradient of the rest, and
one that does has NaN, as it should.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from recur._types import Array, Bool, PyTree


def over(flags: Bool[Array, "*B"], array: jax.Array) -> Bool[Array, "*A"]:
    """Returns flags with the further axes of an array."""
    return flags.reshape(flags.shape + (1,) * (array.ndim - flags.ndim))


def select(where: Bool[Array, "*B"], yes: PyTree, no: PyTree) -> PyTree:
    """Takes the tree `yes` where `where` is true and `no` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(over(where, jnp.broadcast_to(a, b.shape)), a, b), yes, no)


def spoilt(reset: Bool[Array, "T *B"], *trees: PyTree) -> Bool[Array, "T *B"]:
    """Returns the steps at which a leaf ``[T, *B, ...]`` is not finite, and those behind them up to the next reset."""
    wrong = jnp.zeros_like(reset)
    for leaf in jax.tree.leaves(trees):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            wrong |= ~jnp.all(jnp.isfinite(leaf), axis=tuple(range(reset.ndim, leaf.ndim)))

    def step(before: jax.Array, inputs: tuple) -> tuple[jax.Array, jax.Array]:
        wrong, reset = inputs
        after = wrong | (before & ~reset)
        return after, after

    def spread() -> jax.Array:
        return jax.lax.scan(step, jnp.zeros_like(reset[0]), (wrong, reset))[1]

    return jax.lax.cond(jnp.any(wrong), spread, lambda: wrong)


def guard(where: Bool[Array, "*B"], tree: PyTree) -> PyTree:
    """Returns tangents, or cotangents: where the flags are set NaN in the place of all that is not zero."""
    return jax.tree.map(
        lambda leaf: _guard.bind(jnp.broadcast_to(over(where, leaf), leaf.shape), leaf) if _has_tangent(leaf) else leaf,
        tree,
    )


@jax.custom_jvp
def guarded(where: Bool[Array, "*B"], tree: PyTree) -> PyTree:
    """Returns a tree as it is, whose tangents are guarded."""
    return tree


@guarded.defjvp
def _tangent(primals: tuple, tangents: tuple) -> tuple[PyTree, PyTree]:
    where, tree = primals
    return guarded(where, tree), guard(where, tangents[1])


def _has_tangent(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


# Linear only for what meets no flag, and its own transpose: JAX is told so by a primitive.
_guard = Primitive("recur_guard")


def _run(where: jax.Array, leaf: jax.Array) -> jax.Array:
    return jnp.where(where & (leaf != 0), jnp.asarray(jnp.nan, leaf.dtype), leaf)


def _batch(arguments: tuple, axes: tuple) -> tuple[Any, int]:
    size = next(leaf.shape[axis] for leaf, axis in zip(arguments, axes, strict=True) if axis is not None)
    where, leaf = (batching.bdim_at_front(leaf, axis, size) for leaf, axis in zip(arguments, axes, strict=True))
    return _guard.bind(where, leaf), 0


_guard.def_impl(_run)
_guard.def_abstract_eval(lambda where, leaf: leaf)
mlir.register_lowering(_guard, mlir.lower_fun(_run, multiple_results=False))
batching.primitive_batchers[_guard] = _batch
ad.defjvp(_guard, None, lambda tangent, where, leaf: _guard.bind(where, tangent))
ad.primitive_transposes[_guard] = lambda cotangent, where, leaf: [
    None,
    ad.Zero(leaf.aval) if isinstance(cotangent, ad.Zero) else _guard.bind(where, cotangent),
]
