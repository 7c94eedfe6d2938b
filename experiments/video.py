"""How much better does a classifier tell the digit in each frame of a video if it remembers the frames before?

    python -m experiments.video --cell=lstm --workdir=runs/video

Digits of scikit-learn move over a noisy square and bounce off its sides, 16 frames of 16 x 16 pixels. In two frames of
five a grey block covers the digit, and now and then it becomes another one; the label of a frame is the digit, covered
or not. A network with recurrence and one that sees each frame by itself are trained on the same videos; they
share nothing but the norm to which their gradient is clipped. Every tenth image is held out: validation videos show
those, training videos the others. Files are NumPy archives with ``x [N, T, H, W]``, grey values about 0 to 1, and the
class of each frame ``y [N, T]``, from 0; of ``--data`` every tenth video is for validation.

Metrics, one value a seed: ``train_accuracy`` and ``val_accuracy`` (share of frames, with recurrence; val after the last
step), ``train_still_accuracy`` and ``val_still_accuracy`` (without), ``gain`` (the difference of both, validation),
``train_loss`` and ``val_loss`` (cross-entropies in nats, the sum of both networks), ``best_val_accuracy``,
``best_epoch``, ``majority_accuracy`` (of the most frequent class), and with ``--eval_data`` ``eval_loss``,
``eval_accuracy``, ``eval_still_accuracy``. The picture ``frames`` shows held-out videos and what both say of them.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from experiments import _classification, _frames
from recur import cells, tasks
from recur.runs import _config, _main, _problem, _run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Videos of which --flow and --probe_every take the gradient, and that are shown.
LOOKED_AT, SHOWN = 16, 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_config.RunConfig):
    """Options of the experiment."""

    workdir: str = _config.option("runs/video", "Folder of the run; several cells get a folder each in it.")
    hidden_size: int = _config.option(64, "Hidden units of a layer, in both networks.", least=1)
    layers: int = _config.option(1, "Layers of cells.", least=1)
    features: int = _config.option(64, "Features that a frame is encoded in.", least=1)
    epochs: int = _config.option(10, "Passes over the training data.", least=1)
    learning_rate: float = _config.option(3e-3, "Step size of the optimiser, the greatest of a schedule.", least=0.0)
    schedule: str = _config.option("cosine", "Step size over the run: constant, cosine, exponential.")
    videos: int = _config.option(6000, "Videos to draw for training.", least=1)
    validation: int = _config.option(400, "Videos to draw for validation.", least=1)
    frames: int = _config.option(16, "Frames of a drawn video.", least=1)
    noise: float = _config.option(0.3, "Standard deviation of the noise in a drawn video.", least=0.0)
    cover: float = _config.option(0.4, "Probability that a frame's digit is covered.", least=0.0)
    data_seed: int = _config.option(0, "What videos are drawn from, for all seeds.", least=0)
    data: str = _config.option("", "File to train on, in place of drawn data: .npz with x [N, T, H, W] and y [N, T].")


def train(config: Config) -> dict[str, Any]:
    """Runs the experiment, as the command does, and returns the summary that it also writes."""
    return _run.run("video", config, _pose)


def _pose(config: Config) -> _problem.Problem:
    training, validation, classes = _samples(config)
    frame_shape = training[0].shape[2:]
    evaluated = None
    if config.eval_data:
        shape = ("T", *frame_shape)
        evaluated = _on_device(_classification.read_samples(config.eval_data, shape, classes, every_step=True))
    model = _frames.two_classifiers(
        cells.CELLS[config.cell](config.hidden_size),
        layers=config.layers,
        features=config.features,
        frame_shape=frame_shape,
        classes=classes,
    )
    majority = tasks.majority_accuracy(training[1].ravel().tolist(), validation[1].ravel().tolist())
    validation = _on_device(validation)

    def measure(params: PyTree) -> dict[str, Any]:
        found = _classification.metrics_of_seeds(params, validation, loss=model.loss)
        metrics = {
            "gain": found["accuracy"] - found["still_accuracy"],
            "majority_accuracy": np.full(config.seeds, majority),
        }
        if evaluated is not None:
            found = _classification.metrics_of_seeds(params, evaluated, loss=model.loss)
            metrics |= {f"eval_{name}": values for name, values in found.items()}
        return metrics

    def show(params: PyTree) -> dict[str, "Figure"]:
        videos, labels = (np.asarray(leaf[:SHOWN]) for leaf in validation)
        said = model.predict(jax.tree.map(lambda leaf: leaf[0], params), videos)
        return {"frames": _frames.draw(videos, labels, *(np.asarray(logits.argmax(axis=-1)) for logits in said))}

    return _problem.Problem(
        init=model.init,
        loss=model.loss,
        data=_on_device(training),
        validation=validation,
        loss_name="cross-entropies in nats, of both networks",
        floors={"guessing": 2 * float(np.log(classes))},
        monitor="val_accuracy",
        maximize=True,
        measure=measure,
        show=show,
        recurrence=lambda params: model.module(params).recurrence(validation[0][:LOOKED_AT]),
        reads=lambda params, batch: model.module(params).recurrence(batch[0]),
    )


def _samples(config: Config) -> tuple[_classification.Samples, _classification.Samples, int]:
    """Returns frames ``[N, T, H, W]`` and classes ``[N, T]`` to train on, those held out, and how many classes."""
    if config.data:
        samples = _classification.read_samples(config.data, ("T", "H", "W"), None, every_step=True)
        return *zip(*map(tasks.hold_out, samples), strict=True), int(samples[1].max()) + 1
    keys = jax.random.split(jax.random.key(config.data_seed))
    parts = zip(keys, tasks.hold_out(tasks.load_digits()), (config.videos, config.validation), strict=True)
    options = {"noise": config.noise, "cover": config.cover}
    drawn = (tasks.digit_videos(key, digits, count, config.frames, **options) for key, digits, count in parts)
    return *((videos.frames, videos.labels) for videos in drawn), len(tasks.DIGIT_NAMES["en"])


def _on_device(samples: _classification.Samples) -> tuple[jax.Array, jax.Array]:
    return tuple(map(jnp.asarray, samples))


if __name__ == "__main__":
    _config.define_flags(Config)
    _main.run(lambda argv: train(_config.from_flags(Config)))
