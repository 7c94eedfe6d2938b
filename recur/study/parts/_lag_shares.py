"""What each lag contributes to the parameter gradient, whose norm alone hides it (P4)."""

import functools

import jax
import numpy as np

from recur.study import _lag_records
from recur.study.parts._lag_curves import measured
from recur.study.parts._setup import Job, Record, Setup, number, series, skipped

PLOT = "lag_shares"
REST = 0.01


def jobs(setup: Setup) -> list[Job]:
    return [Job(label, functools.partial(_measure, setup, label)) for label in setup.cells]


def _measure(setup: Setup, label: str) -> list[Record]:
    """Lag shares at the longest length, where the parameter norms by length have their last point."""
    length = max(setup.config.lengths)
    found = measured(setup, label, length)
    if not found.parameters:
        return [skipped(PLOT, label, "has no parameters")]
    shares = np.asarray(found.shares, np.float64)
    totals = [2.0 * np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(found.parameters)]
    total = 0.5 * np.logaddexp.reduce(totals)
    lags = _lag_records.kept_lags(length)
    meta = setup.meta(label, length=length)
    rows = [series(PLOT, label, lags, shares[lags], meta)]
    if np.isfinite(total).all():
        name = "steps back that hold all but 1 % of the parameter gradient"
        rows.append(number(PLOT, name, _needed(shares, total), meta))
    return rows


def _needed(shares: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Counts lags beyond which all parts, even if they pointed the same way, make at most 1 % of the sum."""
    scaled = np.exp(np.minimum(shares - total, 700.0))
    rest = np.cumsum(scaled[::-1], axis=0)[::-1]
    return (rest > REST).sum(axis=0)
