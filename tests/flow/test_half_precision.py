"""Half precision rounds the numbers that go in, and nothing of what is measured on them."""

import jax
import jax.numpy as jnp
import numpy as np

from recur import cells, flow


def test_measurements_on_bfloat16_are_those_on_the_same_numbers_in_float32(key):
    cell = cells.lstm(3)
    params = cell.init(key, 2, jnp.bfloat16)
    xs = jax.random.normal(jax.random.key(1), (12, 2, 2), jnp.bfloat16)

    @jax.jit
    def measure(params, xs):
        inputs, shares = flow.input_log_norms(cell, params, xs), flow.parameter_log_norms(cell, params, xs)
        return inputs, shares, flow.parameter_sensitivity(cell, params, xs[:, 0], direction=params)

    half = measure(params, xs)
    full = measure(*jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, xs)))
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {np.dtype("float32")}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), half, full)
