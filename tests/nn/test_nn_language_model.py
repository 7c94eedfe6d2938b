"""The language model against plain NumPy: at once and token by token, from a state, with resets and padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from model_oracle import compiled, drawn, embed, log_softmax, mean_nats, run_layers, slope

from recur import cells, nn

V, T, H = 6, 5, 3
RNG = np.random.default_rng(0)
IDS, LABELS = RNG.integers(0, V, (2, 3, T))
LENGTHS = np.array([5, 3, 0])
COUNTS = np.arange(T) < LENGTHS[:, None]
ONE_HOT = functools.partial(nn.LanguageModel, V, cells.gru, hidden_size=H)
TIED = functools.partial(nn.LanguageModel, V, cells.lstm(H), layers=2, embedding_size=H, tied=True, dropout=0.5)


def plain(tensors, name, ids, states=None):
    """Logits after each token of one sequence, and the last states."""
    vocabulary = tensors["vocabulary"]
    tied = "table" not in vocabulary
    x = embed(vocabulary.get("embedding", {}), ids, V, H**0.5 if tied else 1.0)
    hidden, states = run_layers(name, tensors["stack"]["layers"], x, states)
    table = vocabulary["embedding"]["table"] if tied else vocabulary["table"]
    return hidden @ table.T + vocabulary["bias"], states


def test_from_a_state_and_with_resets_it_equals_plain_numpy(x64):
    graph, params, tensors = drawn(ONE_HOT)
    start = (cells.state_type("h")(RNG.standard_normal((3, H))),)
    reset = np.zeros((3, T), bool)
    reset[1, 2] = True

    @compiled
    def run(params, ids, start, reset):
        model = nnx.merge(graph, params)
        step = lambda state, token: model.step(state, token)[::-1]  # noqa: E731
        final, streamed = jax.lax.scan(step, start, ids.T)
        return *model(ids, initial_state=start, reset=reset, return_state=True), streamed, final

    logits, state, streamed, final = run(params, IDS, start, reset)
    for row, ids in enumerate(IDS):
        begin = [cells.state_type("h")(start[0].h[row])]
        expected, states = plain(tensors, "gru", ids, begin)
        np.testing.assert_allclose(streamed[:, row], expected, rtol=1e-12)
        np.testing.assert_allclose(final[0].h[row], states[0].h, rtol=1e-12)
        if row == 1:
            # The reset forgets the given state as well: another text begins from zero.
            expected[2:], states = plain(tensors, "gru", ids[2:])
        np.testing.assert_allclose(logits[row], expected, rtol=1e-12)
        np.testing.assert_allclose(state[0].h[row], states[0].h, rtol=1e-12)


@pytest.fixture(scope="module")
def tied():
    """The deep tied model, compiled once: logits, states, loss and gradient, without dropout and with it."""
    with jax.enable_x64(True):
        graph, params, tensors = drawn(TIED)

    @compiled
    def run(params, ids, labels, lengths, key=None):
        options = {"lengths": lengths, "return_state": True, "key": key}
        logits, state = nnx.merge(graph, params)(ids, **options)
        loss = lambda params: nnx.merge(graph, params).loss(ids, labels, **options)[0]  # noqa: E731
        return logits, state, *jax.value_and_grad(loss)(params)

    return graph, params, tensors, run


def test_logits_loss_and_gradient_equal_plain_numpy_and_do_not_see_padding(tied, x64):
    _, params, tensors, run = tied
    logits, state, loss, gradient = run(params, IDS, LABELS, LENGTHS)
    assert logits.dtype == jnp.float64
    rows = [plain(tensors, "lstm", ids[:length]) for ids, length in zip(IDS[:2], LENGTHS, strict=False)]
    for row, (expected, states) in enumerate(rows):
        np.testing.assert_allclose(logits[row, : LENGTHS[row]], expected, rtol=1e-11)
        for layer in range(2):
            np.testing.assert_allclose(state[layer].c[row], states[layer].c, rtol=1e-11)
    labels = [label[:length] for label, length in zip(LABELS[:2], LENGTHS, strict=False)]
    np.testing.assert_allclose(loss, mean_nats([expected for expected, _ in rows], labels), rtol=1e-11)
    measured, derived = slope(lambda params: run(params, IDS, LABELS, LENGTHS)[2], params, gradient)
    np.testing.assert_allclose(derived, measured, rtol=1e-7)
    again = run(params, np.where(COUNTS, IDS, -9), np.where(COUNTS, LABELS, V + 3), LENGTHS)
    jax.tree.map(np.testing.assert_array_equal, again[1:], (state, loss, gradient))
    assert np.array_equal(again[0][COUNTS], logits[COUNTS])


def test_dropout_comes_with_the_key(tied, x64):
    graph, params, *_ = tied

    @compiled
    def run(params, key):
        return nnx.merge(graph, params)(IDS, key=key)

    logits, again, other = (run(params, jax.random.key(seed)) for seed in (1, 1, 2))
    assert np.array_equal(again, logits)
    assert not np.array_equal(other, logits)


def test_vectors_of_the_embedding_are_dropped_by_their_own_share():
    ids, size = np.arange(V)[None], 400
    made = {"hidden_size": 2, "embedding_size": size, "dropout": 0.5, "rngs": nnx.Rngs(0)}
    for own, expected in ((None, 0.5), (0.2, 0.2), (0.0, 0.0)):
        embedding = nn.LanguageModel(V, cells.gru, embedding_dropout=own, **made).vocabulary.embedding
        share = np.mean(embedding(ids, key=jax.random.key(1)) == 0)
        assert abs(share - expected) <= 5 * (expected * (1 - expected) / (V * size)) ** 0.5
    # Above the embedding it stays with `dropout`.
    model = nn.LanguageModel(V, cells.gru, embedding_dropout=0.0, **made)
    assert not np.allclose(model(ids, key=jax.random.key(1)), model(ids))


def test_scores_of_a_sample_are_log_probabilities_of_the_parallel_pass(tied, x64):
    graph, params, tensors, _ = tied
    start = np.array([1, 4, 0])

    @compiled
    def draw(params, key):
        model = nnx.merge(graph, params)
        return nn.sample(model.step, model.initial_state((3,)), start, key, max_length=4, end=0, temperature=2.0)

    found = draw(params, jax.random.key(1))
    assert len(np.unique(found.lengths)) > 1
    for row, length in enumerate(found.lengths):
        tokens = found.tokens[row, :length]
        logits, _ = plain(tensors, "lstm", np.append(start[row], tokens[:-1]))
        np.testing.assert_allclose(found.scores[row], np.sum(log_softmax(logits)[np.arange(length), tokens]))


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
        ({"embedding_dropout": -1}, ValueError, r"embedding_dropout: expected a probability in \[0, 1\), got -1"),
        ({"rngs": 0}, TypeError, "rngs: expected flax.nnx.Rngs, got int"),
    ],
)
def test_bad_construction(options, error, message):
    with pytest.raises(error, match=message):
        nnx.eval_shape(
            lambda: nn.LanguageModel(**({"vocabulary_size": V, "cell": cells.gru(4), "rngs": nnx.Rngs(0)} | options))
        )


def test_bad_calls():
    model = nnx.merge(*drawn(ONE_HOT, jnp.float32)[:2])
    with pytest.raises(TypeError, match="ids: expected an integer dtype, got float32"):
        model(np.ones((2, 3), np.float32))
    with pytest.raises(TypeError, match="key: expected a PRNG key, got 0"):
        model(IDS, key=0)
    with pytest.raises(ValueError, match="lengths: expected 0 <= length <= 5"):
        model(IDS, lengths=LENGTHS + 1)
