"""Exponents and singular values of the cells of a run, over seeds: what several parts stand on, measured once."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.parts._setup import Record, Setup, spread
from recur import cells, flow

KEPT = 64


class Spectrum(NamedTuple):
    """How exponents are measured.

    Args:
        steps: Steps T, the warm-up among them; fewer where the run's longest length is shorter.
        steps_per_qr: Between re-orthonormalisations; beyond a few, exponents far below the top drown in rounding.
        hidden_size: Units; None for those of the run.
    """

    steps: int
    steps_per_qr: int = 1
    hidden_size: int | None = None


SPECTRUM = {
    "tiny": Spectrum(16),
    "quick": Spectrum(250, 2),
    "standard": Spectrum(1000, 2),
    "full": Spectrum(4000, 2),
}
"""For the whole state of the run's cells."""


@functools.lru_cache(maxsize=KEPT)
def exponents(setup: Setup, cell: cells.Cell, spectrum: Spectrum) -> np.ndarray:
    """Measures all exponents of a cell on the run's inputs, a fifth of the steps discarded: ``[n, S]``."""
    steps = setup.steps(spectrum.steps)
    xs, warmup = setup.inputs(steps), steps // 5
    per_qr = min(spectrum.steps_per_qr, steps - warmup)
    params = setup.draw(cell, xs.shape[-1])
    return np.asarray(spectra(cell, params, xs, None, None, warmup, per_qr), np.float64)


@functools.partial(jax.jit, static_argnames=("cell", "k", "warmup", "steps_per_qr"))
def spectra(
    cell: cells.Cell,
    params: Any,
    xs: jax.Array,
    start: Any,
    k: int | None,
    warmup: int,
    steps_per_qr: int = 1,
) -> jax.Array:
    """Measures exponents of every seed ``[n, S]``; params and start ``[S, ...]``, inputs ``[T, S, X]``."""

    def one(params: Any, xs: jax.Array, start: Any) -> jax.Array:
        options = {"k": k, "warmup": warmup, "steps_per_qr": steps_per_qr}
        return flow.lyapunov_spectrum(cell, params, xs, start, **options)

    return jax.vmap(one, in_axes=(0, 1, 0), out_axes=1)(params, xs, start)


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
def log_singular_values(setup: Setup, cell: cells.Cell, steps: int, lags: Sequence[int]) -> np.ndarray:
    """Measures ln sigma_i of the Jacobian over `lags` steps, on the last `steps` of the inputs: ``[K, n, S]``."""
    xs = setup.inputs(steps)
    return np.asarray(_singular(cell, setup.draw(cell, xs.shape[-1]), xs, lags), np.float64)


@functools.partial(jax.jit, static_argnames=("cell", "lags"))
def _singular(cell: cells.Cell, params: Any, xs: jax.Array, lags: tuple[int, ...]) -> jax.Array:
    def one(params: Any, xs: jax.Array) -> jax.Array:
        return flow.jacobian_log_singular_values(cell, params, xs, lags)

    return jax.vmap(one, in_axes=(0, 1), out_axes=2)(params, xs)


def still(steps: int, seeds: int, dtype: Any) -> jax.Array:
    """Returns no input, zeros ``[T, S, 1]``."""
    return jnp.zeros((steps, seeds, 1), dtype)
