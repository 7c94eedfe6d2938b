"""Dropped recurrent weights: the same at every step of every sequence, others for each key, layer and direction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from nn_oracle import INPUT_SIZE, MODULES, assert_close

import recur
from recur import cells, nn

SIZE, RATE = 24, 0.3
KEY = jax.random.key(3)
X = jax.random.normal(jax.random.key(4), (3, 6, INPUT_SIZE))


def linear():
    """A layer h_t = h_{t-1} W, without input: from unit vectors, T steps show W^T, row by row."""
    cell = cells.elman(SIZE, activation="identity", kernel_init=0.0)
    return nn.RNN(cell, 1, recurrent_dropout=RATE, rngs=nnx.Rngs(0))


def powers(rnn, key=None, steps=3):
    return rnn(jnp.zeros((SIZE, steps, 1)), initial_state=rnn.cell.initial_state(())._replace(h=jnp.eye(SIZE)), key=key)


def test_the_same_weights_are_dropped_at_every_step_of_every_sequence():
    rnn = linear()
    kernel = rnn.params["recurrent_kernel"][...][:, 0]
    outputs = powers(rnn, KEY)
    once = outputs[:, 0]
    kept = np.asarray(once != 0)
    assert_close(once, jnp.where(kept, kernel / (1 - RATE), 0), 1e-6)
    share = kept.mean()
    assert abs(share - (1 - RATE)) < 5 * np.sqrt(RATE * (1 - RATE) / kept.size)
    assert_close(outputs[:, 1], once @ once, 1e-6)
    assert_close(outputs[:, 2], once @ once @ once, 1e-6)


def test_it_is_a_function_of_the_key():
    rnn = linear()
    once = powers(rnn, KEY)
    assert_close(powers(rnn, KEY), once, 0.0)
    assert np.any(np.asarray(powers(rnn, jax.random.key(5)) != 0) != np.asarray(once != 0))
    kernel = rnn.params["recurrent_kernel"][...][:, 0]
    assert_close(powers(rnn)[:, 0], kernel, 1e-6)


def test_steps_of_a_stream_drop_what_the_call_drops():
    for module in (
        nn.RNN(cells.lstm(4), INPUT_SIZE, recurrent_dropout=0.5, rngs=nnx.Rngs(1)),
        nn.Stack([cells.lstm(4), cells.gru(5)], INPUT_SIZE, recurrent_dropout=0.5, rngs=nnx.Rngs(1)),
    ):
        outputs = module(X, key=KEY)
        assert not np.allclose(outputs, module(X))
        state = module.initial_state((3,))
        for step in range(X.shape[1]):
            state, output = module.step(state, X[:, step], key=KEY)
            assert_close(output, outputs[:, step], 1e-6)


@pytest.mark.parametrize("name", MODULES)
def test_layers_and_directions_drop_different_weights(name):
    module = MODULES[name](recurrent_dropout=0.5, rngs=nnx.Rngs(2))
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def loss(params):
        return jnp.sum(jnp.square(nnx.merge(graph, params, rest)(X, key=KEY)))

    # What is dropped has no gradient.
    grads = {
        jax.tree_util.keystr(path): np.asarray(grad == 0)
        for path, grad in jax.tree_util.tree_flatten_with_path(jax.grad(loss)(params))[0]
    }
    recurrent = [dropped for path, dropped in grads.items() if "recurrent_kernel" in path]
    assert len(recurrent) == {"rnn": 1, "bidirectional": 2, "stack": 2, "deep_bidirectional": 4}[name]
    assert all(0 < dropped.mean() < 1 for dropped in recurrent)
    for index, dropped in enumerate(recurrent):
        assert not any(dropped.shape == other.shape and np.all(dropped == other) for other in recurrent[:index])


@pytest.mark.parametrize("name", cells.CELLS)
def test_every_cell_with_a_recurrent_kernel(name):
    cell = cells.CELLS[name](6)
    params = cell.init(jax.random.key(0), INPUT_SIZE)
    if "recurrent_kernel" not in params:
        with pytest.raises(
            ValueError, match="recurrent_dropout: expected 0 or another with .* no parameter 'recurrent_kernel'"
        ):
            nn.RNN(cell, INPUT_SIZE, recurrent_dropout=0.5, rngs=nnx.Rngs(0))
        return
    rnn = nn.RNN(cell, INPUT_SIZE, recurrent_dropout=0.5, rngs=nnx.Rngs(0))
    _, params = rnn.as_cell()
    kernel = params["recurrent_kernel"]
    # The first of the keys that are drawn from is the one of the leaf's place among the parameters.
    place = [path[0].key for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]].index("recurrent_kernel")
    kept = jax.random.bernoulli(jax.random.fold_in(KEY, place), 0.5, kernel.shape)
    dropped = params | {"recurrent_kernel": jnp.where(kept, 2 * kernel, 0)}
    expected = recur.unroll(cell, dropped, jnp.moveaxis(X, 1, 0)).outputs
    assert_close(rnn(X, key=KEY), jnp.moveaxis(expected, 0, 1), 1e-6)


def test_a_language_model_passes_it_on():
    made = {"hidden_size": 6, "layers": 2, "rngs": nnx.Rngs(0)}
    model = nn.LanguageModel(5, cells.lstm, recurrent_dropout=0.5, **made)
    ids = jnp.arange(12).reshape(3, 4) % 5
    assert [layer.recurrent_dropout for layer in model.stack.layers] == [nn.WeightDrop(0.5)] * 2
    assert not np.allclose(model(ids, key=KEY), model(ids))


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        (1.0, ValueError, r"recurrent_dropout: expected a probability in \[0, 1\), got 1.0"),
        (-0.1, ValueError, r"recurrent_dropout: expected a probability in \[0, 1\), got -0.1"),
        ("half", TypeError, r"recurrent_dropout: expected a probability in \[0, 1\), or a WeightDrop, .*, got 'half'"),
        (nn.Zoneout, TypeError, "recurrent_dropout: expected a probability .* or Zoneout, got <class"),
        (True, TypeError, r"recurrent_dropout: expected a probability in \[0, 1\), or a WeightDrop, .*, got True"),
    ],
)
def test_wrong_rates(rate, error, message):
    for make in MODULES.values():
        with pytest.raises(error, match=message):
            make(recurrent_dropout=rate, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", ["rnn", "bidirectional"])
def test_a_wrong_key(name):
    with pytest.raises(TypeError, match="key: expected"):
        MODULES[name](recurrent_dropout=0.5, rngs=nnx.Rngs(0))(X, key=3)
