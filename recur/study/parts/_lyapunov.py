"""The whole Lyapunov spectrum of every cell at initialisation, beside random matrices (P6)."""

import functools

import numpy as np

from recur import cells, flow
from recur.study.parts import _spectra
from recur.study.parts._setup import Job, Record, Setup, number, reference, series

PLOT = "lyapunov_spectrum"
LINEAR = "linear, Gaussian U"


def jobs(setup: Setup) -> list[Job]:
    return [
        *(Job(label, functools.partial(_of_cell, setup, label)) for label in setup.cells),
        Job(LINEAR, functools.partial(_linear, setup)),
    ]


def _of_cell(setup: Setup, label: str) -> list[Record]:
    values = _spectra.exponents(setup, setup.cells[label], label=label)
    steps = setup.steps(_spectra.SPECTRUM_STEPS[setup.preset])
    return _records(label, values, setup.meta(label, state="init", length=steps))


def _linear(setup: Setup) -> list[Record]:
    """A fixed Gaussian matrix has the logarithms of its eigenvalues, spread evenly over a disc as it grows (O11).

    Fresh matrices at every step, for which the spectrum is known exactly (O10), lose less at the lower end.
    """
    config = setup.config
    cell = cells.elman(config.hidden_size, activation="identity", recurrent_init=cells.Gaussian(1.0))
    steps = _spectra.SPECTRUM_STEPS[setup.preset]
    xs = _spectra.still(steps, setup.seeds, setup.dtype)
    params = setup.draw(cell, 1, LINEAR)
    values = np.asarray(_spectra.spectra(cell, params, xs, steps // 2), np.float64)
    n = len(values)
    x = np.arange(1, n + 1) / n
    circle = {"cell": LINEAR, "hidden_size": n, "initializer": "gaussian", "gain": 1.0, "input": "no"}
    return [
        *_records(LINEAR, values, setup.meta(None, **circle, state="init", length=steps)),
        reference(PLOT, "uniform disc, n large", x, 0.5 * np.log(1 - (x - 0.5 / n))),
        reference(PLOT, f"fresh Gaussian matrices, n = {n}", x, flow.newman_exponents(n)),
    ]


def _records(label: str, values: np.ndarray, meta: Record) -> list[Record]:
    """One line over i/n of the exponents that are finite in every seed; how many are not, is a number."""
    finite = np.isfinite(values).all(axis=1)
    x = np.arange(1, len(values) + 1) / len(values)
    rows = [series(PLOT, label, x[finite], values[finite], meta)] if finite.any() else []
    gone = np.isneginf(values).sum(axis=0)
    if gone.any():
        rows.append(number(PLOT, f"exponents that are -inf, of {len(values)}, left out", gone, meta))
    return rows
