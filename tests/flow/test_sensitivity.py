"""Sensitivity of outputs to parameters against forward-mode Jacobians and closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import one_of_each_kind
from jax.flatten_util import ravel_pytree

import recur
from recur import cells, flow
from recur.cells import CELLS, Cell

H, X, T, B = 2, 2, 5, 3
NAMES = sorted(set(CELLS) - {"elman_identity"})  # the linear one is what the closed forms stand on


def scalar(w):
    """h_t = w h_{t-1} + x_t."""
    cell = cells.elman(1, activation="identity")
    return cell, {
        "kernel": jnp.ones((1, 1, 1)),
        "recurrent_kernel": jnp.full((1, 1, 1), w),
        "bias": jnp.zeros((1, 1)),
    }


@pytest.mark.parametrize("name", one_of_each_kind(NAMES, but=("lru", "gru_reset_before")))
def test_equals_forward_mode_jacobians(name, x64):
    """Every step and tensor, and along a direction, from d outputs / d theta written out in full."""
    cell = CELLS[name](H)
    keys = jax.random.split(jax.random.key(0), 4)
    params = {k: leaf + 0.1 * (i + 1) for i, (k, leaf) in enumerate(cell.init(keys[0], X, jnp.float64).items())}
    xs = jax.random.normal(keys[1], (T, B, X), jnp.float64)
    state = jax.tree.map(lambda leaf: leaf + 0.3, cell.initial_state((B,), jnp.float64))
    found = flow.parameter_sensitivity(cell, params, xs, state)
    jacobian = jax.jit(jax.jacfwd(lambda params: recur.unroll(cell, params, xs, state).outputs))(params)
    assert set(found) == set(params)
    for key, leaf in jacobian.items():
        squares = np.square(leaf).reshape(T, -1).mean(axis=1)
        assert (squares > 0).all()
        np.testing.assert_allclose(found[key], np.log(squares), rtol=1e-9, atol=1e-9)

    direction = {k: jax.random.normal(keys[2], leaf.shape, jnp.float64) for k, leaf in params.items()}
    moved = sum(np.tensordot(leaf, direction[key], direction[key].ndim) for key, leaf in jacobian.items())
    along = flow.parameter_sensitivity(cell, params, xs, state, direction=direction)
    np.testing.assert_allclose(along, np.log(np.square(moved).reshape(T, -1).mean(axis=1)), rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def noise():
    return jax.random.normal(jax.random.key(0), (1200, 4096, 1))


@pytest.mark.parametrize(
    ("w", "printed"),
    [
        pytest.param(0.5, None, marks=pytest.mark.slow),
        (0.9, 263.887),
        pytest.param(0.99, 251263.0, marks=pytest.mark.slow),
        pytest.param(-0.9, 263.887, marks=pytest.mark.slow),
    ],
)
def test_curse_of_memory(w, printed, noise):
    """O19: E(dh/dl)^2 = (1 + l^2) / (1 - l^2)^3 while Var h = 1 / (1 - l^2)."""
    exact = (1 + w**2) / (1 - w**2) ** 3
    assert printed is None or exact == pytest.approx(printed, rel=3e-6)
    cell, params = scalar(w)
    found = flow.parameter_sensitivity(cell, params, noise)
    # Squares of normal numbers; those of times closer than four time constants count as one.
    independent = noise.shape[1] * max(1.0, 600 * (1 - abs(w)) / 4)
    band = 4 * np.sqrt(2 / independent)
    assert band < 0.08
    squares = np.exp(np.asarray(found["recurrent_kernel"], np.float64)[-600:])
    assert squares.mean() == pytest.approx(exact, rel=band)
    # dh/dW is the state itself, for weight one: its variance. dh/db sees a constant input of one.
    variance = np.exp(np.asarray(found["kernel"], np.float64)[-600:]).mean()
    assert variance == pytest.approx(1 / (1 - w**2), rel=band)
    assert float(found["bias"][-1]) == pytest.approx(-2 * np.log(1 - w), rel=1e-5)
    assert found["recurrent_kernel"][0] == -np.inf  # the first step meets h_0 = 0


def test_equals_its_recursion_in_numpy(noise, x64):
    """d_t = h_{t-1} + l d_{t-1}, sequence by sequence, so that the band above is that of the noise alone."""
    xs, w = np.asarray(noise, np.float64)[:100, :50], 0.97
    h, d, squares = np.zeros((50, 1)), np.zeros((50, 1)), []
    for x in xs:
        h, d = w * h + x, h + w * d
        squares.append(np.square(d).mean())
    cell, params = scalar(w)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), {**params, "recurrent_kernel": np.full((1, 1, 1), w)})
    found = flow.parameter_sensitivity(cell, params, jnp.asarray(xs))["recurrent_kernel"]
    np.testing.assert_allclose(found[1:], np.log(squares[1:]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("w", "steps"), [(0.5, 3000), (1.1, 850)])
def test_no_step_underflows_or_overflows(w, steps):
    """One input at the start: dh_t/dW = l^(t-1), dh_t/dl = (t-1) l^(t-2), squared; in float32."""
    cell, params = scalar(w)
    found = flow.parameter_sensitivity(cell, params, jnp.zeros((steps, 1)).at[0].set(1.0))
    times = np.arange(1, steps + 1)
    np.testing.assert_allclose(found["kernel"], 2 * (times - 1) * np.log(w), rtol=1e-6, atol=1e-4)
    if w > 1:  # where the state itself fades from float32, nothing is added to dh/dl any more
        exact = 2 * (np.log(times[1:] - 1) + (times[1:] - 2) * np.log(w))
        np.testing.assert_allclose(found["recurrent_kernel"][1:], exact, rtol=1e-5, atol=1e-4)


def test_half_precision_is_measured_in_float32():
    cell, params = scalar(0.5)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    found = flow.parameter_sensitivity(cell, params, jnp.zeros((9, 1), jnp.bfloat16).at[0].set(1.0))
    assert found["kernel"].dtype == jnp.float32
    np.testing.assert_allclose(found["kernel"], -2 * np.arange(9) * np.log(2.0), rtol=1e-6)


def test_the_mean_is_that_over_all_batch_axes():
    cell = cells.elman(H)
    params = cell.init(jax.random.key(0), X)
    xs = jax.random.normal(jax.random.key(1), (T, 2, 3, X))
    whole = flow.parameter_sensitivity(cell, params, xs)
    rows = [flow.parameter_sensitivity(cell, params, xs[:, i, j]) for i in range(2) for j in range(3)]
    for key, logs in whole.items():
        assert logs.shape == (T,)
        mean = np.mean([np.exp(row[key]) for row in rows], axis=0)
        np.testing.assert_allclose(np.exp(logs), mean, rtol=1e-5)


def test_directions_of_all_entries_add_up():
    """The sum of squares over a basis of directions is the number of entries times their mean square."""
    cell = cells.elman(H)
    params = cell.init(jax.random.key(0), X)
    xs = jax.random.normal(jax.random.key(1), (T, X))
    flat, unravel = ravel_pytree(params)
    each = jax.vmap(lambda v: flow.parameter_sensitivity(cell, params, xs, direction=unravel(v)))(jnp.eye(len(flat)))
    found = flow.parameter_sensitivity(cell, params, xs)
    total = sum(params[key].size * np.exp(logs) for key, logs in found.items())
    np.testing.assert_allclose(np.exp(each).sum(axis=0), total, rtol=1e-5)


def test_states_that_overflow_are_not_hidden():
    cell, params = scalar(4.0)
    with pytest.raises(ValueError, match="states: expected finite numbers"):
        flow.parameter_sensitivity(cell, params, jnp.ones((100, 1)))
    under_jit = jax.jit(lambda xs: flow.parameter_sensitivity(cell, params, xs))(jnp.ones((100, 1)))
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(under_jit))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"bias": jnp.zeros(3)}, ValueError, r"direction\['bias'\]: expected shape \(1, 2\), got \(3,\)"),
        ({"bias": jnp.zeros((1, 2), jnp.int32)}, TypeError, r"direction\['bias'\]: expected dtype float32"),
        ({"gain": jnp.zeros(3)}, TypeError, "direction: expected"),
    ],
)
def test_bad_directions_are_named(change, error, words):
    cell = cells.elman(H)
    params = cell.init(jax.random.key(0), X)
    with pytest.raises(error, match=words):
        flow.parameter_sensitivity(cell, params, jnp.zeros((T, X)), direction={**params, **change})


@dataclasses.dataclass(frozen=True)
class Leaky(Cell):
    """A cell without parameters."""

    def init(self, key, input_size, dtype=jnp.float32):
        return {}

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return cells.state_type("h")(h=jnp.zeros((*batch_shape, 1), dtype))

    def step(self, params, state, x):
        h = 0.9 * state.h + x
        return state._replace(h=h), h


def test_a_cell_without_parameters_is_refused():
    with pytest.raises(ValueError, match=r"params: expected at least one array, got none; Leaky\(\) has nothing"):
        flow.parameter_sensitivity(Leaky(), {}, jnp.ones((T, 2, 1)))
