"""Saturated units keep their derivative: float32 measures what float64 measures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _oracles import random_params

from recur import cells, flow

H, X, T = 3, 2, 3
BIASES = np.array([5.0, -5.0, 12.0, -12.0, 20.0, -20.0])
QUICK = ("elman", "gru", "gru_reset_before", "lstm", "min_gru")


def saturated(cell, dtype):
    params = random_params(cell, X, 1)

    def one(bias):
        own = {name: leaf + bias if name == "bias" else jnp.asarray(leaf, dtype) for name, leaf in params.items()}
        return flow.adjoint_log_norms(cell, jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), own), xs)

    xs = jnp.asarray(np.random.default_rng(2).standard_normal((T, X)), dtype)
    return np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(BIASES, dtype)))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in cells.CELLS]
)
def test_float32_measures_what_float64_measures(name):
    found = saturated(cells.CELLS[name](H), np.float32)
    with jax.enable_x64(True):
        wanted = saturated(cells.CELLS[name](H), np.float64)
    dead = np.isneginf(wanted)
    np.testing.assert_array_equal(np.isneginf(found), dead)
    np.testing.assert_allclose(found[~dead], wanted[~dead], atol=1e-3)


def test_a_network_that_is_stuck_has_not_died():
    """One unit, h = tanh(h + 12): each step multiplies by 4 exp(-2 (12 + h)), and h is 1."""
    cell = cells.elman(1, recurrent_init=cells.Identity(1.0), bias_init=12.0)
    params = cell.init(jax.random.key(0), 1)
    norms = flow.adjoint_log_norms(cell, params, jnp.zeros((4, 1)))
    step = np.log(4) - 26
    np.testing.assert_allclose(norms[:4], step * np.arange(4), atol=1e-4)
    np.testing.assert_allclose(norms[4], 3 * step + np.log(4) - 24, atol=1e-4)


def test_derivatives_that_jax_forms_from_rounded_values_are_lost():
    cell = cells.elman(1, recurrent_init=cells.Identity(1.0), bias_init=12.0)
    params = cell.init(jax.random.key(0), 1)
    assert flow.jacobians(cell, params, jnp.zeros((2, 1)), declared=False)[1] == 0
    assert flow.jacobians(cell, params, jnp.zeros((2, 1)))[1] > 0
