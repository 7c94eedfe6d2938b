"""How strongly outputs depend on a parameter as memory gets longer, though no Jacobian explodes (P12)."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow
from recur.study.parts._setup import Job, Record, Setup, number, reference, series

PLOT = "memory_curse"


class Sizes(NamedTuple):
    """Eigenvalues l, steps T, of which the first half is discarded, and sequences a seed."""

    eigenvalues: tuple[float, ...]
    steps: int
    batch: int


SIZES = {
    "tiny": Sizes((0.3, 0.6), 64, 8),
    "quick": Sizes((0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99), 2000, 32),
    "standard": Sizes((0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99, 0.997, 0.999), 20_000, 64),
    "full": Sizes((0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99, 0.997, 0.999), 100_000, 64),
}


def jobs(setup: Setup) -> list[Job]:
    return [Job("h = l h + x", functools.partial(_measure, setup))]


def _measure(setup: Setup) -> list[Record]:
    """White noise N(0, 1) in, h out; a diagonal network is many of these side by side."""
    sizes = SIZES[setup.preset]
    by = np.asarray(sizes.eigenvalues)
    noise = jax.random.normal(setup.key_for(PLOT), (sizes.steps, setup.seeds, sizes.batch, 1), setup.dtype)
    logs = np.asarray(_log_squares(jnp.asarray(by, setup.dtype), noise), np.float64)
    settled = logs[:, :, sizes.steps // 2 :]
    values = np.logaddexp.reduce(settled, axis=-1) - np.log(settled.shape[-1])
    meta = setup.meta(None, hidden_size=1, length=sizes.steps, sequences=sizes.batch, input="noise")
    fine = 1 - np.geomspace(1 - by[0], 1 - by[-1], 40)
    gap = values - _closed_form(by)[:, None]
    return [
        series(PLOT, "h = l h + x, measured", by, values, meta),
        reference(PLOT, "(1 + l²) / (1 − l²)³", fine, _closed_form(fine)),
        number(PLOT, f"measured over closed form at l = {by[-2]:g}", np.exp(gap[-2]), meta),
        number(PLOT, f"measured over closed form at l = {by[-1]:g}", np.exp(gap[-1]), meta),
    ]


@jax.jit
def _log_squares(eigenvalues: jax.Array, noise: jax.Array) -> jax.Array:
    """Returns ``ln E[(dh_t / dl)^2]`` by eigenvalue, seed and step ``[K, S, T]``."""
    cell = cells.elman(1, activation="identity")
    zero = jnp.zeros((1, 1, 1), noise.dtype)
    direction = {"kernel": zero, "recurrent_kernel": zero + 1, "bias": zero[0]}

    def one(eigenvalue: jax.Array, xs: jax.Array) -> jax.Array:
        params = {"kernel": zero + 1, "recurrent_kernel": zero + eigenvalue, "bias": zero[0]}
        return flow.parameter_sensitivity(cell, params, xs, direction=direction)

    by_seed = jax.vmap(one, in_axes=(None, 1))
    return jax.vmap(by_seed, in_axes=(0, None))(eigenvalues, noise)


def _closed_form(eigenvalues: np.ndarray) -> np.ndarray:
    """O19, ``ln (1 + l^2) / (1 - l^2)^3``."""
    return np.log1p(eigenvalues**2) - 3 * np.log1p(-(eigenvalues**2))
