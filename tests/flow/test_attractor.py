"""Attractor dimension, entropy, horizon and condition numbers against printed values, plain loops and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recur import cells, flow

INF = np.inf


def dimension_by_loop(spectrum):
    """The definition, read aloud."""
    total = 0.0
    for j, exponent in enumerate(spectrum):
        if total + exponent < 0:
            return j + total / abs(exponent)
        total += exponent
    return float(len(spectrum))


@pytest.mark.parametrize(
    ("spectrum", "printed"),
    [
        # Sprott (2003), Chaos and Time-Series Analysis, app. A: Lorenz and Henon at the usual parameters.
        ([0.9056, 0.0, -14.5723], 2.06215),
        ([0.41922, -1.62319], 1.25827),
    ],
)
def test_printed_dimensions(spectrum, printed):
    assert float(flow.kaplan_yorke_dimension(jnp.array(spectrum))) == pytest.approx(printed, abs=1e-5)


@pytest.mark.parametrize(
    ("spectrum", "dimension", "entropy", "horizon"),
    [
        ([-0.1, -0.2], 0.0, 0.0, INF),  # a fixed point
        ([0.0, -0.5], 1.0, 0.0, INF),  # a limit cycle
        ([0.0, -0.0, -1.0], 2.0, 0.0, INF),  # a torus
        ([0.25, 0.125, -0.5], 2.75, 0.375, 4 * np.log(2.0)),
        ([0.5, -0.5], 2.0, 0.5, 2 * np.log(2.0)),  # keeps the volume
        ([0.5, 0.25], 2.0, 0.75, 2 * np.log(2.0)),  # only the top ones: at least 2
        ([0.5, -INF], 1.0, 0.5, 2 * np.log(2.0)),
        ([0.5, -0.25, -INF, -INF], 2.0, 0.5, 2 * np.log(2.0)),
        ([-INF, -INF], 0.0, 0.0, INF),
        ([-0.5, -INF], 0.0, 0.0, INF),
        ([2.0], 1.0, 2.0, np.log(2.0) / 2),
    ],
)
def test_cases_by_hand(spectrum, dimension, entropy, horizon):
    spectrum = jnp.array(spectrum)
    assert float(flow.kaplan_yorke_dimension(spectrum)) == dimension
    assert float(flow.entropy_rate(spectrum)) == entropy
    assert float(flow.prediction_horizon_steps(spectrum)) == pytest.approx(horizon, rel=1e-6)


def test_random_spectra_in_a_batch(x64):
    rng = np.random.default_rng(0)
    spectra = -np.sort(-rng.normal(rng.normal(size=200), 1.0, size=(7, 200)), axis=0).reshape(7, 50, 4)
    spectra[-2:, ::5] = -INF
    exact = np.apply_along_axis(dimension_by_loop, 0, spectra)
    assert ((exact > 0) & (exact < 7) & (exact % 1 != 0)).sum() > 50
    np.testing.assert_allclose(flow.kaplan_yorke_dimension(jnp.asarray(spectra)), exact, rtol=1e-12)
    np.testing.assert_allclose(flow.entropy_rate(jnp.asarray(spectra)), np.maximum(spectra, 0).sum(axis=0), rtol=1e-12)
    with np.errstate(divide="ignore"):
        horizon = np.log(2.0) / np.maximum(spectra[0], 0.0)
    np.testing.assert_allclose(flow.prediction_horizon_steps(jnp.asarray(spectra)), horizon, rtol=1e-12)


def test_nan_is_not_hidden():
    spectra = jnp.array([[jnp.nan, 1.0], [jnp.nan, -2.0]])
    for measure in (flow.kaplan_yorke_dimension, flow.entropy_rate, flow.prediction_horizon_steps):
        assert np.isnan(measure(spectra)).tolist() == [True, False]
    assert np.isnan(flow.log_condition_numbers(spectra.T)).tolist() == [True, False]


@pytest.mark.parametrize(
    "measure", [flow.kaplan_yorke_dimension, flow.entropy_rate, flow.prediction_horizon_steps], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("spectrum", [[0.3, 0.1, -0.7, -1.1], [0.3, 0.1, -0.3, -INF], [0.4, -INF, -INF], [-0.2, -0.4]])
def test_gradients_equal_finite_differences(measure, spectrum, x64):
    spectrum = np.array(spectrum)
    gradient = jax.grad(measure)(jnp.asarray(spectrum))
    for i in np.flatnonzero(np.isfinite(spectrum)):
        step = 1e-6 * (np.arange(len(spectrum)) == i)
        ends = float(measure(spectrum + step)), float(measure(spectrum - step))
        numeric = 0.0 if np.isinf(ends).all() else (ends[0] - ends[1]) / 2e-6
        assert float(gradient[i]) == pytest.approx(numeric, rel=1e-6, abs=1e-8)
    assert (gradient[np.isinf(spectrum)] == 0).all()


def diagonal(values):
    cell = cells.elman(len(values), activation="identity")
    params = cell.init(jax.random.key(0), 1)
    return cell, {**params, "recurrent_kernel": jnp.diag(jnp.asarray(values, jnp.float32))[:, None, :]}


def test_a_diagonal_network():
    """O2: exponents ln |a_i|; the condition number of P_k is (a_1 / a_n)^k."""
    a = np.array([1.25, 0.9, 0.5])
    cell, params = diagonal(a)
    spectrum = flow.lyapunov_spectrum(cell, params, jnp.zeros((300, 1)), warmup=200)
    exact = 2 + (np.log(1.25) + np.log(0.9)) / np.log(2.0)  # 1.25 * 0.9 > 1 > 1.25 * 0.9 * 0.5
    assert float(flow.kaplan_yorke_dimension(spectrum)) == pytest.approx(exact, rel=1e-5)
    assert float(flow.entropy_rate(spectrum)) == pytest.approx(np.log(1.25), rel=1e-5)
    lags = [1, 10, 300]
    values = flow.jacobian_log_singular_values(cell, params, jnp.zeros((300, 1)), lags)
    np.testing.assert_allclose(flow.log_condition_numbers(values), np.array(lags) * np.log(2.5), rtol=1e-6)


def test_condition_numbers_of_singular_matrices_are_infinite():
    """An LSTM without recurrence maps its h to zero (O7)."""
    cell = cells.lstm(2, recurrent_init="zeros")
    params = cell.init(jax.random.key(0), 1)
    values = flow.jacobian_log_singular_values(cell, params, jnp.zeros((5, 3, 1)), [0, 1, 5])
    numbers = flow.log_condition_numbers(values)
    assert numbers.shape == (3, 3)
    assert (numbers[0] == 0).all()
    assert (numbers[1:] == INF).all()
    assert flow.log_condition_numbers(jnp.full((1, 2), -INF)).tolist() == [INF]  # the zero matrix


def test_the_gradient_of_condition_numbers_passes_singular_matrices_by():
    """A loss over the lags that are finite, as in gradient flossing."""

    def loss(values):
        numbers = flow.log_condition_numbers(values)
        return jnp.where(jnp.isfinite(numbers), numbers, 0.0).sum()

    gradient = jax.grad(loss)(jnp.array([[0.0, -0.5, -2.0], [1.0, -1.0, -INF]]))
    assert gradient.tolist() == [[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ([1.0, 2.0], ValueError, "spectrum: expected values sorted downwards along axis 0, got some that rise"),
        ([], ValueError, r"spectrum: expected at least one value along axis 0, got shape \(0,\)"),
        (1.0, ValueError, "spectrum: expected at least one value along axis 0"),
        ([1, 0], TypeError, "spectrum: expected a floating dtype, got int32"),
    ],
)
def test_bad_spectra_are_named(values, error, words):
    for measure in (flow.kaplan_yorke_dimension, flow.entropy_rate, flow.prediction_horizon_steps):
        with pytest.raises(error, match=words):
            measure(jnp.array(values))


def test_bad_singular_values_are_named():
    with pytest.raises(ValueError, match="log_singular_values: expected at least one value along axis 1"):
        flow.log_condition_numbers(jnp.zeros(3))
    with pytest.raises(ValueError, match="log_singular_values: expected values sorted downwards along axis 1"):
        flow.log_condition_numbers(jnp.array([[0.0, 1.0]]))
