"""Lag curves of every cell and length (P1), parameter norms, and the verdicts (P3)."""

import functools

import jax
import numpy as np

from recur.study import _lag_records
from recur.study.parts import _spectra
from recur.study.parts._setup import Job, Record, Setup


def jobs(setup: Setup) -> list[Job]:
    return [
        Job(f"{label} T={length}", functools.partial(_measure, setup, label, length))
        for length in sorted(setup.config.lengths)
        for label in setup.cells
    ]


def _measure(setup: Setup, label: str, length: int) -> list[Record]:
    """The verdict on the longest length tells the exponents too, which belong to the cell and not to a length."""
    found = measured(setup, label, length)
    meta = setup.meta(label, length=length)
    *rows, summary = _lag_records.records(meta, found.adjoint, found.inputs, found.parameters)
    if length == max(setup.config.lengths):
        values = _spectra.exponents(setup, setup.cells[label], label=label)
        summary |= _spectra.exponent_fields(values)
    return [*rows, summary]


@functools.lru_cache(maxsize=_spectra.KEPT)
def measured(setup: Setup, label: str, length: int) -> _lag_records.Measured:
    """Returns the ln norms of a cell of the run, as NumPy arrays."""
    cell, xs = setup.cells[label], setup.inputs(length)
    return jax.tree.map(np.asarray, _lag_records.measure(cell, setup.draw(cell, xs.shape[-1], label=label), xs))
