"""Can a recurrent network learn a paragraph by heart, and say it from the start mark alone?

    python -m experiments.memorize --workdir=runs/memorize

By default a paragraph of 930 characters, written for this experiment, or a file (``--data``). The network reads a
start mark and then the characters, one-hot, and at each is to say the next, at the last one an end mark: the paragraph
is one sequence and the gradient goes all the way through it. Afterwards the network gets the start mark alone and
reads what it has said itself; one wrong character, and it may never find back. The network with the lowest loss is
asked: late in training the gradient of an Elman network may explode, and what was known is lost.

Metrics, one value a seed: ``train_loss`` (nats a character) and ``train_accuracy``, ``best_train_loss``,
``best_epoch``, ``accuracy`` (of the next character, given all before), ``regenerated`` (share of characters, end mark
included, that are right when it goes on from the start mark alone: 1 is every one) and ``exact`` (1 or 0: the paragraph
came out, no more and no less). With ``--eval_data`` ``eval_loss``, ``eval_accuracy``, ``eval_regenerated``,
``eval_exact`` of that text, and ``eval_unknown`` (share of its characters that the paragraph has not).
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from experiments import _language
from recur import nn, tasks
from recur.runs import _config, _main, _problem, _run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_language.TextConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/memorize", "Folder of the run; several cells get a folder each in it.")
    cell: str = _config.option("elman,lstm", _config.CELL_HELP)
    hidden_size: int = _config.option(128, "Hidden units.", least=1)
    epochs: int = _config.option(1500, "Passes over the paragraph, each one step.", least=1)
    batch_size: int = _config.option(1, "Sequences of a batch; there is one.", least=1)
    learning_rate: float = _config.option(3e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    schedule: str = _config.option("cosine", "Step size over the run.")
    eval_every: int = _config.option(20, "Steps between records.", least=0)


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("memorize", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    text = _language.read_line(config.data) if config.data else tasks.sample_paragraph()
    vocabulary = tasks.Vocabulary.build([text])
    batch = _language.as_batch(vocabulary.encode(text, begin=True, end=True))
    model = _language.language_model(len(vocabulary), config.cell, config.hidden_size)
    if config.eval_data:
        line = _language.read_line(config.eval_data)
        held_out, unknown = _language.encode(vocabulary, line, config.eval_data, config, begin=True, end=True)
        held_out = _language.as_batch(held_out)

    def of_text(params, batch):
        metrics = _language.measure(params, batch, model=model)
        said, targets = regenerate(params, batch["targets"].shape[1], model=model), np.asarray(batch["targets"][0])
        return {
            "accuracy": metrics["accuracy"],
            "regenerated": np.mean(said == targets),
            "exact": np.array_equal(said, targets),
            "loss": metrics["loss"],
        }

    def measure(params):
        found = of_text(params, batch)
        del found["loss"]
        if config.eval_data:
            found |= {f"eval_{name}": value for name, value in of_text(params, held_out).items()}
            found |= {"eval_unknown": unknown}
        return found

    def show(params):
        said = [regenerate(seed, batch["targets"].shape[1], model=model) for seed in _language.seeds_of(params)]
        return {"regenerated": [f"seed {config.seed + n}: {as_text(vocabulary, ids)}" for n, ids in enumerate(said)]}

    return _problem.Problem(
        init=model.init,
        loss=model.sequence_loss,
        data=batch,
        loss_name="cross-entropy in nats a character",
        measured="best",
        measure=_problem.each_seed(measure),
        show=show,
        recurrence=_language.recurrence(model, batch["inputs"]),
        reads=_language.reads(model),
    )


@functools.partial(jax.jit, static_argnames=("length", "model"))
def regenerate(params: PyTree, length: int, *, model: _language.Model) -> Int[Array, "length"]:
    """Returns what one seed says from the start mark alone, the likeliest character at every step, at most `length`."""
    module, vocabulary = model.bind(params), tasks.Vocabulary
    start = jnp.int32(vocabulary.begin)
    return nn.greedy(module.step, module.initial_state(), start, max_length=length, end=vocabulary.end).tokens


def as_text(vocabulary: tasks.Vocabulary, ids: Int[Array, "T"]) -> str:
    """Returns characters as one line of text, up to the end mark."""
    return "".join(vocabulary.decode(ids)).replace("\n", " ")


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
