"""Gradient norms of one cell at one length, over seeds, as records."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow

DENSE_LAGS = 128
KEPT_LAGS = 512


class Measured(NamedTuple):
    """ln norms of every seed.

    Args:
        adjoint: By lag ``[T + 1, S]``.
        inputs: By lag ``[T, S]``.
        parameters: Of the parameter gradient, a tree of ``[S]``, one leaf a tensor.
        shares: Of what each lag contributes to the gradient of all parameters together ``[T, S]``.
    """

    adjoint: Any
    inputs: Any
    parameters: Any
    shares: Any


@functools.partial(jax.jit, static_argnames="cell")
def measure(cell: cells.Cell, params: Any, xs: jax.Array) -> Measured:
    """Measures the gradients of every seed.

    Args:
        cell: The recurrence.
        params: Its parameters, leaves ``[S, ...]``.
        xs: Inputs ``[T, S, X]``.
    """

    def one_seed(params: Any, xs: jax.Array) -> Measured:
        adjoint, inputs, (shares, total) = flow.gradient_log_norms(cell, params, xs)
        return Measured(
            adjoint,
            inputs,
            total,
            0.5 * functools.reduce(jnp.logaddexp, [2.0 * leaf for leaf in jax.tree.leaves(shares)], -jnp.inf),
        )

    return jax.vmap(one_seed, in_axes=(0, 1), out_axes=Measured(1, 1, 0, 1))(params, xs)


def records(meta: dict[str, Any], adjoint: np.ndarray, inputs: np.ndarray, parameters: Any) -> list[dict[str, Any]]:
    """Turns what `measure` returned into records: lag curves, parameter norms, and last the summary.

    Args:
        meta: Fields that every record carries: cell, length, seeds, hidden_size, ...
        adjoint: ``[T + 1, S]``.
        inputs: ``[T, S]``.
        parameters: Tree of ``[S]``.
    """
    adjoint, inputs = np.asarray(adjoint, np.float64), np.asarray(inputs, np.float64)
    rows = []
    for quantity, curves in (("adjoint", adjoint), ("input", inputs)):
        lags = kept_lags(len(curves))
        low, middle, high = quantiles(curves[lags])
        spread = {"ln_median": middle.tolist(), "ln_p10": low.tolist(), "ln_p90": high.tolist()}
        lags_told = {"lag_steps": lags.tolist(), **spread, **_horizon(curves)}
        rows.append({"kind": "lag_curve", "quantity": quantity, **meta, **lags_told})
    by_path = {
        ".".join(str(entry.key) for entry in path): np.asarray(leaf, np.float64)
        for path, leaf in jax.tree_util.tree_leaves_with_path(parameters)
    }
    with np.errstate(invalid="ignore"):  # nan where states overflow
        by_path = {"all": 0.5 * np.logaddexp.reduce([2.0 * leaf for leaf in by_path.values()]), **by_path}
    for tensor, log_norms in by_path.items():
        low, middle, high = (float(q) for q in quantiles(log_norms[None])[:, 0])
        spread = {"ln_median": middle, "ln_p10": low, "ln_p90": high}
        rows.append({"kind": "parameter_norm", "tensor": tensor, **meta, **spread})
    rows.append({"kind": "summary", **meta, **summary(adjoint)})
    return rows


def _horizon(curves: np.ndarray) -> dict[str, Any]:
    """How far the median of the whole curve keeps a thousandth, and whether it ends before that."""
    middle = quantiles(curves)[1]
    if np.isnan(middle).any() or np.isposinf(middle).any() or len(middle) < 3:
        return {}
    found = flow.summarize(middle).horizon_steps(1e-3)
    return {"horizon_1e-3_steps": found, "horizon_1e-3_capped": bool(found == len(middle) - 1)}


def summary(adjoint: np.ndarray) -> dict[str, Any]:
    """Rate, half-life, horizons and verdict: of the median curve, with the spread over seeds."""
    finite = ~(np.isnan(adjoint) | np.isposinf(adjoint)).any(axis=0)
    if not finite.all():
        return {"verdict": f"not finite: states overflow in {int((~finite).sum())} of {finite.size} seeds"}
    low, middle, high = quantiles(adjoint)
    of_median, of_seeds = flow.summarize(middle), flow.summarize(adjoint)
    last = of_median.last_lag_steps

    def spread(median: float, values: np.ndarray) -> dict[str, float]:
        low, _, high = quantiles(np.asarray(values, np.float64)[None])[:, 0]
        return {"median": float(median), "p10": float(low), "p90": float(high)}

    return {
        "rate_nats_per_step": spread(of_median.rate, of_seeds.rate),
        "half_life_steps": spread(of_median.half_life_steps, of_seeds.half_life_steps),
        "horizon_1e-3_steps": spread(of_median.horizon_steps(1e-3), of_seeds.horizon_steps(1e-3)),
        "horizon_1e-3_capped": of_median.horizon_steps(1e-3) == last,
        "horizon_1e-6_steps": spread(of_median.horizon_steps(1e-6), of_seeds.horizon_steps(1e-6)),
        "horizon_1e-6_capped": of_median.horizon_steps(1e-6) == last,
        "verdict": of_median.verdict,
    }


def quantiles(curves: np.ndarray) -> np.ndarray:
    """10 %, 50 % and 90 % over the last axis (seeds): ``[3, ...]``.

    Quantiles of the logarithm are logarithms of quantiles; a mean of norms would show the largest seed alone. Between
    two seeds they are interpolated, wherever both are finite. Where one is not (a norm that is exactly zero, a number
    of steps that is inf) there is nothing to interpolate, and the lower one is taken.
    """
    levels = (0.1, 0.5, 0.9)
    low, high = (np.quantile(curves, levels, axis=-1, method=method) for method in ("lower", "higher"))
    finite = np.isfinite(low) & np.isfinite(high)
    place = np.asarray(levels) * (curves.shape[-1] - 1)
    share = (place - np.floor(place)).reshape(-1, *(1,) * (curves.ndim - 1))
    with np.errstate(invalid="ignore"):
        between = low + share * (high - low)
    return np.where(finite, between, low)


def kept_lags(count: int) -> np.ndarray:
    """All lags of short curves; of long ones the first `DENSE_LAGS`, then evenly spaced ones, the last included."""
    if count <= KEPT_LAGS:
        return np.arange(count)
    spaced = np.linspace(DENSE_LAGS, count - 1, KEPT_LAGS - DENSE_LAGS).round().astype(int)
    return np.unique(np.r_[:DENSE_LAGS, spaced])
