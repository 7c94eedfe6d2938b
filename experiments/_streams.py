"""One long text, read by a language model window after window: what experiments of characters and of words share."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from experiments import _language
from recur import tasks, train
from recur.runs import _config, _problem

# Streams that a text is read in when a network is measured, and their least length: each begins without a past.
LEAST_STREAM = 2048
MOST_STREAMS = 4
# Sequences of held-out text of which --flow and --probe_every take the gradient.
LOOKED_AT = 16
TEMPERATURES = (0.5, 0.8, 1.0)


def embedding_dropout(share: float) -> Any:
    """Returns the option of what is dropped of embedded tokens; older runs dropped as much as of layers' outputs."""
    text = "Share of the features of embedded tokens that is dropped while training."
    return _config.option(share, text, least=0.0, before=lambda stored: stored["dropout"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamConfig(_language.TextConfig):
    """What a run is told that reads a long text as streams."""

    seeds: int = _config.option(1, "How many seeds to train, together in one program.", least=1)
    layers: int = _config.option(2, "Layers.", least=1)
    embedding_size: int = _config.option(0, "Features that a token is embedded in; 0 for one-hot vectors.", least=0)
    tied: bool = _config.option(False, "Read the logits from the table of the embedding, which is as wide as a layer.")
    dropout: float = _config.option(0.0, "Share of a layer's outputs that is dropped while training.", least=0.0)
    embedding_dropout: float = embedding_dropout(0.0)
    recurrent_dropout: float = _config.option(
        0.0, "Share of recurrent weights that is dropped while training, others for each window.", least=0.0
    )
    window: int = _config.option(
        64, "Steps that the gradient goes back; the state goes on from window to window.", least=1
    )
    batch_size: int = _config.option(32, "Streams that the text is cut in, read side by side.", least=1)
    data: str = _config.option(
        "", "Text file (UTF-8) in place of the standard library's source; its last tenth is held out."
    )
    prompt: str = _config.option("\n", "What samples go on from.", free=True)
    sample_length: int = _config.option(400, "Tokens of a sample.", least=1, free=True)


class Corpus(NamedTuple):
    """A text as numbers, parted.

    Args:
        vocabulary: Of the training part.
        training: Its first nine tenths, ``[N]``.
        held_out: Its last tenth.
        evaluation: The file of ``--eval_data``, or None.
        unknown: Shares of unknown tokens, by the names of their metrics.
    """

    vocabulary: tasks.Vocabulary
    training: np.ndarray
    held_out: np.ndarray
    evaluation: np.ndarray | None
    unknown: dict[str, float]


def read(config: StreamConfig, unit: str, *, least_count: int = 1) -> Corpus:
    """Reads the text, parts it, and numbers its tokens; says how many of the held-out ones are unknown.

    Raises:
        ValueError: A file that cannot be read, too short a text, or unknown tokens where the configuration is strict.
    """
    if not tasks.split_text(config.prompt, unit):
        raise ValueError(f"prompt: expected at least one of the {unit}, got {config.prompt!r}")
    text = tasks.read_text(config.data) if config.data else tasks.standard_library_source()
    tokens = tasks.split_text(text, unit)
    end = len(tokens) * 9 // 10
    least = config.batch_size * config.window
    if end <= least or len(tokens) - end < 2:
        raise ValueError(
            f"data: expected more than {least * 10 // 9 + 2} {unit}, for a window of {config.window} in each of "
            f"{config.batch_size} streams, got {len(tokens)}; give a longer text, or a smaller window or batch_size"
        )
    vocabulary = tasks.Vocabulary.build([tokens[:end]], least_count=least_count)
    held_out, unknown = _language.encode(vocabulary, tokens[end:], "held out", config)
    shares, evaluation = {"val_unknown": unknown}, None
    if config.eval_data:
        found = tasks.split_text(tasks.read_text(config.eval_data), unit)
        if len(found) < 2:
            raise ValueError(f"eval_data: expected at least 2 {unit}, got {len(found)} in {config.eval_data}")
        evaluation, shares["eval_unknown"] = _language.encode(vocabulary, found, config.eval_data, config)
    return Corpus(vocabulary, vocabulary.encode(tokens[:end]), held_out, evaluation, shares)


def model_of(config: StreamConfig, corpus: Corpus) -> _language.Model:
    """Returns the model of a configuration.

    Raises:
        ValueError: Sizes that do not fit.
    """
    options = {"layers": config.layers, "embedding_size": config.embedding_size, "tied": config.tied}
    options |= {name: getattr(config, name) for name in ("dropout", "embedding_dropout", "recurrent_dropout")}
    return _language.language_model(len(corpus.vocabulary), config.cell, config.hidden_size, **options)


def pose(
    config: StreamConfig,
    corpus: Corpus,
    *,
    measure: Callable[[PyTree], dict[str, Any]] | None = None,
    **options: Any,
) -> _problem.Problem:
    """Returns the problem; `measure` gives more numbers of one seed, `options` are more of the problem's."""
    model = model_of(config, corpus)

    def measure_all(params: PyTree) -> dict[str, Any]:
        found = dict(corpus.unknown)
        if corpus.evaluation is not None:
            found["eval_loss"] = nats(params, corpus.evaluation, config.window, model=model)
        return found | (measure(params) if measure else {})

    return _problem.Problem(
        init=model.init,
        loss=model.stream_loss,
        data=windows(corpus.training, config.batch_size, config.window, remainder="drop"),
        validation=windows(corpus.held_out, config.batch_size, config.window, remainder="keep"),
        shuffle=False,
        carry=zero_state(model, config.batch_size),
        measure=_problem.each_seed(measure_all),
        recurrence=_language.recurrence(model, _look(corpus.held_out, config.window)),
        reads=_language.reads(model),
        **options,
    )


def windows(ids: np.ndarray, streams: int, length: int, *, remainder: str) -> dict[str, np.ndarray]:
    """Returns every window of every stream, rows of arrays ``[N, T]``: row ``n B + b`` is window n of stream b.

    With the remainder kept, every token but the first is a target once, and ``lengths`` says how many of a row are.
    """
    batches = tasks.stream_batches(ids, streams, length, remainder=remainder, read_ahead=0)
    parts = [batches[step] for step in range(len(batches))]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in ("inputs", "targets")}
    rows["first"] = np.repeat([part["first"] for part in parts], streams)
    if remainder == "keep":
        rows["lengths"] = np.concatenate([part["mask"].sum(axis=1, dtype=np.int32) for part in parts])
    return rows


def zero_state(model: _language.Model, streams: int) -> PyTree:
    """Returns zeros for the states of so many streams."""
    params = jax.eval_shape(model.init, jax.random.key(0))
    state = jax.eval_shape(lambda params: model.bind(params).initial_state((streams,)), params)
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)


def nats(params: PyTree, ids: np.ndarray, window: int, *, model: _language.Model) -> Float[Array, ""]:
    """Returns the mean cross-entropy of one seed over all tokens but the first, in nats a token."""
    streams = min(max(len(ids) // LEAST_STREAM, 1), MOST_STREAMS)
    rows = windows(ids, streams, window, remainder="keep")
    return _nats(params, rows, zero_state(model, streams), loss=model.stream_loss, streams=streams)


@functools.partial(jax.jit, static_argnames=("loss", "streams"))
def _nats(params: PyTree, rows: dict, carry: PyTree, *, loss: train.Loss, streams: int) -> Float[Array, ""]:
    return train.evaluate(loss, params, rows, batch_size=streams, carry=carry)["loss"]


def _look(ids: np.ndarray, window: int) -> np.ndarray:
    streams = max(min(LOOKED_AT, len(ids) // window), 1)
    return ids[: streams * window].reshape(streams, -1)


def samples(config: StreamConfig, corpus: Corpus, params: PyTree, unit: str) -> list[str]:
    """Returns what the first seed goes on with from the prompt, more and less daring, as lines."""
    prompt = corpus.vocabulary.encode(tasks.split_text(config.prompt, unit))
    model, first = model_of(config, corpus), _language.seeds_of(params)[0]
    lines = []
    for number, temperature in enumerate(TEMPERATURES):
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        drawn = _language.draw(first, prompt, key, temperature, model=model, length=config.sample_length)
        text = tasks.join_text(corpus.vocabulary.decode(drawn), unit)
        lines += [f"--- seed {config.seed}, temperature {temperature:g}, from {config.prompt!r}", *text.split("\n")]
    return lines
