"""Modules made of wrong sizes, called on wrong arrays; losses and generation."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from fuzz_cases import answer, cases
from fuzz_strategies import arrays, hostile, numbers, sizes, spoiled

from recur import cells, nn

GRU = cells.gru(3)
B, T, X = 2, 3, 2
rates = st.one_of(st.floats(0, 1), numbers)
ways = st.one_of(rates, st.just(nn.VariationalDropout(0.5)), st.just(nn.Zoneout((0.1, 0.5))), st.just(nn.Zoneout(0.1)))
booleans = st.booleans()
factories = st.sampled_from([GRU, cells.lstm, cells.lstm(3), len, cells.stacked(GRU, GRU)])
hidden = st.one_of(sizes, st.just(3))


def row(call, own=None, **arguments):
    return call, arguments, own or {}


def made(module, own=None, **arguments):
    # Not among the arguments, because hypothesis cannot print them.
    return row(lambda **given: module(rngs=nnx.Rngs(0), **given), own, **arguments)


COMMON = {"cell": factories, "hidden_size": hidden, "layers": sizes, "dropout": rates, "embedding_size": hidden}
COMMON |= {"recurrent_dropout": ways}
MAKERS = {
    "WeightDrop": row(nn.WeightDrop, {"rate": rates}, rate=0.5),
    "VariationalDropout": row(nn.VariationalDropout, {"rate": rates}, rate=0.5),
    "Zoneout": row(nn.Zoneout, {"rate": st.one_of(rates, st.tuples(rates, rates))}, rate=0.5),
    "RNN": made(nn.RNN, {"cell": factories, "input_size": sizes, "recurrent_dropout": ways}, cell=GRU, input_size=X),
    "Bidirectional": made(
        nn.Bidirectional,
        {"cell": factories, "input_size": sizes, "backward_cell": factories, "merge": hostile},
        cell=GRU,
        input_size=X,
    ),
    "Stack": made(
        nn.Stack,
        {
            "cells": st.lists(factories, max_size=2),
            "input_size": sizes,
            "dropout": rates,
            "residual": booleans,
            "bidirectional": booleans,
        },
        cells=[GRU],
        input_size=X,
    ),
    "Embedding": made(
        nn.Embedding, {"vocabulary_size": sizes, "size": sizes, "scale": rates, "dropout": rates}, vocabulary_size=4
    ),
    "Attention": made(
        nn.Attention, {"query_size": sizes, "memory_size": sizes, "score": hostile}, query_size=3, memory_size=3
    ),
    "SequenceClassifier": made(
        nn.SequenceClassifier,
        COMMON | {"classes": sizes, "pooling": hostile, "bidirectional": booleans, "vocabulary_size": sizes},
        classes=2,
        cell=GRU,
        input_size=X,
    ),
    "SequenceRegressor": made(nn.SequenceRegressor, COMMON | {"targets": sizes}, targets=1, cell=GRU, input_size=X),
    "SequenceTagger": made(
        nn.SequenceTagger,
        COMMON | {"vocabulary_size": sizes, "classes": sizes, "alphabet_size": sizes, "character_hidden_size": hidden},
        vocabulary_size=4,
        classes=2,
        cell=GRU,
    ),
    "LanguageModel": made(
        nn.LanguageModel, COMMON | {"vocabulary_size": sizes, "tied": booleans}, vocabulary_size=4, cell=GRU
    ),
    "EncoderDecoder": made(
        nn.EncoderDecoder,
        COMMON
        | {"source_size": sizes, "target_size": sizes, "attention": hostile, "feeding": hostile, "tied": booleans}
        | {"encoder_cell": factories, "encoder_hidden_size": hidden, "bidirectional": booleans},
        source_size=4,
        target_size=4,
        cell=GRU,
    ),
    "Captioner": made(
        nn.Captioner,
        COMMON | {"vector_size": sizes, "vocabulary_size": sizes, "conditioning": hostile, "tied": booleans},
        vector_size=2,
        vocabulary_size=4,
        cell=GRU,
    ),
    "FrameEncoder": made(
        nn.FrameEncoder,
        {"frame_shape": st.lists(sizes, max_size=4).map(tuple), "features": sizes, "kind": hostile},
        frame_shape=(4, 4),
        features=2,
    ),
    "FrameClassifier": made(
        nn.FrameClassifier,
        {"cell": factories, "frame_shape": st.lists(sizes, max_size=4).map(tuple), "classes": sizes, "layers": sizes},
        frame_shape=(4, 4),
        classes=2,
        cell=GRU,
    ),
}
RNN = nn.RNN(GRU, X, rngs=nnx.Rngs(0))
BOTH = nn.Bidirectional(GRU, X, rngs=nnx.Rngs(0))
STACK = nn.Stack([GRU, GRU], X, dropout=0.5, rngs=nnx.Rngs(0))
EMBEDDING = nn.Embedding(4, 2, rngs=nnx.Rngs(0))
TEXT = nn.LanguageModel(4, GRU, rngs=nnx.Rngs(0))
CLASSIFIER = nn.SequenceClassifier(2, GRU, input_size=X, rngs=nnx.Rngs(0))
TAGGER = nn.SequenceTagger(4, 2, GRU, rngs=nnx.Rngs(0))
TRANSLATOR = nn.EncoderDecoder(4, 4, GRU, rngs=nnx.Rngs(0))
CAPTIONER = nn.Captioner(2, 4, GRU, rngs=nnx.Rngs(0))
FRAMES = nn.FrameClassifier((4, 4), 2, GRU, rngs=nnx.Rngs(0))
X3 = np.ones((B, T, X), np.float32)
IDS = np.ones((B, T), np.int32)
lengths = st.one_of(st.lists(st.integers(-1, 4), min_size=2, max_size=2).map(np.array), arrays())
masks = st.one_of(arrays(), st.sampled_from([np.eye(B, T, dtype=bool), np.ones((B, T), bool)]))
ids = st.one_of(arrays(), st.sampled_from([IDS, IDS * 9, -IDS, IDS[:, :0], IDS[:0], IDS.astype(np.int8)]))
ones = st.one_of(arrays(), st.sampled_from([X3, X3 * np.nan, X3[:, :0], X3[:0], X3[0], X3.astype(np.float16)]))
SEQUENCE = {"x": ones, "mask": masks, "lengths": lengths, "reset": masks, "return_sequences": booleans}
CALLS = {
    "RNN": row(RNN, SEQUENCE | {"reverse": booleans}, x=X3),
    "Bidirectional": row(BOTH, SEQUENCE, x=X3),
    "Stack": row(STACK, SEQUENCE, x=X3, key=jax.random.key(0)),
    "Embedding": row(EMBEDDING, {"ids": ids}, ids=IDS),
    "LanguageModel": row(TEXT, {"ids": ids, "lengths": lengths, "reset": masks, "key": st.none()}, ids=IDS),
    "loss": row(TEXT.loss, {"ids": ids, "labels": ids, "lengths": lengths}, ids=IDS, labels=IDS),
    "SequenceClassifier": row(
        CLASSIFIER, {name: SEQUENCE[name] for name in ("x", "mask", "lengths", "return_sequences")}, x=X3
    ),
    "SequenceTagger": row(TAGGER, {"words": ids, "lengths": lengths, "characters": ids}, words=IDS),
    "EncoderDecoder": row(
        TRANSLATOR,
        {"source": ids, "target": ids, "source_lengths": lengths, "target_lengths": lengths},
        source=IDS,
        target=IDS,
    ),
    "Captioner": row(CAPTIONER, {"vector": arrays(), "ids": ids, "lengths": lengths}, vector=X3[:, 0], ids=IDS),
    "FrameClassifier": row(FRAMES, {"frames": arrays()}, frames=np.ones((B, T, 4, 4), np.float32)),
}
LOSSES = {
    "cross_entropy": row(
        nn.cross_entropy,
        {"logits": arrays(), "labels": arrays(), "mask": masks, "label_smoothing": rates},
        logits=X3,
        labels=IDS,
    ),
    "accuracy": row(nn.accuracy, {"logits": arrays(), "labels": arrays(), "mask": masks}, logits=X3, labels=IDS),
    "readout_cross_entropy": row(
        nn.readout_cross_entropy,
        {
            "hidden": arrays(),
            "table": arrays(),
            "bias": arrays(),
            "labels": arrays(),
            "mask": masks,
            "label_smoothing": rates,
        },
        hidden=X3,
        table=np.ones((4, X), np.float32),
        bias=np.ones(4, np.float32),
        labels=IDS,
    ),
}


def count(state, token):
    """A step without parameters: after a token comes the next."""
    return jax.nn.one_hot(token + 1, 5), state


STARTS = jnp.array([0, 2])
GENERATE = {
    "greedy": row(nn.greedy, {"max_length": sizes, "end": sizes}, step=count, state=(), start=STARTS, max_length=2),
    "sample": row(
        nn.sample,
        {"max_length": sizes, "end": sizes, "temperature": numbers, "top_k": sizes, "top_p": numbers},
        step=count,
        state=(),
        start=STARTS,
        key=jax.random.key(0),
        max_length=2,
    ),
    "beam_search": row(
        nn.beam_search,
        {"beam_size": sizes, "max_length": sizes, "end": sizes, "alpha": numbers},
        step=count,
        state=(),
        start=STARTS,
        beam_size=2,
        max_length=2,
    ),
    "stream": row(
        lambda **given: list(nn.stream(**given)),
        {"max_length": st.integers(-1, 3), "end": sizes, "temperature": numbers, "top_k": sizes, "top_p": numbers},
        step=count,
        state=(),
        start=STARTS,
        key=jax.random.key(0),
        max_length=2,
    ),
}


# Names that an error may have for what another argument decides, or what a part of the module is told.
NAMED = ("attention", "encoder", "vocabulary_size", "embedding_size", "hidden_size", "tied")


@cases(42, call=spoiled(MAKERS))
def test_modules_made(call):
    _, function, arguments = call
    answer({*arguments, "cell", "cells", *NAMED}, function, **arguments)


@cases(42, call=spoiled(CALLS))
def test_modules_called(call):
    _, function, arguments = call
    answer({*arguments, "x", "lengths", "initial_state", "words", "ids"}, function, **arguments)


@cases(25, call=spoiled(LOSSES))
def test_losses(call):
    name, function, arguments = call
    value, error = answer(arguments, function, **arguments)
    if error is None:
        assert value.shape == ()


@cases(25, call=spoiled(GENERATE))
def test_generation(call):
    _, function, arguments = call
    answer({*arguments, "state after a step"}, function, **arguments)
