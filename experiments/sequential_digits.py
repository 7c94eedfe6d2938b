"""Which cells recognise a handwritten digit that they see pixel by pixel?

    python -m experiments.sequential_digits --cell=elman,gru,lstm --workdir=runs/sequential_digits

The 1,797 digits of scikit-learn, 8 x 8 pixels, are read row by row, T = 64; with ``--permuted`` in an order drawn at
random, the same one for every image. Every tenth digit is held out, for validation. While training, noise is added to
every pixel, other noise in every step: otherwise the images are learnt by heart. Files are NumPy archives with grey
values ``x [N, T, 1]`` from 0 to 1, row by row, and the class ``y [N]``, from 0; of ``--data`` every tenth image is for
validation.

Metrics, one value a seed: ``train_loss`` and ``val_loss`` (cross-entropy in nats; val after the last step),
``train_accuracy`` and ``val_accuracy``, ``best_val_accuracy``, ``best_epoch``, ``majority_accuracy`` (of the most
frequent class), and with ``--eval_data`` ``eval_loss`` and ``eval_accuracy``. The picture ``accuracy_by_pixel`` shows
how good the answer would be after every pixel.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from experiments import _classification
from recur import cells, report, tasks
from recur.runs import _config, _main, _problem, _run
from recur.train import Loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Images of which --flow and --probe_every take the gradient.
LOOKED_AT = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_config.RunConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/sequential_digits", "Folder of the run; several cells get a folder each in it.")
    hidden_size: int = _config.option(64, "Hidden units of a layer.", least=1)
    layers: int = _config.option(1, "Layers.", least=1)
    epochs: int = _config.option(200, "Passes over the training data.", least=1)
    learning_rate: float = _config.option(1e-2, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    schedule: str = _config.option("cosine", "Step size over the run: constant, cosine, exponential.")
    noise: float = _config.option(
        0.15,
        "Standard deviation of the noise that is added to pixels while training.",
        least=0.0,
        before=lambda stored: 0.0,
    )
    permuted: bool = _config.option(False, "Read pixels in an order drawn at random.")
    order_seed: int = _config.option(0, "What that order is drawn from, for all seeds.", least=0)
    data: str = _config.option("", "File to train on, in place of the digits: .npz with x [N, T, 1] and y [N].")


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("sequential_digits", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    pixels, labels = _samples(config)
    classes = int(labels.max()) + 1
    key = jax.random.key(config.order_seed) if config.permuted else None
    (x, x_held_out), (y, y_held_out) = tasks.hold_out(tasks.pixel_sequences(pixels, key=key)), tasks.hold_out(labels)
    validation = (jnp.asarray(x_held_out), jnp.asarray(y_held_out))
    evaluated = None
    if config.eval_data:
        x_eval, y_eval = _classification.read_samples(config.eval_data, (pixels.shape[1], 1), classes, every_step=False)
        evaluated = (jnp.asarray(tasks.pixel_sequences(x_eval, key=key)), jnp.asarray(y_eval))
    size = {"layers": config.layers, "input_size": 1, "classes": classes}
    cell = cells.CELLS[config.cell](config.hidden_size)
    model = _classification.classification(cell, **size)
    majority = tasks.majority_accuracy(y.tolist(), y_held_out.tolist())

    def measure(params: PyTree) -> dict[str, Any]:
        metrics = {"majority_accuracy": np.full(config.seeds, majority)}
        if evaluated is not None:
            found = _classification.metrics_of_seeds(params, evaluated, loss=model.loss)
            metrics |= {f"eval_{name}": values for name, values in found.items()}
        return metrics

    every_step = _classification.classification(cell, **size, every_step=True)

    def show(params: PyTree) -> dict[str, "Figure"]:
        logits = jax.lax.map(lambda params: every_step.predict(params, validation[0]), params)
        right = np.asarray(logits.argmax(axis=-1) == validation[1][None, :, None]).mean(axis=1)
        return {"accuracy_by_pixel": draw(right, majority, config)}

    return _problem.Problem(
        init=model.init,
        loss=noisy(model.loss, config.noise),
        data=(jnp.asarray(x), jnp.asarray(y)),
        validation=validation,
        loss_name="cross-entropy in nats",
        floors={"guessing": float(np.log(classes))},
        monitor="val_accuracy",
        maximize=True,
        measure=measure,
        show=show,
        recurrence=lambda params: (
            *model.module(params).stack.as_cell(),
            jnp.moveaxis(validation[0][:LOOKED_AT], 0, 1),
        ),
        reads=lambda params, batch: (*model.module(params).stack.as_cell(), jnp.moveaxis(batch[0], 0, 1)),
    )


def _samples(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels ``[N, T, 1]``, row by row, and classes ``[N]``."""
    if config.data:
        return _classification.read_samples(config.data, ("T", 1), None, every_step=False)
    digits = tasks.load_digits()
    return tasks.pixel_sequences(digits.images), digits.labels


@functools.cache
def noisy(loss: Loss, deviation: float) -> Loss:
    """Returns the loss with noise on the pixels where there is a key, as there is in training."""

    def of_batch(params: PyTree, batch: _classification.Samples, key: jax.Array | None) -> tuple[jax.Array, dict]:
        x, y = batch
        if key is not None:
            x = x + deviation * jax.random.normal(key, x.shape, x.dtype)
        return loss(params, (x, y), key)

    return of_batch


def draw(right: np.ndarray, majority: float, config: Config) -> "Figure":
    """Draws the share ``[S, T]`` of images that are recognised after so many pixels."""
    return report.loss_curves(
        {config.cell: (range(1, right.shape[1] + 1), right)},
        title="Held-out digits recognised after so many pixels",
        subtitle=f"{'in a random order' if config.permuted else 'row by row'}; trained to answer after the last",
        x_label="pixel",
        y_label="accuracy",
        y_scale="linear",
        floors={"most frequent class": majority},
    )


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
