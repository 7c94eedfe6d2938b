"""Closed forms of networks at zero state and zero input, and of matrices kept orthogonal; each yields its scores."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow
from recur.check import _rounding
from recur.check._scorecard import Score

UNITS = 4


def _gated(
    cell: cells.Cell, gate: str, matrix: np.ndarray, seed: int, **biases: float
) -> tuple[dict[str, jax.Array], dict[str, float]]:
    """Parameters with this matrix in one gate and these biases, and the sigmoids of those, as the dtype has them."""
    gates = cell.inits.gates
    params = cell.init(jax.random.key(seed), 1, float)
    kernel = params["recurrent_kernel"].at[:, gates.index(gate)].set(jnp.asarray(matrix.T, float))
    bias = jnp.stack([jnp.full(UNITS, biases.get(name, 0.0), float) for name in gates])
    sigmoids = {name: float(1 / (1 + np.exp(-_rounding.held(value)))) for name, value in biases.items()}
    return {**params, "recurrent_kernel": kernel, "bias": bias}, sigmoids


def _exponents(
    quantity: str, cell: cells.Cell, params: Any, eigenvalues: np.ndarray, condition: float
) -> tuple[Score, np.ndarray]:
    """The first exponents against ln |eigenvalues|, and the others, as measured."""
    sizes = np.sort(np.abs(eigenvalues))[::-1]
    measured = np.asarray(flow.lyapunov_spectrum(cell, params, _rounding.still(1200, 1), warmup=1000))
    # As O5: what a QR step's roundings do to an eigenvalue, by Bauer and Fike, here with the gates' own.
    roundings = (_rounding.qr_step(UNITS) + 3 * _rounding.FUNCTION) * condition * sizes[0] / sizes
    score = Score(quantity, np.log(sizes), measured[: len(sizes)], _rounding.tolerance(roundings, np.log(sizes)))
    return score, measured[len(sizes) :]


def gru_at_rest(seed: int, reset_after: bool = True) -> Iterator[Score]:
    """O6: J = z I + (1 - z) r U_n, whichever side the reset gate acts on."""
    matrix, values, condition = _rounding.held_eigenvalues(seed, (1.9, 0.9, -0.2, -1.2))
    cell = cells.gru(UNITS, reset_after=reset_after)
    for z, r in ((0.0, 0.0), (1.0, -0.5)):
        params, gate = _gated(cell, "n", matrix, seed, z=z, r=r)
        eigenvalues = gate["z"] + (1 - gate["z"]) * gate["r"] * values
        name = f"exponents = ln |z + (1 - z) r eig U|, b_z = {z:g}, b_r = {r:g}"
        yield _exponents(name, cell, params, eigenvalues, condition)[0]


def lstm_at_rest(seed: int) -> Iterator[Score]:
    """O7: eigenvalues f + i o eig(U_g), the carousel and the block of h, and as many zeros."""
    matrix, values, condition = _rounding.held_eigenvalues(seed, (1.9, 0.9, -0.2, -1.2))
    cell = cells.lstm(UNITS)
    for f, i in ((0.0, 0.0), (1.0, 0.5)):
        params, gate = _gated(cell, "g", matrix, seed, f=f, i=i, o=0.0)
        eigenvalues = gate["f"] + gate["i"] * gate["o"] * values
        name = f"exponents = ln |f + i o eig U|, b_f = {f:g}, b_i = {i:g}"
        # A step of the 2 N fields takes the directions from (h, c) to what both have of c: one product more.
        score, others = _exponents(name, cell, params, eigenvalues, 2 * condition)
        yield score
        yield Score(f"N exponents of -inf, b_f = {f:g}, b_i = {i:g}", np.full(UNITS, -np.inf), others, 0.0)


def antisymmetric_at_rest(seed: int) -> Iterator[Score]:
    """O14: the Jacobian is normal, so a gradient in one of its planes changes by one factor a step."""
    steps, w = 500, float(_rounding.held(1.5))
    lags = np.arange(steps + 1)
    for epsilon, gamma in ((0.01, 0.0), (0.01, 0.05), (0.5, 0.3)):
        cell = cells.antisymmetric(2, step_size=epsilon, diffusion=gamma)
        params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(seed), 1, float))
        params["recurrent_kernel"] = jnp.asarray([[0.0, w], [0.0, 0.0]], float)[:, None]
        exact = lags * 0.5 * np.log((1 - epsilon * gamma) ** 2 + (epsilon * w) ** 2)
        measured = flow.adjoint_log_norms(cell, params, _rounding.still(steps, 1))
        # Two entries of the Jacobian with three roundings each, their products and a sum.
        tolerance = _rounding.tolerance(9 * lags, exact)
        yield Score(f"ln A(k), k = 0..500, epsilon = {epsilon}, gamma = {gamma}", exact, measured, tolerance)


def orthogonal_matrices(seed: int) -> Iterator[Score]:
    """O20: n roundings for each of n eliminations, made larger by the condition of what is solved."""
    n, steps = 170, 500
    for parametrization in ("cayley", "exp"):
        cell = cells.orthogonal(n, parametrization=parametrization, activation="identity")
        params = cell.init(jax.random.key(seed), 1, float)
        q = np.asarray(cell.prepare(params).recurrent_kernel, np.float64)
        found = np.abs(q.T @ q - np.eye(n)).max()
        most = 1e-5 if _rounding.eps() > 1e-8 else 1e-12
        yield Score(f"max |Q^T Q - I|, n = 170, at most, {parametrization}", 0.0, found, most, at_most=True)
        measured = flow.adjoint_log_norms(cell, params, _rounding.still(steps, 1))
        # A product rounds each of n terms at random; what Q itself is off by is kept at every step.
        tolerance = _rounding.tolerance(n * np.arange(steps + 1), 0.0) + found * np.arange(steps + 1)
        yield Score(f"ln A(k) = 0, k = 0..500, {parametrization}", np.zeros(steps + 1), measured, tolerance)
