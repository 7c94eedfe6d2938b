"""How long a gated cell remembers against the bias of the gate that keeps its state (P10).

Theory: a gate alone, without recurrent and input weights, keeps ``f = sigmoid(b)`` of each unit a step, so that the
gradient goes as the root mean square of ``f^k`` over units. That network is measured too and must meet it. The network
as initialised has a second path back in time, through its recurrent kernels, and gates that move with the input.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow
from recur.study.parts._setup import Job, Record, Setup, number, reference, series, skipped

PLOT = "forget_bias"
LN_2 = np.log(2.0)


class Sizes(NamedTuple):
    """Units H, biases b, longest time constants T_max of chrono, and steps T, or fewer if no length is so long."""

    hidden_size: int
    biases: tuple[float, ...]
    longest: tuple[float, ...]
    steps: int


_BIASES, _LONGEST = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (10.0, 30.0, 100.0, 300.0, 1000.0)
SIZES = {
    "tiny": Sizes(3, (0.0, 1.0), (4.0,), 16),
    "quick": Sizes(64, (-2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0), (10.0, 100.0, 1000.0), 1024),
    "standard": Sizes(64, _BIASES, _LONGEST, 4096),
    "full": Sizes(128, tuple(np.arange(-2, 6.1, 0.5).tolist()), (*_LONGEST, 3000.0), 16384),
}
TOLD_BIASES, TOLD_LONGEST = (1.0, 3.0), (100.0, 1000.0)


def jobs(setup: Setup) -> list[Job]:
    diagonal = Job("identity", functools.partial(_diagonal, setup))
    return [*(Job(label, functools.partial(_measure, setup, label)) for label in setup.cells), diagonal]


def _measure(setup: Setup, label: str) -> list[Record]:
    sizes = SIZES[setup.preset]
    cell = setup.cell(label, hidden_size=sizes.hidden_size)
    inits = getattr(cell, "inits", None)
    keep = getattr(inits, "keep", None)
    if keep is None:
        return [skipped(PLOT, label, "declares no gate that keeps the state (keep=...)")]
    gate, steps = inits.gates.index(keep), setup.steps(sizes.steps)
    xs = setup.inputs(steps)
    params = setup.draw(cell, xs.shape[-1], label=label)
    by_bias = [params["bias"].at[:, gate].set(bias) for bias in sizes.biases]
    biases = jnp.stack([*by_bias, *(_chrono(setup, inits, params["bias"], longest) for longest in sizes.longest)])
    alone = {**params, "kernel": 0 * params["kernel"], "recurrent_kernel": 0 * params["recurrent_kernel"]}
    measured, of_gates = (half_lives(np.asarray(_adjoint(cell, p, biases, xs), np.float64)) for p in (params, alone))
    predicted = _predicted(np.asarray(biases[:, :, gate], np.float64), steps)
    meta = setup.meta(label, hidden_size=cells.output_size(cell), length=steps, state="init", gate=keep)
    names = [f"{keep} bias {bias:g}" for bias in sizes.biases] + [f"chrono T_max = {t:g}" for t in sizes.longest]
    told = [*(bias in TOLD_BIASES for bias in sizes.biases), *(longest in TOLD_LONGEST for longest in sizes.longest)]
    count = len(sizes.biases)
    with np.errstate(invalid="ignore"):
        off = np.nanmax(np.abs(of_gates / predicted - 1), axis=0)
    return [
        _series(f"{label}, {keep} bias", predicted[:count], measured[:count], meta),
        _series(f"{label}, chrono", predicted[count:], measured[count:], meta),
        number(PLOT, "largest relative error of the theory for gates alone, over all biases", off, meta),
        *(
            number(
                PLOT,
                f"half-life with {names[i]} as initialised (theory {np.median(predicted[i]):.3g}, gates alone "
                f"{np.median(of_gates[i]):.3g}), steps",
                measured[i],
                meta,
            )
            for i in range(len(names))
            if told[i]
        ),
    ]


def _chrono(setup: Setup, inits: Any, like: jax.Array, longest: float) -> jax.Array:
    """Draws biases ``[S, G, H]`` that spread the time constants over [2, longest]."""
    keys = jax.random.split(setup.key_for("chrono"), setup.seeds)
    gates = inits.gates, inits.keep, inits.write
    return jnp.stack([cells.Chrono(longest).biases(key, *gates, like.shape[-1], like.dtype) for key in keys])


@functools.partial(jax.jit, static_argnames="cell")
def _adjoint(cell: cells.Cell, params: Any, biases: jax.Array, xs: jax.Array) -> jax.Array:
    """Returns lag curves ``[T + 1, K, S]`` for biases ``[K, S, G, H]``."""

    def one(params: Any, bias: jax.Array, xs: jax.Array) -> jax.Array:
        return flow.adjoint_log_norms(cell, {**params, "bias": bias}, xs)

    by_seed = jax.vmap(one, in_axes=(0, 0, 1), out_axes=1)
    return jax.vmap(by_seed, in_axes=(None, 0, None), out_axes=1)(params, biases, xs)


def half_lives(curves: np.ndarray) -> np.ndarray:
    """Returns the steps from lag 1 on after which a norm is first half of that at lag 1, ``[L, ...] -> [...]``.

    Between lags the logarithm is interpolated. inf where the curve ends before, nan where it is nan.
    """
    with np.errstate(invalid="ignore"):
        fallen = curves[1:] - curves[1] + LN_2
    below = fallen <= 0
    later = np.maximum(np.argmax(below, axis=0), 1)
    after = np.take_along_axis(fallen, later[None], axis=0)[0]
    before = np.take_along_axis(fallen, later[None] - 1, axis=0)[0]
    with np.errstate(invalid="ignore"):
        steps = np.where(np.isneginf(after), later, later - 1 + before / (before - after))
    return np.where(np.isnan(curves).any(axis=0), np.nan, np.where(below.any(axis=0), steps, np.inf))


def _predicted(biases: np.ndarray, steps: int) -> np.ndarray:
    """Half-lives in theory for biases ``[K, S, H]`` of the keep gate: ``[K, S]``."""
    keep = -np.logaddexp(0.0, -biases)
    by_lag = (0.5 * np.log(np.mean(np.exp(2 * lag * keep), axis=-1)) for lag in range(steps + 1))
    with np.errstate(divide="ignore"):
        return half_lives(np.stack(list(by_lag)))


def _series(name: str, predicted: np.ndarray, measured: np.ndarray, meta: Record) -> Record:
    """Both as time constants 1 / (1 - f) of the f that has the same half-life, in the order of the prediction."""
    x = np.median(_time_constant(predicted), axis=1)
    order = np.argsort(x)
    return series(PLOT, name, x[order], _time_constant(measured)[order], meta)


def _time_constant(half_life: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return 1 / -np.expm1(-LN_2 / half_life)


def _diagonal(setup: Setup) -> list[Record]:
    sizes = SIZES[setup.preset]
    ends = np.array([1 + np.exp(min(sizes.biases)), 1 + np.exp(max(sizes.biases))])
    return [reference(PLOT, "gates alone: 1 / (1 − f)", ends, ends)]
