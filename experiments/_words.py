"""What experiments on sentences share: modules as pure functions, words as numbers, measures on a file of one's own."""

import dataclasses
import functools
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Int, Key, PyTree

from recur import cells, nn, tasks, train
from recur.runs import _config

ORDER_SEED = 0
"""Of the order of training data, which all seeds share."""
LOOKED_AT = 16
"""Sequences of which --flow and --probe_every take the gradient."""
SHORTEST = 16
"""Steps that the shortest sequences are padded to."""
EMBEDDING_SCALE = 0.1
"""Of the vectors of words at first: small, so that what is learnt of a rare word outweighs what was drawn for it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceConfig(_config.RunConfig):
    """What every run is told that trains on sentences."""

    dropout: float = _config.option(0.5, "Share of the features that training drops between layers.", least=0.0)
    unknown: float = _config.option(0.1, "Share of the words that training reads as unknown.", least=0.0)
    least_count: int = _config.option(2, "How often training must have a word; others are read as unknown.", least=1)
    max_length: int = _config.option(512, "Longest sentence that is accepted, in words.", least=1, free=True)
    strict: bool = _config.option(False, "Refuse what is unknown to the training data, not only count it.", free=True)
    ema_decay: float = _config.option(
        0.99, "Decay of a moving average of the parameters, which is evaluated; 0 for none.", least=0.0
    )
    schedule: str = _config.option("cosine", f"Step size over the run: {', '.join(train.SCHEDULES)}.")

    def __post_init__(self) -> None:
        """Checks every value."""
        super().__post_init__()
        check_shares(self)


def check_shares(config: _config.RunConfig) -> None:
    """Raises where one of the options that are shares is not below 1."""
    for name in ("dropout", "unknown", "label_smoothing"):
        if getattr(config, name, 0.0) >= 1:
            raise ValueError(f"{name}: expected a share below 1, got {getattr(config, name)}")


class Pure(NamedTuple):
    """A module as pure functions: ``init(key) -> params``, ``merge(params) -> module``."""

    init: Callable[[Key[Array, ""]], PyTree]
    merge: Callable[[PyTree], Any]


def pure(make: Callable[[nnx.Rngs], nnx.Module]) -> Pure:
    """Returns what `make` makes as pure functions."""
    graph = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))[0]

    def init(key: Key[Array, ""]) -> PyTree:
        return nnx.to_pure_dict(nnx.split(make(nnx.Rngs(key)))[1])

    def merge(params: PyTree) -> Any:
        return nnx.merge(graph, params)

    return Pure(init, merge)


def encode(
    vocabulary: tasks.Vocabulary, sequences: Iterable[Sequence[str]], what: str, *, strict: bool, **marks: bool
) -> list[Int[np.ndarray, "T"]]:
    """Returns the numbers of sequences, and reports what of them is unknown.

    Args:
        vocabulary: That of the training data.
        sequences: Of tokens.
        what: What they are, for the report.
        strict: Whether to refuse what is unknown.
        **marks: As in `recur.tasks.Vocabulary.encode`.

    Raises:
        ValueError: Something is unknown, if `strict`.
    """
    ids, unknown = vocabulary.encode_all(sequences, **marks)
    if unknown.count and strict:
        raise ValueError(
            f"{what}: expected with --strict what the training data have, got {unknown.first!r}, and "
            f"{unknown.count} of {unknown.total} in all; leave out --strict, and they are read as unknown"
        )
    if unknown.count:
        print(f"{what}: {unknown}", flush=True)
    return ids


def letters(words: Iterable[str]) -> list[str]:
    """Returns how words are spelled, accents and the parts of Korean syllables being letters (normal form D)."""
    return [unicodedata.normalize("NFD", word) for word in words]


def spell(
    alphabet: tasks.Vocabulary, sentences: Sequence[Sequence[str]], most: int, what: str, *, strict: bool
) -> list[Int[np.ndarray, "T C"]]:
    """Returns the first letters of every word of sentences as numbers, and reports what is unknown; see `encode`."""
    spelled = list(map(letters, sentences))
    encode(alphabet, (word for words in spelled for word in words), what, strict=strict)
    return [alphabet.encode_spelling(words, most) for words in spelled]


def buckets(max_length: int) -> list[int]:
    """Returns the lengths to pad to, each twice the one before: few programs, the same for every file."""
    bounds = [SHORTEST]
    while bounds[-1] < max_length:
        bounds.append(2 * bounds[-1])
    return bounds


def batches(config: SentenceConfig, pad: Mapping[str, float]) -> Callable[..., tasks.Batches]:
    """Returns `recur.tasks.batches` as a run makes them."""
    limits = {"max_length": config.max_length, "buckets": buckets(config.max_length)}
    return functools.partial(tasks.batches, batch_size=config.batch_size, pad=pad, **limits)


def forget(key: Key[Array, ""] | None, ids: Int[Array, "*A"], share: float) -> Int[Array, "*A"]:
    """Reads a share of training words as unknown, so that the mark for it is learnt; without a key none."""
    if key is None or not share:
        return ids
    return jnp.where(jax.random.bernoulli(key, share, ids.shape), tasks.Vocabulary.unknown, ids)


def counted(batch: Mapping[str, Array], name: str) -> tuple[Int[Array, "B"], Bool[Array, "B T"]]:
    """Returns how many steps of a padded field count, none of a copy, and where they are."""
    lengths = jnp.where(batch["valid"], batch[f"{name}_lengths"], 0)
    return lengths, jnp.arange(batch[name].shape[1])[None] < lengths[:, None]


def longest(items: Sequence[Mapping[str, np.ndarray]], *names: str) -> list[Int[Array, "N T"]]:
    """Returns fields of the longest items, cut to one length, so that there is nothing but content."""
    chosen = sorted(items, key=lambda item: -len(item[names[0]]))[:LOOKED_AT]
    length = len(chosen[-1][names[0]])
    return [jnp.stack([item[name][:length] for item in chosen]) for name in names]


def lowest_forward(stack: nn.Stack) -> tuple[cells.Cell, PyTree]:
    """Hands out the lowest layer of a stack, of two directions the forward one, as a cell with its parameters."""
    layer = stack.layers[0]
    return layer.forward.as_cell() if stack.bidirectional else layer.as_cell()


def evaluation(loss: train.Loss, batches: Sequence[PyTree] = ()) -> Callable[[PyTree], dict[str, float]]:
    """Returns a function of the parameters of one seed to loss and metrics on batches, if any, as ``eval_NAME``."""

    def measure(params: PyTree) -> dict[str, float]:
        found = train.evaluate_batches(loss, params, batches) if batches else {}
        return {f"eval_{name}": float(value) for name, value in found.items()}

    return measure


def first_seed(params: PyTree) -> PyTree:
    """Returns the parameters of the first seed."""
    return jax.tree.map(lambda leaf: leaf[0], params)
