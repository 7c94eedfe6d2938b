"""How much of each lag's parameter gradient is signal, over a batch of sequences, and how much noise."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from recur._types import Array, Bool, Float, Int, Params, PyTree, State
from recur.cells import Cell
from recur.engines._programs import compiled
from recur.flow._lognorm import Scaled, rescale, times_power
from recur.flow._step import adjoint_map
from recur.flow._sweep import read_cotangent, sweep
from recur.flow._trajectory import mark_not_finite, trajectory

NOTHING = jnp.iinfo(jnp.int32).min // 2
SAMPLES = "samples"


class GradientSNR(NamedTuple):
    """Signal-to-noise ratios of parameter gradients by lag, k = 0..T-1.

    Args:
        snr: ``||E g_k||^2 / tr Cov(g_k)`` by parameter tensor, a tree like the parameters, each leaf ``[T]``.
        snr_all: The same for all parameters as one vector, ``[T]``.
        samples_needed: ``1 / snr``, sequences whose mean has a ratio of 1: a tree like the parameters, each leaf
            ``[T]``; inf where the ratio is not positive.
        samples_needed_all: The same for all parameters as one vector, ``[T]``.
    """

    snr: Any
    snr_all: Float[Array, "T"]
    samples_needed: Any
    samples_needed_all: Float[Array, "T"]


class _Moments(NamedTuple):
    """``signal`` and ``noise`` of one tensor in units of ``2**(2 * exponent)``."""

    signal: jax.Array
    noise: jax.Array
    exponent: jax.Array


def gradient_snr(
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
) -> GradientSNR:
    """Measures lag by lag whether a batch agrees on the parameter gradient.

        g_k(b) = (ds_{T-k}/dtheta at fixed s_{T-k-1})^T dL_T(b)/ds_{T-k},   L_T = <cotangent, output_T>
        SNR_k  = (||m_k||^2 - tr C_k / B) / tr C_k

    with m_k the mean and C_k the covariance (divisor B - 1) of g_k over the B sequences, all batch axes together.
    Without its second term the numerator would give pure noise a ratio of 1/B; with it the expectation is right, so
    that estimates near zero come out negative as often as positive, and are reported as they are. A gradient that is
    zero for all sequences has ratio 0; one that is the same for all, inf or as large as rounding lets it be.

    Each lag is measured in its own scale, shared by the batch: no lag underflows or overflows. Memory is that of the
    states and of one parameter gradient for each sequence, whatever T.

    Args:
        cell: The recurrence.
        params: Its parameters.
        xs: Inputs, at least two sequences; what differs between them is what is called noise.
        initial_state: State before the first step (see `recur.unroll`).
        lengths: Steps of each sequence that count, from the first on; the rest is padding.
        mask: Which steps count, wherever they stand; in place of `lengths`.
        reset: Where a new sequence begins, from the cell's own initial state: nothing passes there.
        reverse: Whether the last step is taken first.
        cotangent: Gradient at the last output, such as that of a loss with a target for each sequence; by default all
            entries ``H**-0.5``.

    Returns:
        `GradientSNR`.

    Raises:
        TypeError: As `adjoint_log_norms`.
        ValueError: As `adjoint_log_norms`, fewer than two sequences, sequences that are all the same, or a cell
            without parameters.

    Reference:
        Samples needed by lag: Livi (2025), https://arxiv.org/abs/2512.05790.

    Example:
        >>> import jax, jax.numpy as jnp, recur
        >>> cell = recur.cells.elman(1, activation="identity", recurrent_init=recur.cells.Identity(0.5))
        >>> params = cell.init(jax.random.key(0), 1)
        >>> xs = 3.0 + jax.random.normal(jax.random.key(1), (1000, 500, 1))
        >>> snr = recur.flow.gradient_snr(cell, params, xs).snr["kernel"]  # mean 3, variance 1: 9 at every lag
        >>> round(float(snr.mean()), 1)
        9.0
    """
    found = trajectory(cell, params, xs, initial_state, lengths, mask, reset, reverse)
    cell, params, xs, visited, counts = found
    batch_shape = found.features.shape[1:-1]
    if math.prod(batch_shape) < 2:
        raise ValueError(
            f"xs: expected at least 2 sequences in the batch axes of [T, *B, X], got shape {found.features.shape}; "
            f"signal and noise cannot be told apart from one"
        )
    if not jax.tree.leaves(params):
        raise ValueError(f"params: expected at least one array, got none; {cell!r} has nothing to measure")
    cotangent = read_cotangent(cell, visited, cotangent)
    _check_differ(found.features, visited, cotangent)

    def join(axis: int, array: jax.Array) -> jax.Array:
        return array.reshape(*array.shape[:axis], -1, *array.shape[axis + len(batch_shape) :])

    xs, visited, counts = jax.tree.map(functools.partial(join, 1), (xs, visited, counts))
    return _snr(cell, params, xs, visited, counts, join(0, cotangent))


def _check_differ(xs: jax.Array, visited: State, cotangent: jax.Array) -> None:
    """Refuses a batch without any noise; under a transformation the numbers are not known yet."""
    batch_axes = xs.ndim - 2
    starts = [leaf[0] for leaf in jax.tree.leaves(visited)]
    rows = [array.reshape(math.prod(array.shape[:batch_axes]), -1) for array in (*starts, cotangent)]
    rows.append(jnp.moveaxis(xs, 0, -2).reshape(len(rows[0]), -1))
    if not any(isinstance(row, jax.core.Tracer) or (row != row[:1]).any() for row in rows):
        raise ValueError(
            f"xs: expected sequences that differ, got {len(rows[0])} times the same, whose gradients have no noise; "
            f"draw each anew"
        )


@compiled("cell")
def _snr(
    cell: Cell, params: Params, xs: PyTree, visited: State, counts: jax.Array | None, cotangent: jax.Array
) -> GradientSNR:
    counts = jnp.ones(jax.tree.leaves(xs)[0].shape[:2], bool) if counts is None else counts
    prepared, to_params = jax.vjp(cell.prepare, params)

    def pull(before: State, inputs: tuple) -> Callable[[State], State]:
        return adjoint_map(cell, prepared, before, cell.project(prepared, inputs[0]))

    def share(carry: None, adjoint: Scaled, before: State, inputs: tuple) -> tuple[None, tuple]:
        x, counts = inputs

        def step(prepared: Any) -> State:
            return cell.advance(prepared, before, cell.project(prepared, x))

        (gradient,) = to_params(*jax.vjp(step, prepared)[1](adjoint.part))
        moments = jax.tree.map(lambda leaf: _moments(leaf, adjoint.exponent, counts), gradient)
        ratios = jax.tree.map(_ratio, moments, is_leaf=_is_moments)
        return carry, (ratios, _ratio(_joined(jax.tree.leaves(moments, is_leaf=_is_moments))))

    def one(xs: PyTree, visited: State, counts: jax.Array, cotangent: jax.Array) -> tuple:
        _, _, ratios = sweep(cell, visited, cotangent, (xs, counts), pull, share, None)
        return ratios

    # The sums over the batch are the same for every sequence: no batch axis comes out.
    by_step = jax.vmap(one, in_axes=(1, 1, 1, 0), out_axes=None, axis_name=SAMPLES)(xs, visited, counts, cotangent)
    snr, snr_all = mark_not_finite(visited, jax.tree.map(lambda leaf: leaf[::-1], by_step))
    return GradientSNR(snr, snr_all, jax.tree.map(_samples, snr), _samples(snr_all))


def _moments(gradient: jax.Array, exponent: jax.Array, counts: jax.Array) -> _Moments:
    """Sums over those of the batch that count, of one tensor, in the scale of the largest gradient among them."""
    batch = jax.lax.psum(counts.astype(jnp.float32), SAMPLES)
    part, exponent = rescale(gradient, exponent)
    top = jax.lax.pmax(jnp.where(jnp.any(part != 0), exponent, NOTHING), SAMPLES)
    part = times_power(part.astype(jnp.promote_types(part.dtype, jnp.float32)), exponent - top)
    mean = jax.lax.psum(part, SAMPLES) / batch
    # Of fewer than two sequences nothing can be told apart: nan.
    noise = jax.lax.psum(jnp.where(counts, _square_norm(part - mean), 0.0), SAMPLES) / (batch - 1)
    return _Moments(_square_norm(mean) - noise / batch, noise, top)


def _is_moments(node: Any) -> bool:
    return isinstance(node, _Moments)


def _square_norm(array: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(jnp.abs(array)))


def _joined(moments: list[_Moments]) -> _Moments:
    """Adds up tensors of different scales: those of one vector."""
    top = jnp.stack([m.exponent for m in moments]).max()
    scaled = [times_power((m.signal, m.noise), 2 * jnp.maximum(m.exponent - top, -1000)) for m in moments]
    return _Moments(sum(signal for signal, _ in scaled), sum(noise for _, noise in scaled), top)


def _ratio(moments: _Moments) -> jax.Array:
    """Returns signal to noise, 0 where there is neither."""
    still = moments.noise == 0
    ratio = moments.signal / jnp.where(still, 1.0, moments.noise)
    return jnp.where(still, jnp.where(moments.signal > 0, jnp.inf, 0.0), ratio)


def _samples(snr: jax.Array) -> jax.Array:
    none = snr <= 0
    return jnp.where(none, jnp.inf, 1.0 / jnp.where(none, 1.0, snr))
