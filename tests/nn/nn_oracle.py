"""The modules under test, and what each must compute for one sequence: plain loops over ``cell.step``."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recur import cells, nn

INPUT_SIZE = 3


def _rnn(**options: Any) -> nn.RNN:
    return nn.RNN(cells.lstm(4), INPUT_SIZE, **options)


def _bidirectional(**options: Any) -> nn.Bidirectional:
    return nn.Bidirectional(cells.lstm(4), INPUT_SIZE, backward_cell=cells.gru(2), **options)


def _stack(**options: Any) -> nn.Stack:
    return nn.Stack([cells.lstm(4), cells.gru(2)], INPUT_SIZE, **options)


def _deep_bidirectional(**options: Any) -> nn.Stack:
    return nn.Stack([cells.gru(2), cells.lstm(2)], INPUT_SIZE, bidirectional=True, residual=True, **options)


MODULES: dict[str, Callable[..., nnx.Module]] = {
    "rnn": _rnn,
    "bidirectional": _bidirectional,
    "stack": _stack,
    "deep_bidirectional": _deep_bidirectional,
}
CAUSAL = ("rnn", "stack")


def make(name: str, dtype: Any = jnp.float32, seed: int = 0) -> nnx.Module:
    """Makes a module whose biases are random too, so that a gate mixed up with another one shows."""
    graph, shapes = nnx.split(nnx.eval_shape(lambda: MODULES[name](rngs=nnx.Rngs(0), dtype=dtype)))
    drawn = normal_like(jax.random.key(seed), shapes)
    return nnx.merge(graph, jax.tree.map(lambda leaf: 0.5 * leaf, drawn))


class Alone(NamedTuple):
    outputs: jax.Array
    last: jax.Array
    state: Any


def run_alone(module: nnx.Module, x: jax.Array, start: Any = None) -> Alone:
    """Runs a module over one sequence ``[T, X]`` of which every step counts."""
    if start is None:
        start = module.initial_state((), x.dtype)
    if isinstance(module, nn.RNN):
        return _loop(module, x, start)
    if isinstance(module, nn.Bidirectional):
        forward, backward = _loop(module.forward, x, start[0]), _loop(module.backward, x[::-1], start[1])
        return Alone(
            jnp.concatenate([forward.outputs, backward.outputs[::-1]], axis=-1),
            jnp.concatenate([forward.last, backward.last], axis=-1),
            (forward.state, backward.state),
        )
    states = []
    for index, layer in enumerate(module.layers):
        layer_run = run_alone(layer, x, start[index])
        states.append(layer_run.state)
        x, last = (
            (x + layer_run.outputs, last + layer_run.last)
            if module.residual and index > 0
            else (layer_run.outputs, layer_run.last)
        )
    return Alone(x, last, tuple(states))


def _loop(rnn: nn.RNN, x: jax.Array, state: Any) -> Alone:
    cell, params = rnn.as_cell()
    state, outputs = jax.lax.scan(lambda state, x_t: cell.step(params, state, x_t), state, x)
    return Alone(outputs, cell.output(state), state)


def normal_like(key: jax.Array, tree: Any) -> Any:
    """Draws a tree of standard normal numbers like `tree`."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure, [jax.random.normal(k, v.shape, v.dtype) for k, v in zip(keys, leaves, strict=True)]
    )


def dot(a: Any, b: Any) -> jax.Array:
    """Returns the inner product of two trees."""
    return sum(jnp.vdot(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def assert_close(actual: Any, desired: Any, tolerance: float) -> None:
    """Compares two trees, leaf by leaf: |actual - desired| <= tolerance * (1 + |desired|)."""
    assert jax.tree.structure(actual) == jax.tree.structure(desired)
    for (path, a), d in zip(jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(desired), strict=True):
        np.testing.assert_allclose(a, d, rtol=tolerance, atol=tolerance, err_msg=jax.tree_util.keystr(path))
