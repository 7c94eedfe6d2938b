"""Gradients of the last output with respect to earlier states, inputs and parameters, lag by lag."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._types import Array, Bool, Float, Int, Params, PyTree, State
from recur.cells import Cell
from recur.engines._programs import compiled
from recur.flow._lognorm import Scaled, add, log_norm, rescale
from recur.flow._step import adjoint_map
from recur.flow._sweep import read_cotangent, sweep
from recur.flow._trajectory import Trajectory, mark_not_finite, over_batch, trajectory


class ParameterLogNorms(NamedTuple):
    """Natural logarithms of parameter gradient norms, in trees like the parameters.

    Args:
        shares: ``ln ||part of dL_T/dtheta that enters at step T-k||``, each leaf ``[L, *B]``, k = 0..T-1.
        total: ``ln ||dL_T/dtheta||``, the norm of the sum over all lags, each leaf ``[*B]``.
    """

    shares: Any
    total: Any


class GradientLogNorms(NamedTuple):
    """Natural logarithms of all gradient norms of a run.

    Args:
        adjoint: As `adjoint_log_norms`, ``[T + 1, *B]``.
        inputs: As `input_log_norms`, ``[T, *B]``.
        parameters: As `parameter_log_norms`.
    """

    adjoint: Float[Array, "L *B"]
    inputs: Float[Array, "L *B"]
    parameters: ParameterLogNorms


def adjoint_log_norms(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
    cotangent: Float[Array, "*B H"] | None = None,
) -> Float[Array, "L *B"]:
    """Measures how large the gradient of the last output still is at earlier states.

        A(k) = ||dL_T / ds_{T-k}||_2,   L_T = <cotangent, output_T>,   s the whole state (h and c, all layers)

    The loss stands at the last step only: a loss at every step would hide how the gradient vanishes. Magnitudes
    are kept as a float part and an exact binary exponent, so no lag underflows, overflows or loses digits to the
    logarithm. Memory is that of the states, O(T); no Jacobian matrix is formed.

    Args:
        cell: The recurrence.
        params: Its parameters.
        xs: Inputs; "no input" is zeros.
        initial_state: State before the first step (see `recur.unroll`).
        lengths: Steps of each sequence that count, from the first on; the rest is padding.
        mask: Which steps count, wherever they stand; in place of `lengths`.
        reset: Where a new sequence begins, from the cell's own initial state: nothing passes there.
        reverse: Whether the last step is taken first.
        cotangent: Direction at the last output; by default all entries ``H**-0.5``, of norm 1.

    Returns:
        ``ln A(k)``, natural logarithm, ``[T + 1, *B]``, lag k = 0..T from each sequence's own last step; that of as
        many steps as it has is the initial state. -inf where the gradient is exactly zero, and beyond the sequence.

    Raises:
        TypeError: As `recur.unroll`, or a cotangent that is no floating array.
        ValueError: As `recur.unroll`, or a cotangent of the wrong shape, zero or not finite.

    Reference:
        Pascanu, Mikolov and Bengio (2013), https://arxiv.org/abs/1211.5063, eq. 5; plotted first by Cooijmans et al.
        (2017), https://arxiv.org/abs/1603.09025, fig. 1.

    Example:
        An orthogonal linear network scaled by 0.9 loses ln 0.9 nats a step:

        >>> import jax, jax.numpy as jnp, recur
        >>> cell = recur.cells.elman(8, activation="identity", recurrent_init=recur.cells.Orthogonal(0.9))
        >>> params = cell.init(jax.random.key(0), 1)
        >>> log_norms = recur.flow.adjoint_log_norms(cell, params, jnp.zeros((2000, 1)))
        >>> round(float(log_norms[2000]), 2)
        -210.72
    """
    log_norms, _ = _measure(_adjoint, cotangent, cell, params, xs, initial_state, lengths, mask, reset, reverse)
    return log_norms


def input_log_norms(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
    cotangent: Float[Array, "*B H"] | None = None,
) -> Float[Array, "L *B"]:
    """Measures how much the last output still depends on earlier inputs.

        S(k) = ||dL_T / dx_{T-k}||_2,   L_T = <cotangent, output_T>

    Arguments and errors as `adjoint_log_norms`.

    Returns:
        ``ln S(k)``, natural logarithm, ``[T, *B]``, lag k = 0..T-1.
    """
    log_norms, _ = _measure(_input, cotangent, cell, params, xs, initial_state, lengths, mask, reset, reverse)
    return log_norms


def parameter_log_norms(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
    cotangent: Float[Array, "*B H"] | None = None,
) -> ParameterLogNorms:
    """Measures what each lag contributes to the parameter gradient, and the whole.

        dL_T/dtheta = sum_k g_k,   g_k = (ds_{T-k}/dtheta at fixed s_{T-k-1})^T dL_T/ds_{T-k}

    The norm of the sum says little about vanishing: it may stay put while all but the last few g_k are gone.
    Arguments and errors as `adjoint_log_norms`.

    Returns:
        `ParameterLogNorms`: for each parameter tensor ``ln ||g_k||``, lag k = 0..T-1, and ``ln ||sum_k g_k||``.
    """
    return ParameterLogNorms(
        *_measure(_parameters, cotangent, cell, params, xs, initial_state, lengths, mask, reset, reverse)
    )


def gradient_log_norms(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None = None,
    *,
    lengths: Int[Array, "*B"] | None = None,
    mask: Bool[Array, "T *B"] | None = None,
    reset: Bool[Array, "T *B"] | None = None,
    reverse: bool = False,
    cotangent: Float[Array, "*B H"] | None = None,
) -> GradientLogNorms:
    """Measures the gradient at states, inputs and parameters by lag, in one pass over the sequence.

    Arguments and errors as `adjoint_log_norms`.

    Returns:
        `GradientLogNorms`: what `adjoint_log_norms`, `input_log_norms` and `parameter_log_norms` return.
    """
    (adjoint, inputs, shares), total = _measure(
        _all, cotangent, cell, params, xs, initial_state, lengths, mask, reset, reverse
    )
    return GradientLogNorms(adjoint, inputs, ParameterLogNorms(shares, total))


def _measure(measure: Callable, cotangent: Any, *run: Any) -> tuple[Any, Any]:
    """Runs the cell forward, and hands over to `measure`, which returns results by lag and in total."""
    found = trajectory(*run)
    cotangent = read_cotangent(found.cell, found.visited, cotangent)
    return _jitted(measure, found.cell, (*found[1:], cotangent))


@compiled("measure", "cell")
def _jitted(measure: Callable, cell: Cell, arrays: tuple) -> tuple[Any, Any]:
    found, cotangent = Trajectory(cell, *arrays[:-1]), arrays[-1]

    def one(xs: PyTree, visited: State, cotangent: jax.Array) -> tuple[Any, Any]:
        return mark_not_finite(visited, measure(cell, found.params, xs, visited, cotangent))

    over = over_batch(one, found.batch_axes, in_axes=(1, 1, 0), out_axes=(1, 0))
    by_lag, total = over(found.xs, found.visited, cotangent)
    # Only the adjoint stays what it was at steps that do not count; inputs and parameters have no part in them.
    if measure is _adjoint:
        by_lag = found.within(by_lag)
    if measure is _all:
        by_lag = (found.within(by_lag[0]), *by_lag[1:])
    return by_lag, total


def _adjoint(cell: Cell, params: Params, xs: PyTree, visited: State, cotangent: jax.Array) -> tuple[jax.Array, None]:
    def share(carry: None, adjoint: Scaled, before: State, projected: Any) -> tuple[None, jax.Array]:
        del before, projected
        return carry, log_norm(*adjoint)

    prepared = cell.prepare(params)
    pull = functools.partial(adjoint_map, cell, prepared)
    start, _, later = sweep(cell, visited, cotangent, cell.project(prepared, xs), pull, share, None)
    return jnp.concatenate([later[::-1], log_norm(*start)[None]]), None


def _input(cell: Cell, params: Params, xs: PyTree, visited: State, cotangent: jax.Array) -> tuple[jax.Array, None]:
    prepared = cell.prepare(params)

    def pull(before: State, x: jax.Array) -> Callable[[State], State]:
        return adjoint_map(cell, prepared, before, cell.project(prepared, x))

    def share(carry: None, adjoint: Scaled, before: State, x: jax.Array) -> tuple[None, jax.Array]:
        gradient = jax.vjp(lambda x: cell.advance(prepared, before, cell.project(prepared, x)), x)[1](adjoint.part)
        return carry, log_norm(gradient, adjoint.exponent)

    _, _, norms = sweep(cell, visited, cotangent, xs, pull, share, None)
    return norms[::-1], None


def _parameters(cell: Cell, params: Params, xs: PyTree, visited: State, cotangent: jax.Array) -> tuple[Params, Params]:
    # What nobody reads of the rest, the compiler leaves out.
    (_, _, shares), total = _all(cell, params, xs, visited, cotangent)
    return shares, total


def _all(
    cell: Cell, params: Params, xs: PyTree, visited: State, cotangent: jax.Array
) -> tuple[tuple[jax.Array, jax.Array, Params], Params]:
    prepared, to_params = jax.vjp(cell.prepare, params)

    def pull(before: State, x: jax.Array) -> Callable[[State], State]:
        return adjoint_map(cell, prepared, before, cell.project(prepared, x))

    def share(total: Any, adjoint: Scaled, before: State, x: jax.Array) -> tuple[Any, Any]:
        def step(prepared: Any, x: jax.Array) -> State:
            return cell.advance(prepared, before, cell.project(prepared, x))

        of_prepared, of_input = jax.vjp(step, prepared, x)[1](adjoint.part)
        shares = jax.tree.map(lambda leaf: rescale(leaf, adjoint.exponent), to_params(of_prepared)[0])
        norms = log_norm(*adjoint), log_norm(of_input, adjoint.exponent)
        logs = jax.tree.map(_norm, shares, is_leaf=_is_scaled)
        return jax.tree.map(add, total, shares, is_leaf=_is_scaled), (*norms, logs)

    zero = jax.tree.map(lambda leaf: Scaled(jnp.zeros_like(leaf), jnp.zeros((), jnp.int32)), params)
    start, total, by_step = sweep(cell, visited, cotangent, xs, pull, share, zero)
    later, inputs, shares = jax.tree.map(lambda leaf: leaf[::-1], by_step)
    adjoint = jnp.concatenate([later, log_norm(*start)[None]])
    return (adjoint, inputs, shares), jax.tree.map(_norm, total, is_leaf=_is_scaled)


def _is_scaled(node: Any) -> bool:
    return isinstance(node, Scaled)


def _norm(scaled: Scaled) -> jax.Array:
    return log_norm(*scaled)
