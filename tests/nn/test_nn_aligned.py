"""Taggers, captioners and classifiers of frames against plain NumPy, with padding, and as streams."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from model_oracle import compiled, drawn, embed, linear, mean_nats, run_both, run_cell, run_layers

from recur import cells, nn

V, A, K, T, C, H = 5, 4, 3, 3, 4, 2
RNG = np.random.default_rng(1)
LENGTHS = np.array([3, 1])
COUNTS = np.arange(T) < LENGTHS[:, None]
TAGGER = functools.partial(nn.SequenceTagger, V, K, cells.gru, hidden_size=H, embedding_size=2, alphabet_size=A)


def test_a_tagger_reads_words_and_their_characters(x64):
    maker = functools.partial(TAGGER, character_cell=cells.elman(2), character_embedding_size=2)
    graph, params, tensors = drawn(maker)
    words, characters = RNG.integers(0, V, (2, T)), RNG.integers(0, A, (2, T, C))
    spelled = np.array([[4, 1, 0], [2, -5, 99]])

    @compiled
    def run(params, words, characters, spelled):
        return nnx.merge(graph, params)(words, characters, lengths=LENGTHS, character_lengths=spelled)

    found = run(params, words, characters, spelled)
    for row, length in enumerate(LENGTHS):
        x = []
        for time in range(length):
            letters = characters[row, time, : spelled[row, time]]
            _, last, _ = run_both("elman", tensors["spelling"], embed(tensors["character_embedding"], letters, A))
            x.append(np.concatenate([embed(tensors["embedding"], words[row, time], V), last]))
        outputs, _, _ = run_both("gru", tensors["stack"]["layers"][0], np.array(x))
        np.testing.assert_allclose(found[row, :length], linear(tensors["readout"], outputs), rtol=1e-12)
    counted = COUNTS[..., None] & (np.arange(C) < spelled[..., None])
    padded = np.where(COUNTS, words, -1), np.where(counted, characters, A + 7), np.where(COUNTS, spelled, 2)
    assert np.array_equal(run(params, *padded)[COUNTS], found[COUNTS])


def test_a_tagger_of_forward_layers_streams_word_by_word(x64):
    graph, params, tensors = drawn(functools.partial(TAGGER, alphabet_size=None, bidirectional=False, layers=2))
    words = RNG.integers(0, V, (2, T))

    @compiled
    def run(params):
        model = nnx.merge(graph, params)
        step = lambda state, word: model.step(state, word)[::-1]  # noqa: E731
        return jax.lax.scan(step, model.initial_state((2,)), words.T)[1]

    streamed = run(params)
    for row in range(2):
        outputs, _ = run_layers("gru", tensors["stack"]["layers"], embed(tensors["embedding"], words[row], V))
        np.testing.assert_allclose(streamed[:, row], linear(tensors["readout"], outputs), rtol=1e-12)


@pytest.mark.parametrize(
    "conditioning",
    ["both", pytest.param("state", marks=pytest.mark.slow), pytest.param("input", marks=pytest.mark.slow)],
)
def test_a_caption_begins_with_the_vector_or_reads_it(conditioning, x64):
    maker = functools.partial(nn.Captioner, 3, V, cells.lstm(H), embedding_size=2, conditioning=conditioning)
    graph, params, tensors = drawn(maker)
    vectors, ids, labels = RNG.standard_normal((2, 3)), RNG.integers(0, V, (2, T)), RNG.integers(0, V, (2, T))

    @compiled
    def run(params, ids, labels):
        model = nnx.merge(graph, params)
        step = lambda state, token: model.step(vectors, state, token)[::-1]  # noqa: E731
        streamed = jax.lax.scan(step, model.initial_state(vectors), ids.T)[1]
        return model(vectors, ids, lengths=LENGTHS), streamed, model.loss(vectors, ids, labels, lengths=LENGTHS)

    found, streamed, loss = run(params, np.where(COUNTS, ids, -1), np.where(COUNTS, labels, V))
    expected = []
    for row, length in enumerate(LENGTHS):
        x = embed(tensors["vocabulary"]["embedding"], ids[row, :length], V)
        state = None
        if conditioning != "input":
            h, c = (np.tanh(linear(tensors["begin"]["maps"][index], vectors[row])) for index in range(2))
            state = [cells.state_type("h", "c")(h, c)]
        if conditioning != "state":
            x = np.concatenate([x, np.tile(vectors[row], (length, 1))], axis=1)
        hidden, _ = run_layers("lstm", tensors["stack"]["layers"], x, state)
        expected.append(hidden @ tensors["vocabulary"]["table"].T + tensors["vocabulary"]["bias"])
        np.testing.assert_allclose(found[row, :length], expected[-1], rtol=1e-12)
        np.testing.assert_allclose(streamed[:length, row], expected[-1], rtol=1e-12)
    counted = [label[:length] for label, length in zip(labels, LENGTHS, strict=True)]
    np.testing.assert_allclose(loss, mean_nats(expected, counted), rtol=1e-12)


def convolved(frame, tensors):
    """A 3 x 3 convolution with stride 2 and relu, pixel by pixel; padded as "SAME" means, more at the end."""
    height, width = (-(-size // 2) for size in frame.shape[:2])
    pads = [(max((out - 1) * 2 + 3 - size, 0)) for out, size in zip((height, width), frame.shape, strict=False)]
    frame = np.pad(frame, [*((pad // 2, pad - pad // 2) for pad in pads), (0, 0)])
    window = lambda i, j: frame[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]  # noqa: E731
    kernel, bias = tensors["kernel"], tensors["bias"]
    sums = [[np.einsum("ijc,ijco->o", window(i, j), kernel) + bias for j in range(width)] for i in range(height)]
    return np.maximum(np.array(sums), 0)


@pytest.mark.parametrize("encoder", ["conv", pytest.param("dense", marks=pytest.mark.slow)])
def test_frames_are_encoded_and_read_in_their_order(encoder, x64):
    maker = functools.partial(nn.FrameClassifier, (5, 4), K, cells.elman(H), features=3, encoder=encoder)
    graph, params, tensors = drawn(maker)
    frames = RNG.standard_normal((2, T, 5, 4))

    @compiled
    def run(params, padded):
        def loss(params):
            logits = nnx.merge(graph, params)(padded, lengths=LENGTHS)
            return jnp.sum(jnp.where(COUNTS[..., None], logits, 0) ** 2), logits

        model = nnx.merge(graph, params)
        step = lambda state, frame: model.step(state, frame)[::-1]  # noqa: E731
        streamed = jax.lax.scan(step, model.initial_state((2,)), jnp.moveaxis(frames, 1, 0))[1]
        (_, logits), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        return logits, streamed, gradient

    found, streamed, gradient = run(params, np.where(COUNTS[..., None, None], frames, np.nan))
    jax.tree.map(np.testing.assert_array_equal, gradient, run(params, frames)[2])
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient["stack"]))
    for row, length in enumerate(LENGTHS):
        x = []
        for frame in frames[row]:
            pixels = frame[..., None]
            if encoder == "conv":
                for index in range(2):
                    pixels = convolved(pixels, tensors["encoder"]["convolutions"][index])
            x.append(np.maximum(linear(tensors["encoder"]["dense"], pixels.ravel()), 0))
        hidden, _ = run_cell("elman", tensors["stack"]["layers"][0]["params"], np.array(x))
        expected = linear(tensors["readout"], hidden)
        np.testing.assert_allclose(found[row, :length], expected[:length], rtol=1e-11)
        np.testing.assert_allclose(streamed[:, row], expected, rtol=1e-11)


BAD_CALLS = {
    "no characters": (TAGGER, (np.zeros((2, T), int),), {}, ValueError, "characters: expected those of each word"),
    "characters": (
        TAGGER,
        (np.zeros((2, T), int), np.zeros((T, C), int)),
        {},
        ValueError,
        r"characters: expected shape \(2, 3, 'C'\), got \(3, 4\)",
    ),
    "unwanted": (
        functools.partial(TAGGER, alphabet_size=None),
        (np.zeros((2, T), int), np.zeros((2, T, C), int)),
        {},
        ValueError,
        "characters: expected None, since alphabet_size was not given, got some",
    ),
    "vector": (
        functools.partial(nn.Captioner, 3, V, cells.gru(H)),
        (np.zeros((2, 4), np.float32), np.zeros((2, T), int)),
        {},
        ValueError,
        r"vector: expected 3 features \(last axis\), got shape \(2, 4\)",
    ),
    "frames": (
        functools.partial(nn.FrameClassifier, (5, 4), K, cells.gru(H)),
        (np.zeros((2, T, 4, 5), np.float32),),
        {},
        ValueError,
        r"frames: expected frames of shape \(5, 4\), got \(2, 3, 4, 5\)",
    ),
    "pixels": (
        functools.partial(nn.FrameClassifier, (5, 4), K, cells.gru(H)),
        (np.zeros((2, T, 5, 4), int),),
        {},
        TypeError,
        "frames: expected a floating dtype, got int32; scale them",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls(case):
    maker, arguments, options, error, message = BAD_CALLS[case]
    if "alphabet_size" in maker.keywords and maker.keywords["alphabet_size"]:
        maker = functools.partial(maker, character_hidden_size=H)
    model = nnx.merge(*drawn(maker, jnp.float32)[:2])
    with pytest.raises(error, match=message):
        jax.eval_shape(lambda: model(*arguments, **options))


def test_bad_construction():
    for maker, message in [
        (functools.partial(nn.Captioner, 3, V, cells.gru(H), conditioning="all"), "conditioning: expected one of"),
        (functools.partial(nn.FrameClassifier, (5,), K, cells.gru(H)), r"frame_shape: expected \(height, width\)"),
        (functools.partial(nn.FrameClassifier, (5,), K, cells.gru(H), encoder="vgg"), "encoder: expected one of"),
    ]:
        with pytest.raises(ValueError, match=message):
            maker(rngs=nnx.Rngs(0))
