"""Modules under jit, vmap, grad, optax and Orbax, and what their state holds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from nn_oracle import INPUT_SIZE, MODULES, assert_close, make

import recur
from recur import cells, nn

X = jax.random.normal(jax.random.key(7), (3, 5, INPUT_SIZE))
LENGTHS = jnp.array([5, 2, 0])
RESET = np.array([[0, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool)


@pytest.fixture(params=MODULES)
def name(request):
    return request.param


def call(module, x, lengths):
    return module(x, lengths=lengths, reset=RESET, return_state=True)


def test_every_kind_of_jit_equals_eager(name):
    module = make(name)
    eager = call(module, X, LENGTHS)
    graph, state = nnx.split(module)
    plain = jax.jit(lambda state, x, lengths: call(nnx.merge(graph, state), x, lengths))
    assert_close(plain(state, X, LENGTHS), eager, 1e-6)
    assert_close(nnx.jit(call)(module, X, LENGTHS), eager, 1e-6)
    # Traced lengths cannot be checked: beyond T means T, below 0 means none.
    assert_close(plain(state, X, jnp.array([9, 2, -1])), eager, 1e-6)


def test_the_second_call_does_not_compile(name):
    traces = []

    def count(graph, state, x, lengths):
        traces.append(x.shape)
        return call(nnx.merge(graph, state), x, lengths)

    # Another module of the same make is the same to the cache: nothing but its numbers differs.
    jitted = jax.jit(count, static_argnums=0)
    jitted(*nnx.split(make(name, seed=0)), X, LENGTHS)
    jitted(*nnx.split(make(name, seed=1)), X + 1, LENGTHS[::-1])
    assert len(traces) == 1


def test_gradients_by_nnx_equal_those_of_the_plain_state(name):
    module = make(name)
    graph, state = nnx.split(module)

    def loss(module):
        return jnp.sum(module(X, lengths=LENGTHS) ** 2)

    grad = nnx.grad(loss)(module)
    expected = jax.grad(lambda state: loss(nnx.merge(graph, state)))(state)
    assert_close(jax.tree.leaves(grad), jax.tree.leaves(expected), 1e-6)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grad))


def test_many_seeds_by_vmap_equal_modules_made_one_by_one():
    def fresh(key):
        return nn.Stack([cells.lstm(4), cells.gru(2)], INPUT_SIZE, bidirectional=True, rngs=nnx.Rngs(params=key))

    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.vmap(lambda key: nnx.split(fresh(key))[1])(keys)
    graph = nnx.split(nnx.eval_shape(lambda: fresh(keys[0])))[0]
    outputs = jax.vmap(lambda state: nnx.merge(graph, state)(X, lengths=LENGTHS))(states)
    for index in range(3):
        assert_close(outputs[index], fresh(keys[index])(X, lengths=LENGTHS), 1e-5)


def test_bfloat16_inputs_keep_a_float32_state(name):
    module = make(name)
    x = X.astype(jnp.bfloat16)
    outputs, state = call(module, x, LENGTHS)
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, state))} == {jnp.dtype(jnp.float32)}
    assert_close((outputs, state), call(module, x.astype(jnp.float32), LENGTHS), 1e-5)


def test_optax_takes_the_parameters():
    module = make("deep_bidirectional")

    def loss(module):
        return jnp.mean((module(X, lengths=LENGTHS, return_sequences=False) - 0.5) ** 2)

    before, grad = nnx.state(module, nnx.Param), nnx.grad(loss)(module)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, before, grad)
    value = loss(module)
    optimizer = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)
    optimizer.update(module, grad)
    assert_close(nnx.state(module, nnx.Param), expected, 1e-6)
    assert loss(module) < value


def test_orbax_restores_the_state(name, tmp_path):
    module, other = make(name, seed=0), make(name, seed=1)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.to_pure_dict(nnx.state(module)))
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", nnx.to_pure_dict(nnx.state(other)))
    state = nnx.state(other)
    nnx.replace_by_pure_dict(state, restored)
    nnx.update(other, state)
    assert_close(call(other, X, LENGTHS), call(module, X, LENGTHS), 0.0)


def test_the_state_is_parameters_under_natural_paths_and_no_key():
    deep = nn.Stack([cells.lstm(4), cells.gru(2)], INPUT_SIZE, bidirectional=True, dropout=0.1, rngs=nnx.Rngs(0))
    _, params, rest = nnx.split(deep, nnx.Param, ...)
    assert not jax.tree.leaves(rest)
    paths = [path for path, _ in nnx.to_flat_state(params)]
    tensors = {0: ["bias", "kernel", "recurrent_kernel"], 1: ["bias", "kernel", "recurrent_bias", "recurrent_kernel"]}
    assert paths == [
        ("layers", index, way, "params", tensor)
        for index in (0, 1)
        for way in ("backward", "forward")
        for tensor in tensors[index]
    ]
    nested = nn.RNN(cells.stacked(cells.elman(2), cells.elman(2)), INPUT_SIZE, rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    assert nested.params["layer_1"]["kernel"].shape == (2, 1, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(nested))} == {jnp.dtype(jnp.bfloat16)}


def test_parameters_are_what_the_cell_draws_and_the_engine_runs():
    cell = cells.lstm(4)
    rnn = nn.RNN(cell, INPUT_SIZE, rngs=nnx.Rngs(3), engine=recur.engines.Scan(unroll=2))
    _, params = rnn.as_cell()
    assert_close(params, cell.init(nnx.Rngs(3).params(), INPUT_SIZE), 1e-6)
    assert_close(rnn(X), nn.RNN(cell, INPUT_SIZE, rngs=nnx.Rngs(3))(X), 1e-6)
    # Both directions, and all layers, draw numbers of their own.
    both = nn.Bidirectional(cell, INPUT_SIZE, rngs=nnx.Rngs(3))
    assert np.all(both.forward.params["kernel"][...] != both.backward.params["kernel"][...])


def test_short_integers_count_long_sequences():
    rnn = make("rnn")
    x = jax.random.normal(jax.random.key(1), (2, 300, INPUT_SIZE))
    lengths = np.array([250, 3])
    assert_close(rnn(x, lengths=lengths.astype(np.uint8)), rnn(x, lengths=lengths), 0.0)
