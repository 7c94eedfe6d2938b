"""Lyapunov exponents and singular values of Jacobian products against closed forms and plain linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import one_of_each_kind

from recur import cells, flow
from recur.cells import CELLS

H, X = 3, 2


def flat_jacobian(cell, params, state, x):
    """ds_t/ds_{t-1} of the whole state as one matrix, by autodiff."""
    leaves, structure = jax.tree.flatten(state)
    sizes = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def step(vector):
        parts = [p.reshape(leaf.shape) for p, leaf in zip(jnp.split(vector, sizes), leaves, strict=True)]
        after, _ = cell.step(params, jax.tree.unflatten(structure, parts), x)
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(after)])

    return jax.jacobian(step)(jnp.concatenate([leaf.ravel() for leaf in leaves]))


def jacobians(cell, params, xs):
    state, matrices = cell.initial_state((), xs.dtype), []
    for x in xs:
        matrices.append(np.asarray(flat_jacobian(cell, params, state, x)))
        state, _ = cell.step(params, state, x)
    return matrices


def elman_with(matrix, dtype=jnp.float32, activation="tanh"):
    cell = cells.elman(len(matrix), activation=activation)
    params = cell.init(jax.random.key(0), 1, dtype)
    return cell, {**params, "recurrent_kernel": jnp.asarray(np.asarray(matrix).T, dtype)[:, None, :]}


@pytest.fixture(params=one_of_each_kind(sorted(CELLS)))
def case(request, x64):
    cell = CELLS[request.param](H)
    params = cell.init(jax.random.key(0), X, jnp.float64)
    return cell, params, jax.random.normal(jax.random.key(1), (8, X), jnp.float64)


def test_singular_values_equal_those_of_the_plain_product(case):
    cell, params, xs = case
    matrices = jacobians(cell, params, xs)
    logs = flow.jacobian_log_singular_values(cell, params, xs, [3, 1, 8, 0])
    for row, lag in zip(np.asarray(logs), [3, 1, 8, 0], strict=True):
        product = np.linalg.multi_dot([np.eye(len(row)), *matrices[::-1][:lag], np.eye(len(row))])
        # What numpy finds below the rounding of the largest is rounding itself; relu turns units off exactly.
        values = np.linalg.svd(product, compute_uv=False)
        kept = values > 1e-12 * values[0]
        np.testing.assert_allclose(np.exp(row[kept]), values[kept], rtol=1e-9, atol=1e-15 * values[0])
        assert (np.exp(row[~kept]) <= 1e-11 * values[0]).all()


def test_spectrum_equals_plain_qr(case):
    """The same Jacobians, multiplied in the order of time by numpy."""
    cell, params, xs = case
    matrices = jacobians(cell, params, xs)
    exponents = np.asarray(flow.lyapunov_spectrum(cell, params, xs))
    sizes = [np.linalg.slogdet(matrix)[1] for matrix in matrices]
    if np.isfinite(sizes).all() and np.isfinite(exponents).all():
        assert exponents.sum() == pytest.approx(np.mean(sizes), rel=1e-9, abs=1e-9)  # O13
    else:
        assert exponents[-1] == -np.inf
    assert (exponents[1:] <= exponents[:-1]).all()


@pytest.mark.parametrize("lag", [40, 100, 200])
def test_small_singular_values_keep_their_accuracy_in_float32(lag):
    """A non-symmetric matrix with exact powers: U = S diag(a) S^-1 has P_k = S diag(a^k) S^-1, computed in exact
    rational arithmetic by numpy's object arrays."""
    from fractions import Fraction

    a = [Fraction(1), Fraction(3, 4), Fraction(1, 2), Fraction(1, 8)]
    s = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]], dtype=object)
    inverse = np.array([[1, -1, 1, -1], [0, 1, -1, 1], [0, 0, 1, -1], [0, 0, 0, 1]], dtype=object)
    matrix = s @ np.diag(a) @ inverse
    cell, params = elman_with(matrix.astype(float), activation="identity")
    logs = np.asarray(flow.jacobian_log_singular_values(cell, params, jnp.zeros((200, 1)), [lag]))[0]
    power = s @ np.diag([x**lag for x in a]) @ inverse
    gram = power.T @ power
    # Products of the i largest squared singular values, from the exact characteristic polynomial of the Gram matrix.
    coefficients = [Fraction(1)]
    m = np.zeros((4, 4), dtype=object)
    for i in range(1, 5):
        m = gram @ m + coefficients[-1] * np.eye(4, dtype=int).astype(object)
        coefficients.append(-sum((gram @ m)[j, j] for j in range(4)) / i)
    sums = [abs(c) for c in coefficients]

    def ln(f):
        return (
            np.log(float(f.numerator >> max(f.numerator.bit_length() - 900, 0)))
            - np.log(float(f.denominator >> max(f.denominator.bit_length() - 900, 0)))
            + np.log(2.0) * (max(f.numerator.bit_length() - 900, 0) - max(f.denominator.bit_length() - 900, 0))
        )

    # For values this far apart the i-th elementary symmetric function is the product of the i largest.
    exact = [0.5 * (ln(sums[i + 1]) - ln(sums[i])) for i in range(4)]
    assert exact[0] - exact[-1] > 80
    np.testing.assert_allclose(logs, exact, atol=4e-7 * lag * 4, rtol=1e-5)


def test_orthogonal_matrix_has_condition_number_one():
    """O1."""
    matrix = 0.9 * np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    cell, params = elman_with(matrix, activation="identity")
    logs = flow.jacobian_log_singular_values(cell, params, jnp.zeros((2000, 1)), [2000])
    np.testing.assert_allclose(logs[0], np.full(6, 2000 * np.log(0.9)), rtol=1e-6)
    spectrum = flow.lyapunov_spectrum(cell, params, jnp.zeros((500, 1)))
    np.testing.assert_allclose(spectrum, np.full(6, np.log(0.9)), atol=1e-6)


def test_diagonal_matrix_top_k():
    """O2: the fastest directions are found though the axes are invariant."""
    a = np.array([0.3, 0.9, 0.99, 0.5, 1.01])
    cell, params = elman_with(np.diag(a), activation="identity")
    spectrum = flow.lyapunov_spectrum(cell, params, jnp.zeros((1500, 1)), k=3, warmup=1000, steps_per_qr=5)
    np.testing.assert_allclose(spectrum, np.log([1.01, 0.99, 0.9]), atol=1e-5)


def test_elman_at_rest(x64):
    """O5: exponents of tanh at the zero fixed point are ln |eig(U)|; complex pairs by their mean."""
    matrix = np.random.default_rng(3).normal(size=(8, 8)) * 0.8 / np.sqrt(8)
    cell, params = elman_with(matrix, jnp.float64)
    spectrum = np.asarray(flow.lyapunov_spectrum(cell, params, jnp.zeros((3000, 1), jnp.float64), warmup=500))
    exact = np.sort(np.log(np.abs(np.linalg.eigvals(matrix))))[::-1]
    np.testing.assert_allclose(spectrum, exact, atol=1e-3)
    assert spectrum.sum() == pytest.approx(exact.sum(), rel=1e-9)


def test_lstm_without_recurrence_has_exponents_of_minus_infinity():
    """O7 with U = 0: n exponents ln f of the cell state, and n of -inf, said so and not as nan."""
    cell = cells.lstm(H, recurrent_init="zeros")
    params = cell.init(jax.random.key(0), 1)
    spectrum = np.asarray(flow.lyapunov_spectrum(cell, params, jnp.zeros((50, 1)), warmup=5))
    np.testing.assert_allclose(spectrum[:H], np.full(H, np.log(1 / (1 + np.exp(-1.0)))), atol=1e-6)
    assert (spectrum[H:] == -np.inf).all()
    logs = np.asarray(flow.jacobian_log_singular_values(cell, params, jnp.zeros((50, 1)), [1, 50]))
    assert (logs[:, H:] == -np.inf).all()
    assert np.isfinite(logs[:, :H]).all()


def test_nilpotent_counter_example(x64):
    """O9: spectral radius 0, yet the product doubles at every step: ||J^k|| = 14.14214 2^(k-1)."""
    u = np.array([[8.0, 8.0], [-8.0, -8.0]])
    rest = np.array([0.0, np.arctanh(0.5)])
    bias = rest - u @ np.tanh(rest)
    # In recur h = tanh(pre), so the state is tanh of the x of the closed form.
    cell, params = elman_with(u, jnp.float64)
    params = {**params, "bias": jnp.asarray(bias)[None]}
    state = cell.initial_state((), jnp.float64)._replace(h=jnp.tanh(jnp.asarray(rest)))
    logs = np.asarray(flow.jacobian_log_singular_values(cell, params, jnp.zeros((20, 1)), [1, 2, 9], state))
    assert np.linalg.eigvals(u) == pytest.approx([0.0, 0.0], abs=1e-6)
    assert logs[2, 0] - logs[1, 0] == pytest.approx(7 * np.log(2.0), rel=1e-6)


def test_batch_rows_are_measured_one_by_one():
    cell = cells.gru(H)
    params = cell.init(jax.random.key(0), X)
    xs = jax.random.normal(jax.random.key(1), (12, 2, X))
    logs = flow.jacobian_log_singular_values(cell, params, xs, [4, 12])
    spectrum = flow.lyapunov_spectrum(cell, params, xs, warmup=2)
    for row in range(2):
        one = flow.jacobian_log_singular_values(cell, params, xs[:, row], [4, 12])
        np.testing.assert_allclose(logs[..., row], one, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            spectrum[:, row], flow.lyapunov_spectrum(cell, params, xs[:, row], warmup=2), rtol=1e-4, atol=1e-4
        )


def test_the_spectrum_can_stand_in_a_loss(x64):
    cell = cells.elman(H)
    params = cell.init(jax.random.key(0), X, jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (10, X), jnp.float64)

    def loss(kernel):
        return flow.lyapunov_spectrum(cell, {**params, "recurrent_kernel": kernel}, xs)[0]

    kernel = params["recurrent_kernel"]
    direction = jax.random.normal(jax.random.key(2), kernel.shape, jnp.float64)
    numeric = (loss(kernel + 1e-5 * direction) - loss(kernel - 1e-5 * direction)) / 2e-5
    assert float(jnp.vdot(jax.grad(loss)(kernel), direction)) == pytest.approx(float(numeric), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 7}, "k: expected at most n = 6, the size of the whole state"),
        ({"k": 0}, "k: expected a whole number >= 1, got 0"),
        ({"warmup": 10}, r"warmup: expected 0 <= warmup <= T - steps_per_qr = 9, got 10"),
        ({"warmup": -1}, "warmup: expected 0 <= warmup"),
        ({"steps_per_qr": 11}, "xs: expected at least steps_per_qr = 11 steps, got 10"),
    ],
)
def test_bad_spectrum_options_are_named(options, words):
    cell = cells.lstm(H)
    with pytest.raises(ValueError, match=words):
        flow.lyapunov_spectrum(cell, cell.init(jax.random.key(0), X), jnp.zeros((10, X)), **options)


@pytest.mark.parametrize(
    ("lags", "error", "words"),
    [
        ([11], ValueError, r"lags: expected at least one lag in 0..T = 10, got \[11\]"),
        ([-1], ValueError, "lags: expected at least one lag"),
        ([], ValueError, "lags: expected at least one lag"),
        ([1.5], TypeError, "lags: expected whole numbers"),
    ],
)
def test_bad_lags_are_named(lags, error, words):
    cell = cells.lstm(H)
    with pytest.raises(error, match=words):
        flow.jacobian_log_singular_values(cell, cell.init(jax.random.key(0), X), jnp.zeros((10, X)), lags)
