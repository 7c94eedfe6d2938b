"""The largest exponent of a random tanh network against the gain of its weights, beside mean-field theory (P7)."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow
from recur.study.parts import _spectra
from recur.study.parts._setup import Job, Record, Setup, reference, series

PLOT = "gain"
NETWORKS_AT_ONCE = 10


class Sizes(NamedTuple):
    """Widths H, gains g, steps T and how many of them are discarded until the orbit has settled."""

    widths: tuple[int, ...]
    gains: tuple[float, ...]
    steps: int
    warmup: int


SIZES = {
    "tiny": Sizes((6,), (0.5, 2.0), 64, 32),
    "quick": Sizes((128, 256), (0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0), 1500, 300),
    "standard": Sizes(
        (128, 256, 512), (0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0), 3000, 500
    ),
    "full": Sizes(
        (128, 256, 512), (*np.arange(0.5, 2.01, 0.1).round(1).tolist(), 2.5, 3.0, 4.0, 5.0, 7.0, 10.0), 10000, 1000
    ),
}


def jobs(setup: Setup) -> list[Job]:
    sizes = SIZES[setup.preset]
    return [
        *(Job(f"H={width}", functools.partial(_measure, setup, width)) for width in sizes.widths),
        Job("mean field", functools.partial(_theory, sizes)),
    ]


def _measure(setup: Setup, width: int) -> list[Record]:
    """No input, no bias: from a random state, N(0, 1) each unit."""
    sizes = SIZES[setup.preset]
    cell = cells.elman(width, recurrent_init=cells.Gaussian(1.0))
    params = setup.draw(cell, 1, f"gain {width}")
    key = setup.key_for(f"gain {width} start")
    like = jnp.promote_types(setup.dtype, jnp.float32)  # as `recur.unroll` keeps states
    start = cell.initial_state()._replace(h=jax.random.normal(key, (setup.seeds, width), like))
    xs = _spectra.still(sizes.steps, 1, setup.dtype)[:, 0]
    values = np.stack([_top(cell, params, xs, start, gain, sizes.warmup) for gain in sizes.gains])
    meta = setup.meta(None, cell="elman", hidden_size=width, initializer="gaussian", input="no", length=sizes.steps)
    return [series(PLOT, f"{width} units", sizes.gains, values, meta)]


@functools.partial(jax.jit, static_argnames=("cell", "warmup"))
def _top(cell: cells.Cell, params: Any, xs: jax.Array, start: Any, gain: float, warmup: int) -> jax.Array:
    """Measures the largest exponent of every network ``[S]``, its recurrent kernel `gain` times as large."""

    def one(network: tuple[Any, Any]) -> jax.Array:
        params, start = network
        kernel = jnp.asarray(gain, params["recurrent_kernel"].dtype) * params["recurrent_kernel"]
        params = {**params, "recurrent_kernel": kernel}
        return flow.lyapunov_spectrum(cell, params, xs, start, k=1, warmup=warmup)[0]

    # Few at once: their kernels then stay in the cache of a CPU.
    return jax.lax.map(one, (params, start), batch_size=NETWORKS_AT_ONCE)


def _theory(sizes: Sizes) -> list[Record]:
    gains = np.linspace(min(sizes.gains), max(sizes.gains), 46).tolist()
    curve = [flow.mean_field_tanh(gain).exponent for gain in gains]
    return [reference(PLOT, "mean field", gains, curve)]
