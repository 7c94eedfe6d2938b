"""Two classifiers of frames, with recurrence and without, and a picture of what they say."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key, PyTree

from recur import cells, nn, train

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


class Model(NamedTuple):
    """The module as pure functions.

    ``init(key) -> params``; ``predict(params, frames)``, the logits of both; ``loss(params, batch, key)``, the sum of
    their cross-entropies, with the metrics ``accuracy`` and ``still_accuracy`` (without recurrence); and
    ``recurrence(params, frames)``, the layers as one cell, its parameters and its inputs.
    """

    init: Callable[[Key[Array, ""]], PyTree]
    predict: Callable[[PyTree, Float[Array, "B T *F"]], tuple[Float[Array, "B T K"], Float[Array, "B T K"]]]
    loss: train.Loss
    recurrence: Callable[[PyTree, Float[Array, "B T *F"]], tuple[cells.Cell, PyTree, Float[Array, "T B X"]]]


@functools.cache
def two_classifiers(
    cell: str, hidden_size: int, *, layers: int, features: int, frame_shape: tuple[int, ...], classes: int
) -> Model:
    """Returns the model: the same functions, compiled once, for the same sizes."""
    module = functools.partial(TwoClassifiers, frame_shape, classes, cells.CELLS[cell](hidden_size), layers, features)
    graph = nnx.split(nnx.eval_shape(lambda: module(rngs=nnx.Rngs(0))))[0]

    def init(key: Key[Array, ""]) -> PyTree:
        return nnx.to_pure_dict(nnx.split(module(rngs=nnx.Rngs(key)))[1])

    def predict(params: PyTree, frames: Float[Array, "B T *F"]) -> tuple[jax.Array, jax.Array]:
        return nnx.merge(graph, params)(frames)

    def loss(params: PyTree, batch: tuple[Array, Int[Array, "B T"]], key: Key[Array, ""] | None) -> tuple:
        del key
        frames, y = batch
        recurrent, still = predict(params, frames)
        accuracies = {"accuracy": nn.accuracy(recurrent, y), "still_accuracy": nn.accuracy(still, y)}
        return nn.cross_entropy(recurrent, y) + nn.cross_entropy(still, y), accuracies

    def recurrence(params: PyTree, frames: Float[Array, "B T *F"]) -> tuple[cells.Cell, PyTree, jax.Array]:
        recurrent = nnx.merge(graph, params).recurrent
        return *recurrent.stack.as_cell(), jnp.moveaxis(recurrent.encoder(frames), 1, 0)

    return Model(init, predict, loss, recurrence)


def draw(
    frames: Float[np.ndarray, "N T H W"],
    labels: Int[np.ndarray, "N T"],
    said: Int[np.ndarray, "N T"],
    said_still: Int[np.ndarray, "N T"],
) -> "Figure":
    """Draws videos, a row each, and below each frame what both classifiers say; what is wrong is in brackets."""
    from matplotlib.figure import Figure

    count, steps = labels.shape
    figure = Figure(figsize=(0.62 * steps + 0.2, 0.95 * count + 0.8))
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
    figure.subplots_adjust(left=0.01, right=0.99, top=1 - 0.35 / (0.95 * count + 0.8), bottom=0.05, wspace=0.08)
    return figure
