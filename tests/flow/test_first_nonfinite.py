"""The first state that is not finite, against states that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recur
from recur import cells, flow


def unit_by_unit(factors):
    """h_t = relu(x_t + factor h_{t-1}), so from ones (factor^t - 1) / (factor - 1)."""
    count = len(factors)
    kernel = jnp.ones((1, 1, count))
    return {"kernel": kernel, "recurrent_kernel": jnp.asarray([factors]), "bias": jnp.zeros((1, count))}


def test_step_sequence_and_unit_are_those_of_the_closed_form():
    cell = cells.ind_rnn(3)
    xs = jnp.zeros((60, 2, 1)).at[10:, 1].set(1.0)
    found = flow.first_nonfinite(cell, unit_by_unit([0.5, 10.0, 100.0]), xs)
    # Of the second sequence, whose inputs begin after 10 steps: (100^k - 1) / 99 is beyond 3.4e38 from k = 21 on.
    k = next(k for k in range(1, 50) if (100.0**k - 1) / 99 > float(np.finfo(np.float32).max))
    assert found == (10 + k, "h", (1, 2), np.inf)
    assert k == 21


def test_the_lowest_layer_comes_first_and_the_initial_state_counts():
    cell = cells.stacked(cells.ind_rnn(2), cells.lstm(2))
    params = cell.init(jax.random.key(0), 1)
    xs = jnp.ones((4, 1)).at[2].set(jnp.nan)
    found = flow.first_nonfinite(cell, params, xs)
    assert found[:3] == (3, "layer_0.h", (0,))
    assert np.isnan(found.value)
    start = cell.initial_state(())
    start = start._replace(layer_1=start.layer_1._replace(c=jnp.array([0.0, jnp.inf])))
    assert flow.first_nonfinite(cell, params, xs, start) == (0, "layer_1.c", (1,), np.inf)


def test_finite_runs_have_none_and_wrong_arguments_are_named():
    cell = cells.lstm(3)
    params = cell.init(jax.random.key(0), 2)
    assert flow.first_nonfinite(cell, params, jnp.ones((5, 2))) is None
    with pytest.raises(ValueError, match="xs: expected at least two axes"):
        recur.flow.first_nonfinite(cell, params, jnp.ones(5))
