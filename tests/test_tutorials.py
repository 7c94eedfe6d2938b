"""What the tutorials of this field print, to the digit. Numbers are Keras's; dense layers are Flax's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import recur
from recur import cells, nn


def count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def test_parameters_of_simple_rnn_and_dense():
    rngs = nnx.Rngs(0)
    assert count(nn.RNN(cells.elman(10), 1, rngs=rngs)) == 120
    assert count(nnx.Linear(10, 1, rngs=rngs)) == 11


def test_parameters_of_a_text_classifier():
    rngs = nnx.Rngs(0)
    layers = nnx.List(
        [nnx.Embed(5000, 100, rngs=rngs), nn.RNN(cells.elman(128), 100, rngs=rngs), nnx.Linear(128, 1, rngs=rngs)]
    )
    assert [count(layer) for layer in layers] == [500_000, 29_312, 129]
    assert count(layers) == 529_441


def test_parameters_of_deep_bidirectional_simple_rnn():
    deep = nn.Stack([cells.elman(128)] * 4, 10, bidirectional=True, rngs=nnx.Rngs(0))
    assert [count(layer) for layer in deep.layers] == [35_584, 98_560, 98_560, 98_560]
    assert count(deep) == 331_264


@pytest.mark.parametrize(("cell", "fields"), [(cells.lstm(3), ("h", "c")), (cells.elman(3), ("h",))])
def test_output_shapes(cell, fields):
    x = jnp.ones((1, 4, 5))
    layer = nn.RNN(cell, 5, rngs=nnx.Rngs(0))
    assert layer(x, return_sequences=False).shape == (1, 3)
    assert layer(x).shape == (1, 4, 3)
    last, state = layer(x, return_sequences=False, return_state=True)
    assert last.shape == (1, 3)
    assert state._fields == fields
    assert [leaf.shape for leaf in state] == [(1, 3)] * len(fields)
    outputs, of_sequences = layer(x, return_state=True)
    assert outputs.shape == (1, 4, 3)
    # The last output is the last of all outputs, and the state's h.
    for h in (last, state.h, of_sequences.h):
        np.testing.assert_array_equal(h, outputs[:, -1])


def test_bidirectional_lstm_prints_these_numbers():
    cell = cells.lstm(3, kernel_init=0.1, recurrent_init=0.1)
    x = jnp.array(
        [[0.1, 4.2, 1.5, 1.1, 2.8], [1.0, 3.1, 2.5, 0.7, 1.1], [0.3, 2.1, 1.5, 2.1, 0.1], [2.2, 1.4, 0.5, 0.9, 1.1]]
    )
    both = nn.Bidirectional(cell, 5, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(both.forward.params["bias"][...], np.array([[0.0], [1.0], [0.0], [0.0]]) * np.ones(3))
    outputs, (forward, backward) = both(x[None], return_state=True)
    ahead = np.array([0.35906473, 0.55111325, 0.59115744, 0.6303138])
    back = np.array([0.7038734, 0.58863586, 0.3951699, 0.21942244])
    np.testing.assert_allclose(outputs[0, :, :3], np.repeat(ahead[:, None], 3, axis=1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(outputs[0, :, 3:], np.repeat(back[:, None], 3, axis=1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(forward.h[0], np.full(3, ahead[-1]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(backward.h[0], np.full(3, back[0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_numpy_loop_equals_unroll(seed, x64):
    steps, features, units = 10, 4, 8
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((steps, features))
    w_x, w_h = rng.standard_normal((units, features)), rng.standard_normal((units, units))
    b, h = rng.standard_normal(units), np.zeros(units)
    outputs = []
    for x_t in x:
        h = np.tanh(w_x @ x_t + w_h @ h + b)
        outputs.append(h)
    params = {"kernel": w_x.T[:, None], "recurrent_kernel": w_h.T[:, None], "bias": b[None]}
    run = recur.unroll(cells.elman(units), jax.tree.map(jnp.asarray, params), jnp.asarray(x))
    np.testing.assert_allclose(run.outputs, outputs, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(run.final.h, h, rtol=1e-10, atol=1e-10)
