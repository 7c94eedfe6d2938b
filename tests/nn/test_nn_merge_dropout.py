"""What Bidirectional and Stack add to their layers: merges, residual sums, dropout between layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from nn_oracle import CAUSAL, INPUT_SIZE, assert_close, make

import recur
from recur import cells, nn

LENGTHS = np.array([5, 2, 0])
X = jax.random.normal(jax.random.key(7), (3, 5, INPUT_SIZE))


def identity_cell(size):
    """A layer that passes its input on: h_t = x_t."""
    return cells.elman(size, activation="identity", kernel_init="identity", recurrent_init=0.0)


@pytest.mark.parametrize("merge", ["sum", "mean", "product", "concat"])
def test_merge_against_numpy(merge):
    both = nn.Bidirectional(cells.lstm(4), INPUT_SIZE, merge=merge, rngs=nnx.Rngs(3))
    numpy_merge = {
        "sum": np.add,
        "mean": lambda f, b: 0.5 * (f + b),
        "product": np.multiply,
        "concat": lambda f, b: np.concatenate([f, b], axis=-1),
    }[merge]
    for return_sequences in (True, False):
        forward = both.forward(X, lengths=LENGTHS, return_sequences=return_sequences)
        backward = both.backward(X, lengths=LENGTHS, return_sequences=return_sequences, reverse=True)
        assert not np.allclose(forward, backward)
        merged = both(X, lengths=LENGTHS, return_sequences=return_sequences)
        assert_close(merged, numpy_merge(np.asarray(forward), np.asarray(backward)), 1e-6)


def test_reverse_is_flipping_time():
    rnn = make("rnn")
    outputs, state = rnn(X, reverse=True, return_state=True)
    flipped, expected = rnn(X[:, ::-1], return_state=True)
    assert_close((outputs, state), (flipped[:, ::-1], expected), 1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_residual_against_layers_called_one_by_one(bidirectional):
    deep = nn.Stack(
        [cells.gru(3), cells.lstm(3), cells.elman(3)],
        INPUT_SIZE,
        bidirectional=bidirectional,
        residual=True,
        rngs=nnx.Rngs(4),
    )
    below, last = deep.layers[0](X, lengths=LENGTHS), deep.layers[0](X, lengths=LENGTHS, return_sequences=False)
    for layer in deep.layers[1:]:
        last = layer(below, lengths=LENGTHS, return_sequences=False) + last
        below = layer(below, lengths=LENGTHS) + below
    assert_close(deep(X, lengths=LENGTHS), below, 1e-6)
    assert_close(deep(X, lengths=LENGTHS, return_sequences=False), last, 1e-6)
    # The last output is also the one that stands at the last step that counts.
    half = 3 if bidirectional else deep.output_size
    assert_close(last[0, :half], below[0, 4, :half], 1e-6)
    assert_close(last[1, :half], below[1, 1, :half], 1e-6)


@pytest.mark.parametrize("name", [*CAUSAL, "residual"])
def test_as_cell_unrolled_equals_the_module(name):
    if name == "residual":
        module = nn.Stack([cells.gru(3), cells.lstm(3)], INPUT_SIZE, residual=True, rngs=nnx.Rngs(4))
    else:
        module = make(name)
    cell, params = module.as_cell()
    assert not any(isinstance(leaf, nnx.Variable) for leaf in jax.tree.leaves(params))
    reset = np.array([[0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)
    mask = np.arange(5) < LENGTHS[:, None]
    run = recur.unroll(cell, params, jnp.moveaxis(X, 1, 0), mask=mask.T, reset=reset.T)
    outputs, state = module(X, lengths=LENGTHS, reset=reset, return_state=True)
    last = module(X, lengths=LENGTHS, reset=reset, return_sequences=False)
    assert_close(jnp.moveaxis(run.outputs, 0, 1), outputs, 1e-6)
    assert_close(jax.tree.leaves(run.final), jax.tree.leaves(state), 1e-6)
    assert_close(cell.output(run.final), last, 1e-6)


@pytest.fixture(scope="module")
def dropped():
    """Two layers of which the upper passes on what it gets, so that the outputs show what was dropped."""
    rate, size = 0.3, 8
    deep = nn.Stack([cells.lstm(size), identity_cell(size)], INPUT_SIZE, dropout=rate, rngs=nnx.Rngs(5))
    x = jax.random.normal(jax.random.key(8), (20, 25, INPUT_SIZE))
    key = jax.random.key(9)
    return deep, x, key, rate, deep.layers[0](x), deep(x, key=key)


def test_dropout_scales_what_it_keeps_and_keeps_the_right_share(dropped):
    _, _, _, rate, below, outputs = dropped
    kept = np.asarray(outputs != 0)
    assert_close(outputs, jnp.where(kept, below / (1 - rate), 0), 1e-6)
    # Independent draws: every share of kept values lies within 5 standard deviations of 1 - rate.
    for axes in ((0, 1, 2), (0, 1), (0, 2), (1, 2)):
        share = kept.mean(axes)
        drawn = kept.size / share.size
        assert np.all(np.abs(share - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / drawn))
    # Drawn anew at every step, for every sequence and unit: neighbours agree as often as chance has it.
    agree = rate**2 + (1 - rate) ** 2
    for a, b in ((kept[1:], kept[:-1]), (kept[:, 1:], kept[:, :-1]), (kept[..., 1:], kept[..., :-1])):
        assert abs((a == b).mean() - agree) < 5 * np.sqrt(agree * (1 - agree) / a.size)


def test_dropout_is_a_function_of_the_key(dropped):
    deep, x, key, _, below, outputs = dropped
    assert_close(deep(x, key=key), outputs, 0.0)
    assert_close(nnx.jit(lambda module, x, key: module(x, key=key))(deep, x, key), outputs, 1e-6)
    assert np.any(np.asarray(deep(x, key=jax.random.key(10)) != 0) != np.asarray(outputs != 0))
    # Without a key nothing is dropped.
    assert_close(deep(x), below, 1e-6)


def test_dropout_drops_gradients_alike(dropped):
    deep, x, key, rate, _, outputs = dropped
    weights = jax.random.normal(jax.random.key(11), outputs.shape)
    kept = outputs != 0
    grad = jax.grad(lambda x: jnp.vdot(weights, deep(x, key=key)))(x)
    expected = jax.grad(lambda x: jnp.vdot(weights, jnp.where(kept, deep.layers[0](x) / (1 - rate), 0)))(x)
    assert_close(grad, expected, 1e-5)


def test_dropout_stands_between_layers_only_and_differs_from_gap_to_gap():
    rate, size = 0.5, 16
    key = jax.random.key(12)
    x = 1 + jax.random.uniform(key, (10, 10, size))
    one = nn.Stack([identity_cell(size)], size, dropout=rate, rngs=nnx.Rngs(0))
    three = nn.Stack([identity_cell(size)] * 3, size, dropout=rate, rngs=nnx.Rngs(0))
    assert_close(one(x, key=key), x, 1e-6)
    outputs = three(x, key=key)
    kept = np.asarray(outputs != 0)
    assert_close(outputs, jnp.where(kept, x / (1 - rate) ** 2, 0), 1e-6)
    share = (1 - rate) ** 2
    assert abs(kept.mean() - share) < 5 * np.sqrt(share * (1 - share) / kept.size)


def test_residual_passes_by_dropout():
    size = 8
    deep = nn.Stack([identity_cell(size)] * 2, size, dropout=0.5, residual=True, rngs=nnx.Rngs(0))
    x = 1 + jax.random.uniform(jax.random.key(13), (4, 6, size))
    ratio = np.asarray(deep(x, key=jax.random.key(14)) / x)
    dropped = np.isclose(ratio, 1.0)
    assert 0 < dropped.mean() < 1
    np.testing.assert_allclose(ratio, np.where(dropped, 1.0, 3.0), rtol=1e-6)
