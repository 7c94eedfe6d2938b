"""The linear recurrence ``y_t = C_t y_{t-1} + b_t``, the one that all engines solve.

C is diagonal (of the shape of b, or without its time axis where it is the same at every step) or a matrix over the last
axis of b: a unit's own block, or the whole state. A step may be *cut*: ``y_t = b_t`` there, whatever stood before.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec

from recur._types import Array, Bool, PyTree, Shaped
from recur.engines._reach import guard, over, spoilt

TIME = "time"


class How(NamedTuple):
    """How the recurrence is solved.

    Args:
        parallel: By a tree over time, of depth O(log T); else by a loop.
        unroll: Steps in an iteration of the loop.
        mesh: Devices that take a block of time each; None for one.
    """

    parallel: bool = False
    unroll: int = 1
    mesh: Mesh | None = None


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def linear_recurrence(
    coefficients: Shaped[Array, "..."], drive: Shaped[Array, "T *A"], cut: Bool[Array, "T *B"] | None, how: How
) -> Shaped[Array, "T *A"]:
    """Returns y from ``y_0 = 0`` on, for T >= 1.

    Its derivative is such a recurrence again, which keeps the residuals down to C and y.
    """
    return _solve(coefficients, drive, cut, how)


@linear_recurrence.defjvp
def _tangent(how: How, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (coefficients, drive, cut), (d_coefficients, d_drive, _) = primals, tangents
    y = linear_recurrence(coefficients, drive, cut, how)
    before = shifted(y, jnp.zeros_like(y[0]))
    if cut is None:
        if d_coefficients.ndim < before.ndim:
            d_coefficients = d_coefficients[None]
        return y, linear_recurrence(coefficients, apply(d_coefficients, before) + d_drive, None, how)
    # Selected, not multiplied by zero: what stood before a cut may be no number.
    gone = spoilt(cut, y, before)
    alone = cut | gone
    before = jnp.where(over(alone, before), 0, before)
    d_drive = jnp.where(over(gone, d_drive), 0, d_drive)
    if d_coefficients.ndim < drive.ndim:
        d_coefficients = d_coefficients[None]
    coefficients = _without(coefficients, alone, drive)
    d_y = linear_recurrence(coefficients, apply(d_coefficients, before) + d_drive, alone, how)
    return y, guard(gone, d_y)


def start_with(
    coefficients: jax.Array, drive: jax.Array, cut: jax.Array | None, start: jax.Array
) -> Shaped[Array, "T *A"]:
    """Returns the drive of the recurrence that begins with `start` in the place of zero."""
    first = coefficients if _is_constant(coefficients, drive) else coefficients[0]
    if cut is not None:
        start = jnp.where(over(cut[0], start), 0, start)
    return drive.at[0].add(apply(first, start))


def apply(coefficients: jax.Array, vectors: jax.Array) -> jax.Array:
    """Returns ``C v``."""
    if coefficients.ndim <= vectors.ndim:
        return coefficients * vectors
    return jnp.sum(coefficients * vectors[..., None, :], axis=-1)


def shifted(after: PyTree, start: PyTree) -> PyTree:
    """Returns what stood before each step: ``after [T, ...]`` moved by one, with `start` in front."""
    return jax.tree.map(lambda after, start: jnp.concatenate([start[None], after[:-1]]), after, start)


def _is_constant(coefficients: jax.Array, drive: jax.Array) -> bool:
    return coefficients.ndim < drive.ndim


def _without(coefficients: jax.Array, cut: jax.Array, drive: jax.Array) -> jax.Array:
    """Returns coefficients that are zero where a step is cut."""
    if _is_constant(coefficients, drive):
        coefficients = jnp.broadcast_to(coefficients, drive.shape)
    return jnp.where(over(cut, coefficients), 0, coefficients)


def _compose(second: jax.Array, first: jax.Array, *, matrices: bool) -> jax.Array:
    """Returns the coefficients of two steps in a row; products too large for a number stay numbers.

    An infinity would turn a state of zero into none.
    """
    if not matrices:
        product = second * first
    elif second.shape[-1] <= 4:
        product = jnp.sum(second[..., :, :, None] * first[..., None, :, :], axis=-2)
    else:
        product = jnp.matmul(second, first, precision=jax.lax.Precision.HIGHEST)
    if jnp.issubdtype(product.dtype, jnp.complexfloating):
        return product
    largest = float(jnp.finfo(product.dtype).max)
    return jnp.clip(product, -largest, largest)


def _solve(coefficients: jax.Array, drive: jax.Array, cut: jax.Array | None, how: How) -> jax.Array:
    if how.mesh is not None:
        return _by_blocks(coefficients, drive, cut, how)
    return _tree(coefficients, drive, cut)[1] if how.parallel else _loop(coefficients, drive, cut, how.unroll)


def _loop(coefficients: jax.Array, drive: jax.Array, cut: jax.Array | None, unroll: int) -> jax.Array:
    constant = _is_constant(coefficients, drive)

    def step(before: jax.Array, inputs: tuple) -> tuple[jax.Array, jax.Array]:
        now, drive, cut = inputs
        after = apply(coefficients if constant else now, before) + drive
        if cut is not None:
            after = jnp.where(over(cut, after), drive, after)
        return after, after

    inputs = (None if constant else coefficients, drive, cut)
    return jax.lax.scan(step, jnp.zeros_like(drive[0]), inputs, unroll=unroll)[1]


def _tree(coefficients: jax.Array, drive: jax.Array, cut: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Returns the product of all coefficients up to each step, and the solution."""
    matrices = coefficients.ndim > drive.ndim
    if _is_constant(coefficients, drive):
        coefficients = jnp.broadcast_to(coefficients, drive.shape)
    if cut is not None:
        coefficients = _without(coefficients, cut, drive)

    def join(first: tuple, second: tuple) -> tuple:
        (c_1, b_1, cut_1), (c_2, b_2, cut_2) = first, second
        product, drive = _compose(c_2, c_1, matrices=matrices), apply(c_2, b_1) + b_2
        if cut is None:
            return product, drive, None
        product = jnp.where(over(cut_2, product), 0, product)
        return product, jnp.where(over(cut_2, drive), b_2, drive), cut_1 | cut_2

    return jax.lax.associative_scan(join, (coefficients, drive, cut))[:2]


def _by_blocks(coefficients: jax.Array, drive: jax.Array, cut: jax.Array | None, how: How) -> jax.Array:
    """Each device solves its block from zero; two arrays of the size of a state say with what each block begins."""
    mesh, steps = how.mesh, len(drive)
    if _is_constant(coefficients, drive):
        coefficients = jnp.broadcast_to(coefficients, drive.shape)
    # Steps behind the last fill the blocks up; nothing reads them.
    pad = [(0, -steps % mesh.size)]
    coefficients, drive, cut = (
        None if leaf is None else jnp.pad(leaf, pad + [(0, 0)] * (leaf.ndim - 1)) for leaf in (coefficients, drive, cut)
    )

    def block(coefficients: jax.Array, drive: jax.Array, cut: jax.Array | None) -> jax.Array:
        # On a CPU a tree gains nothing, but the product of all coefficients is needed at every step too.
        product, y = _tree(coefficients, drive, cut)
        if jax.default_backend() == "cpu":
            y = _loop(coefficients, drive, cut, how.unroll)
        ends, products = jax.lax.all_gather((y[-1], product[-1]), TIME)
        begins = [jnp.zeros_like(y[0])]
        for index in range(mesh.size - 1):
            begins.append(apply(products[index], begins[-1]) + ends[index])
        own = jnp.stack(begins)[jax.lax.axis_index(TIME)]
        reached = apply(product, own[None])
        if cut is not None:
            since = jax.lax.cummax(cut.astype(jnp.int8), axis=0).astype(bool)
            reached = jnp.where(over(since, reached), 0, reached)
        return y + reached

    spec = Spec(TIME)
    run = jax.shard_map(block, mesh=mesh, in_specs=(spec, spec, spec), out_specs=spec, check_vma=False)
    return run(coefficients, drive, cut)[:steps]
