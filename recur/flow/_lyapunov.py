"""Lyapunov exponents along a trajectory."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from recur._checks import check_positive, check_whole
from recur._types import Array, Bool, Float, Int, Params, PyTree, State
from recur.cells import Cell
from recur.engines._programs import compiled
from recur.flow._step import tangent_map
from recur.flow._trajectory import mark_not_finite, over_batch, trajectory


def lyapunov_spectrum(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
    k: int | None = None,
    warmup: int = 0,
    steps_per_qr: int = 1,
) -> Float[Array, "K *B"]:
    """Measures the exponential rates at which small differences of the state grow or shrink.

        J_t Q_{t-1} = Q_t R_t   (QR),   lambda_i = mean over t > warmup of ln |R_t,ii|

    with J_t = ds_t/ds_{t-1} of the whole state (h and c, all layers), n numbers in all. Differentiable.

    Args:
        cell: The recurrence.
        params: Its parameters.
        xs: Inputs; zeros for the autonomous system.
        initial_state: State before the first step (see `recur.unroll`).
        lengths: Steps of each sequence that count, from the first on; the rest is padding.
        mask: Which steps count, wherever they stand; in place of `lengths`.
        reset: Where a new sequence begins, from the cell's own initial state: differences go on from the last one's.
        reverse: Whether the last step is taken first.
        k: How many exponents, from the top; by default all n.
        warmup: First steps in which states and directions settle and nothing is counted. Without one, an error of
            order 1/T remains.
        steps_per_qr: Steps between re-orthonormalisations. More are cheaper, and safe as long as
            ``steps_per_qr * (lambda_1 - lambda_k)`` stays below about 10 in float32.

    Returns:
        Exponents in nats a step, sorted downwards, ``[k, *B]``. -inf where a direction is mapped to zero, to within
        the rounding of the dtype: an exponent that lies ``ln(n eps)`` or more below the largest cannot be told from it.

    Raises:
        TypeError: As `recur.unroll`.
        ValueError: As `recur.unroll`; k outside 1..n, or a warm-up or QR interval that leaves no step to count.

    Reference:
        Benettin et al. (1980), https://doi.org/10.1007/BF02128236; for recurrent networks Engelken, Wolf and Abbott
        (2023), https://arxiv.org/abs/2006.02427.

    Example:
        At rest, ``h = tanh(h U)`` with U = 0.9 Q, Q orthogonal, shrinks alike in all directions:

        >>> import jax, jax.numpy as jnp, recur
        >>> cell = recur.cells.elman(4, recurrent_init=recur.cells.Orthogonal(0.9))
        >>> params = cell.init(jax.random.key(0), 1)
        >>> spectrum = recur.flow.lyapunov_spectrum(cell, params, jnp.zeros((100, 1)))
        >>> [f"{exponent:.3f}" for exponent in spectrum.tolist()]  # ln 0.9
        ['-0.105', '-0.105', '-0.105', '-0.105']
    """
    # Steps that do not count come last: the warm-up is of those that do.
    found = trajectory(cell, params, xs, initial_state, lengths, mask, reset, reverse, align="start", through=True)
    steps = len(found.features)
    n = sum(math.prod(leaf.shape[1 + found.batch_axes :]) for leaf in jax.tree.leaves(found.visited))
    k = n if k is None else check_positive("k", k)
    if k > n:
        raise ValueError(f"k: expected at most n = {n}, the size of the whole state of {cell!r}, got {k}")
    check_positive("steps_per_qr", steps_per_qr)
    most = steps - steps_per_qr
    if most < 0:
        raise ValueError(f"xs: expected at least steps_per_qr = {steps_per_qr} steps, got {steps}")
    if not 0 <= check_whole("warmup", warmup) <= most:
        raise ValueError(f"warmup: expected 0 <= warmup <= T - steps_per_qr = {most}, got {warmup}; give more steps")
    return _spectrum(found.cell, *found[1:], k, warmup, steps_per_qr)


@compiled("cell", "k", "warmup", "steps_per_qr")
def _spectrum(
    cell: Cell,
    params: Params,
    xs: PyTree,
    visited: State,
    counts: jax.Array | None,
    k: int,
    warmup: int,
    steps_per_qr: int,
) -> jax.Array:
    features = jax.tree.leaves(xs)[0]
    counts = jnp.ones(features.shape[:-1], bool) if counts is None else counts

    def one(projected: PyTree, visited: State, counts: jax.Array) -> jax.Array:
        before = jax.tree.map(lambda leaf: leaf[:-1], visited)
        first = jax.tree.map(lambda leaf: leaf[0], before)
        flat = ravel_pytree(first)[0]
        directions = _generic_directions(flat.size, k, flat.dtype)

        def push(directions: jax.Array, inputs: tuple) -> tuple[jax.Array, None]:
            before, projected, _ = inputs
            tangent = tangent_map(cell, prepared, before, projected)
            unravel = ravel_pytree(before)[1]
            pushed = jax.vmap(lambda v: ravel_pytree(tangent(unravel(v)))[0], in_axes=1, out_axes=1)(directions)
            return pushed, None

        def block(carry: tuple[jax.Array, ...], inputs: tuple) -> tuple[tuple[jax.Array, ...], None]:
            directions, total, lost, rounding = carry
            pushed, _ = jax.lax.scan(push, directions, inputs)
            directions, r = jnp.linalg.qr(pushed)
            # Compensated (Kahan) sum: a plain one loses digits over many steps.
            term = _log_diagonal(r) - lost
            new_total = total + term
            lost = jnp.where(jnp.isfinite(new_total), (new_total - total) - term, 0.0)
            rounding = jnp.where(inputs[2].any(), rounding + _log_rounding(r, flat.size), rounding)
            return (directions, new_total, lost, rounding), None

        def run(carry: tuple, start: int, stop: int, steps: int) -> tuple:
            cut = jax.tree.map(
                lambda leaf: leaf[start:stop].reshape(-1, steps, *leaf.shape[1:]), (before, projected, counts)
            )
            return jax.lax.scan(block, carry, cut)[0]

        zeros = jnp.zeros(k, directions.dtype)
        directions, *_ = run((directions, zeros, zeros, zeros[0]), 0, warmup, 1)
        blocks = (len(features) - warmup) // steps_per_qr
        stop = warmup + blocks * steps_per_qr
        _, total, _, rounding = run((directions, zeros, zeros, zeros[0]), warmup, stop, steps_per_qr)
        # A direction lost at every step comes out as rounding that may be the same each time, and is no number.
        total = jnp.where(total <= rounding, -jnp.inf, total)
        # None where no step is left to count.
        return mark_not_finite(visited, -jnp.sort(-total / counts[warmup:stop].sum()))

    prepared = cell.prepare(params)
    projected = cell.project(prepared, xs)
    return over_batch(one, features.ndim - 2, in_axes=(1, 1, 1), out_axes=1)(projected, visited, counts)


def _log_diagonal(r: jax.Array) -> jax.Array:
    """Returns ``ln |R_ii|``, -inf where it cannot be told from the rounding of its column."""
    diagonal = jnp.abs(jnp.diagonal(r))
    floor = jnp.finfo(r.dtype).eps * jnp.linalg.norm(r, axis=0)
    gone = diagonal <= floor
    return jnp.where(gone, -jnp.inf, jnp.log(jnp.where(gone, 1.0, diagonal)))


def _log_rounding(r: jax.Array, n: int) -> jax.Array:
    """Returns the logarithm of what n terms of a product may be off by, on the scale of the largest column."""
    largest = jax.lax.stop_gradient(jnp.linalg.norm(r, axis=0).max())
    return jnp.log(n * jnp.finfo(r.dtype).eps * jnp.where(largest > 0, largest, 1.0))


def _generic_directions(n: int, k: int, dtype: jnp.dtype) -> jax.Array:
    """Returns k orthonormal directions ``[n, k]`` in no special position to the coordinate axes.

    Unit vectors would do for all n exponents, but for the top k of a network with invariant axes (a diagonal one)
    they would stay where they are and miss the fastest.
    """
    phases = np.square(np.arange(1.0, n + 1))[:, None] * np.sqrt(np.arange(1.0, k + 1))
    directions, _ = np.linalg.qr(np.sin(phases))
    return jnp.asarray(directions, dtype)
