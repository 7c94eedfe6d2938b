"""Sentences to sentences: pairs to train on, their numbers, the model as pure functions, and translations."""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from experiments import _words
from recur import nn, tasks

PAD = {"source": tasks.Vocabulary.pad, "target": tasks.Vocabulary.pad}
AT_ONCE = 128
"""Sentences that are translated at once."""
ALPHA = 1.0
"""Strength of the length penalty in beam search."""
SMALL, LIMIT = 1_000, 1_000_000


class Vocabularies(NamedTuple):
    """Words to translate from and to."""

    source: tasks.Vocabulary
    target: tasks.Vocabulary


def numbers(count: int, language: str, seed: int) -> tuple[tasks.Pairs, tasks.Pairs]:
    """Returns distinct numbers and their names, all below 1,000 and others below 1,000,000, and every tenth apart."""
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([np.arange(SMALL), rng.choice(np.arange(SMALL, LIMIT), count - SMALL, replace=False)])
    return tasks.hold_out(tasks.number_pairs(rng.permutation(drawn).tolist(), language))


def read(folder: str, source: str, target: str) -> tuple[tasks.Pairs, tasks.Pairs]:
    """Reads the pairs ``train`` and ``val`` of a folder; without the latter every tenth of the only pair is apart."""
    if (Path(folder) / f"val.{source}").exists():
        return tuple(tasks.read_pairs(folder, source, target, name=name) for name in ("train", "val"))
    return tasks.hold_out(tasks.read_pairs(folder, source, target))


def split(text: str) -> list[str]:
    """Returns the words of a sentence, in small letters."""
    return tasks.split_text(text.lower(), "words")


def encode(words: Vocabularies, pairs: tasks.Pairs, what: str, *, strict: bool) -> list[dict[str, np.ndarray]]:
    """Returns pairs as numbers, targets with marks at both ends, and reports what is unknown."""
    sources = _words.encode(words.source, map(split, pairs.sources), f"{what}, source words", strict=strict)
    marks = {"begin": True, "end": True}
    targets = _words.encode(words.target, map(split, pairs.targets), f"{what}, target words", strict=strict, **marks)
    return [{"source": source, "target": target} for source, target in zip(sources, targets, strict=True)]


def loss(
    model: _words.Pure,
    label_smoothing: float,
    unknown: float,
    params: PyTree,
    batch: dict,
    key: Key[Array, ""] | None,
) -> tuple[Float[Array, ""], dict]:
    """Returns the cross-entropy of the target words in nats.

    With a key, targets are smoothed, and a share `unknown` of the source words is read as unknown.
    """
    lengths, _ = _words.counted(batch, "target")
    lengths = jnp.maximum(lengths - 1, 0)
    nats = model.merge(params).loss(
        _words.forget(key, batch["source"], unknown),
        batch["target"][:, :-1],
        batch["target"][:, 1:],
        source_lengths=_words.counted(batch, "source")[0],
        target_lengths=lengths,
        label_smoothing=0.0 if key is None else label_smoothing,
        key=key,
    )
    return nats, {"weight": lengths.sum()}


def translate(
    model: _words.Pure,
    words: Vocabularies,
    batches: Callable[..., tasks.Batches],
    params: PyTree,
    items: Sequence[dict],
    beam_size: int,
    *,
    max_words: int,
) -> list[str]:
    """Returns the likeliest translations of one seed that a search with so many beams finds, 1 being greedy."""
    found = {}
    for batch in batches(items, batch_size=min(AT_ONCE, len(items))):
        tokens = np.asarray(_search(params, batch, model=model, beam_size=beam_size, most=max_words))
        texts = [tasks.join_text(words.target.decode(row), "words") for row in tokens]
        found |= dict(zip(batch["index"].tolist(), texts, strict=True))
    return [found[place] for place in range(len(items))]


@functools.partial(jax.jit, static_argnames=("model", "beam_size", "most"))
def _search(params: PyTree, batch: dict, *, model: _words.Pure, beam_size: int, most: int) -> Int[Array, "B T"]:
    network = model.merge(params)
    memory = network.encode(batch["source"], lengths=batch["source_lengths"])

    def step(state: PyTree, token: Int[Array, "*B"]) -> tuple[Float[Array, "*B V"], PyTree]:
        logits, state = network.step(memory, state, token)
        # A translation has words, and an end: no other mark.
        marks = jnp.arange(logits.shape[-1]) < tasks.Vocabulary.end
        return logits + jax.lax.broadcast_in_dim(jnp.where(marks, -jnp.inf, 0), logits.shape, (logits.ndim - 1,)), state

    start = jnp.full(len(batch["source"]), tasks.Vocabulary.begin)
    limits = {"max_length": most, "end": tasks.Vocabulary.end}
    if beam_size == 1:
        return nn.greedy(step, network.initial_state(memory), start, **limits).tokens
    limits |= {"beam_size": beam_size, "alpha": ALPHA}
    return nn.beam_search(step, network.initial_state(memory), start, **limits).tokens[:, 0]


def attended(
    model: _words.Pure, words: Vocabularies, params: PyTree, pairs: tasks.Pairs
) -> Iterator[tuple[Float[np.ndarray, "T S"], list[str], list[str]]]:
    """Yields for each translation what its words look at, the source words, and its own words with the end."""
    sources, targets = (list(map(split, texts)) for texts in pairs)
    ids = words.source.encode_all(sources).ids, words.target.encode_all(targets, begin=True).ids
    items = [dict(zip(PAD, both, strict=True)) for both in zip(*ids, strict=True)]
    batch = tasks.batches(items, len(items), pad=PAD)[0]
    for seen, source, target in zip(np.asarray(_look(params, batch, model=model)), sources, targets, strict=True):
        yield seen[: len(target) + 1, : len(source)], source, [*target, "<end>"]


@functools.partial(jax.jit, static_argnames="model")
def _look(params: PyTree, batch: dict, *, model: _words.Pure) -> Float[Array, "B T S"]:
    options = {"source_lengths": batch["source_lengths"], "return_attention": True}
    return model.merge(params)(batch["source"], batch["target"], **options)[1]
