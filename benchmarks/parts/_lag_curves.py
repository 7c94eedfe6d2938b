"""Lag curves of every cell and length (P1), parameter norms, and the verdicts (P3)."""

import functools

import jax
import numpy as np

from benchmarks import _lag_records
from benchmarks.parts._setup import Job, Record, Setup


def jobs(setup: Setup) -> list[Job]:
    return [
        Job(f"{label} T={length}", functools.partial(_measure, setup, label, length))
        for length in sorted(setup.config.lengths)
        for label in setup.cells
    ]


def _measure(setup: Setup, label: str, length: int) -> list[Record]:
    xs = setup.inputs(length)
    measured = _lag_records.measure(setup.cells[label], setup.draw(setup.cells[label], xs.shape[-1]), xs)
    return _lag_records.records(setup.meta(label, length=length), *jax.tree.map(np.asarray, measured))
