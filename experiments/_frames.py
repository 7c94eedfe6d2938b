"""Two classifiers of frames, with recurrence and without, and a picture of what they say."""

import functools
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from experiments import _classification
from recur import cells, nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TwoClassifiers(nnx.Module):
    """A recurrent classifier of frames, and one that sees each frame by itself. They share nothing.

    Both encode a frame in the same way; what is layers of cells in one is a layer of relu in the other.
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        classes: int,
        cell: cells.Cell,
        layers: int,
        features: int,
        *,
        rngs: nnx.Rngs,
    ):
        self.recurrent = nn.FrameClassifier(frame_shape, classes, cell, layers=layers, features=features, rngs=rngs)
        self.encoder = nn.FrameEncoder(frame_shape, features, rngs=rngs)
        self.hidden = nnx.Linear(features, cells.output_size(cell), rngs=rngs)
        self.readout = nnx.Linear(self.hidden.out_features, classes, rngs=rngs)

    def __call__(self, frames: Float[Array, "B T *F"]) -> tuple[Float[Array, "B T K"], Float[Array, "B T K"]]:
        """Returns the logits of both, the recurrent one first."""
        return self.recurrent(frames), self.readout(nnx.relu(self.hidden(self.encoder(frames))))

    def recurrence(self, frames: Float[Array, "B T *F"]) -> tuple[cells.Cell, PyTree, Float[Array, "T B X"]]:
        """Returns the layers as one cell, its parameters, and its inputs."""
        return *self.recurrent.stack.as_cell(), jnp.moveaxis(self.recurrent.encoder(frames), 1, 0)


@functools.cache
def two_classifiers(
    cell: cells.Cell, *, layers: int, features: int, frame_shape: tuple[int, ...], classes: int
) -> _classification.Model:
    """Returns both: the same functions, compiled once, for the same arguments.

    The loss is the sum of their cross-entropies; the metrics are ``accuracy`` and, without recurrence,
    ``still_accuracy``.
    """

    def judge(logits: tuple[Array, Array], y: Int[Array, "B T"]) -> tuple[Float[Array, ""], dict]:
        recurrent, still = logits
        accuracies = {"accuracy": nn.accuracy(recurrent, y), "still_accuracy": nn.accuracy(still, y)}
        return nn.cross_entropy(recurrent, y) + nn.cross_entropy(still, y), accuracies

    module = functools.partial(TwoClassifiers, frame_shape, classes, cell, layers, features)
    return _classification.as_functions(module, judge)


def draw(
    frames: Float[np.ndarray, "N T H W"],
    labels: Int[np.ndarray, "N T"],
    said: Int[np.ndarray, "N T"],
    said_still: Int[np.ndarray, "N T"],
) -> "Figure":
    """Draws videos, a row each, and below each frame what both classifiers say; what is wrong is in brackets."""
    from matplotlib.figure import Figure

    count, steps = labels.shape
    figure = Figure(figsize=(0.62 * steps + 0.2, 0.85 * count + 0.6))
    figure.suptitle("The digit; what is said with recurrence; without. [Wrong] in brackets.", fontsize=9)
    axes = figure.subplots(count, steps, squeeze=False)
    for (row, step), panel in np.ndenumerate(axes):
        panel.imshow(frames[row, step], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set_xticks([])
        panel.set_yticks([])
        panel.grid(False)
        right = labels[row, step]
        words = [f"{guess}" if guess == right else f"[{guess}]" for guess in (said[row, step], said_still[row, step])]
        panel.set_xlabel("  ".join([f"{right}", *words]), fontsize=7, labelpad=2)
    top = 1 - 0.35 / figure.get_figheight()
    figure.subplots_adjust(left=0.01, right=0.99, top=top, bottom=0.05, wspace=0.08, hspace=0.25)
    return figure
