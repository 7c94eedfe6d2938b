"""What the comparisons with each library share."""

import jax
import numpy as np
import pytest
from flax import nnx


def _measure(module, x, d_outputs, d_states, **call):
    """Returns outputs, states as a flat list, and the vector-Jacobian product with both: (d_params, d_x)."""
    graphdef, params = nnx.split(module)

    @jax.jit
    def run(params, x, cotangents, call):
        def results(params, x):
            outputs, state = nnx.merge(graphdef, params)(x, return_state=True, **call)
            return outputs, jax.tree.leaves(state)

        (outputs, states), pull_back = jax.vjp(results, params, x)
        return outputs, states, *pull_back(cotangents)

    return run(params, x, (d_outputs, d_states), call)


@pytest.fixture
def measure():
    return _measure


def _assert_bitwise(got, want):
    """Two modules of one structure whose parameters are the same, bit for bit and in dtype."""
    (got_graph, got), (want_graph, want) = nnx.split(got), nnx.split(want)
    assert got_graph == want_graph
    for left, right in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


@pytest.fixture
def assert_bitwise():
    return _assert_bitwise
