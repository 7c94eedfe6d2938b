"""Can the simplest recurrent network tell apart equal letters by what stood before them?

    python -m experiments.hihello --workdir=runs/hihello

By default the string is "hihello": the network reads ``hihell`` letter by letter, one-hot, and at each is to say the
next, ``ihello``. Of the two h one is followed by i and one by e, and of the two l one by l and one by o: who sees only
the last letter gets at most four of six right. An Elman network with softmax, trained by RMSprop on this one sequence.
``--text`` or a file (``--data``) replaces the string.

Metrics, one value a seed: ``train_loss`` (nats a letter) and ``train_accuracy``, ``best_train_loss``, ``best_epoch``,
``accuracy`` (share of letters predicted right by the final network), ``accuracy_without_memory`` (of the best guess
from the last letter alone), and with ``--eval_data`` ``eval_loss``, ``eval_accuracy`` and ``eval_unknown`` (share of
letters that the string has not).
"""

import dataclasses
from typing import Any

import numpy as np

from experiments import _language
from recur import tasks
from recur.runs import _config, _main, _problem, _run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_language.TextConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/hihello", "Folder of the run; several cells get a folder each in it.")
    cell: str = _config.option("elman", _config.CELL_HELP)
    hidden_size: int = _config.option(10, "Hidden units.", least=1)
    text: str = _config.option("hihello", "String to learn, where there is no --data.")
    epochs: int = _config.option(300, "Passes over the string, each one step.", least=1)
    batch_size: int = _config.option(1, "Sequences of a batch; there is one.", least=1)
    optimizer: str = _config.option("rmsprop", "Optimiser.")
    learning_rate: float = _config.option(1e-2, "Step size of the optimiser.", least=0.0)
    eval_every: int = _config.option(10, "Steps between records.", least=0)


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("hihello", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    text = _language.read_line(config.data) if config.data else config.text
    if len(text) < 2:
        raise ValueError(f"{'data' if config.data else 'text'}: expected at least 2 letters, got {text!r}")
    vocabulary = tasks.Vocabulary.build([text])
    batch = _language.as_batch(vocabulary.encode(text))
    model = _language.language_model(len(vocabulary), config.cell, config.hidden_size)
    floor = accuracy_without_memory(text)
    if config.eval_data:
        held_out, unknown = _language.encode(
            vocabulary, _language.read_line(config.eval_data), config.eval_data, config
        )
        held_out = _language.as_batch(held_out)

    def measure(params):
        found = {
            "accuracy": _language.measure(params, batch, model=model)["accuracy"],
            "accuracy_without_memory": floor,
        }
        if config.eval_data:
            metrics = _language.measure(params, held_out, model=model)
            found |= {"eval_loss": metrics["loss"], "eval_accuracy": metrics["accuracy"], "eval_unknown": unknown}
        return found

    def show(params):
        said = [_language.predict(seed, batch, model=model)[0] for seed in _language.seeds_of(params)]
        words = ["".join(vocabulary.decode(ids)) for ids in said]
        lines = [f"seed {config.seed + n}: {text[:-1]} -> {word}" for n, word in enumerate(words)]
        return {"predictions": [*lines, f"wanted: {text[:-1]} -> {text[1:]}"]}

    return _problem.Problem(
        init=model.init,
        loss=model.sequence_loss,
        data=batch,
        loss_name="cross-entropy in nats a letter",
        measure=_problem.each_seed(measure),
        show=show,
        recurrence=_language.recurrence(model, batch["inputs"]),
        reads=_language.reads(model),
    )


def accuracy_without_memory(text: str) -> float:
    """Returns the share of letters that the best guess from the letter before gets right.

    Example:
        >>> round(accuracy_without_memory("hihello"), 3)
        0.667
    """
    pairs = list(zip(text, text[1:], strict=False))
    right = [max(pairs.count((before, letter)) for letter in set(text)) for before in set(text[:-1])]
    return float(np.sum(right) / len(pairs))


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
