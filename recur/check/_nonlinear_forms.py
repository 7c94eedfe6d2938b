"""Closed forms of networks with tanh, rectifier and gates; each yields its scores for a seed."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, engines, flow
from recur.check import _rounding
from recur.check._scorecard import Score


def _elman(matrix: np.ndarray, seed: int) -> tuple[cells.Cell, dict[str, jax.Array]]:
    cell = cells.elman(len(matrix))
    params = cell.init(jax.random.key(seed), 2, float)
    return cell, {**params, "recurrent_kernel": jnp.asarray(matrix.T, float)[:, None]}


def elman_at_rest(seed: int) -> Iterator[Score]:
    """O5: what the roundings of a QR step do to an eigenvalue, by Bauer and Fike times the eigenbasis' condition."""
    matrix, values, condition = _rounding.held_eigenvalues(seed, (0.95, -0.8, 0.6, 0.45))
    sizes = np.sort(np.abs(values))[::-1]
    cell, params = _elman(matrix, seed)
    exponents = flow.lyapunov_spectrum(cell, params, _rounding.still(600, 2), warmup=300)
    tolerance = _rounding.tolerance(_rounding.qr_step(4) * condition * sizes[0] / sizes, np.log(sizes))
    yield Score("exponents = ln |eig U|", np.log(sizes), exponents, tolerance)


def sum_rule(seed: int) -> Iterator[Score]:
    """O13: roundings of a QR step, for each of 4 exponents, change the determinant by the condition of the Jacobian."""
    cell, params = _elman(_rounding.orthogonal(4, seed), seed)
    xs = 0.5 * jax.random.normal(jax.random.key(seed), (600, 2), float)
    exponents = np.asarray(flow.lyapunov_spectrum(cell, params, xs, warmup=300), np.float64)
    slopes = 1 - np.asarray(engines.unroll(cell, params, xs).states.h[300:], np.float64) ** 2
    kernel = np.asarray(params["recurrent_kernel"][:, 0], np.float64)
    exact = np.linalg.slogdet(kernel)[1] + np.log(slopes).sum(axis=1).mean()
    condition = (slopes.max(axis=1) / slopes.min(axis=1)).mean()
    # 1 - h^2 of the states as the device has them loses two roundings of 1.
    roundings = 4 * _rounding.qr_step(4) * condition + (2 / slopes).sum(axis=1).mean()
    yield Score("sum of exponents = mean ln |det J_t|", exact, exponents.sum(), _rounding.tolerance(roundings, exact))


def step_bound(seed: int) -> Iterator[Score]:
    """O8: no step back in time magnifies by more than s_max(U) max tanh'."""
    n, steps = 8, 100
    for gain in (1.0, 1.5):
        cell, params = _elman(gain * _rounding.orthogonal(n, seed), seed)
        xs = 0.5 * jax.random.normal(jax.random.key(seed), (steps, 2), float)
        logs = np.asarray(flow.adjoint_log_norms(cell, params, xs), np.float64)
        slopes = 1 - np.asarray(engines.unroll(cell, params, xs).states.h, np.float64)[::-1] ** 2
        kernel = np.asarray(params["recurrent_kernel"][:, 0], np.float64)
        bound = np.log(np.linalg.svd(kernel, compute_uv=False)[0]) + np.log(slopes.max(axis=1))
        tolerance = 2 * _rounding.tolerance(n + 1, np.abs(logs[1:])) + _rounding.eps() / slopes.max(axis=1)
        yield Score(f"ln A(k+1) / A(k), at most, U = {gain} Q", bound, np.diff(logs), tolerance, at_most=True)


def rectified_identity(seed: int) -> Iterator[Score]:
    """O15: bit by bit."""
    cell = cells.elman(4, activation="relu", recurrent_init="identity", bias_init=0.01)
    logs = flow.adjoint_log_norms(cell, cell.init(jax.random.key(seed), 1, float), _rounding.still(500, 1))
    yield Score("ln A(k) = ln A(0), k = 1..500", np.full(500, logs[0]), logs[1:], 0.0)


def _gates_alone(units: int, biases: dict[str, Any]) -> tuple[cells.Cell, dict[str, jax.Array], dict[str, np.ndarray]]:
    """An LSTM without recurrent weights: cell, parameters, and its gates ``[H]`` in float64."""
    cell = cells.lstm(units)
    bias = jnp.stack([jnp.broadcast_to(jnp.asarray(biases[gate], float), units) for gate in "ifgo"])
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1, float))
    held = dict(zip("ifgo", _rounding.held(bias), strict=True))
    gates = {gate: np.tanh(b) if gate == "g" else 1 / (1 + np.exp(-b)) for gate, b in held.items()}
    return cell, {**params, "bias": bias}, gates


def constant_gates(seed: int) -> Iterator[Score]:
    """O4: a step loses a sigmoid and a product; c = i g / (1 - f) takes three functions, one of them by 1 / (1 - f)."""
    del seed
    steps = 500
    lags = np.arange(1, steps + 1)
    for forget_bias in (1.0, np.log(0.95 / 0.05)):
        cell, params, gates = _gates_alone(4, {"i": 0.2, "f": forget_bias, "g": 0.05, "o": -0.1})
        logs = flow.adjoint_log_norms(cell, params, _rounding.still(steps, 1))
        f, c = gates["f"][0], gates["i"][0] * gates["g"][0] / (1 - gates["f"][0])
        through_c = gates["o"][0] * (1 - np.tanh(c * (1 - f**steps)) ** 2)
        exact = np.log(through_c) + lags * np.log(f)
        # ln (1 - tanh^2 c) turns an error of c into 2 tanh c of it, and one of tanh c into 2 / (1 - tanh^2 c).
        offset = 2 * c * 3 * _rounding.FUNCTION / (1 - f) + 2 * _rounding.FUNCTION * gates["o"][0] / through_c
        tolerance = _rounding.tolerance((_rounding.FUNCTION + 1) * lags + offset, exact)
        yield Score(f"ln A(k), k = 1..500, f = {f:.4f}", exact, logs[1:], tolerance)
        summary = flow.summarize(logs)
        half_life = np.log(2.0) / -np.log(f)
        tolerance = _rounding.tolerance(_rounding.FUNCTION + 1, np.log(f))
        yield Score(f"rate, f = {f:.4f}", np.log(f), summary.rate, tolerance)
        relative = tolerance / -np.log(f)
        yield Score(f"half-life, f = {f:.4f}", half_life, summary.half_life_steps, half_life * relative)
    # sigmoid(40) is 1 in float32 and float64; without a candidate c stays 0, and tanh' is 1.
    cell, params, gates = _gates_alone(4, {"i": 0.2, "f": 40.0, "g": 0.0, "o": -0.1})
    logs = flow.adjoint_log_norms(cell, params, _rounding.still(steps, 1))
    yield Score("ln A(k) = ln A(1), k = 2..500, b_f = 40", np.full(steps - 1, logs[1]), logs[2:], 0.0)
    yield Score("ln A(1), b_f = 40", np.log(gates["o"][0]), logs[1], _rounding.tolerance(_rounding.FUNCTION, 0.0))


def chrono(seed: int) -> Iterator[Score]:
    """O17: each unit forgets with a time constant of its own, 1 / (1 - f) = 1 + u in [2, T_max]."""
    units, longest, steps = 8, 784, 500
    drawn = cells.lstm(units, bias_init=cells.Chrono(longest)).init(jax.random.key(seed), 1, float)["bias"]
    many = cells.Chrono(longest).biases(jax.random.key(seed), ("i", "f"), "f", "i", 100_000, float)
    mean = (1 + np.exp(np.asarray(many[1], np.float64))).mean()
    # u is uniform: four standard errors of its mean, which one seed in 16,000 exceeds.
    band = 4 * (longest - 2) / np.sqrt(12 * 100_000)
    yield Score("mean of 1 / (1 - f) over 100,000 units = 1 + 784 / 2", 1 + longest / 2, mean, band)
    open_gates = np.asarray(jax.nn.sigmoid(drawn[0]) + jax.nn.sigmoid(drawn[1]), np.float64)
    yield Score("i + f", np.ones(units), open_gates, _rounding.tolerance(2 * _rounding.FUNCTION, 0.0))
    cell, params, gates = _gates_alone(units, dict(zip("ifgo", drawn, strict=True)))
    # A row of the batch for each unit, whose output alone is asked for.
    xs, one_unit = jnp.zeros((steps, units, 1), float), jnp.eye(units, dtype=float)
    rates = flow.summarize(flow.adjoint_log_norms(cell, params, xs, cotangent=one_unit)).rate
    exact = np.log(gates["f"])
    tolerance = _rounding.tolerance(_rounding.FUNCTION + 1, exact)
    yield Score("rate of each unit = ln f", exact, rates, tolerance)
    times = 1 / -np.expm1(rates)
    yield Score("1 / (1 - f) in [2, 784]", np.clip(times, 2, longest), times, tolerance * times**2)
