"""What `recur.flow` measures against closed forms, in the default dtype of the device.

Tolerances are counts of roundings, half an ulp each, of the operations between the numbers given and the number
returned; a logarithm turns a relative error into an absolute one and adds its own, in proportion to itself. Where a
closed form holds for any parameters, those are put in that the dtype has.
"""

import functools
from collections.abc import Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import recur
from benchmarks._scorecard import Check, Score
from recur import cells, flow

# A sigmoid or tanh, of up to 4 ulp.
FUNCTION = 8


def _qr(n: int) -> int:
    """A product with an n x n Jacobian and its QR factors: n terms in n reflections, and 8 to make a reflection."""
    return n * n + 8


def checks(names: Collection[str], seed: int) -> Iterator[Check]:
    """Yields the closed forms of the cells named."""
    for title, cell, measure in FORMS:
        if cell in names:
            yield Check(title, cell, None, functools.partial(measure, seed))


def _eps() -> float:
    return float(jnp.finfo(jnp.result_type(float)).eps)


def _tolerance(roundings: Any, logs: Any) -> np.ndarray:
    """Absolute error of logarithms after so many roundings, and 8 for a norm and the logarithm's argument."""
    return (np.asarray(roundings) + 8) * _eps() / 2 + 2 * _eps() * np.abs(logs)


def _held(numbers: Any) -> np.ndarray:
    """The numbers as the default dtype has them, in float64."""
    return np.asarray(jnp.asarray(numbers, float), np.float64)


def _linear(matrix: np.ndarray) -> tuple[cells.Cell, dict[str, jax.Array]]:
    """``h_t = M h_{t-1} + x_t``."""
    n = len(matrix)
    kernels = {"kernel": jnp.eye(n, dtype=float)[:, None], "recurrent_kernel": jnp.asarray(matrix.T, float)[:, None]}
    return cells.elman(n, activation="identity"), {**kernels, "bias": jnp.zeros((1, n), float)}


def _orthogonal(n: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def _still(steps: int, size: int) -> jax.Array:
    return jnp.zeros((steps, size), float)


def _scaled_orthogonal(seed: int) -> Iterator[Score]:
    """O1: n products are added up at every step, and the kernel itself is rounded."""
    n, steps, lags = 8, 2000, np.array([1, 100, 2000])
    for s in (0.9, 1.1):
        cell, params = _linear(s * _orthogonal(n, seed))
        by_lag = np.arange(steps + 1) * np.log(s)
        measured = flow.adjoint_log_norms(cell, params, _still(steps, n))
        yield Score(f"ln A(k), k = 0..2000, s = {s}", by_lag, measured, _tolerance((n + 1) * np.arange(2001), by_lag))
        rate = flow.summarize(measured).rate
        yield Score(f"rate, s = {s}", np.log(s), rate, _tolerance(n + 1, np.log(s)))
        values = flow.jacobian_log_singular_values(cell, params, _still(steps, n), lags.tolist())
        exact = np.repeat(lags[:, None] * np.log(s), n, axis=1)
        yield Score(f"ln sigma_i, k = 1, 100, 2000, s = {s}", exact, values, _tolerance(_qr(n) * lags[:, None], exact))
        exponents = flow.lyapunov_spectrum(cell, params, _still(200, n))
        exact = np.full(n, np.log(s))
        yield Score(f"exponents, s = {s}", exact, exponents, _tolerance(_qr(n), exact))


def _scaled_identity(seed: int) -> Iterator[Score]:
    """O1b: each lag gives s^(T-1) ||a|| ||h_0||, the sum T times as much."""
    del seed
    steps, a, start = 60, _held([1.0, -2.0, 0.5]), _held([0.3, 0.1, -0.7])
    for s in (0.9, 1.0, 1.05):
        cell, params = _linear(s * np.eye(3))
        state = cell.initial_state()._replace(h=jnp.asarray(start, float))
        shares, total = flow.parameter_log_norms(cell, params, _still(steps, 3), state, cotangent=jnp.asarray(a, float))
        one = np.full(steps, (steps - 1) * np.log(_held(s)) + np.log(np.linalg.norm(a) * np.linalg.norm(start)))
        quantity = f"ln ||dL/dU||, T = 60, s = {s}"
        yield Score(f"{quantity}, each lag", one, shares["recurrent_kernel"], _tolerance(steps, one))
        whole = one[0] + np.log(steps)
        yield Score(f"{quantity}, sum", whole, total["recurrent_kernel"], _tolerance(2 * steps, whole))


def _diagonal(seed: int) -> Iterator[Score]:
    """O2: one product a step and unit, for all others are with zero."""
    del seed
    a, cotangent, lags, steps = _held([0.99, 0.5, -0.8]), _held([1e-3, 2.0, 1.0]), np.arange(301), 300
    cell, params = _linear(np.diag(a))
    xs, direction = _still(steps, 3), jnp.asarray(cotangent, float)
    units = lags[:, None] * np.log(np.abs(a)) + np.log(np.abs(cotangent))
    exact = 0.5 * np.logaddexp.reduce(2 * units, axis=1)
    measured = flow.adjoint_log_norms(cell, params, xs, cotangent=direction)
    yield Score("ln A(k), k = 0..300", exact, measured, _tolerance(lags, exact))
    measured = flow.input_log_norms(cell, params, xs, cotangent=direction)
    yield Score("ln S(k), k = 0..299", exact[:-1], measured, _tolerance(lags[:-1], exact[:-1]))
    few = np.array([1, 10, 300])
    exact = few[:, None] * np.sort(np.log(np.abs(a)))[::-1]
    values = flow.jacobian_log_singular_values(cell, params, xs, few.tolist())
    yield Score("ln sigma_i, k = 1, 10, 300", exact, values, _tolerance(_qr(3) * few[:, None], exact))
    exact = np.sort(np.log(np.abs(a)))[::-1]
    exponents = flow.lyapunov_spectrum(cell, params, xs, warmup=100)
    yield Score("exponents", exact, exponents, _tolerance(_qr(3), exact))


def _scalar(seed: int) -> Iterator[Score]:
    """O3: states, gradients and their sum of positive terms lose one rounding a step each."""
    del seed
    for steps in (10, 200):
        constant = jnp.ones((steps, 1), float)
        impulse = jnp.zeros((steps, 1), float).at[0].set(1.0)
        for w in (0.9, 1.0, 1.1):
            cell, params = _linear(np.full((1, 1), w))
            held = float(_held(w))
            # The closed form of sum_k k w^(k-1) divides by (1 - w)^2; the sum itself holds for w = 1 too.
            exact = np.log(sum(k * held ** (k - 1) for k in range(1, steps)))
            found = flow.parameter_log_norms(cell, params, constant).total["recurrent_kernel"]
            yield Score(f"ln |dL/dw|, x = 1, w = {w}, T = {steps}", exact, found, _tolerance(3 * steps, exact))
            exact = np.log(steps - 1) + (steps - 2) * np.log(held)
            found = flow.parameter_log_norms(cell, params, impulse).total["recurrent_kernel"]
            yield Score(f"ln |dL/dw|, impulse, w = {w}, T = {steps}", exact, found, _tolerance(3 * steps, exact))


def _held_eigenvalues(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """A matrix with real eigenvalues of distinct sizes, not normal: itself, these sizes, its eigenbasis' condition."""
    n = 4
    basis = np.eye(n) + 0.2 * np.random.default_rng(seed).uniform(-1, 1, (n, n))
    matrix = _held(basis @ np.diag([0.95, -0.8, 0.6, 0.45]) @ np.linalg.inv(basis))
    return matrix, np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1], np.linalg.cond(basis)


def _elman(matrix: np.ndarray, seed: int) -> tuple[cells.Cell, dict[str, jax.Array]]:
    cell = cells.elman(len(matrix))
    params = cell.init(jax.random.key(seed), 2, float)
    return cell, {**params, "recurrent_kernel": jnp.asarray(matrix.T, float)[:, None]}


def _elman_at_rest(seed: int) -> Iterator[Score]:
    """O5: what the roundings of a QR step do to an eigenvalue, by Bauer and Fike times the eigenbasis' condition."""
    matrix, sizes, condition = _held_eigenvalues(seed)
    cell, params = _elman(matrix, seed)
    exponents = flow.lyapunov_spectrum(cell, params, _still(600, 2), warmup=300)
    tolerance = _tolerance(_qr(4) * condition * sizes[0] / sizes, np.log(sizes))
    yield Score("exponents = ln |eig U|", np.log(sizes), exponents, tolerance)


def _sum_rule(seed: int) -> Iterator[Score]:
    """O13: roundings of a QR step, for each of 4 exponents, change the determinant by the condition of the Jacobian."""
    cell, params = _elman(_orthogonal(4, seed), seed)
    xs = 0.5 * jax.random.normal(jax.random.key(seed), (600, 2), float)
    exponents = np.asarray(flow.lyapunov_spectrum(cell, params, xs, warmup=300), np.float64)
    slopes = 1 - np.asarray(recur.unroll(cell, params, xs).states.h[300:], np.float64) ** 2
    kernel = np.asarray(params["recurrent_kernel"][:, 0], np.float64)
    exact = np.linalg.slogdet(kernel)[1] + np.log(slopes).sum(axis=1).mean()
    condition = (slopes.max(axis=1) / slopes.min(axis=1)).mean()
    # 1 - h^2 of the states as the device has them loses two roundings of 1.
    roundings = 4 * _qr(4) * condition + (2 / slopes).sum(axis=1).mean()
    yield Score("sum of exponents = mean ln |det J_t|", exact, exponents.sum(), _tolerance(roundings, exact))


def _step_bound(seed: int) -> Iterator[Score]:
    """O8: no step back in time magnifies by more than s_max(U) max tanh'."""
    n, steps = 8, 100
    for gain in (1.0, 1.5):
        cell, params = _elman(gain * _orthogonal(n, seed), seed)
        xs = 0.5 * jax.random.normal(jax.random.key(seed), (steps, 2), float)
        logs = np.asarray(flow.adjoint_log_norms(cell, params, xs), np.float64)
        slopes = 1 - np.asarray(recur.unroll(cell, params, xs).states.h, np.float64)[::-1] ** 2
        kernel = np.asarray(params["recurrent_kernel"][:, 0], np.float64)
        bound = np.log(np.linalg.svd(kernel, compute_uv=False)[0]) + np.log(slopes.max(axis=1))
        tolerance = 2 * _tolerance(n + 1, np.abs(logs[1:])) + _eps() / slopes.max(axis=1)
        yield Score(f"ln A(k+1) / A(k), at most, U = {gain} Q", bound, np.diff(logs), tolerance, at_most=True)


def _nilpotent(seed: int) -> Iterator[Score]:
    """O9: spectral radius 0 before the tanh, yet J^2 = 2 J of rank 1: ``ln sigma_1 = ln 14.14 + (k - 1) ln 2``."""
    del seed
    cell, params = _linear(np.array([[8.0, 6.0], [-8.0, -6.0]]))
    lags = np.array([1, 2, 9, 30])
    exact = np.log(np.sqrt(200.0)) + (lags - 1) * np.log(2.0)
    values = flow.jacobian_log_singular_values(cell, params, _still(30, 2), lags.tolist())
    yield Score("ln sigma_1, k = 1, 2, 9, 30", exact, values[:, 0], _tolerance(_qr(2) * lags, exact))
    ratio, zero = np.asarray(values[:, 1] - values[:, 0]), np.full(4, np.log(_qr(2) * _eps() / 2))
    yield Score("ln sigma_2 / sigma_1, at most, k = 1, 2, 9, 30", zero, ratio, 0.0, at_most=True)
    exact = np.array([np.log(2.0), -np.inf])
    exponents = flow.lyapunov_spectrum(cell, params, _still(30, 2), warmup=5)
    yield Score("exponents", exact, exponents, _tolerance(_qr(2), exact))


def _rectified_identity(seed: int) -> Iterator[Score]:
    """O15: bit by bit."""
    cell = cells.elman(4, activation="relu", recurrent_init="identity", bias_init=0.01)
    logs = flow.adjoint_log_norms(cell, cell.init(jax.random.key(seed), 1, float), _still(500, 1))
    yield Score("ln A(k) = ln A(0), k = 1..500", np.full(500, logs[0]), logs[1:], 0.0)


def _gates_alone(units: int, biases: dict[str, Any]) -> tuple[cells.Cell, dict[str, jax.Array], dict[str, np.ndarray]]:
    """An LSTM without recurrent weights: cell, parameters, and its gates ``[H]`` in float64."""
    cell = cells.lstm(units)
    bias = jnp.stack([jnp.broadcast_to(jnp.asarray(biases[gate], float), units) for gate in "ifgo"])
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1, float))
    held = dict(zip("ifgo", _held(bias), strict=True))
    gates = {gate: np.tanh(b) if gate == "g" else 1 / (1 + np.exp(-b)) for gate, b in held.items()}
    return cell, {**params, "bias": bias}, gates


def _constant_gates(seed: int) -> Iterator[Score]:
    """O4: a step loses a sigmoid and a product; c = i g / (1 - f) takes three functions, one of them by 1 / (1 - f)."""
    del seed
    steps = 500
    lags = np.arange(1, steps + 1)
    for forget_bias in (1.0, np.log(0.95 / 0.05)):
        cell, params, gates = _gates_alone(4, {"i": 0.2, "f": forget_bias, "g": 0.05, "o": -0.1})
        logs = flow.adjoint_log_norms(cell, params, _still(steps, 1))
        f, c = gates["f"][0], gates["i"][0] * gates["g"][0] / (1 - gates["f"][0])
        through_c = gates["o"][0] * (1 - np.tanh(c * (1 - f**steps)) ** 2)
        exact = np.log(through_c) + lags * np.log(f)
        # ln (1 - tanh^2 c) turns an error of c into 2 tanh c of it, and one of tanh c into 2 / (1 - tanh^2 c).
        offset = 2 * c * 3 * FUNCTION / (1 - f) + 2 * FUNCTION * gates["o"][0] / through_c
        tolerance = _tolerance((FUNCTION + 1) * lags + offset, exact)
        yield Score(f"ln A(k), k = 1..500, f = {f:.4f}", exact, logs[1:], tolerance)
        summary = flow.summarize(logs)
        half_life = np.log(2.0) / -np.log(f)
        tolerance = _tolerance(FUNCTION + 1, np.log(f))
        yield Score(f"rate, f = {f:.4f}", np.log(f), summary.rate, tolerance)
        relative = tolerance / -np.log(f)
        yield Score(f"half-life, f = {f:.4f}", half_life, summary.half_life_steps, half_life * relative)
    # sigmoid(40) is 1 in float32 and float64; without a candidate c stays 0, and tanh' is 1.
    cell, params, gates = _gates_alone(4, {"i": 0.2, "f": 40.0, "g": 0.0, "o": -0.1})
    logs = flow.adjoint_log_norms(cell, params, _still(steps, 1))
    yield Score("ln A(k) = ln A(1), k = 2..500, b_f = 40", np.full(steps - 1, logs[1]), logs[2:], 0.0)
    yield Score("ln A(1), b_f = 40", np.log(gates["o"][0]), logs[1], _tolerance(FUNCTION, 0.0))


def _chrono(seed: int) -> Iterator[Score]:
    """O17: each unit forgets with a time constant of its own, 1 / (1 - f) = 1 + u in [2, T_max]."""
    units, longest, steps = 8, 784, 500
    drawn = cells.lstm(units, bias_init=cells.Chrono(longest)).init(jax.random.key(seed), 1, float)["bias"]
    open_gates = np.asarray(jax.nn.sigmoid(drawn[0]) + jax.nn.sigmoid(drawn[1]), np.float64)
    yield Score("i + f", np.ones(units), open_gates, _tolerance(2 * FUNCTION, 0.0))
    cell, params, gates = _gates_alone(units, dict(zip("ifgo", drawn, strict=True)))
    # A row of the batch for each unit, whose output alone is asked for.
    xs, one_unit = jnp.zeros((steps, units, 1), float), jnp.eye(units, dtype=float)
    rates = flow.summarize(flow.adjoint_log_norms(cell, params, xs, cotangent=one_unit)).rate
    exact = np.log(gates["f"])
    tolerance = _tolerance(FUNCTION + 1, exact)
    yield Score("rate of each unit = ln f", exact, rates, tolerance)
    times = 1 / -np.expm1(rates)
    yield Score("1 / (1 - f) in [2, 784]", np.clip(times, 2, longest), times, tolerance * times**2)


FORMS = (
    ("O1 scaled orthogonal", "elman_identity", _scaled_orthogonal),
    ("O1b scaled identity", "elman_identity", _scaled_identity),
    ("O2 diagonal", "elman_identity", _diagonal),
    ("O3 scalar", "elman_identity", _scalar),
    ("O4 constant gates", "lstm", _constant_gates),
    ("O5 tanh at rest", "elman", _elman_at_rest),
    ("O8 bound of a step", "elman", _step_bound),
    ("O9 counter-example", "elman_identity", _nilpotent),
    ("O13 sum rule", "elman", _sum_rule),
    ("O15 rectified identity", "elman_relu", _rectified_identity),
    ("O17 chrono", "lstm", _chrono),
)
"""Number and name of a closed form, the cell it is of, and its measurement."""
