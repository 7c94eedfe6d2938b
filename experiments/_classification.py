"""Sequences to classes: layers of a cell, and a class for the whole sequence or for every step."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key, PyTree

from recur import cells, nn, tasks, train

Samples = tuple[Float[Array, "N T ..."], Int[Array, "N *T"]]


class Model(NamedTuple):
    """A module as pure functions: ``init(key) -> params``, ``predict(params, x)``, ``loss(params, batch, key)``.

    ``module(params)`` is the module itself.
    """

    init: Callable[[Key[Array, ""]], PyTree]
    predict: Callable[[PyTree, Float[Array, "B T X"]], Float[Array, "B *T K"]]
    loss: train.Loss
    module: Callable[[PyTree], nnx.Module]


def as_functions(
    module: Callable[..., nnx.Module], judge: Callable[[Array, Array], tuple[Array, dict]], **call: Any
) -> Model:
    """Returns ``module(rngs=...)`` as pure functions.

    Args:
        module: Makes the module.
        judge: Returns loss and metrics of predictions and targets.
        call: Options that it is called with.
    """
    graph = nnx.split(nnx.eval_shape(lambda: module(rngs=nnx.Rngs(0))))[0]

    def merge(params: PyTree) -> nnx.Module:
        return nnx.merge(graph, params)

    def init(key: Key[Array, ""]) -> PyTree:
        return nnx.to_pure_dict(nnx.split(module(rngs=nnx.Rngs(key)))[1])

    def predict(params: PyTree, x: Float[Array, "B T X"]) -> Float[Array, "B *T K"]:
        return merge(params)(x, **call)

    def loss(params: PyTree, batch: Samples, key: Key[Array, ""] | None) -> tuple[Float[Array, ""], dict]:
        del key
        x, y = batch
        return judge(predict(params, x), y)

    return Model(init, predict, loss, merge)


@functools.cache
def classification(
    cell: cells.Cell,
    *,
    layers: int,
    input_size: int,
    classes: int,
    every_step: bool = False,
    counted_steps: int | None = None,
) -> Model:
    """Returns a classifier: the same functions, compiled once, for the same arguments.

    It predicts logits; the loss is the cross-entropy in nats, its metric the accuracy.

    Args:
        cell: Of every layer.
        layers: How many.
        input_size: Features of a step.
        classes: How many.
        every_step: Whether every step has a class, and not the whole sequence one.
        counted_steps: Last steps whose classes the accuracy is of; by default all.
    """

    def judge(logits: Float[Array, "B *T K"], y: Int[Array, "B *T"]) -> tuple[Float[Array, ""], dict]:
        value = nn.cross_entropy(logits, y)
        if counted_steps is not None:
            logits, y = logits[:, -counted_steps:], y[:, -counted_steps:]
        return value, {"accuracy": nn.accuracy(logits, y)}

    module = functools.partial(nn.SequenceClassifier, classes, cell, layers=layers, input_size=input_size)
    return as_functions(module, judge, return_sequences=every_step)


def read_samples(path: str, x_shape: tuple[int | str, ...], classes: int | None, *, every_step: bool) -> Samples:
    """Reads ``x [N, *x_shape]`` and the classes ``y [N]`` or ``[N, T]``, from 0, of a NumPy archive.

    Args:
        path: The file.
        x_shape: Of a sample, T first.
        classes: How many there are; None for as many as the file has, of which there must be several.
        every_step: Whether there is one for every step.

    Raises:
        ValueError: The file holds something else.
        OSError: It cannot be read.
    """
    arrays = _read(path, x_shape, every_step)
    y = arrays["y"].astype(np.int32)
    wrong = (arrays["y"] != y) | (y < 0) | (y >= (classes or np.inf))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        below = f"below {classes}" if classes else "0, 1, 2, ..."
        raise ValueError(f"{path}, array 'y': expected whole numbers {below}, got {arrays['y'][at]:g} at index {at}")
    if classes is None and (y == y.flat[0]).all():
        raise ValueError(f"{path}, array 'y': expected several classes, got {y.flat[0]} only; give data with others")
    return arrays["x"], y


@functools.partial(jax.jit, static_argnames=("loss", "data_axis"))
def metrics_of_seeds(
    params: PyTree, samples: PyTree, *, loss: train.Loss, data_axis: int | None = None
) -> dict[str, Float[Array, "S"]]:
    """Returns loss and metrics of each seed's parameters; with data_axis 0 each on samples of its own."""
    if data_axis is None:
        return jax.lax.map(lambda params: train.evaluate(loss, params, samples), params)
    return jax.lax.map(lambda both: train.evaluate(loss, *both), (params, samples))


def _read(path: str, x_shape: tuple[int | str, ...], every_step: bool) -> dict[str, np.ndarray]:
    if every_step:
        return tasks.read_arrays(path, {"x": ("N", *x_shape), "y": ("N", x_shape[0])})
    try:
        return tasks.read_arrays(path, {"x": ("N", *x_shape), "y": ("N",)})
    except ValueError as error:
        # One answer a sequence may also be a column, as in files for regressions.
        try:
            arrays = tasks.read_arrays(path, {"x": ("N", *x_shape), "y": ("N", 1)})
        except ValueError:
            raise error from None
        return {**arrays, "y": arrays["y"][:, 0]}
