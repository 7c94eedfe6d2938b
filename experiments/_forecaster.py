"""A network that forecasts a series from a window of it, one step ahead and from its own forecasts."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PyTree

from experiments import _series, _words
from recur import cells, nn, train


class Model(NamedTuple):
    """The network as pure functions; it adds what it says to the last value of a window."""

    pure: _words.Pure
    predict: Callable[[PyTree, Float[Array, "B T 1"]], Float[Array, "B 1"]]
    loss: train.Loss


@functools.cache
def forecaster(cell: str, hidden_size: int, layers: int) -> Model:
    """Returns the model: the same functions, compiled once, for the same sizes."""
    sizes = {"layers": layers, "input_size": 1}
    pure = _words.pure(lambda rngs: nn.SequenceRegressor(1, cells.CELLS[cell](hidden_size), **sizes, rngs=rngs))

    def predict(params: PyTree, x: Float[Array, "B T 1"]) -> Float[Array, "B 1"]:
        return x[:, -1] + pure.merge(params)(x)

    def loss(params: PyTree, batch: _series.Samples, key: Key[Array, ""] | None) -> tuple[Float[Array, ""], dict]:
        del key
        x, y = batch
        return jnp.mean(optax.squared_error(predict(params, x), y)), {}

    return Model(pure, predict, loss)


def forecasts(params: PyTree, one: _series.Series, start: int, window: int, *, model: Model) -> list[np.ndarray]:
    """Returns forecasts of one seed from `start` on, in the unit of the series: one step ahead, and free-running."""
    x = np.lib.stride_tricks.sliding_window_view(one.scaled[start - window : -1], window, axis=0)
    found = _forecast(params, np.moveaxis(x, -1, 1), model=model)
    return [np.asarray(values, np.float64) * one.scale + one.mean for values in found]


@functools.partial(jax.jit, static_argnames="model")
def _forecast(params: PyTree, x: Float[Array, "N T 1"], *, model: Model) -> tuple[Float[Array, "N"], Float[Array, "N"]]:
    def go_on(window: Float[Array, "1 T 1"], _: None) -> tuple[Float[Array, "1 T 1"], Float[Array, ""]]:
        value = model.predict(params, window)
        return jnp.concatenate([window[:, 1:], value[:, None]], axis=1), value[0, 0]

    return model.predict(params, x)[:, 0], jax.lax.scan(go_on, x[:1], length=len(x))[1]
