"""Which cells remember in what order two symbols came, among a hundred others?

    python -m experiments.temporal_order --cell=elman,gru,lstm --workdir=runs/temporal_order

A sequence has 100 steps, each one of eight symbols: E first, B last, between them a, b, c, d at random, but for an X or
Y at 10 to 20 % of the sequence and another at 50 to 60 %. The class is their order: XX, XY, YX or YY; with
``--relevant=3`` a third stands at 66 to 76 %, and there are eight classes (tasks 6a and 6b of Hochreiter and
Schmidhuber, 1997). Whoever guesses has a cross-entropy of ln 4 = 1.386 nats, the chance level. Sequences are drawn anew
at every step of training; 1,000 others, of each seed its own, are for validation. Files are NumPy archives with
``x [N, T, 8]``, one-hot over a, b, c, d, X, Y, E, B, and classes ``y [N]`` from 0; of ``--data`` every tenth sequence
is for validation.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (nats; val after the last step), ``train_accuracy`` and
``val_accuracy``, ``best_val_loss``, ``best_epoch`` (of 100 steps), ``chance_loss``, ``times_below_chance`` (of
val_loss), and with ``--eval_data`` ``eval_loss`` and ``eval_accuracy``.
"""

import dataclasses
from typing import Any

import numpy as np

from experiments import _classification, _drawn
from recur import tasks
from recur.runs import _config, _main, _problem, _run

SYMBOLS = "abcdXYEB"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_drawn.DrawnConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/temporal_order", "Folder of the run; several cells get a folder each in it.")
    length: int = _config.option(100, "Steps of a sequence (of drawn data).", least=4)
    relevant: int = _config.option(2, "Symbols whose order counts: 2 (task 6a) or 3 (task 6b).", least=2)
    data: str = _config.option("", "File to train on, in place of drawn data: .npz with x [N, T, 8] and y [N].")


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("temporal_order", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    chance = tasks.temporal_order_floor(relevant=config.relevant)
    size = {"layers": config.layers, "input_size": len(SYMBOLS), "classes": 2**config.relevant}
    task = _drawn.Task(
        draw=tasks.temporal_order,
        sizes=(config.length,),
        options={"relevant": config.relevant},
        read=lambda path: _classification.read_samples(path, ("T", len(SYMBOLS)), 2**config.relevant, every_step=False),
        model=_classification.classification(config.make_cell(), **size),
        chance=lambda length: chance,
        loss_name="cross-entropy in nats",
        example=example,
    )
    return _drawn.pose(config, task)


def example(x: np.ndarray, y: np.ndarray, logits: np.ndarray) -> str:
    """Tells one sequence and the answer to it."""
    text = "".join(SYMBOLS[symbol] for symbol in x.argmax(axis=-1))
    digits = len(logits).bit_length() - 1
    wanted, got = (f"{int(order):0{digits}b}".translate({48: "X", 49: "Y"}) for order in (y, logits.argmax()))
    return f"{text}: wanted {wanted}, got {got}"


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
