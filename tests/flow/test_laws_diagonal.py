"""Closed forms of cells whose units do not mix: min_gru, ind_rnn, lru."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur import cells, flow


@pytest.mark.parametrize("bias", [0.0, 1.5])
def test_min_gru_exponents_are_the_mean_logs_of_what_its_gate_keeps(bias, key):
    # O16: a gate on the input alone.
    cell = cells.min_gru(5, bias_init={"z": bias})
    params = cell.init(key, 3)
    xs = jax.random.normal(jax.random.key(1), (400, 3))
    z = jax.nn.sigmoid(xs @ params["kernel"][:, 0] + bias)
    expected = np.sort(np.log1p(-np.asarray(z, np.float64)).mean(0))[::-1]
    np.testing.assert_allclose(flow.lyapunov_spectrum(cell, params, xs, warmup=0), expected, atol=0.02)
    at_rest = flow.lyapunov_spectrum(cell, params, jnp.zeros((400, 3)))
    np.testing.assert_allclose(at_rest, -np.log1p(np.exp(bias)), atol=1e-5)  # -ln 2 for bias 0


def test_lru_exponents_come_twice_a_mode_and_its_output_remembers_nothing(key):
    # O2: a real state of h, which no step reads, and two numbers a mode.
    cell = cells.lru(2, state_size=4, r_min=0.4)
    params = cell.init(key, 1)
    logs = np.asarray(-np.exp(params["nu_log"]), np.float64)
    spectrum = np.asarray(flow.lyapunov_spectrum(cell, params, jnp.zeros((2000, 1)), warmup=200), np.float64)
    assert np.isneginf(spectrum[8:]).all()
    np.testing.assert_allclose(spectrum[:8], np.sort(np.repeat(logs, 2))[::-1], atol=2e-3)
    np.testing.assert_allclose(spectrum[:8].sum(), 2 * logs.sum(), rtol=1e-5)
    # Lag k scales a mode by |lambda|^k, so the gradient of long lags falls at the slowest mode's rate.
    adjoint = np.asarray(flow.adjoint_log_norms(cell, params, jnp.zeros((4000, 1))), np.float64)
    np.testing.assert_allclose((adjoint[4000] - adjoint[3000]) / 1000, logs.max(), rtol=1e-4)


@pytest.mark.parametrize(("r_min", "r_max"), [(0.9, 0.999), (0.3, 0.95)])
def test_lru_state_energy_under_white_noise(r_min, r_max, key):
    # O18: Lemma 2 and Proposition 3 of Orvieto et al. (2023); for (.9, .999) the factor is 24.2253.
    cell = cells.lru(1, state_size=4096, r_min=r_min, r_max=r_max)
    params = cell.init(key, 1)
    square = np.exp(-2 * np.exp(np.asarray(params["nu_log"], np.float64)))
    # 4096 draws: quartiles of the uniform law to four standard errors.
    uniform = (square - r_min**2) / (r_max**2 - r_min**2)
    np.testing.assert_allclose(np.quantile(uniform, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.031)
    expected = np.log((1 - r_min**2) / (1 - r_max**2)) / (r_max**2 - r_min**2)
    if r_max == 0.999:
        assert expected == pytest.approx(24.2253, abs=1e-4)
    noise = jax.random.normal(jax.random.key(2), (6000, 2, 1))
    without = {**params, "gamma_log": jnp.zeros_like(params["gamma_log"])}
    kernel = np.square(np.asarray(params["kernel"], np.float64)).sum()

    def energy(params):
        x = recur.unroll(cell, params, noise).states.x[3000:]
        return float(jnp.mean(jnp.sum(jnp.square(x), axis=(-1, -2)))) / kernel

    assert energy(without) == pytest.approx(expected, rel=0.12)
    assert energy(params) == pytest.approx(1.0, rel=0.05)


def test_ind_rnn_keeps_the_gradient_of_a_unit_that_stays_positive(key):
    cell = cells.ind_rnn(3, recurrent_init=cells.Constant(0.99), bias_init=1.0)
    params = cell.init(key, 1)
    adjoint = flow.adjoint_log_norms(cell, params, jnp.zeros((1000, 1)))
    np.testing.assert_allclose(adjoint[1000], 1000 * np.log(0.99), rtol=1e-5)
