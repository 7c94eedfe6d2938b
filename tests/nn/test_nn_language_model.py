"""The language model against a plain loop, in windows, token by token, with padding, and in its searches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from nn_oracle import assert_close

from recur import cells, nn

V, T = 6, 5
LENGTHS = np.array([5, 3, 0])
MAKERS = {
    "one-hot": functools.partial(nn.LanguageModel, V, cells.gru, hidden_size=4),
    "tied": functools.partial(nn.LanguageModel, V, cells.lstm(4), layers=2, embedding_size=4, tied=True, dropout=0.5),
    "embedding": functools.partial(nn.LanguageModel, V, cells.elman(4), embedding_size=3),
}
IDS = np.asarray(jax.random.randint(jax.random.key(1), (3, T), 0, V))
LABELS = np.asarray(jax.random.randint(jax.random.key(2), (3, T), 0, V))


def plain(model, ids):
    """The logits after each token of one sequence, and the states, layer by layer and step by step."""
    vocabulary, state, logits = model.vocabulary, list(model.initial_state()), []
    table = vocabulary.embedding.table
    for token in ids:
        x = np.eye(V)[token] if table is None else np.asarray(table[token])
        if vocabulary.table is None:
            x = x * 2.0  # tied: scaled by sqrt(4)
        for index, layer in enumerate(model.stack.layers):
            state[index], x = layer.cell.step(layer.as_cell()[1], state[index], jnp.asarray(x))
        readout = table if vocabulary.table is None else vocabulary.table
        logits.append(np.asarray(readout[...]) @ np.asarray(x) + np.asarray(vocabulary.bias[...]))
    return np.stack(logits), tuple(state)


@pytest.mark.parametrize("which", MAKERS)
def test_logits_and_steps_equal_a_plain_loop(which, x64):
    model = MAKERS[which](rngs=nnx.Rngs(0), dtype=jnp.float64)
    model.vocabulary.bias[...] = jnp.arange(V) / V
    logits, state = model(IDS[0], return_state=True)
    expected, expected_state = plain(model, IDS[0])
    np.testing.assert_allclose(logits, expected, rtol=1e-12, atol=1e-12)
    assert_close(state, expected_state, 1e-12)
    assert logits.dtype == jnp.float64
    streamed, state = [], model.initial_state((3,))
    step = nnx.jit(lambda model, state, token: model.step(state, token))
    for token in IDS.T:
        here, state = step(model, state, token)
        streamed.append(here)
    assert_close((jnp.stack(streamed, axis=1), state), model(IDS, return_state=True), 1e-12)


@pytest.fixture(scope="module")
def deep():
    """A deep tied model, and its compiled call and loss as pure functions."""
    graph, params = nnx.split(MAKERS["tied"](rngs=nnx.Rngs(0)))

    @functools.partial(jax.jit, static_argnames="which")
    def run(params, ids, lengths, key=None, which="call"):
        model = nnx.merge(graph, params)
        if which == "call":
            return model(ids, lengths=lengths, return_state=True, key=key)
        loss = functools.partial(model.loss, ids, LABELS, lengths=lengths, return_state=True, key=key)
        return loss(label_smoothing=0.1)

    gradient = jax.jit(jax.grad(lambda *arguments: run(*arguments, which="loss")[0]))
    return graph, params, run, gradient


def test_padding_is_not_seen(deep):
    _, params, run, gradient = deep
    counts = np.arange(T) < LENGTHS[:, None]
    logits, state = run(params, IDS, LENGTHS)
    for garbage in (-9, V + 3, 2):
        padded = np.where(counts, IDS, garbage)
        found, found_state = run(params, padded, LENGTHS)
        assert np.array_equal(found, logits)
        assert_close(found_state, state, 0.0)
        assert_close(gradient(params, padded, LENGTHS), gradient(params, IDS, LENGTHS), 0.0)
    # Shorter sequences are what they are alone.
    alone, _ = run(params, IDS[1:2, :3], np.array([3]))
    np.testing.assert_allclose(logits[1, :3], alone[0], rtol=1e-5, atol=1e-6)


def test_the_loss_is_that_of_the_logits_and_dropout_comes_with_a_key(deep):
    _, params, run, _ = deep
    mask = np.arange(T) < LENGTHS[:, None]
    for key in (None, jax.random.key(1)):
        logits, state = run(params, IDS, LENGTHS, key)
        loss, loss_state = run(params, IDS, LENGTHS, key, which="loss")
        expected = nn.cross_entropy(logits, LABELS, mask=mask, label_smoothing=0.1)
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        assert_close(loss_state, state, 0.0)
    again, _ = run(params, IDS, LENGTHS, jax.random.key(1))
    assert np.array_equal(again, logits)
    assert not np.array_equal(run(params, IDS, LENGTHS, jax.random.key(2))[0], logits)
    assert not np.array_equal(run(params, IDS, LENGTHS)[0], logits)


def test_windows_with_their_state_equal_the_whole_and_reset_begins_anew():
    model = MAKERS["one-hot"](rngs=nnx.Rngs(0))
    call = nnx.jit(lambda model, ids, state, reset: model(ids, initial_state=state, reset=reset, return_state=True))
    whole, state = call(model, IDS, None, None)
    first, between = call(model, IDS[:, :3], None, None)
    second, end = call(model, IDS[:, 3:], between, None)
    assert_close((jnp.concatenate([first, second], axis=1), end), (whole, state), 1e-6)
    # A reset forgets the window before too.
    reset = np.zeros((3, 3), bool)
    reset[:, 1] = True
    packed, _ = call(model, IDS[:, 2:], between, reset)
    assert_close(packed[:, 1:], call(model, IDS[:, 3:], None, None)[0], 1e-6)


def test_scores_of_a_search_are_log_probabilities_of_the_parallel_pass(deep):
    graph, params, _, _ = deep
    start = np.array([1, 4, 0])

    @jax.jit
    def both(params, key):
        model = nnx.merge(graph, params)
        state = model.initial_state((3,))
        drawn = nn.sample(model.step, state, start, key, max_length=4, end=0, temperature=2.0)
        best = nn.beam_search(model.step, state, start, beam_size=2, max_length=4, end=0)
        tokens = jnp.concatenate([drawn.tokens[:, None], best.tokens], axis=1)
        lengths = jnp.concatenate([drawn.lengths[:, None], best.lengths], axis=1)
        ids = jnp.concatenate([jnp.broadcast_to(start[:, None, None], (3, 3, 1)), tokens], axis=-1)[..., :-1]
        nats = jax.nn.log_softmax(model(ids))
        picked = jnp.take_along_axis(nats, tokens[..., None], axis=-1)[..., 0]
        counts = jnp.arange(4)[None, None] < lengths[..., None]
        scores = jnp.concatenate([drawn.scores[:, None], best.scores], axis=1)
        return scores, jnp.sum(jnp.where(counts, picked, 0), axis=-1), lengths

    scores, expected, lengths = both(params, jax.random.key(0))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert len(np.unique(lengths)) > 1


def test_half_precision_parameters_keep_float32_states_and_logits():
    model = MAKERS["tied"](rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    logits, state = model(IDS, return_state=True)
    assert {leaf.dtype for leaf in jax.tree.leaves((logits, state))} == {jnp.dtype(jnp.float32)}
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {jnp.dtype(jnp.bfloat16)}
    graph, params = nnx.split(model)
    wide = nnx.merge(graph, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params))
    # A vector from the table is rounded once more when it is scaled.
    np.testing.assert_allclose(logits, wide(IDS), atol=0.02)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell": "lstm"}, TypeError, "cell: expected a recur.cells.Cell, or a factory such as"),
        ({"cell": cells.lstm}, ValueError, "hidden_size: expected the number of hidden units beside a factory"),
        ({"cell": lambda size: size, "hidden_size": 3}, TypeError, "cell: expected a factory of recur.cells.Cell"),
        ({"hidden_size": 3}, ValueError, r"hidden_size: expected None beside the cell gru\(4\), got 3"),
        ({"layers": 0}, ValueError, "layers: expected a whole number >= 1, got 0"),
        ({"tied": True}, ValueError, "tied: expected an embedding as wide as .* 4, got embedding_size None"),
        ({"vocabulary_size": 0}, ValueError, "vocabulary_size: expected a whole number >= 1, got 0"),
        ({"embedding_size": 0}, ValueError, "embedding_size: expected a whole number >= 1, got 0"),
        ({"dropout": 1.0}, ValueError, r"dropout: expected a probability in \[0, 1\)"),
        ({"rngs": 0}, TypeError, "rngs: expected flax.nnx.Rngs, got int"),
    ],
)
def test_bad_construction(options, error, message):
    with pytest.raises(error, match=message):
        nn.LanguageModel(**({"vocabulary_size": V, "cell": cells.gru(4), "rngs": nnx.Rngs(0)} | options))


def test_bad_calls():
    model = MAKERS["one-hot"](rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="ids: expected an integer dtype, got float32"):
        model(np.ones((2, 3), np.float32))
    with pytest.raises(TypeError, match="key: expected a PRNG key, got 0"):
        model(IDS, key=0)
    with pytest.raises(ValueError, match="lengths: expected 0 <= length <= 5"):
        model(IDS, lengths=LENGTHS + 1)
    bidirectional = nn.Stack([cells.gru(2)], 3, bidirectional=True, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="step: expected a stack of forward layers, got bidirectional=True"):
        bidirectional.step(bidirectional.initial_state(), jnp.ones(3))
