"""Closed forms of linear networks ``h_t = M h_{t-1} + x_t``; each yields its scores for a seed."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow
from recur.check import _rounding
from recur.check._scorecard import Score


def _linear(matrix: np.ndarray) -> tuple[cells.Cell, dict[str, jax.Array]]:
    """``h_t = M h_{t-1} + x_t``."""
    n = len(matrix)
    kernels = {"kernel": jnp.eye(n, dtype=float)[:, None], "recurrent_kernel": jnp.asarray(matrix.T, float)[:, None]}
    return cells.elman(n, activation="identity"), {**kernels, "bias": jnp.zeros((1, n), float)}


def scaled_orthogonal(seed: int) -> Iterator[Score]:
    """O1: n products are added up at every step, and the kernel itself is rounded."""
    n, steps, lags = 8, 2000, np.array([1, 100, 2000])
    for s in (0.9, 1.1):
        cell, params = _linear(s * _rounding.orthogonal(n, seed))
        by_lag = np.arange(steps + 1) * np.log(s)
        measured = flow.adjoint_log_norms(cell, params, _rounding.still(steps, n))
        yield Score(
            f"ln A(k), k = 0..2000, s = {s}", by_lag, measured, _rounding.tolerance((n + 1) * np.arange(2001), by_lag)
        )
        rate = flow.summarize(measured).rate
        yield Score(f"rate, s = {s}", np.log(s), rate, _rounding.tolerance(n + 1, np.log(s)))
        values = flow.jacobian_log_singular_values(cell, params, _rounding.still(steps, n), lags.tolist())
        exact = np.repeat(lags[:, None] * np.log(s), n, axis=1)
        yield Score(
            f"ln sigma_i, k = 1, 100, 2000, s = {s}",
            exact,
            values,
            _rounding.tolerance(_rounding.qr_step(n) * lags[:, None], exact),
        )
        exponents = flow.lyapunov_spectrum(cell, params, _rounding.still(200, n))
        exact = np.full(n, np.log(s))
        yield Score(f"exponents, s = {s}", exact, exponents, _rounding.tolerance(_rounding.qr_step(n), exact))


def scaled_identity(seed: int) -> Iterator[Score]:
    """O1b: each lag gives s^(T-1) ||a|| ||h_0||, the sum T times as much."""
    del seed
    steps, a, start = 60, _rounding.held([1.0, -2.0, 0.5]), _rounding.held([0.3, 0.1, -0.7])
    for s in (0.9, 1.0, 1.05):
        cell, params = _linear(s * np.eye(3))
        state = cell.initial_state()._replace(h=jnp.asarray(start, float))
        shares, total = flow.parameter_log_norms(
            cell, params, _rounding.still(steps, 3), state, cotangent=jnp.asarray(a, float)
        )
        one = np.full(
            steps, (steps - 1) * np.log(_rounding.held(s)) + np.log(np.linalg.norm(a) * np.linalg.norm(start))
        )
        quantity = f"ln ||dL/dU||, T = 60, s = {s}"
        yield Score(f"{quantity}, each lag", one, shares["recurrent_kernel"], _rounding.tolerance(steps, one))
        whole = one[0] + np.log(steps)
        yield Score(f"{quantity}, sum", whole, total["recurrent_kernel"], _rounding.tolerance(2 * steps, whole))


def diagonal(seed: int) -> Iterator[Score]:
    """O2: one product a step and unit, for all others are with zero."""
    del seed
    a, cotangent, lags, steps = _rounding.held([0.99, 0.5, -0.8]), _rounding.held([1e-3, 2.0, 1.0]), np.arange(301), 300
    cell, params = _linear(np.diag(a))
    xs, direction = _rounding.still(steps, 3), jnp.asarray(cotangent, float)
    units = lags[:, None] * np.log(np.abs(a)) + np.log(np.abs(cotangent))
    exact = 0.5 * np.logaddexp.reduce(2 * units, axis=1)
    measured = flow.adjoint_log_norms(cell, params, xs, cotangent=direction)
    yield Score("ln A(k), k = 0..300", exact, measured, _rounding.tolerance(lags, exact))
    measured = flow.input_log_norms(cell, params, xs, cotangent=direction)
    yield Score("ln S(k), k = 0..299", exact[:-1], measured, _rounding.tolerance(lags[:-1], exact[:-1]))
    few = np.array([1, 10, 300])
    exact = few[:, None] * np.sort(np.log(np.abs(a)))[::-1]
    values = flow.jacobian_log_singular_values(cell, params, xs, few.tolist())
    yield Score(
        "ln sigma_i, k = 1, 10, 300", exact, values, _rounding.tolerance(_rounding.qr_step(3) * few[:, None], exact)
    )
    exact = np.sort(np.log(np.abs(a)))[::-1]
    exponents = flow.lyapunov_spectrum(cell, params, xs, warmup=100)
    yield Score("exponents", exact, exponents, _rounding.tolerance(_rounding.qr_step(3), exact))


def scalar(seed: int) -> Iterator[Score]:
    """O3: states, gradients and their sum of positive terms lose one rounding a step each."""
    del seed
    for steps in (10, 200):
        constant = jnp.ones((steps, 1), float)
        impulse = jnp.zeros((steps, 1), float).at[0].set(1.0)
        for w in (0.9, 1.0, 1.1):
            cell, params = _linear(np.full((1, 1), w))
            held = float(_rounding.held(w))
            # The closed form of sum_k k w^(k-1) divides by (1 - w)^2; the sum itself holds for w = 1 too.
            exact = np.log(sum(k * held ** (k - 1) for k in range(1, steps)))
            found = flow.parameter_log_norms(cell, params, constant).total["recurrent_kernel"]
            yield Score(f"ln |dL/dw|, x = 1, w = {w}, T = {steps}", exact, found, _rounding.tolerance(3 * steps, exact))
            exact = np.log(steps - 1) + (steps - 2) * np.log(held)
            found = flow.parameter_log_norms(cell, params, impulse).total["recurrent_kernel"]
            yield Score(
                f"ln |dL/dw|, impulse, w = {w}, T = {steps}", exact, found, _rounding.tolerance(3 * steps, exact)
            )


def nilpotent(seed: int) -> Iterator[Score]:
    """O9: a Jacobian of a tanh network whose U has spectral radius 0. J^2 = 2 J, of rank 1 and norm sqrt(200)."""
    del seed
    cell, params = _linear(np.array([[8.0, 6.0], [-8.0, -6.0]]))
    lags = np.array([1, 2, 9, 30])
    exact = np.log(np.sqrt(200.0)) + (lags - 1) * np.log(2.0)
    values = flow.jacobian_log_singular_values(cell, params, _rounding.still(30, 2), lags.tolist())
    yield Score(
        "ln sigma_1, k = 1, 2, 9, 30", exact, values[:, 0], _rounding.tolerance(_rounding.qr_step(2) * lags, exact)
    )
    zero = np.full(4, np.log(_rounding.qr_step(2) * _rounding.eps() / 2))
    ratio = values[:, 1] - values[:, 0]
    yield Score("ln sigma_2 / sigma_1, at most, k = 1, 2, 9, 30", zero, ratio, 0.0, at_most=True)
    exact = np.array([np.log(2.0), -np.inf])
    exponents = flow.lyapunov_spectrum(cell, params, _rounding.still(30, 2), warmup=5)
    yield Score("exponents", exact, exponents, _rounding.tolerance(_rounding.qr_step(2), exact))
