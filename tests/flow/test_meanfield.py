"""Theory of random networks against printed tables, other quadratures, and measured spectra."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur import cells, flow
from recur.cells import Cell

# Discrete-time tanh network, trapezoid rule on a fine grid: g, q, lambda_1.
TABLE = [
    (1.05, 0.05325, 0.00144),
    (1.1, 0.11275, 0.00507),
    (1.25, 0.32646, 0.02353),
    (1.5, 0.79335, 0.06522),
    (2.0, 2.12147, 0.15472),
    (3.0, 6.30539, 0.31025),
    (4.0, 12.5006, 0.43288),
    (5.0, 20.6994, 0.53243),
    (10.0, 91.7051, 0.85644),
]


def gaussian_mean(function, width):
    """A brute-force average over z, independent of the width."""
    z = np.linspace(-12.0, 12.0, 400_001)
    return float(np.exp(-0.5 * z**2) @ function(width * z)) * (24.0 / 400_000) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize(("gain", "variance", "exponent"), TABLE)
def test_printed_table(gain, variance, exponent):
    """O12, to the last digit printed: six significant ones of q, at most five decimals."""
    found = flow.mean_field_tanh(gain)
    assert found.variance == pytest.approx(variance, abs=0.51 * 10.0 ** -min(5, 5 - math.floor(math.log10(variance))))
    assert found.exponent == pytest.approx(exponent, abs=0.51e-5)


@pytest.mark.parametrize("gain", [1.0001, 1.02, 1.3, 1.6, 7.0, 40.0])
def test_solution_satisfies_the_equations(gain):
    """By another quadrature, at gains between and beyond the table's; both sides of the switch of forms at q = 1."""
    q, exponent = flow.mean_field_tanh(gain)
    assert q == pytest.approx(gain**2 * gaussian_mean(lambda y: np.tanh(y) ** 2, math.sqrt(q)), rel=1e-11)
    sech4 = gaussian_mean(lambda y: np.cosh(y) ** -4.0, math.sqrt(q))
    assert exponent == pytest.approx(0.5 * math.log(gain**2 * sech4), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("gain", [1e-3, 0.5, 1.0])
def test_networks_at_rest(gain):
    assert flow.mean_field_tanh(gain) == (0.0, math.log(gain))


def test_large_gains_have_a_closed_limit():
    """tanh becomes a sign: q = g^2, and E[sech^4] = (4/3) / sqrt(2 pi q)."""
    gain = 1e6
    q, exponent = flow.mean_field_tanh(gain)
    assert q == pytest.approx(gain**2, rel=1e-5)
    assert exponent == pytest.approx(0.5 * math.log(gain * 4 / 3 / math.sqrt(2 * math.pi)), rel=1e-6)


def test_onset_is_continuous():
    """Near g = 1: q = g - 1 to first order, lambda_1 = (g - 1)^2 / 2 times a constant; both go to 0."""
    for excess in (1e-3, 1e-4):
        q, exponent = flow.mean_field_tanh(1 + excess)
        assert q == pytest.approx(excess, rel=5 * excess)
        assert 0 < exponent < excess**2


@pytest.mark.parametrize("gain", [0.5, 0.95, 1.1, 2.0, 5.0])
def test_memory_depth_is_the_rate_at_which_correlations_settle(gain):
    """The correlation map itself, iterated by a product rule of quadrature in two dimensions."""
    q = flow.mean_field_tanh(gain).variance
    if q == 0:
        # Small states are linear: their distance shrinks as g^2 in the square.
        assert flow.memory_depth_steps(gain) == pytest.approx(-1 / (2 * math.log(gain)), rel=1e-12)
        return
    z = np.linspace(-9.0, 9.0, 1201)
    weights = np.exp(-0.5 * z**2) * 0.015 / math.sqrt(2 * math.pi)
    first = np.tanh(math.sqrt(q) * z)

    def next_correlation(c):
        second = np.tanh(math.sqrt(q) * (c * z[:, None] + math.sqrt(1 - c**2) * z))
        return gain**2 / q * float((weights * first) @ second @ weights)

    small = 1e-3
    assert flow.memory_depth_steps(gain) == pytest.approx(-1 / math.log(next_correlation(small) / small), rel=1e-4)
    assert next_correlation(0.9) < 0.9  # states that start alike part


def test_memory_depth_diverges_at_the_edge():
    assert flow.memory_depth_steps(1.0) == math.inf
    assert flow.memory_depth_steps(0.999) > 400
    assert flow.memory_depth_steps(1.001) > 400


def test_newman_table():
    """O10, to the digits printed."""
    exponents = flow.newman_exponents(16)
    np.testing.assert_allclose(exponents[[0, 1, 15]], [-0.03190, -0.06634, -2.02148], atol=0.51e-5)
    assert exponents.sum() == pytest.approx(-8.76350, abs=0.51e-5)
    np.testing.assert_allclose(flow.newman_exponents(64)[[0, 63]], [-0.00785, -2.71462], atol=0.51e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50])
def test_newman_exponents_follow_the_formula(n):
    """With JAX's digamma."""
    with jax.enable_x64(True):
        psi = np.asarray(jax.scipy.special.digamma((n - jnp.arange(1.0, n + 1) + 1) / 2))
    exact = math.log(1.7) + 0.5 * (math.log(2 / n) + psi)
    np.testing.assert_allclose(flow.newman_exponents(n, 1.7), exact, rtol=1e-10, atol=1e-12)


@dataclasses.dataclass(frozen=True)
class Product(Cell):
    """``h_t = J_t h_{t-1}``, the matrix handed in as the input ``[n * n]``."""

    n: int

    def init(self, key, input_size, dtype=jnp.float32):
        return {}

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return cells.state_type("h")(h=jnp.zeros((*batch_shape, self.n), dtype))

    def step(self, params, state, x):
        h = jnp.einsum("...ij,...j->...i", x.reshape(*x.shape[:-1], self.n, self.n), state.h)
        return state._replace(h=h), h


@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_measured_products_of_gaussian_matrices(scale):
    """O10 through `lyapunov_spectrum`. ln R_ii is half the logarithm of an independent chi-square number, whose
    variance psi'((n-i+1)/2) / 4 gives the band."""
    n, steps, batch = 16, 3000, 2
    matrices = scale / math.sqrt(n) * jax.random.normal(jax.random.key(0), (steps, batch, n * n))
    measured = np.asarray(flow.lyapunov_spectrum(Product(n), {}, matrices, warmup=50)).mean(axis=1)
    # psi'(x) = sum_k 1 / (x + k)^2
    variance = np.square(1 / (np.arange(n, 0, -1)[:, None] / 2 + np.arange(100_000.0))).sum(axis=1) / 4
    band = 4 * np.sqrt(variance / (batch * (steps - 50)))
    assert (np.abs(measured - flow.newman_exponents(n, scale)) < band).all()
    assert band[0] < 0.01
    assert band[-1] < 0.06


@pytest.mark.parametrize(("gain", "measured_before"), [(2.0, 0.147), (3.0, 0.301)])
def test_measured_chaos_of_256_units(gain, measured_before):
    """O12: six seeds of 256 units over 3000 steps gave 0.147 and 0.301, each +/- 0.002, below the wide limit."""
    cell = cells.elman(256, recurrent_init=cells.Gaussian(gain))

    @jax.vmap
    def exponent(key):
        keys = jax.random.split(key)
        state = cell.initial_state()._replace(h=jax.random.normal(keys[1], (256,)))
        return flow.lyapunov_spectrum(cell, cell.init(keys[0], 1), jnp.zeros((1500, 1)), state, k=1, warmup=300)[0]

    measured = np.asarray(exponent(jax.random.split(jax.random.key(0), 2)))
    np.testing.assert_allclose(measured, measured_before, atol=0.006)
    assert measured.mean() == pytest.approx(measured_before, abs=0.004)
    assert measured.mean() < flow.mean_field_tanh(gain).exponent


def test_subcritical_spectrum_fills_the_disc():
    """O11: eigenvalues uniform in a disc of radius g, so that a fraction e^(2 lambda) / g^2 of exponents is below."""
    gain, n = 0.8, 128
    cell = cells.elman(n, activation="identity", recurrent_init=cells.Gaussian(gain))
    params = cell.init(jax.random.key(1), 1)
    spectrum = np.asarray(flow.lyapunov_spectrum(cell, params, jnp.zeros((300, 1)), warmup=150))
    for radius in (0.5, 0.8):
        assert np.mean(spectrum < math.log(radius * gain)) == pytest.approx(radius**2, abs=0.05)
    # The largest modulus lies above g at finite size: 1.06 +/- 0.04 of it for 128 units.
    assert 0.94 < math.exp(spectrum[0]) / gain < 1.18


@pytest.mark.parametrize("gain", [0.0, -1.0, math.inf, math.nan])
def test_bad_gains_are_named(gain):
    for solve in (flow.mean_field_tanh, flow.memory_depth_steps):
        with pytest.raises(
            ValueError, match="gain: expected a positive number below 1e.150, whose square is finite, got"
        ):
            solve(gain)
    with pytest.raises(ValueError, match="scale: expected a positive number below 1e.150, whose square is finite, got"):
        flow.newman_exponents(4, gain)


def test_bad_types_are_named():
    with pytest.raises(TypeError, match="gain: expected a number, got 'big'"):
        flow.mean_field_tanh("big")
    with pytest.raises(ValueError, match="n: expected a whole number >= 1, got 0"):
        flow.newman_exponents(0)
