"""One prediction for a sequence: against pooling by hand, with padding that may hold anything, and as a stream."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from nn_oracle import assert_close, run_alone

from recur import cells, nn

V, T, X = 5, 4, 3
MASK = np.array([[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
FEATURES = np.asarray(jax.random.normal(jax.random.key(1), (3, T, X)), np.float64)
TOKENS = np.asarray(jax.random.randint(jax.random.key(2), (3, T), 0, V))
MAKERS = {
    "last": functools.partial(nn.SequenceRegressor, 2, cells.lstm(2), input_size=X, layers=2, dropout=0.5),
    "mean": functools.partial(nn.SequenceRegressor, 1, cells.gru(2), vocabulary_size=V, pooling="mean"),
    "max": functools.partial(
        nn.SequenceClassifier, 3, cells.elman, hidden_size=2, vocabulary_size=V, embedding_size=2, pooling="max"
    ),
}
POOLS = {"mean": lambda h: h.mean(0), "max": lambda h: h.max(0)}


@functools.cache
def made(which, bidirectional):
    """The model's parameters, and its call and gradients as one compiled function of them."""
    model = MAKERS[which](bidirectional=bidirectional, rngs=nnx.Rngs(0), dtype=jnp.float64)
    graph, params = nnx.split(model)

    @jax.jit
    def run(params, x, mask):
        loss = lambda params: jnp.sum(nnx.merge(graph, params)(x, mask=mask) ** 2)  # noqa: E731
        return nnx.merge(graph, params)(x, mask=mask), jax.grad(loss)(params)

    return model, params, run


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("which", MAKERS)
def test_predictions_equal_pooling_by_hand_and_do_not_see_padding(which, bidirectional, x64):
    model, params, run = made(which, bidirectional)
    x, garbage = (FEATURES, np.nan) if which == "last" else (TOKENS, -3)
    found, gradient = run(params, x, MASK)
    again, gradient_again = run(params, np.where(MASK[..., None] if x.ndim == 3 else MASK, x, garbage), MASK)
    assert np.array_equal(again, found)
    assert_close(gradient_again, gradient, 0.0)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    for row, counts in enumerate(MASK[:2]):
        steps = jnp.asarray(x[row][counts])
        alone = run_alone(model.stack, steps if model.embedding is None else model.embedding(steps))
        pooled = alone.last if which == "last" else POOLS[which](alone.outputs)
        np.testing.assert_allclose(found[row], model.readout(pooled), rtol=1e-12)
    # Nothing to pool: the outputs of the initial state, which are zeros, and so is what is pooled of none.
    np.testing.assert_allclose(found[2], model.readout.bias[...], atol=1e-15)


@pytest.mark.parametrize("which", MAKERS)
def test_a_stream_predicts_as_if_the_sequence_ended_there(which, x64):
    model, params, run = made(which, False)
    x = FEATURES if which == "last" else TOKENS
    state, step = model.initial_state((3,)), nnx.jit(lambda model, state, x: model.step(state, x))
    for time in range(T):
        prediction, state = step(model, state, x[:, time])
        expected, _ = run(params, x, np.broadcast_to(np.arange(T) <= time, (3, T)))
        np.testing.assert_allclose(prediction, expected, rtol=1e-12)
        if which == "last" and time == 1:
            every = nnx.jit(lambda model, x: model(x, return_sequences=True))(model, x)
            np.testing.assert_allclose(every[:, time], expected, rtol=1e-12)


def test_lengths_dropout_and_seeds():
    maker = MAKERS["last"]
    graph, _ = nnx.split(nnx.eval_shape(lambda: maker(rngs=nnx.Rngs(0))))
    seeds = jax.vmap(lambda key: nnx.split(maker(rngs=nnx.Rngs(key)))[1])(jax.random.split(jax.random.key(0), 2))
    x, lengths = FEATURES.astype(np.float32), np.array([4, 2, 1])

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def predict(params, lengths, key):
        model = nnx.merge(graph, params)
        mask = jnp.arange(T)[None] < lengths[:, None]
        return model(x, lengths=lengths), model(x, mask=mask), model(x, mask=mask, key=key)

    plain, masked, dropped = predict(seeds, lengths, jax.random.key(1))
    assert np.array_equal(plain, masked)
    assert np.array_equal(dropped, predict(seeds, lengths, jax.random.key(1))[2])
    assert not np.array_equal(dropped, plain)
    assert np.all(plain[0] != plain[1])


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
    model = MAKERS["max"](rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"return_sequences: expected False, .* pooling='max', bidirectional=False"):
        model(TOKENS, return_sequences=True)
    with pytest.raises(ValueError, match="lengths: expected None beside mask"):
        model(TOKENS, lengths=np.array([1, 1, 1]), mask=MASK)
