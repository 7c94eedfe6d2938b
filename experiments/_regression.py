"""Many to one: a stack of cells reads a sequence, a linear readout of its last output gives one number."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree

from recur import cells, nn, tasks, train

Samples = tuple[Float[Array, "N T X"], Float[Array, "N 1"]]


class Regressor(nnx.Module):
    """y = W h_T + b, where h_T is the last output of the top layer."""

    def __init__(self, cell: cells.Cell, layers: int, input_size: int, *, rngs: nnx.Rngs):
        self.stack = nn.Stack([cell] * layers, input_size, rngs=rngs)
        self.readout = nnx.Linear(self.stack.output_size, 1, rngs=rngs)

    def __call__(self, x: Float[Array, "B T X"]) -> Float[Array, "B 1"]:
        """Returns one number a sequence."""
        return self.readout(self.stack(x, return_sequences=False))


class Model(NamedTuple):
    """The module as pure functions: ``init(key) -> params``, ``predict(params, x)``, ``loss(params, batch, key)``.

    ``as_cell(params)`` hands out its recurrent part, all layers as one cell with the parameters of that.
    """

    init: Callable[[Key[Array, ""]], PyTree]
    predict: Callable[[PyTree, Float[Array, "B T X"]], Float[Array, "B 1"]]
    loss: train.Loss
    as_cell: Callable[[PyTree], tuple[cells.Cell, PyTree]]


@functools.cache
def regression(cell: cells.Cell, *, layers: int, input_size: int) -> Model:
    """Returns the model with the mean squared error as loss: the same functions, compiled once, for the same sizes."""
    module = functools.partial(Regressor, cell, layers, input_size)
    graph = nnx.split(nnx.eval_shape(lambda: module(rngs=nnx.Rngs(0))))[0]

    def init(key: Key[Array, ""]) -> PyTree:
        return nnx.to_pure_dict(nnx.split(module(rngs=nnx.Rngs(key)))[1])

    def predict(params: PyTree, x: Float[Array, "B T X"]) -> Float[Array, "B 1"]:
        return nnx.merge(graph, params)(x)

    def loss(params: PyTree, batch: Samples, key: Key[Array, ""] | None) -> tuple[Float[Array, ""], dict]:
        del key
        x, y = batch
        return jnp.mean(optax.squared_error(predict(params, x), y)), {}

    def as_cell(params: PyTree) -> tuple[cells.Cell, PyTree]:
        return nnx.merge(graph, params).stack.as_cell()

    return Model(init, predict, loss, as_cell)


def read_samples(path: str, x_shape: tuple[int | str, ...]) -> Samples:
    """Reads ``x [N, *x_shape]`` and ``y [N, 1]`` from a NumPy archive, onto the device."""
    arrays = tasks.read_arrays(path, {"x": ("N", *x_shape), "y": ("N", 1)})
    return jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"])


@functools.partial(jax.jit, static_argnames=("loss", "data_axis"))
def loss_of_seeds(params: PyTree, samples: Samples, *, loss: train.Loss, data_axis: int | None) -> Float[Array, "S"]:
    """Returns the loss of each seed's parameters; with data_axis 0 each on samples of its own."""
    if data_axis is None:
        return jax.lax.map(lambda params: train.evaluate(loss, params, samples)["loss"], params)
    return jax.lax.map(lambda both: train.evaluate(loss, *both)["loss"], (params, samples))
