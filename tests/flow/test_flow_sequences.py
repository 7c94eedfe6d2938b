"""Padded, masked, reset and reversed sequences measure what each sequence measures by itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import random_params, random_state

from recur import cells, flow

T, SHORT, H, X = 9, 5, 3, 2
TABLE = {**{name: make(H) for name, make in cells.CELLS.items()}, "stacked": cells.stacked(cells.lstm(H), cells.gru(H))}
MEASURES = {
    "adjoint": flow.adjoint_log_norms,
    "inputs": flow.input_log_norms,
    "parameters": lambda *a, **k: tuple(flow.parameter_log_norms(*a, **k)),
    "all": lambda *a, **k: tuple(flow.gradient_log_norms(*a, **k)),
    "lyapunov": functools.partial(flow.lyapunov_spectrum, k=2, warmup=1),
    "singular": lambda cell, params, xs, state, **k: flow.jacobian_log_singular_values(
        cell, params, xs, [0, 1, 4], state, **k
    ),
}
CHEAP = ("gru", "lru", "lstm", "orthogonal", "stacked")


@functools.cache
def problem(name):
    cell = TABLE[name]
    xs = np.random.default_rng(1).standard_normal((T, 2, X)).astype(np.float32)
    return cell, random_params(cell, X, 2), xs, random_state(cell, (2,), 3)


def of_row(tree, row):
    return jax.tree.map(lambda leaf: leaf[row], tree)


def assert_same(found, wanted, row):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        a = np.asarray(a)[..., row]
        if a.ndim and len(a) != len(b):
            assert np.isneginf(a[len(b) :]).all(), "beyond the sequence"
            a = a[: len(b)]
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in CHEAP else pytest.mark.slow) for n in TABLE])
def test_padding_counts_nowhere(name, measure):
    cell, params, xs, state = problem(name)
    padded = xs.copy()
    padded[SHORT:, 1] = np.nan
    found = MEASURES[measure](cell, params, padded, state, lengths=np.array([T, SHORT]))
    for row, length in enumerate((T, SHORT)):
        wanted = MEASURES[measure](cell, params, xs[:length, row], of_row(state, row))
        assert_same(found, wanted, row)


def test_masked_steps_may_stand_anywhere_and_time_may_run_backwards():
    cell, params, xs, state = problem("lstm")
    mask = np.array([[1, 0, 1, 1, 0, 1, 1, 0, 0], [1] * 9], bool).T
    spoilt = np.where(mask[..., None], xs, np.nan)
    for measure in ("all", "lyapunov", "singular"):
        found = MEASURES[measure](cell, params, spoilt, state, mask=mask)
        assert_same(found, MEASURES[measure](cell, params, xs[mask[:, 0], 0], of_row(state, 0)), 0)
        found = MEASURES[measure](cell, params, spoilt, state, mask=mask, reverse=True)
        assert_same(found, MEASURES[measure](cell, params, xs[mask[:, 0], 0][::-1], of_row(state, 0)), 0)


def test_nothing_passes_a_reset():
    cell, params, xs, state = problem("gru")
    reset = np.zeros((T, 2), bool)
    reset[SHORT, 0] = True
    found = flow.gradient_log_norms(cell, params, xs, state, reset=reset)
    alone = flow.gradient_log_norms(cell, params, xs[SHORT:, 0])
    np.testing.assert_allclose(found.adjoint[: T - SHORT, 0], alone.adjoint[:-1], rtol=1e-4, atol=1e-5)
    assert np.isneginf(found.adjoint[T - SHORT :, 0]).all()
    assert np.isneginf(found.inputs[T - SHORT :, 0]).all()
    np.testing.assert_allclose(found.parameters.total["kernel"][0], alone.parameters.total["kernel"], rtol=1e-4)
    whole = flow.adjoint_log_norms(cell, params, xs[:, 1], of_row(state, 1))
    np.testing.assert_allclose(found.adjoint[:, 1], whole, rtol=1e-4, atol=1e-5)
    assert np.isfinite(flow.lyapunov_spectrum(cell, params, xs, state, reset=reset)).all()


def test_half_life_of_twenty_steps_padded_to_three_hundred():
    cell = cells.elman(8, recurrent_init=cells.Orthogonal(0.8))
    params = cell.init(jax.random.key(0), X)
    xs = 0.3 * jax.random.normal(jax.random.key(1), (20, 1, X))
    padded = jnp.zeros((300, 1, X)).at[:20].set(xs)
    short = flow.summarize(flow.adjoint_log_norms(cell, params, xs))
    long = flow.summarize(flow.adjoint_log_norms(cell, params, padded, lengths=[20]), lengths=[20])
    np.testing.assert_allclose(long.half_life_steps, short.half_life_steps, rtol=1e-5)
    assert long.verdict.tolist() == short.verdict.tolist()


def test_gates_noise_and_sensitivity_leave_padding_out():
    cell, params, xs, state = problem("lstm")
    lengths = np.array([SHORT, SHORT])
    padded = np.where(np.arange(T)[:, None, None] < SHORT, xs, 100.0).astype(np.float32)
    for measure in (flow.gate_statistics, flow.gradient_snr, flow.parameter_sensitivity):
        found = measure(cell, params, padded, state, lengths=lengths)
        wanted = measure(cell, params, xs[:SHORT], state)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            a = a[: len(b)] if np.ndim(b) else a
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5)
    assert flow.first_nonfinite(cell, params, np.where(padded == 100, np.nan, padded), state, lengths=lengths) is None


def test_axes_that_look_swapped_are_named():
    cell, params, xs, state = problem("lstm")
    with pytest.raises(ValueError, match="looks batch-major"):
        flow.adjoint_log_norms(cell, params, xs, state, lengths=np.full(T, 2))
    with pytest.raises(ValueError, match="looks batch-major"):
        flow.adjoint_log_norms(cell, params, xs, state, mask=np.ones((2, T), bool))
    with pytest.raises(ValueError, match="lengths: expected 0 to T = 9"):
        flow.adjoint_log_norms(cell, params, xs, state, lengths=[3, 10])
    with pytest.raises(ValueError, match="expected None beside mask"):
        flow.adjoint_log_norms(cell, params, xs, state, lengths=[3, 9], mask=np.ones((T, 2), bool))


def test_a_rank_that_is_lost_is_minus_infinity():
    cell = cells.elman(8, activation="relu")
    params = cell.init(jax.random.key(3), 1)
    dead = jnp.where(jnp.arange(8) < 3, 0.0, -100.0)
    params = {**params, "bias": params["bias"] + dead[None]}
    xs = jax.random.normal(jax.random.key(4), (60, 1)) + 1.0
    values = flow.jacobian_log_singular_values(cell, params, xs, [1, 60])
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        product = np.eye(8)
        for jacobian in np.asarray(flow.jacobians(cell, wide, np.asarray(xs, np.float64))):
            product = jacobian @ product
    rank = np.linalg.matrix_rank(product)
    assert np.isfinite(values[1]).sum() == rank < 8


def test_scales_of_float64():
    with jax.enable_x64(True):
        cell = cells.elman(1, activation="identity", recurrent_init=cells.Identity(1.0))
        params = cell.init(jax.random.key(0), 1, jnp.float64)
        xs = jnp.zeros((2, 1))
        norms = flow.adjoint_log_norms(cell, params, xs, cotangent=jnp.full((1,), 1e-100))
        np.testing.assert_allclose(norms, np.log(1e-100), rtol=1e-12)
