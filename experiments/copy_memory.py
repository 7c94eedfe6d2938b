"""Which cells repeat ten symbols after a hundred steps in which nothing is said?

    python -m experiments.copy_memory --cell=elman,lstm,orthogonal --workdir=runs/copy_memory

A sequence has ten of eight symbols, 99 blanks, a delimiter and ten more blanks, at which the symbols are to be
repeated; before, the answer is blank. Whoever knows when to answer, but remembers nothing, has a cross-entropy of
10 ln 8 / 120 = 0.173 nats a step, the chance level. Sequences are drawn anew at every step of training; 1,000 others,
of each seed its own, are for validation. Files are NumPy archives with ``x [N, T, 10]``, one-hot over symbols, blank
and delimiter, and ``y [N, T]``, symbols from 0, blank being 8; of ``--data`` every tenth sequence is for validation.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (nats a step; val after the last step), ``train_accuracy``
and ``val_accuracy`` (of the symbols to be repeated; by guessing 1/8), ``best_val_loss``, ``best_epoch`` (of 100 steps),
``chance_loss``, ``times_below_chance`` (of val_loss), and with ``--eval_data`` ``eval_loss`` and ``eval_accuracy``.
"""

import dataclasses
from typing import Any

import numpy as np

from experiments import _classification, _drawn
from recur import tasks
from recur.runs import _config, _main, _problem, _run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_drawn.DrawnConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/copy_memory", "Folder of the run; several cells get a folder each in it.")
    cell: str = _config.option("orthogonal", _config.CELL_HELP)
    hidden_size: int = _config.option(128, "Hidden units of a layer.", least=1)
    learning_rate: float = _config.option(3e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    delay: int = _config.option(100, "Steps from the last symbol to the delimiter (of drawn data).", least=1)
    items: int = _config.option(10, "Symbols to remember.", least=1)
    symbols: int = _config.option(8, "Kinds of symbols.", least=2)
    data: str = _config.option("", "File to train on, in place of drawn data: .npz with x [N, T, 10] and y [N, T].")


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("copy_memory", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    features, classes = config.symbols + 2, config.symbols + 1
    memory = {"items": config.items, "symbols": config.symbols}
    size = {"layers": config.layers, "input_size": features, "classes": classes}
    task = _drawn.Task(
        draw=tasks.copy_memory,
        sizes=(config.delay,),
        options=memory,
        read=lambda path: _classification.read_samples(path, ("T", features), classes, every_step=True),
        model=_classification.classification(config.make_cell(), **size, every_step=True, counted_steps=config.items),
        chance=lambda length: tasks.copy_memory_floor(length - 2 * config.items, **memory),
        loss_name="cross-entropy in nats a step",
        example=lambda x, y, logits: example(x, y, logits, config.items),
    )
    return _drawn.pose(config, task)


def example(x: np.ndarray, y: np.ndarray, logits: np.ndarray, items: int) -> str:
    """Tells one sequence and what was made of it; a blank is written as a dot."""
    blank = x.shape[-1] - 2
    wanted, got = (
        " ".join("." if symbol == blank else str(symbol) for symbol in row[-items:])
        for row in (y, logits.argmax(axis=-1))
    )
    early = int((logits[:-items].argmax(axis=-1) != blank).sum())
    return f"wanted {wanted}   got {got}" + (f"   and {early} before the delimiter" if early else "")


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
