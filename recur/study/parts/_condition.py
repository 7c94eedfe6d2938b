"""Condition number (P8) and singular values (P9) of the Jacobian over many steps, of the same measurement."""

import functools
from typing import NamedTuple

import numpy as np

from recur import cells, flow
from recur.study.parts import _spectra
from recur.study.parts._setup import Job, Record, Setup, number, reference, series

CONDITION, SINGULAR = "condition_number", "singular_values"
HISTOGRAM_LAGS = (1, 10, 100, 1000)
BINS = 40


class Sizes(NamedTuple):
    """Units H, and lags at which to look; those beyond the run's longest length are left out."""

    hidden_size: int
    lags: tuple[int, ...]


_LAGS = (1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
SIZES = {
    "tiny": Sizes(3, (1, 4, 10)),
    "quick": Sizes(16, _LAGS),
    "standard": Sizes(32, _LAGS),
    "full": Sizes(64, _LAGS),
}


def condition_jobs(setup: Setup) -> list[Job]:
    return [Job(label, functools.partial(_condition, setup, label)) for label in setup.cells]


def histogram_jobs(setup: Setup) -> list[Job]:
    return [Job(label, functools.partial(_histograms, setup, label)) for label in setup.cells]


def _condition(setup: Setup, label: str) -> list[Record]:
    """The theory of long lags is a line through zero, whose slope is the spread of the exponents."""
    cell, lags, values = _measured(setup, label)
    logs = np.stack([np.asarray(flow.log_condition_numbers(by_lag)) for by_lag in np.moveaxis(values, 2, 0)], axis=1)
    meta = _meta(setup, label, cell)
    fields = _spectra.exponent_fields(_spectra.exponents(setup, cell, max(SIZES[setup.preset].lags), label=label))
    slope = fields.get("condition_slope_nats_per_step")
    rows = [series(CONDITION, label, lags, logs, meta)]
    if slope is not None:
        line = slope["median"] * np.asarray(lags, float)
        rows.append(reference(CONDITION, f"{label}: (λ₁ − λₙ) k", lags, line, cell=label))
    return rows


def _histograms(setup: Setup, label: str) -> list[Record]:
    """Densities of ln sigma / k over all units and seeds; exact zeros are left out and counted."""
    cell, lags, values = _measured(setup, label)
    rows = []
    for lag in HISTOGRAM_LAGS:
        if lag not in lags:
            continue
        rates = values[lags.index(lag)].ravel() / lag
        finite = rates[np.isfinite(rates)]
        meta = _meta(setup, label, cell, lag_steps=lag)
        if finite.size:
            density, edges = np.histogram(finite, bins=BINS, density=True)
            rows.append(series(SINGULAR, f"{label}, k = {lag}", (edges[1:] + edges[:-1]) / 2, density, meta))
        if finite.size < rates.size:
            rows.append(number(SINGULAR, f"exact zeros left out at k = {lag}", rates.size - finite.size, meta))
    return rows


def _measured(setup: Setup, label: str) -> tuple[cells.Cell, tuple[int, ...], np.ndarray]:
    sizes = SIZES[setup.preset]
    cell = setup.cell(label, hidden_size=sizes.hidden_size)
    steps = setup.steps(max(sizes.lags))
    lags = tuple(lag for lag in sizes.lags if lag <= steps)
    return cell, lags, _spectra.log_singular_values(setup, cell, steps, lags, label=label)


def _meta(setup: Setup, label: str, cell: cells.Cell, **more: int) -> Record:
    sizes = SIZES[setup.preset]
    steps = setup.steps(max(sizes.lags))
    return setup.meta(label, hidden_size=cells.output_size(cell), length=steps, state="init", **more)
