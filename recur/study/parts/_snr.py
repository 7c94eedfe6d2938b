"""How much of each lag's parameter gradient is signal, and how many sequences it takes to see it (P11)."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from recur import cells, flow
from recur.study.parts._setup import Job, Record, Setup, number, series, skipped

SNR, SAMPLES = "gradient_snr", "samples_needed"


class Sizes(NamedTuple):
    """Units H, steps T (or fewer if the run has no such length), and sequences a seed."""

    hidden_size: int
    steps: int
    batch: int


SIZES = {
    "tiny": Sizes(3, 8, 4),
    "quick": Sizes(16, 64, 32),
    "standard": Sizes(32, 200, 128),
    "full": Sizes(64, 500, 512),
}
TOLD_LAG = 10


def jobs(setup: Setup) -> list[Job]:
    return [Job(label, functools.partial(_measure, setup, label)) for label in setup.cells]


def _measure(setup: Setup, label: str) -> list[Record]:
    """Ratios that are not positive show no signal in so many sequences: a logarithm of -inf, inf samples needed."""
    sizes = SIZES[setup.preset]
    cell = setup.cell(label, hidden_size=sizes.hidden_size)
    xs = setup.batches(setup.steps(sizes.steps), sizes.batch)
    if not jax.tree.leaves(cells.parameter_shapes(cell, xs.shape[-1])):
        return [skipped(SNR, label, "has no parameters"), skipped(SAMPLES, label, "has no parameters")]
    ratios = np.asarray(_ratios(cell, setup.draw(cell, xs.shape[-1], label=label), xs), np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(ratios, 0.0))
    lags = np.arange(len(logs))
    meta = setup.meta(label, hidden_size=cells.output_size(cell), length=len(lags), sequences=sizes.batch, state="init")
    rows = [series(SNR, label, lags, logs, meta), series(SAMPLES, label, lags, -logs, meta)]
    if len(lags) > TOLD_LAG:
        with np.errstate(divide="ignore"):
            needed = 1 / np.maximum(ratios[TOLD_LAG], 0.0)
        rows.append(number(SAMPLES, f"sequences needed at lag {TOLD_LAG} for as much signal as noise", needed, meta))
    return rows


@functools.partial(jax.jit, static_argnames="cell")
def _ratios(cell: cells.Cell, params: Any, xs: jax.Array) -> jax.Array:
    """Returns signal to noise of all parameters together, ``[T, S]``, from ``[T, S, B, X]``."""

    def one(params: Any, xs: jax.Array) -> jax.Array:
        return flow.gradient_snr(cell, params, xs).snr_all

    return jax.vmap(one, in_axes=(0, 1), out_axes=1)(params, xs)
