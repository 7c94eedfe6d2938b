"""What each lag contributes to the parameter gradient, whose norm alone hides it (P4)."""

import functools
from typing import Any

import jax
import numpy as np

from benchmarks import _lag_records
from benchmarks.parts._setup import Job, Record, Setup, number, series, skipped
from recur import cells, flow

PLOT = "lag_shares"
REST = 0.01


def jobs(setup: Setup) -> list[Job]:
    return [Job(label, functools.partial(_measure, setup, label)) for label in setup.cells]


def _measure(setup: Setup, label: str) -> list[Record]:
    """Lag shares at the longest length, and how the norm of the whole changes with length."""
    cell, lengths = setup.cells[label], sorted(setup.config.lengths)
    xs = setup.inputs(lengths[-1])
    if not jax.tree.leaves(cells.parameter_shapes(cell, xs.shape[-1])):
        return [skipped(PLOT, label, "has no parameters")]
    shares, total = (np.asarray(a, np.float64) for a in _shares(cell, setup.draw(cell, xs.shape[-1]), xs))
    lags = _lag_records.kept_lags(len(shares))
    meta = setup.meta(label, length=lengths[-1])
    return [
        series(PLOT, label, lags, shares[lags], meta),
        number(PLOT, "steps back that hold all but 1 % of the parameter gradient", _needed(shares, total), meta),
        number(PLOT, f"factor between the parts of lag 0 and lag {lengths[-1] - 1}, ln", shares[0] - shares[-1], meta),
    ]


@functools.partial(jax.jit, static_argnames="cell")
def _shares(cell: cells.Cell, params: Any, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns ln norms over all tensors, of each lag ``[T, S]`` and of the sum of all lags ``[S]``."""

    def one(params: Any, xs: jax.Array) -> tuple[jax.Array, jax.Array]:
        shares, total = flow.parameter_log_norms(cell, params, xs)
        return _together(shares), _together(total)

    return jax.vmap(one, in_axes=(0, 1), out_axes=(1, 0))(params, xs)


def _together(tree: Any) -> jax.Array:
    """Joins ln norms of tensors to that of one vector."""
    return functools.reduce(lambda a, b: 0.5 * jax.numpy.logaddexp(2 * a, 2 * b), jax.tree.leaves(tree))


def _needed(shares: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Counts lags beyond which all parts, even if they pointed the same way, make at most 1 % of the sum."""
    scaled = np.exp(np.minimum(shares - total, 700.0))
    rest = np.cumsum(scaled[::-1], axis=0)[::-1]
    return (rest > REST).sum(axis=0)
