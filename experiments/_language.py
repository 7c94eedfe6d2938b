"""Predicting the next token: a language model as pure functions, and texts as numbers."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from experiments import _words
from recur import cells, nn, tasks, train
from recur.runs import _config, _problem

# Tokens of no text: padding, unknown, begin, end.
MARKS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig(_config.RunConfig):
    """What every run is told that trains on text."""

    data: str = _config.option(
        "", "Text file (UTF-8) to train on, in place of the text that comes with the experiment."
    )
    eval_data: str = _config.option("", "Text file to evaluate on at the end, also for a run that is already finished.")
    strict: bool = _config.option(
        False, "Refuse held-out text with tokens that the training text has not, in place of counting them.", free=True
    )


class Model(NamedTuple):
    """The module as pure functions.

    ``init(key) -> params``, ``bind(params)`` the module itself. Losses are in nats a token: that of whole sequences,
    with the metric ``accuracy``, and that of windows of streams, which carries the state from window to window.
    """

    init: Callable[[Key[Array, ""]], PyTree]
    bind: Callable[[PyTree], nn.LanguageModel]
    sequence_loss: train.Loss
    stream_loss: train.Loss


@functools.cache
def language_model(
    vocabulary_size: int,
    cell: str,
    hidden_size: int,
    *,
    layers: int = 1,
    embedding_size: int = 0,
    tied: bool = False,
    dropout: float = 0.0,
    embedding_dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> Model:
    """Returns the model, the same functions, compiled once, for the same sizes; embedding size 0 is one-hot vectors."""
    made = {"layers": layers, "embedding_size": embedding_size or None, "tied": tied}
    made |= {"dropout": dropout, "embedding_dropout": embedding_dropout, "recurrent_dropout": recurrent_dropout}
    layer = cells.CELLS[cell](hidden_size)
    init, bind = _words.pure(lambda rngs: nn.LanguageModel(vocabulary_size, layer, **made, rngs=rngs))

    def sequence_loss(params: PyTree, batch: dict, key: Key[Array, ""] | None) -> tuple[Float[Array, ""], dict]:
        logits = bind(params)(batch["inputs"], key=key)
        return nn.cross_entropy(logits, batch["targets"]), {"accuracy": nn.accuracy(logits, batch["targets"])}

    def stream_loss(params: PyTree, batch: dict, key: Key[Array, ""] | None, carry: PyTree) -> Any:
        model, inputs, lengths = bind(params), batch["inputs"], batch.get("lengths")
        start = jax.tree.map(
            lambda new, old: jnp.where(batch["first"][0], new, old), model.initial_state(inputs.shape[:1]), carry
        )
        options = {"initial_state": start, "lengths": lengths, "return_state": True, "key": key}
        loss, carry = model.loss(inputs, batch["targets"], **options)
        return loss, {} if lengths is None else {"weight": jnp.sum(lengths).astype(loss.dtype)}, carry

    return Model(init, bind, sequence_loss, stream_loss)


def recurrence(model: Model, ids: Int[Array, "B T"]) -> _problem.Recurrence:
    """Returns the recurrent part of a model, for ``--flow`` and ``--probe_every``, with these tokens as inputs."""

    def of_params(params: PyTree) -> tuple[cells.Cell, PyTree, Float[Array, "T B X"]]:
        module = model.bind(params)
        return *module.stack.as_cell(), jnp.moveaxis(module.vocabulary.embedding(ids), 1, 0)

    return of_params


def reads(model: Model) -> Callable[[PyTree, Mapping[str, Array]], tuple[cells.Cell, PyTree, Float[Array, "T B X"]]]:
    """Returns the recurrent part with what it reads of a batch; a state that is carried to it is not in there."""
    return lambda params, batch: recurrence(model, batch["inputs"])(params)


def read_line(path: str) -> str:
    """Reads a text file, without the line end that it may end with."""
    return tasks.read_text(path).removesuffix("\n")


def encode(vocabulary: tasks.Vocabulary, tokens: Iterable[str], name: str, config: TextConfig, **marks: bool) -> Any:
    """Returns the numbers of held-out tokens and the share of them that is unknown, which it prints.

    Raises:
        ValueError: An unknown token, if the configuration is strict.
    """
    (ids,), unknown = vocabulary.encode_all([tokens], strict=config.strict, **marks)
    print(f"{name}: {unknown}", flush=True)
    return ids, unknown.count / max(unknown.total, 1)


def as_batch(ids: np.ndarray) -> dict[str, Int[Array, "1 T"]]:
    """Returns one sequence, of which each token is to be predicted from those before."""
    if len(ids) < 2:
        raise ValueError(f"data: expected at least 2 characters, got {len(ids)}; give a longer text")
    return {"inputs": jnp.asarray(ids[None, :-1]), "targets": jnp.asarray(ids[None, 1:])}


@functools.partial(jax.jit, static_argnames="model")
def predict(params: PyTree, batch: dict, *, model: Model) -> Int[Array, "1 T"]:
    """Returns the likeliest token at every place, of one seed."""
    return jnp.argmax(model.bind(params)(batch["inputs"]), axis=-1)


@functools.partial(jax.jit, static_argnames="model")
def measure(params: PyTree, batch: dict, *, model: Model) -> dict[str, Float[Array, ""]]:
    """Returns loss and accuracy of one seed."""
    return train.evaluate(model.sequence_loss, params, batch)


@functools.partial(jax.jit, static_argnames=("model", "length"))
def draw(
    params: PyTree, prompt: Int[Array, "T"], key: Key[Array, ""], temperature: float, *, model: Model, length: int
) -> Int[Array, "length"]:
    """Goes on from a prompt with tokens that one seed draws, none of them a mark."""
    module, state = model.bind(params), model.bind(params).initial_state()
    if len(prompt) > 1:
        state = module(prompt[:-1], return_state=True)[1]

    def step(state: PyTree, token: Int[Array, ""]) -> tuple[Float[Array, "V"], PyTree]:
        logits, state = module.step(state, token)
        return logits.at[:MARKS].set(-jnp.inf), state

    return nn.sample(step, state, prompt[-1], key, max_length=length, temperature=temperature).tokens


def seeds_of(params: PyTree) -> Sequence[PyTree]:
    """Returns the parameters of each seed."""
    return [jax.tree.map(lambda leaf, n=n: leaf[n], params) for n in range(len(jax.tree.leaves(params)[0]))]
