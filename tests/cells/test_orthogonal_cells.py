"""Cells whose recurrent matrix is a function of free numbers: orthogonal (Cayley, exponential) and antisymmetric."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import random_params

import recur
from recur import flow
from recur.cells import antisymmetric, orthogonal

H, X = 4, 2


def recurrent(cell, params):
    """The matrix that multiplies the state, as NumPy float64 ``[H, H]``."""
    return np.asarray(cell.prepare(params).recurrent_kernel, np.float64)


def skew(params):
    free = np.asarray(params["recurrent_kernel"][:, 0], np.float64)
    return free - free.T


@pytest.mark.parametrize(("dtype", "most"), [(jnp.float32, 1e-5), (jnp.float64, 1e-12)])
@pytest.mark.parametrize("parametrization", ["cayley", "exp"])
def test_170_units_stay_orthogonal_to_rounding(parametrization, dtype, most, x64):
    """O20, at rest as drawn, and for free parameters of growing size."""
    for recurrent_init in (None, *map(recur.cells.Gaussian, (0.3, 1.0, 4.0))):
        cell = orthogonal(170, parametrization=parametrization, recurrent_init=recurrent_init)
        matrix = cell.prepare(cell.init(jax.random.key(0), 1, dtype)).recurrent_kernel
        assert matrix.dtype == dtype
        q = np.asarray(matrix, np.float64)
        assert np.abs(q.T @ q - np.eye(170)).max() < most


@pytest.mark.parametrize("negative", [0, 1, 2, 5])
@pytest.mark.parametrize("parametrization", ["cayley", "exp"])
def test_the_matrix_is_the_published_function(parametrization, negative, x64):
    """By the eigenvalues i w of A: (1 - i w) / (1 + i w) or exp(i w), then the last rows turned round."""
    cell = orthogonal(5, parametrization=parametrization, negative=negative)
    params = random_params(cell, X, 1, np.float64)
    w, vectors = np.linalg.eigh(-1j * skew(params))
    values = (1 - 1j * w) / (1 + 1j * w) if parametrization == "cayley" else np.exp(1j * w)
    q = np.diag([1.0] * (5 - negative) + [-1.0] * negative) @ (vectors * values @ vectors.conj().T).real
    np.testing.assert_allclose(recurrent(cell, params), q, atol=1e-13)
    assert np.linalg.det(q) == pytest.approx((-1) ** negative)


def test_pairs_of_units_turn_by_the_same_angles_in_both_parametrizations(key, x64):
    cells = [orthogonal(101, parametrization=name, negative=0) for name in ("cayley", "exp")]
    cayley, exponential = (recurrent(cell, cell.init(key, 1, jnp.float64)) for cell in cells)
    np.testing.assert_allclose(cayley, exponential.T, atol=1e-14)  # (1 - i w) / (1 + i w) turns the other way
    cosines = np.diag(cayley)
    assert cosines[-1] == 1  # the odd one out
    np.testing.assert_allclose(cosines[:-1:2], cosines[1::2], atol=1e-14)
    angles = np.arccos(cosines[:-1:2])
    assert 0 <= angles.min() <= angles.max() <= np.pi / 2
    # Uniform on [0, pi / 2]: four standard errors of the mean of 50.
    assert angles.mean() == pytest.approx(np.pi / 4, abs=4 * np.pi / 2 / np.sqrt(12 * 50))


def test_by_default_half_of_the_units_turn_round_with_cayley_and_none_with_exp():
    assert [orthogonal(size).negative for size in (1, 4, 5)] == [0, 2, 2]
    assert orthogonal(5, parametrization="exp").negative == 0


PUBLISHED = {
    "tanh": lambda a, b: np.tanh(a + b),
    "relu": lambda a, b: np.maximum(a + b, 0),
    "identity": lambda a, b: a + b,
    "modrelu": lambda a, b: np.sign(a) * np.maximum(np.abs(a) + b, 0),
}


@pytest.mark.parametrize("activation", PUBLISHED)
def test_activations(activation, x64):
    cell = orthogonal(H, activation=activation)
    params = random_params(cell, X, 0, np.float64)
    rng = np.random.default_rng(0)
    state, x = cell.initial_state((50,), jnp.float64)._replace(h=rng.standard_normal((50, H))), rng.random((50, X))
    pre = x @ np.asarray(params["kernel"][:, 0]) + state.h @ recurrent(cell, params)
    after, output = cell.step(params, state, x)
    np.testing.assert_allclose(output, PUBLISHED[activation](pre, np.asarray(params["bias"])), atol=1e-14)
    assert output is after.h


@pytest.mark.parametrize("activation", ["identity", "modrelu"])
def test_the_gradient_is_kept_over_2000_steps_also_at_rest(activation, key):
    cell = orthogonal(H, activation=activation)
    params = cell.init(key, X)
    for xs in np.zeros((2000, X), np.float32), np.random.default_rng(0).random((2000, X), np.float32):
        log_norms = flow.adjoint_log_norms(cell, params, xs)
        # Half a unit in the last place for each of H terms and the rounded Q, at every step.
        np.testing.assert_allclose(log_norms, 0.0, atol=6e-8 * (H + 1) * 2000)


def test_a_negative_threshold_loses_what_stays_below_it(key):
    cell = orthogonal(H, bias_init=-1e6)
    log_norms = flow.adjoint_log_norms(cell, cell.init(key, X), jnp.ones((3, X)))
    assert log_norms.tolist() == [0.0, -np.inf, -np.inf, -np.inf]


def test_seeds_side_by_side_get_the_gradients_of_each_alone():
    """Under vmap the solve is batched."""
    cell, xs = orthogonal(H, activation="tanh"), jax.random.normal(jax.random.key(0), (6, X))
    gradient = jax.jit(jax.grad(lambda params: recur.unroll(cell, params, xs).outputs[-1].sum()))
    params = jax.tree.map(lambda *rows: np.stack(rows), *(random_params(cell, X, seed) for seed in range(3)))
    together = jax.jit(jax.vmap(gradient))(params)
    for row in range(3):
        alone = gradient(jax.tree.map(lambda leaf: leaf[row], params))  # noqa: B023
        for name, leaf in alone.items():
            np.testing.assert_allclose(together[name][row], leaf, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("step_size", "diffusion"), [(0.1, 0.0), (2.0, 0.5)])
@pytest.mark.parametrize("gated", [False, True])
def test_a_step_along_the_antisymmetric_flow(step_size, diffusion, gated, x64):
    cell = antisymmetric(H, step_size=step_size, diffusion=diffusion, gated=gated)
    params = random_params(cell, X, 0, np.float64)
    gates = 2 if gated else 1
    shapes = {"kernel": (X, gates, H), "recurrent_kernel": (H, 1, H), "bias": (gates, H)}
    assert jax.tree.map(np.shape, params) == shapes
    rng = np.random.default_rng(0)
    state, x = cell.initial_state((50,), jnp.float64)._replace(h=rng.standard_normal((50, H))), rng.random((50, X))
    turn = state.h @ (skew(params) - diffusion * np.eye(H))
    pre = [x @ np.asarray(params["kernel"][:, g]) + np.asarray(params["bias"][g]) + turn for g in range(gates)]
    gate = 1 / (1 + np.exp(-pre[1])) if gated else 1.0
    after, output = cell.step(params, state, x)
    np.testing.assert_allclose(output, state.h + step_size * gate * np.tanh(pre[0]), atol=1e-14)
    assert output is after.h


@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_the_free_kernel_is_gaussian(gain, key):
    cell = antisymmetric(200) if gain == 1.0 else antisymmetric(200, recurrent_init=recur.cells.Gaussian(gain))
    free = np.asarray(cell.init(key, 1)["recurrent_kernel"], np.float64)
    np.testing.assert_allclose(free.var(), gain**2 / 200, rtol=0.03)  # relative standard error 0.7 %


def test_calls_that_make_cells_are_shown():
    for cell in (orthogonal(3), orthogonal(3, activation="tanh", parametrization="exp", negative=1)):
        assert eval(repr(cell), vars(recur.cells)) == cell
    for cell in (antisymmetric(3), antisymmetric(3, step_size=0.5, diffusion=0, gated=True)):
        assert eval(repr(cell), vars(recur.cells)) == cell


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: orthogonal(0), ValueError, ["hidden_size", ">= 1", "got 0"]),
        (lambda: orthogonal(3, activation="gelu"), ValueError, ["activation", "'modrelu'", "'gelu'"]),
        (lambda: orthogonal(3, parametrization="qr"), ValueError, ["parametrization", "'cayley', 'exp'", "'qr'"]),
        (lambda: orthogonal(3, negative=4), ValueError, ["negative", "hidden_size = 3", "got 4"]),
        (lambda: orthogonal(3, negative=-1), ValueError, ["negative", "0 <=", "got -1"]),
        (lambda: orthogonal(3, negative=1.0), TypeError, ["negative", "whole number", "1.0"]),
        (lambda: orthogonal(3, recurrent_init="xavier"), ValueError, ["recurrent_init", "orthogonal", "'xavier'"]),
        (lambda: antisymmetric(3, step_size=0), ValueError, ["step_size", "> 0", "got 0"]),
        (lambda: antisymmetric(3, step_size=np.inf), ValueError, ["step_size", "finite", "inf"]),
        (lambda: antisymmetric(3, step_size="1"), TypeError, ["step_size", "expected a number", "'1'"]),
        (lambda: antisymmetric(3, diffusion=-0.1), ValueError, ["diffusion", ">= 0", "-0.1"]),
        (lambda: antisymmetric(3, bias_init=recur.cells.Chrono(9)), ValueError, ["bias_init", "keep", "lstm or gru"]),
        (lambda: antisymmetric(3, recurrent_init={"z": 1.0}), ValueError, ["recurrent_init", "'h'", "'z'"]),
    ],
)
def test_wrong_options_are_refused(make, error, words):
    with pytest.raises(error) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)
