"""Closed forms of gated networks at rest (O6, O7) and of chrono initialisation (O17), at several parameter values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import random_params

from recur import cells, flow

N = 5


def sigmoid(b):
    return 1 / (1 + np.exp(-np.asarray(b, np.float64)))


@functools.cache
def compiled_jacobian(cell, dtype):
    leaves, structure = jax.tree.flatten(cell.initial_state((), dtype))

    def step(flat, params):
        state = jax.tree.unflatten(structure, jnp.split(flat, len(leaves)))
        return jnp.concatenate(jax.tree.leaves(cell.step(params, state, jnp.zeros(1, dtype))[0]))

    return functools.partial(jax.jit(jax.jacobian(step)), jnp.concatenate(leaves))


def jacobian(cell, params):
    """ds_t/ds_{t-1} of the whole state at zero state and zero input: ``[n, n]``, by autodiff."""
    return np.asarray(compiled_jacobian(cell, jnp.float64)(params))


def real_eigenvalues(seed):
    """A matrix that is not normal, with real eigenvalues that stay apart: their exponents are told to rounding."""
    basis = np.eye(N) + 0.3 * np.random.default_rng(seed).uniform(-1, 1, (N, N))
    values = np.array([1.3, 0.6, -0.1, -1.1, -1.9])
    return basis @ np.diag(values) @ np.linalg.inv(basis), values


def at_rest(cell, gate, matrix, dtype=np.float64, **biases):
    """Parameters with this matrix (column convention) in one gate and the biases named; all other kernels random."""
    params, gates = random_params(cell, 1, 0, dtype), cell.inits.gates
    params["recurrent_kernel"][:, gates.index(gate)] = np.asarray(matrix).T
    params["bias"][:] = [np.broadcast_to(biases.get(name, 0.0), cell.hidden_size) for name in gates]
    if "recurrent_bias" in params:
        params["recurrent_bias"][:] = 0
    return params


def exponents(cell, params):
    return np.asarray(flow.lyapunov_spectrum(cell, params, jnp.zeros((2100, 1)), warmup=2000))


def falling(values):
    return np.sort(np.log(np.abs(values)))[::-1]


def same_numbers(found, expected, atol):
    """Compares complex numbers in any order: those nearest to each other, each once."""
    left = list(found)
    for value in expected:
        nearest = min(range(len(left)), key=lambda index: abs(left[index] - value))  # noqa: B023
        assert abs(left.pop(nearest) - value) < atol
    assert not left


@pytest.fixture(scope="module", params=[True, False], ids=["reset_after", "reset_before"])
def gru(request):
    return cells.gru(N, reset_after=request.param)


GATES = [(0.0, 0.0), (1.0, -1.0), (-2.0, 0.5), (3.0, 2.0)]


def test_gru_at_rest(gru, x64):
    """O6: J = z I + (1 - z) r U_n, whichever side the reset acts on, so exponents are ln |z + (1 - z) r eig(U_n)|."""
    for seed, (b_z, b_r) in enumerate(GATES):
        matrix, values = real_eigenvalues(seed)
        params = at_rest(gru, "n", matrix, z=b_z, r=b_r)
        z, r = sigmoid(b_z), sigmoid(b_r)
        np.testing.assert_allclose(jacobian(gru, params), z * np.eye(N) + (1 - z) * r * matrix, atol=1e-14)
        np.testing.assert_allclose(exponents(gru, params), falling(z + (1 - z) * r * values), atol=1e-10)


def test_gru_at_rest_with_gates_of_their_own(gru, x64):
    """Units reset after the product scale its rows, units reset before it its columns."""
    matrix, _ = real_eigenvalues(0)
    b_z, b_r = np.random.default_rng(1).normal(size=(2, N))
    z, r = np.diag(sigmoid(b_z)), np.diag(sigmoid(b_r))
    share = r @ matrix if isinstance(gru, cells.PointwiseCell) else matrix @ r
    params = at_rest(gru, "n", matrix, z=b_z, r=b_r)
    np.testing.assert_allclose(jacobian(gru, params), z + (np.eye(N) - z) @ share, atol=1e-14)


def test_gru_at_rest_magnifies_no_gradient_beyond_the_bound(gru, x64):
    """O6: at z = r = 1/2, ||J|| <= 1/2 + s_max(U_n)/4, with equality for U_n = s I: below 1 exactly if s < 2."""

    def log_norms(matrix):
        return np.asarray(flow.adjoint_log_norms(gru, at_rest(gru, "n", matrix), jnp.zeros((400, 1))))

    for s, rate in [(0.0, np.log(0.5)), (1.0, np.log(0.75)), (2.0, 0.0), (2.4, np.log(1.1))]:
        np.testing.assert_allclose(log_norms(s * np.eye(N)), rate * np.arange(401), atol=1e-12)
    for seed, gain in enumerate((0.5, 1.9, 3.0)):
        matrix = gain * np.random.default_rng(seed).normal(size=(N, N)) / np.sqrt(N)
        assert np.diff(log_norms(matrix)).max() <= np.log(0.5 + np.linalg.norm(matrix, 2) / 4) + 1e-12


def test_gru_edge_of_gaussian_kernels(x64):
    """O6: eigenvalues of a Gaussian U_n fill a disc of radius g; moved to 1/2 and shrunk to g/4 it meets 1 at g = 2.

    The radius at N = 256 is 1.05 +- 0.02 of g by sampling; the rightmost eigenvalue may lie a little aside.
    """
    cell = cells.gru(256)
    for gain in (1.6, 2.0, 2.5):
        matrix = gain / 16 * np.random.default_rng(0).normal(size=(256, 256))
        values = np.linalg.eigvals(jacobian(cell, at_rest(cell, "n", matrix)))
        assert np.abs(values).max() == pytest.approx(0.5 + gain / 4, abs=0.1 * gain / 4)
        assert np.abs(values - 0.5).max() == pytest.approx(1.05 * gain / 4, abs=0.06 * gain / 4)
        if gain != 2.0:
            assert (np.abs(values).max() > 1) == (gain > 2)


@pytest.mark.parametrize("b_f", [-1.0, 0.0, 1.0, 3.0])
def test_lstm_at_rest(b_f, x64):
    """O7: eigenvalues f + i o eig(U_g) and N zeros, so N exponents of -inf; the block of h alone misses the f."""
    cell = cells.lstm(N)
    for seed, (b_i, b_o) in enumerate([(0.0, 0.0), (1.0, -0.5)]):
        f, share = sigmoid(b_f), sigmoid(b_i) * sigmoid(b_o)
        # A rotation too: complex pairs.
        matrix = 1.1 * np.linalg.qr(np.random.default_rng(seed).normal(size=(N, N)))[0]
        whole = jacobian(cell, at_rest(cell, "g", matrix, f=b_f, i=b_i, o=b_o))
        expected = f + share * np.linalg.eigvals(matrix)
        same_numbers(np.linalg.eigvals(whole), [*expected, *np.zeros(N)], atol=1e-12)
        same_numbers(np.linalg.eigvals(whole[:N, :N]), expected - f, atol=1e-12)

        matrix, values = real_eigenvalues(seed)
        params = at_rest(cell, "g", matrix, f=b_f, i=b_i, o=b_o)
        measured = exponents(cell, params)
        np.testing.assert_allclose(measured[:N], falling(f + share * values), atol=1e-10)
        assert (measured[N:] == -np.inf).all()
        # What the lag curve shows is the carousel too: f + share * 1.3, not share * 1.9, the radius of h alone.
        curve = flow.adjoint_log_norms(cell, params, jnp.zeros((2000, 1)))
        assert float(curve[2000] - curve[1900]) / 100 == pytest.approx(falling(f + share * values)[0], abs=1e-9)


def test_lstm_at_rest_in_float32():
    """O7: what is zero comes out as a few roundings, the same at every step, and must not be taken for a number."""
    units, f, share = 12, sigmoid(1.0), sigmoid(0.5) / 2
    cell, values = cells.lstm(units), np.linspace(-1.9, 1.7, units)
    for seed in range(6):
        basis = np.eye(units) + 0.3 * np.random.default_rng(seed).uniform(-1, 1, (units, units))
        matrix = basis @ np.diag(values) @ np.linalg.inv(basis)
        measured = exponents(cell, at_rest(cell, "g", matrix, np.float32, f=1.0, i=0.5))
        # 24^2 roundings of a QR step, times how far the eigenvectors are from orthogonal.
        off = 24**2 * 6e-8 * np.linalg.cond(basis)
        np.testing.assert_allclose(measured[:units], falling(f + share * values), atol=off)
        assert (measured[units:] == -np.inf).all()


@pytest.mark.parametrize("max_steps", [10.0, 784.0, 10_000.0])
def test_chrono_biases(max_steps, x64):
    """O17: f = u / (1 + u), i + f = 1, forgetting time 1 / (1 - f) = 1 + u, uniform on [2, Tmax]: mean 1 + Tmax / 2."""
    units = 100_000
    b_i, b_f = cells.Chrono(max_steps).biases(jax.random.key(0), ("i", "f"), "f", "i", units, jnp.float64)
    f, i = sigmoid(b_f), sigmoid(b_i)
    np.testing.assert_allclose(i + f, 1.0, atol=1e-15)
    u = np.exp(b_f)
    np.testing.assert_allclose(f, u / (1 + u), rtol=1e-14)
    times = 1 / (1 - f)
    np.testing.assert_allclose(times, 1 + u, rtol=1e-10)
    assert 2 <= times.min() < 2 + 1e-3 * max_steps
    assert (1 - 1e-3) * max_steps < times.max() <= max_steps * (1 + 1e-12)
    # Four standard errors of the mean of a uniform variable; Tmax = 784 has 393.
    assert times.mean() == pytest.approx(1 + max_steps / 2, abs=4 * (max_steps - 2) / np.sqrt(12 * units))


def test_chrono_units_forget_as_drawn():
    """The lag curve of each unit alone, without recurrent weights, falls by f a step."""
    units, steps = 6, 300
    cell = cells.lstm(units)
    xs, one_unit = jnp.zeros((steps, units, 1)), jnp.eye(units)
    for max_steps in (10.0, 784.0):
        biases = cells.Chrono(max_steps).biases(jax.random.key(1), cell.inits.gates, "f", "i", units)
        params = {**random_params(cell, 1, 0), "recurrent_kernel": np.zeros((units, 4, units), np.float32)}
        curves = flow.adjoint_log_norms(cell, {**params, "bias": biases}, xs, cotangent=one_unit)
        # The device's sigmoid may err by 4 ulp of a number below 1.
        np.testing.assert_allclose(flow.summarize(curves).rate, np.log(sigmoid(biases[1])), atol=4 * 6e-8, rtol=1e-6)
