"""Tasks whose sequences are drawn: anew at every step, on the device, from the key of that step."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from experiments import _lag
from experiments._classification import Model, metrics_of_seeds
from recur import cells, tasks, train
from recur.runs import _config, _machine, _problem, _run

STEPS_PER_EPOCH = 100
# Sequences of which --flow and --probe_every take the gradient, and that are shown.
LOOKED_AT, SHOWN = 16, 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnConfig(_lag.LagConfig):
    """What every experiment on drawn sequences is told."""

    hidden_size: int = _config.option(64, "Hidden units of a layer.", least=1)
    layers: int = _config.option(1, "Layers.", least=1)
    epochs: int = _config.option(20, f"Hundreds of steps: an epoch is {STEPS_PER_EPOCH} of them.", least=1)
    learning_rate: float = _config.option(1e-2, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    schedule: str = _config.option("cosine", "Step size over the run: constant, cosine, exponential.")
    batch_size: int = _config.option(50, "Sequences of a batch.", least=1)
    validation: int = _config.option(1000, "Sequences to validate on, which stay the same.", least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A drawn task and the model of it.

    Args:
        draw: ``draw(key, count, *sizes, **options) -> (x, y)``, one of `recur.tasks`.
        sizes: Of a sequence.
        options: More about it.
        read: Reads a file of such samples.
        model: What is trained.
        chance: The loss, by the steps of a sequence, of whoever knows all but what has to be remembered.
        loss_name: What the loss is.
        example: Tells one sample and what was predicted of it, as a line.
    """

    draw: Callable[..., tuple[jax.Array, jax.Array]]
    sizes: tuple[int, ...]
    options: dict[str, Any]
    read: Callable[[str], PyTree]
    model: Model
    chance: Callable[[int], float]
    loss_name: str
    example: Callable[[np.ndarray, np.ndarray, np.ndarray], str]


def pose(config: DrawnConfig, task: Task) -> _problem.Problem:
    """Returns the problem: sequences of the task, or of ``--data``, of which every tenth is for validation."""
    model = task.model
    held_out = jax.tree.map(jnp.asarray, task.read(config.eval_data)) if config.eval_data else None
    if config.data:
        parts = [tasks.hold_out(np.asarray(leaf)) for leaf in task.read(config.data)]
        training, validation = (tuple(map(jnp.asarray, part)) for part in zip(*parts, strict=True))
        loss, data_axis, looked_at = model.loss, None, validation
    else:
        # Stands for the sequences of an epoch: how many there are is all that is asked of it.
        training = jnp.zeros((config.seeds, STEPS_PER_EPOCH * config.batch_size), jnp.bool)
        options = tuple(sorted(task.options.items()))
        validation = draw_validation(_run.seed_keys(config), config.validation, task.draw, task.sizes, options)
        loss, data_axis = redrawn(model.loss, task.draw, task.sizes, options), 0
        looked_at = jax.tree.map(lambda leaf: leaf[0], validation)

    chance = task.chance(looked_at[0].shape[1])

    def measure(params: PyTree) -> dict[str, Any]:
        final = metrics_of_seeds(params, validation, loss=model.loss, data_axis=data_axis)["loss"]
        metrics = {"chance_loss": jnp.full_like(final, chance), "times_below_chance": chance / final}
        if held_out is not None:
            found = metrics_of_seeds(params, held_out, loss=model.loss)
            metrics |= {f"eval_{name}": values for name, values in found.items()}
        return metrics

    def show(params: PyTree) -> dict[str, Sequence[str]]:
        samples = [np.asarray(leaf[:SHOWN]) for leaf in looked_at]
        predicted = np.asarray(model.predict(jax.tree.map(lambda leaf: leaf[0], params), samples[0]))
        return {"samples": [task.example(*sample) for sample in zip(*samples, predicted, strict=True)]}

    return _problem.Problem(
        init=model.init,
        loss=loss,
        data=training,
        validation=validation,
        data_axis=data_axis,
        loss_name=task.loss_name,
        floors={"chance": chance},
        measure=measure,
        show=show,
        recurrence=lambda params: (*model.module(params).stack.as_cell(), jnp.moveaxis(looked_at[0][:LOOKED_AT], 0, 1)),
        # What is drawn is not in the batch.
        reads=_read_from_file(model) if config.data else None,
    )


def _read_from_file(model: Model) -> Callable[[PyTree, PyTree], tuple[cells.Cell, PyTree, jax.Array]]:
    return lambda params, batch: (*model.module(params).stack.as_cell(), jnp.moveaxis(batch[0], 0, 1))


@functools.cache
def redrawn(
    loss: train.Loss, draw: Callable, sizes: tuple[int, ...], options: tuple[tuple[str, Any], ...]
) -> train.Loss:
    """Returns the loss that trains on what is drawn, as many sequences as the batch has, and evaluates the batch."""

    def fresh(params: PyTree, batch: PyTree, key: jax.Array | None) -> tuple[jax.Array, dict]:
        # In evaluation there is no key.
        return loss(params, batch if key is None else draw(key, len(batch), *sizes, **dict(options)), key)

    return fresh


@functools.partial(_machine.jit_once, static_argnums=(1, 2, 3, 4))
def draw_validation(
    keys: jax.Array, count: int, draw: Callable, sizes: tuple[int, ...], options: tuple[tuple[str, Any], ...]
) -> PyTree:
    """Returns sequences for every seed, ``[S, N, ...]``."""
    return jax.vmap(lambda key: draw(jax.random.fold_in(key, 0), count, *sizes, **dict(options)))(keys)
