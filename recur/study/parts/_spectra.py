"""Exponents and singular values of the cells of a run, over seeds: what several parts stand on, measured once."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow
from recur.study.parts._setup import Record, Setup, spread

KEPT = 64


SPECTRUM_STEPS = {"tiny": 16, "quick": 200, "standard": 1000, "full": 4000}
"""Steps for a whole spectrum, or fewer where the run's longest length is shorter."""


@functools.lru_cache(maxsize=KEPT)
def exponents(setup: Setup, cell: cells.Cell, steps: int | None = None, *, label: str | None = None) -> np.ndarray:
    """Measures all exponents of a cell on the run's inputs, a fifth of the steps discarded: ``[n, S]``.

    Directions are made orthonormal at every step: gated cells shrink some by so much in two that rounding hides them.
    """
    steps = setup.steps(steps or SPECTRUM_STEPS[setup.preset])
    xs = setup.inputs(steps)
    return np.asarray(spectra(cell, setup.draw(cell, xs.shape[-1], label=label), xs, steps // 5), np.float64)


@functools.partial(jax.jit, static_argnames=("cell", "warmup"))
def spectra(cell: cells.Cell, params: Any, xs: jax.Array, warmup: int) -> jax.Array:
    """Measures all exponents of every seed ``[n, S]``; parameters ``[S, ...]``, inputs ``[T, S, X]``."""

    def one(params: Any, xs: jax.Array) -> jax.Array:
        return flow.lyapunov_spectrum(cell, params, xs, warmup=warmup)

    return jax.vmap(one, in_axes=(0, 1), out_axes=1)(params, xs)


def exponent_fields(values: np.ndarray) -> Record:
    """Returns the fields of a summary that come from a spectrum ``[n, S]``: lambda_1, and the slope of ln kappa.

    The slope is that among the directions that no step maps to zero; with the others kappa is infinite at once.
    """
    if np.isnan(values).any():
        return {}
    finite = np.where(np.isneginf(values), np.inf, values)
    slope = values[0] - np.where(np.isneginf(values[0]), 0.0, finite.min(axis=0))
    return {
        "lyapunov_nats_per_step": spread(values[0]),
        "condition_slope_nats_per_step": spread(np.where(np.isneginf(values[0]), np.nan, slope)),
    }


@functools.lru_cache(maxsize=KEPT)
def log_singular_values(
    setup: Setup, cell: cells.Cell, steps: int, lags: Sequence[int], *, label: str | None = None
) -> np.ndarray:
    """Measures ln sigma_i of the Jacobian over `lags` steps, on the last `steps` of the inputs: ``[K, n, S]``."""
    xs = setup.inputs(steps)
    return np.asarray(_singular(cell, setup.draw(cell, xs.shape[-1], label=label), xs, lags), np.float64)


@functools.partial(jax.jit, static_argnames=("cell", "lags"))
def _singular(cell: cells.Cell, params: Any, xs: jax.Array, lags: tuple[int, ...]) -> jax.Array:
    def one(params: Any, xs: jax.Array) -> jax.Array:
        return flow.jacobian_log_singular_values(cell, params, xs, lags)

    return jax.vmap(one, in_axes=(0, 1), out_axes=2)(params, xs)


def still(steps: int, seeds: int, dtype: Any) -> jax.Array:
    """Returns no input, zeros ``[T, S, 1]``."""
    return jnp.zeros((steps, seeds, 1), dtype)
