"""The cuDNN engine where there is no GPU: its call is answered by JAX's own reference of that interface."""

import functools

import jax
import jax.numpy as jnp
import pytest
from _oracles import assert_close, random_problem, weighted_sum
from jax.experimental import rnn

import recur
from recur import cells, engines
from recur.engines import _cudnn

CELL = cells.lstm(4)


def reference(x, h, c, weights, lengths, input_size, hidden_size, num_layers, dropout, bidirectional, precision):
    assert dropout == 0
    assert precision is None
    unpacked = rnn.unpack_lstm_weights(weights, input_size, hidden_size, num_layers, bidirectional)
    return rnn.lstm_ref(x, h, c, *unpacked, lengths, input_size, hidden_size, num_layers, dropout, bidirectional)


def forward(x, h, c, weights, lengths, **options):
    return reference(x, h, c, weights, lengths, **options), (x, h, c, weights, lengths)


def backward(*arguments):
    *options, (x, h, c, weights, lengths), cotangents = arguments
    run = functools.partial(lambda *arrays: reference(*arrays, lengths, *options))
    return *jax.vjp(run, x, h, c, weights)[1](tuple(cotangents)), jnp.zeros_like(lengths)


@pytest.fixture
def gpu(monkeypatch):
    """Stands in for a GPU: the layout of weights and axes is the engine's own, the arithmetic the reference's."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(_cudnn.rnn, "lstm_fwd", forward)
    monkeypatch.setattr(_cudnn.rnn, "lstm_bwd", backward)
    yield
    # What was traced with the stand-in must not be found again without it.
    jax.clear_caches()


@pytest.mark.parametrize(("batch_shape", "reverse"), [((2, 3), True), ((), False)])
def test_values_and_gradients_are_those_of_scan(gpu, batch_shape, reverse):
    params, xs, start, _ = random_problem(CELL, 5, batch_shape)

    def differentiate(engine):
        def value(params, xs, start):
            out = recur.unroll(CELL, params, xs, start, reverse=reverse, engine=engine)[:3]
            return weighted_sum(out), out

        return jax.value_and_grad(value, argnums=(0, 1, 2), has_aux=True)(params, xs, start)

    assert_close(differentiate(engines.Cudnn()), differentiate(engines.Scan()))
    assert recur.unroll(CELL, params, xs, start, engine=engines.Cudnn()).info.engine == "cudnn"


def test_says_what_it_cannot_do(gpu):
    params, xs, start, _ = random_problem(CELL, 3, (2,))
    run = functools.partial(recur.unroll, CELL, engine=engines.Cudnn())
    with pytest.raises(ValueError, match=r"mask: expected None under .*Cudnn.*Scan\(\) can take it"):
        run(params, xs, mask=jnp.ones((3, 2), bool))
    with pytest.raises(ValueError, match=r"reset: expected None under .*Cudnn.*Scan\(\) can take it"):
        run(params, xs, reset=jnp.ones((3, 2), bool))
    assert run(params, xs[:0]).info.reason == "no steps"
    with pytest.raises(TypeError, match=r"params: expected float32 .*bfloat16.*Scan\(\) can take it"):
        run(jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params), xs)
    with pytest.raises(ValueError, match=r"under jax.vmap, got one over 2; .*Scan\(\) can run it"):
        jax.vmap(lambda params: run(params, xs).outputs)(jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params))
    with pytest.raises(TypeError, match="jvp"):
        jax.jvp(lambda xs: run(params, xs).outputs, (xs,), (xs,))
    with pytest.raises(ValueError, match=r"cannot run gru\(4\): cuDNN runs the LSTM alone; .*Scan\(\) runs it"):
        recur.unroll(cells.gru(4), {}, xs, engine=engines.Cudnn())


def test_says_that_there_is_no_gpu():
    if jax.default_backend() == "gpu":
        pytest.skip("here is one: the conformance suite runs the engine on it")
    params, xs, *_ = random_problem(CELL, 3, (2,))
    with pytest.raises(ValueError, match=r"cuDNN needs an NVIDIA GPU, and JAX runs on cpu here; .*Scan\(\) runs it"):
        recur.unroll(CELL, params, xs, engine=engines.Cudnn())
