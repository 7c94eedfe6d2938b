"""Gradients by lag against closed forms, autodiff in float64, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import one_of_each_kind

import recur
from recur import cells, flow
from recur.cells import CELLS

H, X = 5, 3
LN = np.log


def linear(matrix, dtype=jnp.float32):
    """An identity-activation network whose state goes as h_t = M h_{t-1} (column convention) + x."""
    matrix = np.asarray(matrix)
    n = len(matrix)
    cell = cells.elman(n, activation="identity")
    params = {
        "kernel": jnp.eye(n, dtype=dtype)[:, None, :],
        "recurrent_kernel": jnp.asarray(matrix.T, dtype)[:, None, :],
        "bias": jnp.zeros((1, n), dtype),
    }
    return cell, params


def orthogonal(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


@pytest.fixture(params=one_of_each_kind(sorted(CELLS)))
def case(request):
    """A cell with non-zero biases on an input that differs between batch rows: (cell, params, xs [12, 2, X])."""
    cell = CELLS[request.param](H)
    keys = jax.random.split(jax.random.key(1), 3)
    params = jax.tree.map(
        lambda leaf, k: leaf + 0.3 * jax.random.normal(k, leaf.shape, leaf.dtype),
        cell.init(keys[0], X),
        dict(zip(cell.init(keys[0], X), jax.random.split(keys[1], 8), strict=False)),
    )
    return cell, params, jax.random.normal(keys[2], (12, 2, X))


def loss(cell, cotangent):
    return lambda params, xs, state: jnp.vdot(recur.unroll(cell, params, xs, state).outputs[-1], cotangent)


@pytest.mark.parametrize("s", [0.5, 0.9, 1.0, 1.1])
def test_scaled_orthogonal_matrix_at_lag_20000(s):
    """O1: ||delta_{T-k}|| = s^k, in float32, where s^k itself is far outside its range."""
    steps = 20_000
    cell, params = linear(s * orthogonal(8))
    log_norms = np.asarray(flow.adjoint_log_norms(cell, params, jnp.zeros((steps, 8))), np.float64)
    # The kernel is rounded to float32: half a unit in the last place for each step is all that may be lost.
    np.testing.assert_allclose(log_norms, np.arange(steps + 1) * LN(s), atol=6e-8 * steps, rtol=2e-7)


def test_scaled_orthogonal_matrix_in_float64(x64):
    cell, params = linear(1.1 * orthogonal(8), jnp.float64)
    log_norms = flow.adjoint_log_norms(cell, params, jnp.zeros((2000, 8), jnp.float64))
    assert log_norms.dtype == jnp.float64
    assert float(log_norms[2000] / LN(10.0)) == pytest.approx(82.7854, abs=5e-5)  # printed for O1
    np.testing.assert_allclose(log_norms, np.arange(2001) * LN(1.1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("s", [0.9, 1.0, 1.05])
def test_every_lag_contributes_alike_for_a_scaled_identity(s):
    """O1b: ||dL/dU||_F = T s^(T-1) ||a|| ||h_0||, and each lag gives 1/T of it."""
    steps, a, h0 = 60, np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.1, -0.7])
    cell, params = linear(s * np.eye(3))
    state = cell.initial_state()._replace(h=jnp.asarray(h0, jnp.float32))
    shares, total = flow.parameter_log_norms(
        cell, params, jnp.zeros((steps, 3)), state, cotangent=jnp.asarray(a, jnp.float32)
    )
    one = (steps - 1) * LN(s) + LN(np.linalg.norm(a) * np.linalg.norm(h0))
    np.testing.assert_allclose(shares["recurrent_kernel"], np.full(steps, one), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(total["recurrent_kernel"], one + LN(steps), rtol=1e-5, atol=1e-5)


def test_diagonal_matrix():
    """O2: dL/dh_{T-k} = a_i^k cotangent_i unit by unit."""
    a, cotangent, lags = np.array([0.99, 0.5, -0.8]), np.array([1e-3, 2.0, 1.0]), np.arange(301)
    cell, params = linear(np.diag(a))
    log_norms = flow.adjoint_log_norms(cell, params, jnp.zeros((300, 3)), cotangent=jnp.asarray(cotangent, jnp.float32))
    exact = 0.5 * np.logaddexp.reduce(2 * (lags[:, None] * LN(np.abs(a)) + LN(np.abs(cotangent))), axis=1)
    np.testing.assert_allclose(log_norms, exact, atol=3e-5)
    by_input = flow.input_log_norms(cell, params, jnp.zeros((300, 3)), cotangent=jnp.asarray(cotangent, jnp.float32))
    np.testing.assert_allclose(by_input, exact[:-1], atol=3e-5)  # the input enters with weight one


@pytest.mark.parametrize(("w", "steps", "printed"), [(0.9, 10, 26.3901), (0.9, 50, 96.6214), (0.9, 200, 100.0)])
def test_parameter_gradient_of_a_scalar_with_constant_input(w, steps, printed, x64):
    """O3: dL/dw = [1 - T w^(T-1) + (T-1) w^T] / (1-w)^2, which saturates while the lag curve vanishes."""
    cell, params = linear([[w]], jnp.float64)
    xs = jnp.ones((steps, 1), jnp.float64)
    shares, total = flow.parameter_log_norms(cell, params, xs)
    exact = (1 - steps * w ** (steps - 1) + (steps - 1) * w**steps) / (1 - w) ** 2
    assert float(jnp.exp(total["recurrent_kernel"])) == pytest.approx(exact, rel=1e-12)
    assert exact == pytest.approx(printed, abs=5e-5)
    # Lag k: w^k h_{T-k-1}, h_t = (1 - w^t) / (1 - w); the first step meets h_0 = 0.
    lags = np.arange(steps - 1)
    share = lags * LN(w) + LN((1 - w ** (steps - 1 - lags)) / (1 - w))
    np.testing.assert_allclose(shares["recurrent_kernel"][:-1], share, rtol=1e-12, atol=1e-12)
    assert shares["recurrent_kernel"][-1] == -jnp.inf


@pytest.mark.parametrize(("w", "steps", "printed"), [(0.9, 200, 1.73328e-7), (1.1, 200, 3.12324e10), (1.0, 200, 199.0)])
def test_parameter_gradient_of_a_scalar_with_an_impulse(w, steps, printed, x64):
    """O3: an input at t = 1 alone gives dL/dw = (T-1) w^(T-2)."""
    cell, params = linear([[w]], jnp.float64)
    xs = jnp.zeros((steps, 1), jnp.float64).at[0].set(1.0)
    total = float(flow.parameter_log_norms(cell, params, xs).total["recurrent_kernel"])
    assert total == pytest.approx(LN(steps - 1) + (steps - 2) * LN(w), rel=1e-12)
    assert np.exp(total) == pytest.approx(printed, rel=5e-6)


def lstm_without_recurrence(forget_bias, candidate_bias=0.3, units=4):
    biases = {"i": 0.2, "f": forget_bias, "g": candidate_bias, "o": -0.1}
    cell = cells.lstm(units, recurrent_init="zeros", bias_init=biases)
    return cell, cell.init(jax.random.key(0), 1)


@pytest.mark.parametrize("forget_bias", [-1.0, 0.0, 1.0, 2.944439])
def test_lstm_with_constant_gates_at_lag_20000(forget_bias):
    """O4: dh_T/dc_{T-k} = o (1 - tanh^2 c_T) f^k. The output's share at lag 0 goes through h alone."""
    steps = 20_000
    cell, params = lstm_without_recurrence(forget_bias)
    log_norms = np.asarray(flow.adjoint_log_norms(cell, params, jnp.zeros((steps, 1))), np.float64)
    f, i, o = (1 / (1 + np.exp(-b)) for b in (forget_bias, 0.2, -0.1))
    c = i * np.tanh(0.3) / (1 - f)
    lags = np.arange(1, steps + 1)
    exact = LN(o * (1 - np.tanh(c) ** 2)) + lags * LN(f)
    assert log_norms[0] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(log_norms[1:], exact, atol=6e-8 * steps, rtol=1e-6)
    assert flow.summarize(log_norms).rate == pytest.approx(LN(f), rel=1e-6)


def test_printed_rate_of_forget_bias_one():
    cell, params = lstm_without_recurrence(1.0)
    summary = flow.summarize(flow.adjoint_log_norms(cell, params, jnp.zeros((500, 1))))
    assert summary.rate == pytest.approx(-0.313262, abs=5e-7)
    assert summary.half_life_steps == pytest.approx(2.2127, abs=5e-5)
    assert summary.verdict == "vanishes, half-life 2.2 steps"


def test_a_saturated_forget_gate_carries_the_error_bitwise():
    """O4: sigmoid(20) is exactly 1 in float32. With no candidate, c stays where its output still answers."""
    cell, params = lstm_without_recurrence(20.0, candidate_bias=0.0)
    log_norms = flow.adjoint_log_norms(cell, params, jnp.zeros((1000, 1)), cell.initial_state())
    carried = log_norms[1:]
    assert (carried == carried[0]).all()
    assert flow.summarize(log_norms).verdict.startswith("neither")


def test_identity_rectifier_carries_the_error_bitwise():
    """O15: U = I, ReLU, positive pre-activations."""
    cell = cells.elman(4, activation="relu", recurrent_init="identity", bias_init=0.01)
    params = cell.init(jax.random.key(0), 1)
    log_norms = flow.adjoint_log_norms(cell, params, jnp.zeros((500, 1)))
    assert (log_norms == log_norms[0]).all()


@pytest.mark.parametrize("gain", [0.5, 0.9])
def test_elman_at_rest_decays_with_the_largest_eigenvalue(gain, x64):
    """O5: at h = 0, x = 0, b = 0 the Jacobian of tanh is U itself."""
    cell = cells.elman(6, recurrent_init=cells.Gaussian(gain))
    params = cell.init(jax.random.key(3), 1, jnp.float64)
    log_norms = flow.adjoint_log_norms(cell, params, jnp.zeros((3000, 1), jnp.float64))
    eigenvalues = np.linalg.eigvals(np.asarray(params["recurrent_kernel"][:, 0]))
    assert flow.summarize(log_norms).rate == pytest.approx(LN(np.abs(eigenvalues).max()), rel=1e-3)
    exact = [
        LN(
            np.linalg.norm(
                np.linalg.matrix_power(np.asarray(params["recurrent_kernel"][:, 0]), k) @ np.full(6, 6**-0.5)
            )
        )
        for k in (1, 7, 50)
    ]
    np.testing.assert_allclose(log_norms[jnp.array([1, 7, 50])], exact, rtol=1e-9)


def test_orthogonal_tanh_never_grows():
    """O8: singular values of the Jacobian are at most those of U, 1."""
    cell = cells.elman(16)
    xs = jax.random.normal(jax.random.key(5), (300, 3))
    log_norms = flow.adjoint_log_norms(cell, cell.init(jax.random.key(0), 3), xs)
    assert (jnp.diff(log_norms) <= 1e-6).all()


def test_adjoint_and_input_equal_autodiff(case, x64):
    """Every lag against jax.grad of the loss seen from there, in float64, both batch rows."""
    cell, params, xs = jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if hasattr(leaf, "dtype") else leaf, case)
    cotangent = jnp.linspace(-1.0, 2.0, 2 * H).reshape(2, H)
    adjoint = flow.adjoint_log_norms(cell, params, xs, cotangent=cotangent)
    inputs = flow.input_log_norms(cell, params, xs, cotangent=cotangent)
    states = recur.unroll(cell, params, xs).states
    assert adjoint.shape == (13, 2)
    assert inputs.shape == (12, 2)
    for row in range(2):
        by_input = jax.grad(loss(cell, cotangent[row]), 1)(params, xs[:, row], cell.initial_state((), jnp.float64))
        with np.errstate(divide="ignore"):  # rectified units may be off: exactly zero, -inf on both sides
            exact = LN(np.linalg.norm(by_input, axis=1))[::-1]
        np.testing.assert_allclose(inputs[:, row], exact, rtol=1e-9, atol=1e-9)
        for lag in (7,) if row else (1,):
            state = jax.tree.map(lambda leaf: leaf[11 - lag, row], states)  # noqa: B023
            gradient = jax.grad(loss(cell, cotangent[row]), 2)(params, xs[12 - lag :, row], state)
            norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient)))
            assert float(jnp.exp(adjoint[lag, row])) == pytest.approx(norm, rel=1e-9, abs=1e-30)


def test_shares_add_up_to_the_gradient(case, x64):
    """The total equals jax.grad; shares of a run equal the totals' difference when a parameter enters at one step."""
    cell, params, xs = jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if hasattr(leaf, "dtype") else leaf, case)
    cotangent = jnp.linspace(-1.0, 2.0, 2 * H).reshape(2, H)
    shares, total = flow.parameter_log_norms(cell, params, xs, cotangent=cotangent)

    def unshared(per_step, xs, cotangent):
        """The loss with parameters of their own at every step."""
        state = cell.initial_state((), jnp.float64)
        final, _ = jax.lax.scan(lambda s, step: (cell.step(step[0], s, step[1])[0], None), state, (per_step, xs))
        return cell.output(final) @ cotangent

    per_step = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (12, *leaf.shape)), params)
    by_step = jax.jit(jax.vmap(jax.grad(unshared), in_axes=(None, 1, 0)))(per_step, xs, cotangent)
    for name in params:
        steps = np.asarray(by_step[name]).reshape(2, 12, -1)
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(shares[name], LN(np.linalg.norm(steps, axis=2)).T[::-1], rtol=1e-8, atol=1e-8)
        whole = jax.grad(loss(cell, cotangent[1]))(params, xs[:, 1], cell.initial_state((), jnp.float64))[name]
        np.testing.assert_allclose(np.linalg.norm(steps[1].sum(axis=0)), np.linalg.norm(whole), rtol=1e-9)
        assert float(jnp.exp(total[name][1])) == pytest.approx(np.linalg.norm(whole), rel=1e-9, abs=1e-30)


def test_parameter_gradient_of_an_exploding_network_stays_exact():
    """The total is added in log space too: 1.5^800 is beyond float32."""
    cell, params = linear(1.5 * np.eye(2))
    state = cell.initial_state()._replace(h=jnp.array([1e-30, 0.0]))
    total = flow.parameter_log_norms(cell, params, jnp.zeros((180, 2)), state).total
    # The bias enters every step: sum_k 1.5^k per unit, cotangent of norm 1.
    assert float(total["bias"]) == pytest.approx(LN((1.5**180 - 1) / 0.5), rel=1e-6)


def test_lag_100000_in_linear_memory():
    """64 units, 100,000 steps: what the sweep needs grows with T times the state, not with T H^2."""
    cell = cells.lstm(64)
    params = cell.init(jax.random.key(0), 4)
    log_norms = flow.adjoint_log_norms(cell, params, jax.random.normal(jax.random.key(1), (100_000, 4)))
    assert jnp.isfinite(log_norms).all()
    assert float(log_norms[-1]) < -1000

    def temporary_bytes(steps):
        run = jax.jit(lambda params, xs: flow.adjoint_log_norms(cell, params, xs))
        return run.lower(params, jnp.zeros((steps, 4))).compile().memory_analysis().temp_size_in_bytes

    small, large = temporary_bytes(1000), temporary_bytes(4000)
    per_step = (large - small) / 3000
    # Floats a step: four gates, twice the state (as visited, and shifted), and the norm. H x H would be 4096.
    assert per_step <= 4 * (2 * 4 * 64 + 6 * 64)
    assert large <= 4.1 * small


def test_batch_axes_rows_and_vmap_agree():
    cell = cells.lstm(H)
    params = cell.init(jax.random.key(0), X)
    xs = jax.random.normal(jax.random.key(1), (12, 2, X))
    grid = jnp.stack([xs, xs[::-1], 2 * xs], axis=1)  # [12, 3, 2, X]
    whole = flow.adjoint_log_norms(cell, params, grid)
    assert whole.shape == (13, 3, 2)
    for row in range(3):
        one = flow.adjoint_log_norms(cell, params, grid[:, row, 1])
        np.testing.assert_allclose(whole[:, row, 1], one, rtol=1e-5, atol=1e-5)
    mapped = jax.vmap(lambda xs: flow.input_log_norms(cell, params, xs), in_axes=1, out_axes=1)(xs)
    np.testing.assert_allclose(mapped, flow.input_log_norms(cell, params, xs), rtol=1e-5, atol=1e-5)


def test_a_stacked_cell_is_measured_over_all_its_layers(x64):
    cell = cells.stacked(cells.lstm(3), cells.gru(3), residual=True)
    params = cell.init(jax.random.key(0), X, jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (9, X), jnp.float64)
    states = recur.unroll(cell, params, xs).states
    log_norms = flow.adjoint_log_norms(cell, params, xs)
    # At lag 0 the sum of both outputs passes the cotangent to both layers.
    assert float(log_norms[0]) == pytest.approx(0.5 * LN(2.0), rel=1e-12)
    state = jax.tree.map(lambda leaf: leaf[4], states)
    gradient = jax.grad(loss(cell, jnp.full(3, 3**-0.5)), 2)(params, xs[5:], state)
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient)))
    assert float(log_norms[4]) == pytest.approx(LN(norm), rel=1e-10)


def test_bfloat16_inputs_keep_a_float32_state():
    cell = cells.gru(8)
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (50, 2), jnp.bfloat16)
    low = flow.adjoint_log_norms(cell, params, xs)
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, flow.adjoint_log_norms(cell, params, xs.astype(jnp.float32)), rtol=1e-5, atol=1e-5)


def test_an_empty_sequence_has_lag_zero_alone():
    cell = cells.lstm(4)
    params = cell.init(jax.random.key(0), 2)
    np.testing.assert_allclose(flow.adjoint_log_norms(cell, params, jnp.zeros((0, 3, 2))), np.zeros((1, 3)), atol=1e-6)
    assert flow.input_log_norms(cell, params, jnp.zeros((0, 3, 2))).shape == (0, 3)


@pytest.mark.parametrize(
    ("cotangent", "error", "words"),
    [
        (jnp.ones((2, H + 1)), ValueError, r"cotangent: expected shape \(2, 5\), got \(2, 6\)"),
        (jnp.ones((2, H), int), TypeError, "cotangent: expected a floating dtype, got int32"),
        (jnp.zeros((2, H)), ValueError, "cotangent: expected a direction other than zero"),
        (jnp.full((2, H), jnp.nan), ValueError, "cotangent: expected finite numbers"),
    ],
)
def test_bad_cotangents_are_named(cotangent, error, words):
    cell = cells.elman(H)
    params = cell.init(jax.random.key(0), X)
    with pytest.raises(error, match=words):
        flow.adjoint_log_norms(cell, params, jnp.zeros((4, 2, X)), cotangent=cotangent)


def test_states_that_overflow_are_named_and_not_taken_for_zero():
    cell = cells.elman(3, activation="relu", recurrent_init=cells.Identity(1e20))
    params = cell.init(jax.random.key(0), 1)
    xs = jnp.ones((6, 2, 1)).at[:, 0].set(0.0)
    with pytest.raises(ValueError, match=r"states: expected finite numbers, got inf after step 3 in state.h of elman"):
        flow.adjoint_log_norms(cell, params, xs)
    # Where nothing can be raised the row is nan, and only that row.
    log_norms = jax.jit(lambda xs: flow.adjoint_log_norms(cell, params, xs))(xs)
    assert jnp.isnan(log_norms[:, 1]).all()
    assert not jnp.isnan(log_norms[:, 0]).any()


@pytest.mark.parametrize("case", ["min_gru", pytest.param("lru", marks=pytest.mark.slow)], indirect=True)
def test_one_pass_gives_what_three_give(case):
    cell, params, xs = case
    found = flow.gradient_log_norms(cell, params, xs)
    alone = (
        flow.adjoint_log_norms(cell, params, xs),
        flow.input_log_norms(cell, params, xs),
        flow.parameter_log_norms(cell, params, xs),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), tuple(found), alone)
