"""Which cells learn the product of two marked numbers, any number of steps apart?

    python -m experiments.multiplication --cell=elman,gru,lstm --workdir=runs/multiplication

A sequence has 100 steps of (value, marker); two values are marked and the target is their product. Whoever always
guesses 1/4 has a mean squared error of 7/144 = 0.0486, the floor. Two layers of 30 units and a linear readout of the
last output, 3,000 sequences: 2,048 to train on, 512 for validation, 440 for test. Each seed draws sequences of its own.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (after the last epoch), ``best_val_loss``, ``best_epoch``,
``test_loss``, and with ``--eval_data`` ``eval_loss``, all mean squared errors.
"""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from experiments import _lag, _regression
from recur import tasks
from recur.runs import _config, _machine, _main, _problem, _run

# 2,560 of 3,000 sequences to train on, the last fifth of them for validation, as the tutorials have it.
TRAIN_AND_VALIDATION, VALIDATION = 2560 / 3000, 0.2
# Sequences of which --flow and --probe_every take the gradient.
LOOKED_AT = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_lag.LagConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/multiplication", "Folder of the run; several cells get a folder each in it.")
    hidden_size: int = _config.option(30, "Hidden units of a layer.", least=1)
    layers: int = _config.option(2, "Layers.", least=1)
    length: int = _config.option(100, "Steps of a sequence (of drawn data).", least=2)
    chrono: int = _config.option(
        0, "Greatest lag in steps that gates of gru and lstm begin with (chrono biases); 0 for their own.", least=0
    )
    sequences: int = _config.option(3000, "Sequences to draw, for training, validation and test.", least=4)


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("multiplication", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    model = _regression.regression(config.make_cell(), layers=config.layers, input_size=2)
    held_out = _regression.read_samples(config.eval_data, ("T", 2)) if config.eval_data else None
    training, validation, test = _split(_samples(config), config)

    def measure(params):
        metrics = {"test_loss": _regression.loss_of_seeds(params, test, loss=model.loss, data_axis=0)}
        if held_out is not None:
            metrics["eval_loss"] = _regression.loss_of_seeds(params, held_out, loss=model.loss, data_axis=None)
        return metrics

    sequences = jnp.moveaxis(validation[0][0, :LOOKED_AT], 0, 1)
    return _problem.Problem(
        init=model.init,
        loss=model.loss,
        data=training,
        validation=validation,
        data_axis=0,
        measure=measure,
        recurrence=lambda params: (*model.as_cell(params), sequences),
        reads=lambda params, batch: (*model.as_cell(params), jnp.moveaxis(batch[0], 0, 1)),
        floors={"best constant guess, 7/144": tasks.multiplication_floor()},
    )


def _samples(config: Config) -> _regression.Samples:
    """Returns ``x [S, N, T, 2]`` and ``y [S, N, 1]``: drawn for each seed, or the file's for all."""
    if config.data:
        samples = _regression.read_samples(config.data, ("T", 2))
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (config.seeds, *leaf.shape)), samples)
    return _draw(_run.seed_keys(config), config.sequences, config.length)


@functools.partial(_machine.jit_once, static_argnums=(1, 2))
def _draw(keys: Key[Array, "S"], count: int, length: int) -> _regression.Samples:
    return jax.vmap(lambda key: tasks.multiplication(jax.random.fold_in(key, 0), count, length))(keys)


def _split(samples: _regression.Samples, config: Config) -> list[_regression.Samples]:
    count = samples[0].shape[1]
    end = round(count * TRAIN_AND_VALIDATION)
    start = round(end * (1 - VALIDATION))
    if not config.batch_size <= start < end < count:
        raise ValueError(
            f"{config.data or 'sequences'}: expected enough for a batch of {config.batch_size}, validation and test, "
            f"got {count}, of which {start} are for training; give more, or a smaller batch_size"
        )
    return _cut(samples, (0, start, end, count))


@functools.partial(_machine.jit_once, static_argnums=1)
def _cut(samples: _regression.Samples, ends: tuple[int, ...]) -> list[_regression.Samples]:
    return [tuple(leaf[:, first:last] for leaf in samples) for first, last in itertools.pairwise(ends)]


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
