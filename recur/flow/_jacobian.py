"""Singular values of the Jacobian over many steps."""

import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from recur._types import Array, Bool, Float, Int, Params, PyTree, State
from recur.cells import Cell
from recur.engines._programs import compiled
from recur.flow import _graded
from recur.flow._step import adjoint_map
from recur.flow._trajectory import mark_not_finite, over_batch, trajectory


def jacobian_log_singular_values(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    lags: Sequence[int],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
) -> Float[Array, "K n *B"]:
    """Measures how the last state answers to all directions of earlier ones.

        P_k = ds_T / ds_{T-k} = J_T J_{T-1} ... J_{T-k+1},   ln sigma_i(P_k)

    of the whole state s (h and c, all layers), n numbers in all. ``(1/k) ln sigma_i`` are the finite-time Lyapunov
    exponents, ``ln sigma_1 - ln sigma_n`` the logarithm of the condition number. One sweep backwards in time serves
    all lags; values far below the largest keep their relative accuracy.

    Args:
        cell: The recurrence.
        params: Its parameters.
        xs: Inputs.
        lags: The k to report, whole numbers in 0..T, in any order.
        initial_state: State before the first step (see `recur.unroll`).
        lengths: Steps of each sequence that count, from the first on; the rest is padding.
        mask: Which steps count, wherever they stand; in place of `lengths`.
        reset: Where a new sequence begins, from the cell's own initial state: nothing passes there.
        reverse: Whether the last step is taken first.

    Returns:
        Natural logarithms, sorted downwards, ``[len(lags), n, *B]``; -inf for a singular value that is zero
        to within the rounding of one step's Jacobian, and for lags beyond the sequence.

    Raises:
        TypeError: As `recur.unroll`, or a lag that is no whole number.
        ValueError: As `recur.unroll`, no lag, or one outside 0..T.

    Reference:
        Vogt et al. (2022), https://doi.org/10.3389/fams.2022.818799; condition number: Engelken (2023),
        https://arxiv.org/abs/2312.17306.

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> cell = recur.cells.elman(2, recurrent_init=recur.cells.Identity(0.5))
        >>> params = cell.init(jax.random.key(0), 1)
        >>> logs = recur.flow.jacobian_log_singular_values(cell, params, jnp.zeros((1000, 1)), [1, 1000])
        >>> [[f"{value:.2f}" for value in row] for row in logs.tolist()]  # ln 0.5 a step
        [['-0.69', '-0.69'], ['-693.15', '-693.15']]
    """
    found = trajectory(cell, params, xs, initial_state, lengths, mask, reset, reverse)
    steps = len(found.features)
    try:
        wanted = [operator.index(lag) for lag in lags]
    except TypeError:
        raise TypeError(f"lags: expected whole numbers, got {lags!r}") from None
    if not wanted or min(wanted) < 0 or max(wanted) > steps:
        raise ValueError(f"lags: expected at least one lag in 0..T = {steps}, got {wanted}; give a longer sequence")
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    stops = jnp.asarray([wanted[index] for index in order], jnp.int32)
    back = jnp.argsort(jnp.asarray(order, jnp.int32))
    values = _values(found.cell, found.params, found.xs, found.visited, stops)
    if found.counts is not None:
        reached = stops.reshape(-1, 1, *(1,) * found.batch_axes) <= found.counts.sum(0)[None, None]
        values = jnp.where(reached, values, -jnp.inf)
    return values[back]


@compiled("cell")
def _values(cell: Cell, params: Params, xs: PyTree, visited: State, stops: jax.Array) -> jax.Array:
    """Returns log singular values at the lags `stops` (sorted upwards), ``[K, n, *B]``."""

    def one(projected: PyTree, visited: State) -> jax.Array:
        last = jax.tree.map(lambda leaf: leaf[-1], visited)
        steps = len(jax.tree.leaves(visited)[0]) - 1
        flat = ravel_pytree(last)[0]
        start = _graded.identity(flat.size, flat.dtype)

        def pull(lag: jax.Array, graded: _graded.Graded) -> _graded.Graded:
            """From the transpose of P_lag to that of P_{lag + 1}."""
            at = steps - 1 - lag
            before = jax.tree.map(lambda leaf: leaf[at], visited)
            here = jax.tree.map(lambda leaf: leaf[at], projected)
            pullback = adjoint_map(cell, prepared, before, here)
            unravel = ravel_pytree(before)[1]
            columns = jax.vmap(lambda v: ravel_pytree(pullback(unravel(v)))[0], in_axes=1, out_axes=1)
            return _graded.absorb(columns(graded.left), graded)

        def segment(carry: tuple, stop: jax.Array) -> tuple:
            lag, graded = carry
            graded = jax.lax.fori_loop(lag, stop, pull, graded)
            return (stop, graded), (graded.exponent, graded.right)

        _, (exponent, right) = jax.lax.scan(segment, (jnp.zeros((), stops.dtype), start), stops)
        values = jax.vmap(lambda d, v: _graded.log_singular_values(_graded.Graded(v, d, v)))(exponent, right)
        return mark_not_finite(visited, values)

    prepared = cell.prepare(params)
    projected = cell.project(prepared, xs)
    return over_batch(one, jax.tree.leaves(xs)[0].ndim - 2, in_axes=(1, 1), out_axes=2)(projected, visited)
