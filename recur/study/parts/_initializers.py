"""Rates, horizons and exponents of every cell under other initialisers (P3)."""

import functools

import jax
import numpy as np

from recur import cells, flow
from recur.study import _lag_records, _made
from recur.study.parts import _spectra
from recur.study.parts._setup import Job, Record, Setup, skipped

SIZES = {
    "tiny": ("gaussian",),
    "quick": (),
    "standard": ("orthogonal", "gaussian", "identity", "chrono"),
    "full": _made.INITIALIZERS,
}
"""Initialisers beside that of the run."""


def jobs(setup: Setup) -> list[Job]:
    others = [name for name in SIZES[setup.preset] if name != setup.config.initializer]
    return [
        Job(f"{label} {initializer}", functools.partial(_measure, setup, label, initializer))
        for initializer in others
        for label in setup.cells
    ]


def _measure(setup: Setup, label: str, initializer: str) -> list[Record]:
    length = max(setup.config.lengths)
    xs = setup.inputs(length)
    try:
        cell = setup.cell(label, initializer=initializer, gain=1.0)
        params = setup.draw(cell, xs.shape[-1])
    except ValueError as error:
        return [skipped("summary", label, str(error), initializer=initializer)]
    curves = np.asarray(_adjoint(cell, params, xs), np.float64)
    fields = _spectra.exponent_fields(_spectra.exponents(setup, cell))
    meta = setup.meta(label, length=length, initializer=initializer, gain=1.0)
    return [{"kind": "summary", **meta, **_lag_records.summary(curves), **fields}]


@functools.partial(jax.jit, static_argnames="cell")
def _adjoint(cell: cells.Cell, params: object, xs: jax.Array) -> jax.Array:
    return jax.vmap(functools.partial(flow.adjoint_log_norms, cell), in_axes=(0, 1), out_axes=1)(params, xs)
