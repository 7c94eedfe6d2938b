"""Can a small network continue a straight line beyond the values it has seen?

    python -m experiments.ramp --cell=elman,gru,lstm --workdir=runs/ramp

Trained on the six windows of four among 0.0, 0.1, ..., 0.9 with the value that follows each, it is asked for what
follows 0.6, 0.7, 0.8, 0.9 (1.0, a target that no training window has) and -0.1, 0.0, 0.1, 0.2 (0.3, a window that
begins below all of them). Validation: the windows that begin halfway between those of training.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (mean squared errors after the last epoch),
``best_val_loss``, ``best_epoch``, ``prediction_of_1.0``, ``prediction_of_0.3``, and with ``--eval_data`` ``eval_loss``.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from experiments import _regression
from recur import cells, tasks
from recur.runs import _config, _main, _problem, _run

WINDOW, WINDOWS, STEP = 4, 6, 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_config.RunConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/ramp", "Folder of the run; several cells get a folder each in it.")
    cell: str = _config.option("elman", _config.CELL_HELP)
    hidden_size: int = _config.option(10, "Hidden units.", least=1)
    epochs: int = _config.option(2000, "Passes over the training windows.", least=1)
    batch_size: int = _config.option(WINDOWS, "Windows of a batch.", least=1)
    learning_rate: float = _config.option(1e-2, "Step size of the optimiser.", least=0.0)
    eval_every: int = _config.option(20, "Steps between evaluations; an epoch is one step.", least=0)


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("ramp", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    model = _regression.regression(cells.CELLS[config.cell](config.hidden_size), layers=1, input_size=1)
    held_out = _regression.read_samples(config.eval_data, ("T", 1)) if config.eval_data else None
    training = _regression.read_samples(config.data, ("T", 1)) if config.data else tasks.ramp(WINDOWS, WINDOW)
    validation = tasks.ramp(WINDOWS - 1, WINDOW, start=STEP / 2)
    if training[0].shape[0] < config.batch_size:
        raise ValueError(f"batch_size: expected at most the {training[0].shape[0]} windows, got {config.batch_size}")

    def measure(params):
        starts = {"prediction_of_1.0": 0.6, "prediction_of_0.3": -0.1}
        metrics = {}
        for name, start in starts.items():
            window, _ = tasks.ramp(1, WINDOW, start=start)
            metrics[name] = jax.vmap(model.predict, in_axes=(0, None))(params, window).ravel()
        if held_out is not None:
            metrics["eval_loss"] = _regression.loss_of_seeds(params, held_out, loss=model.loss, data_axis=None)
        return metrics

    windows = jnp.moveaxis(validation[0], 0, 1)
    return _problem.Problem(
        init=model.init,
        loss=model.loss,
        data=training,
        validation=validation,
        measure=measure,
        recurrence=lambda params: (*model.as_cell(params), windows),
        reads=lambda params, batch: (*model.as_cell(params), jnp.moveaxis(batch[0], 0, 1)),
        floors={"best constant guess": tasks.ramp_floor(WINDOWS)},
    )


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
