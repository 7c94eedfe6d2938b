"""Encoder, attention and decoder against plain NumPy loops: at once, step by step, with padding, and searched."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx
from model_oracle import compiled, drawn, embed, linear, log_softmax, mean_nats, run_both, run_layers, slope

from recur import cells, nn

SOURCES, V, S, T, H = 5, 6, 4, 5, 2
RNG = np.random.default_rng(3)
SOURCE, TARGET, LABELS = RNG.integers(0, SOURCES, (3, S)), RNG.integers(0, V, (3, T)), RNG.integers(0, V, (3, T))
SOURCE_LENGTHS, TARGET_LENGTHS = np.array([4, 1, 0]), np.array([5, 3, 2])
SOURCE_COUNTS, COUNTS = (np.arange(n) < lengths[:, None] for n, lengths in ((S, SOURCE_LENGTHS), (T, TARGET_LENGTHS)))
# Three ways to attend, to feed back, and to begin: with the same states, with both directions', with dense maps.
VARIANTS = {
    "luong": (cells.lstm(3), {"embedding_size": 3, "tied": True}),
    "input feeding": (
        cells.gru(H),
        {"attention": "general", "feeding": "input", "bidirectional": True, "embedding_size": 3},
    ),
    "bahdanau": (
        cells.gru(H),
        {
            "attention": "additive",
            "feeding": "context",
            "bidirectional": True,
            "encoder_cell": cells.gru(H // 2),
            "embedding_size": 3,
        },
    ),
}


def attend(tensors, query, memory):
    """Context and weights of one query, entry by entry."""
    if "direction" in tensors:
        keys = [np.tanh(linear(tensors["memory_map"], m) + linear(tensors["query_map"], query)) for m in memory]
        scores = np.array([linear(tensors["direction"], key)[0] for key in keys])
    elif "memory_map" in tensors:
        scores = np.array([query @ linear(tensors["memory_map"], m) for m in memory])
    else:
        scores = np.array([query @ m for m in memory])
    weights = np.exp(scores) / np.sum(np.exp(scores))
    return sum((w * m for w, m in zip(weights, memory, strict=True)), np.zeros(memory.shape[1])), weights


def plain(which, tensors, source, target):
    """Logits and attention weights of one pair without padding, one target token after the other."""
    cell, options = VARIANTS[which]
    name = cell.name
    x = embed(tensors["source_embedding"], source, SOURCES)
    layers = tensors["encoder"]["layers"]
    if options.get("bidirectional"):
        memory, last, state = run_both(name, layers[0], x)
        states = [state]
    else:
        memory, states = run_layers(name, layers, x)
    if "bridge" in tensors:
        states = [cells.state_type("h")(np.tanh(linear(tensors["bridge"]["maps"][0], last)))]
    vocabulary, feeding = tensors["vocabulary"], options.get("feeding")
    tied = options.get("tied", False)
    table = vocabulary["embedding"]["table"] if tied else vocabulary["table"]
    attended, logits, weights = np.zeros(tensors["combine"]["bias"].shape), [], []
    for token in target:
        x = embed(vocabulary["embedding"], token, V, 3**0.5 if tied else 1.0)
        if feeding == "input":
            x = np.concatenate([x, attended])
        if feeding == "context":
            context, w = attend(tensors["attention"], states[-1].h, memory)
            x = np.concatenate([x, context])
        hidden, states = run_layers(name, tensors["decoder"]["layers"], x[None], states)
        if feeding != "context":
            context, w = attend(tensors.get("attention", {}), hidden[0], memory)
        attended = np.tanh(linear(tensors["combine"], np.concatenate([context, hidden[0]])))
        logits.append(table @ attended + vocabulary["bias"])
        weights.append(w)
    return np.array(logits), np.array(weights)


@functools.cache
def made(which):
    cell, options = VARIANTS[which]
    graph, params, tensors = drawn(functools.partial(nn.EncoderDecoder, SOURCES, V, cell, **options))

    @compiled
    def run(params, source, target, labels):
        lengths = {"source_lengths": SOURCE_LENGTHS, "target_lengths": TARGET_LENGTHS}

        def loss(params):
            return nnx.merge(graph, params).loss(source, target, labels, **lengths)

        model = nnx.merge(graph, params)
        memory = model.encode(source, lengths=SOURCE_LENGTHS)
        step = lambda state, token: model.step(memory, state, token)[::-1]  # noqa: E731
        streamed = jax.lax.scan(step, model.initial_state(memory), target.T)[1]
        called = model(source, target, return_attention=True, **lengths)
        if which != "input feeding":  # in the slow suite: a gradient is the most costly thing to compile
            return *called, streamed, loss(params), {}
        return *called, streamed, *jax.value_and_grad(loss)(params)

    return graph, params, tensors, run


@pytest.mark.parametrize("which", ["luong", pytest.param("input feeding", marks=pytest.mark.slow), "bahdanau"])
def test_all_of_it_equals_plain_numpy_and_does_not_see_padding(which, x64):
    _, params, tensors, run = made(which)
    logits, weights, streamed, loss, gradient = run(params, SOURCE, TARGET, LABELS)
    expected = []
    for row in range(3):
        s, t = SOURCE_LENGTHS[row], TARGET_LENGTHS[row]
        wanted, alignment = plain(which, tensors, SOURCE[row, :s], TARGET[row, :t])
        expected.append(wanted)
        np.testing.assert_allclose(logits[row, :t], wanted, rtol=1e-10)
        np.testing.assert_allclose(streamed[:t, row], wanted, rtol=1e-10)
        np.testing.assert_allclose(weights[row, :t, :s], alignment.reshape(t, s), rtol=1e-10)
        assert np.all(weights[row, :, s:] == 0)
    counted = [label[:t] for label, t in zip(LABELS, TARGET_LENGTHS, strict=True)]
    np.testing.assert_allclose(loss, mean_nats(expected, counted), rtol=1e-10)
    if gradient:
        measured, derived = slope(lambda params: run(params, SOURCE, TARGET, LABELS)[3], params, gradient)
        np.testing.assert_allclose(derived, measured, rtol=1e-6)
    padded = np.where(SOURCE_COUNTS, SOURCE, -1), np.where(COUNTS, TARGET, V + 9), np.where(COUNTS, LABELS, -100)
    again = run(params, *padded)
    jax.tree.map(np.testing.assert_array_equal, again[3:], (loss, gradient))
    assert np.array_equal(again[0][COUNTS], logits[COUNTS])
    assert np.array_equal(again[1][COUNTS], weights[COUNTS])


def test_a_beam_keeps_each_hypothesis_with_its_state_over_a_shared_memory(x64):
    graph, params, tensors, _ = made("input feeding")
    start = TARGET[:2, 0]

    @compiled
    def search(params):
        model = nnx.merge(graph, params)
        memory = model.encode(SOURCE[:2], lengths=SOURCE_LENGTHS[:2])
        step = functools.partial(model.step, memory)
        return nn.beam_search(step, model.initial_state(memory), start, beam_size=3, max_length=4, end=0, alpha=0.6)

    found = search(params)
    for row in range(2):
        for place in range(3):
            tokens = found.tokens[row, place, : found.lengths[row, place]]
            read = np.append(start[row], tokens[:-1])
            logits, _ = plain("input feeding", tensors, SOURCE[row, : SOURCE_LENGTHS[row]], read)
            score = np.sum(log_softmax(logits)[np.arange(len(tokens)), tokens])
            np.testing.assert_allclose(found.scores[row, place], score, rtol=1e-10)
            np.testing.assert_allclose(found.ranks[row, place], score / ((5 + len(tokens)) / 6) ** 0.6, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feeding": "output"}, r"feeding: expected one of \[None, 'input', 'context'\], got 'output'"),
        ({"attention": "cosine"}, r"attention: expected one of \['dot', 'general', 'additive'\], got 'cosine'"),
        ({"bidirectional": True}, "attention: expected a memory as wide as its queries for 'dot', got 8 and 4; take"),
        ({"tied": True}, "tied: expected an embedding as wide as .* got embedding_size None"),
        ({"encoder_cell": cells.lstm}, "hidden_size: expected the number of hidden units beside a factory"),
    ],
)
def test_bad_construction(options, message):
    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(lambda: nn.EncoderDecoder(4, 5, cells.gru(4), **options, rngs=nnx.Rngs(0)))
