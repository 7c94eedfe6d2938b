"""One prediction for a sequence: against pooling in plain NumPy, with padding that may hold anything, as a stream."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from model_oracle import compiled, drawn, embed, linear, run_both, run_cell

from recur import cells, nn

V, T, X = 5, 4, 3
MASK = np.array([[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
RNG = np.random.default_rng(0)
FEATURES, TOKENS = RNG.standard_normal((3, T, X)), RNG.integers(0, V, (3, T))
MAKERS = {
    "last": functools.partial(nn.SequenceRegressor, 2, cells.lstm(2), input_size=X),
    "mean": functools.partial(nn.SequenceRegressor, 1, cells.elman(2), vocabulary_size=V, pooling="mean"),
    "max": functools.partial(
        nn.SequenceClassifier, 3, cells.elman, hidden_size=2, vocabulary_size=V, embedding_size=X, pooling="max"
    ),
}
POOLS = {"mean": lambda h: h.mean(0), "max": lambda h: h.max(0)}


def plain(which, tensors, x):
    """The prediction for one sequence of which every step counts."""
    name = "lstm" if which == "last" else "elman"
    x = x if which == "last" else embed(tensors.get("embedding", {}), x, V)
    layer = tensors["stack"]["layers"][0]
    if "forward" in layer:
        outputs, last, _ = run_both(name, layer, x)
    else:
        outputs, state = run_cell(name, layer["params"], x)
        last = state.h
    return linear(tensors["readout"], last if which == "last" else POOLS[which](outputs))


@pytest.mark.parametrize(
    ("which", "bidirectional"), [("last", True), pytest.param("mean", False, marks=pytest.mark.slow), ("max", False)]
)
def test_predictions_equal_plain_numpy_and_do_not_see_padding(which, bidirectional, x64):
    graph, params, tensors = drawn(functools.partial(MAKERS[which], bidirectional=bidirectional))
    x, garbage = (FEATURES, np.nan) if which == "last" else (TOKENS, -3)

    @compiled
    def run(params, x, mask):
        if which == "last":
            return nnx.merge(graph, params)(x, mask=mask), {}

        def loss(params):
            y = nnx.merge(graph, params)(x, mask=mask)
            return jnp.sum(y**2), y

        (_, predictions), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return predictions, gradient

    found, gradient = run(params, x, MASK)
    padded = np.where(MASK.reshape(*MASK.shape, *[1] * (x.ndim - 2)), x, garbage)
    jax.tree.map(np.testing.assert_array_equal, run(params, padded, MASK), run(params, x, MASK))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    for row, counts in enumerate(MASK[:2]):
        np.testing.assert_allclose(found[row], plain(which, tensors, x[row][counts]), rtol=1e-12)
    # Nothing to pool: zeros, as the initial state puts out.
    np.testing.assert_allclose(found[2], tensors["readout"]["bias"], rtol=1e-12)


@pytest.mark.parametrize("which", MAKERS)
def test_a_stream_predicts_as_if_the_sequence_ended_there(which, x64):
    graph, params, tensors = drawn(MAKERS[which])
    x = FEATURES if which == "last" else TOKENS

    @compiled
    def run(params, x):
        model = nnx.merge(graph, params)
        step = lambda state, x: model.step(state, x)[::-1]  # noqa: E731
        streamed = jax.lax.scan(step, model.initial_state((3,)), jnp.moveaxis(x, 1, 0))[1]
        return streamed, model(x, return_sequences=True) if which == "last" else None

    streamed, every = run(params, x)
    for time in range(T):
        expected = [plain(which, tensors, x[row, : time + 1]) for row in range(3)]
        np.testing.assert_allclose(streamed[time], expected, rtol=1e-12)
        if every is not None:
            np.testing.assert_allclose(every[:, time], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "input_size: expected it, for features, or vocabulary_size, for tokens, got None and None"),
        ({"input_size": 3, "vocabulary_size": 5}, "input_size: expected it, .* got 3 and 5; give one"),
        ({"input_size": 3, "embedding_size": 5}, "embedding_size: expected None without vocabulary_size, got 5"),
        ({"input_size": 3, "pooling": "sum"}, r"pooling: expected one of \['last', 'mean', 'max'\], got 'sum'"),
        ({"input_size": 3, "classes": 1}, "classes: expected at least 2, got 1"),
    ],
)
def test_bad_construction(options, message):
    with pytest.raises(ValueError, match=message):
        nn.SequenceClassifier(**({"classes": 2, "cell": cells.gru(4), "rngs": nnx.Rngs(0)} | options))


def test_bad_calls():
    model = nnx.merge(*drawn(MAKERS["max"], jnp.float32)[:2])
    with pytest.raises(ValueError, match=r"return_sequences: expected False, .* pooling='max', bidirectional=False"):
        model(TOKENS, return_sequences=True)
    with pytest.raises(ValueError, match="lengths: expected None beside mask"):
        model(TOKENS, lengths=np.array([1, 1, 1]), mask=MASK)
    backwards = nnx.merge(*drawn(functools.partial(MAKERS["max"], bidirectional=True), jnp.float32)[:2])
    with pytest.raises(ValueError, match="step: expected a stack of forward layers, got bidirectional=True"):
        jax.eval_shape(lambda: backwards.step(backwards.initial_state(), jnp.array(0)))


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_a_sequence_of_no_steps_reads_zeros_out(pooling):
    model = nn.SequenceClassifier(2, cells.gru, input_size=2, hidden_size=3, pooling=pooling, rngs=nnx.Rngs(0))
    wanted = np.broadcast_to(np.asarray(model.readout.bias), (2, 2))
    np.testing.assert_array_equal(model(jnp.zeros((2, 0, 2))), wanted)
    np.testing.assert_array_equal(model(jnp.ones((2, 3, 2)), lengths=jnp.array([0, 0])), wanted)
