"""Which cells learn to add two marked numbers, any number of steps apart?

    python -m experiments.adding --cell=elman,gru,lstm --workdir=runs/adding

A sequence has 100 steps of (value, marker); two values are marked, by default one in each half, and the target is their
sum. Whoever always guesses 1 has a mean squared error of 1/6 = 0.167, the chance level. Sequences are drawn anew at
every step of training; 1,000 others, of each seed its own, are for validation. Files are NumPy archives with
``x [N, T, 2]`` and ``y [N, 1]``; of ``--data`` every tenth sequence is for validation.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (mean squared errors; val after the last step),
``train_correct`` and ``val_correct`` (share of answers off by less than 0.04, as counted in 1997), ``best_val_loss``,
``best_epoch`` (of 100 steps), ``chance_loss``, ``times_below_chance`` (of val_loss), and with ``--eval_data``
``eval_loss`` and ``eval_correct``.
"""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments import _classification, _drawn, _regression
from recur import cells, nn, tasks
from recur.runs import _config, _main, _problem, _run

# What Hochreiter and Schmidhuber (1997) count as right.
TOLERANCE = 0.04


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_drawn.DrawnConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/adding", "Folder of the run; several cells get a folder each in it.")
    length: int = _config.option(100, "Steps of a sequence (of drawn data).", least=2)
    epochs: int = _config.option(40, f"Hundreds of steps: an epoch is {_drawn.STEPS_PER_EPOCH} of them.", least=1)
    marks: str = _config.option("halves", "Where the marks are: halves (one in each), any, or hs97 (as in 1997).")
    data: str = _config.option("", "File to train on, in place of drawn data: .npz with x [N, T, 2] and y [N, 1].")


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("adding", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    task = _drawn.Task(
        draw=tasks.adding,
        sizes=(config.length,),
        options={"marks": config.marks},
        read=lambda path: _regression.read_samples(path, ("T", 2)),
        model=_model(config.make_cell(), config.layers),
        chance=lambda length: tasks.adding_floor(config.marks),
        loss_name="mean squared error",
        example=example,
    )
    return _drawn.pose(config, task)


@functools.cache
def _model(cell: cells.Cell, layers: int) -> _classification.Model:
    def judge(predicted: Float[Array, "B 1"], y: Float[Array, "B 1"]) -> tuple[Float[Array, ""], dict]:
        error = predicted - y
        return jnp.mean(error**2), {"correct": jnp.mean(jnp.abs(error) < TOLERANCE)}

    module = functools.partial(nn.SequenceRegressor, 1, cell, layers=layers, input_size=2)
    return _classification.as_functions(module, judge)


def example(x: np.ndarray, y: np.ndarray, predicted: np.ndarray) -> str:
    """Tells one sequence and the answer to it."""
    places = np.flatnonzero(x[:, 1] > 0)
    marked = " and ".join(f"{x[place, 0]:.3f} at step {place + 1}" for place in places)
    return f"{marked} of {len(x)}: wanted {y[0]:.3f}, got {predicted[0]:.3f}"


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
