"""Models with drawn parameters that cost no compiling, and what they must compute, in plain NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _oracles import EQUATIONS
from flax import nnx

from recur import cells


def drawn(maker: Any, dtype: Any = jnp.float64, seed: int = 0) -> tuple[Any, Any, dict]:
    """Returns a model's graph, its parameters, none of them zero, and the same as nested dicts."""
    graph, shapes = nnx.split(nnx.eval_shape(lambda: maker(rngs=nnx.Rngs(0), dtype=dtype)))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: 0.7 * rng.standard_normal(leaf.shape).astype(leaf.dtype), shapes)
    return graph, params, nnx.to_pure_dict(params)


def compiled(function: Any) -> Any:
    """Jits a function whose results come as NumPy arrays, of which an index costs no compiling."""
    jitted = jax.jit(function)
    return lambda *arguments: jax.device_get(jitted(*arguments))


def run_cell(name: str, tensors: dict, x: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
    """Runs the published equations over one sequence ``[T, X]``: outputs and last state."""
    if state is None:
        zeros = np.zeros(tensors["recurrent_kernel"].shape[0])
        state = cells.state_type("h", "c")(zeros, zeros) if name == "lstm" else cells.state_type("h")(zeros)
    outputs = np.zeros((len(x), len(state.h)))
    for time, x_t in enumerate(x):
        state = EQUATIONS[name](tensors, state, x_t, np)
        outputs[time] = state.h
    return outputs, state


def run_both(name: str, tensors: dict, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
    """Runs a bidirectional layer: outputs, last output, and the states side by side."""
    forward, state = run_cell(name, tensors["forward"]["params"], x)
    backward, state_back = run_cell(name, tensors["backward"]["params"], x[::-1])
    joined = type(state)(*(np.concatenate(both) for both in zip(state, state_back, strict=True)))
    return np.concatenate([forward, backward[::-1]], axis=1), joined.h, joined


def run_layers(name: str, layers: dict, x: np.ndarray, states: Any = None) -> tuple[np.ndarray, list]:
    """Runs forward layers, one above the other: outputs and last states."""
    after = []
    for index in range(len(layers)):
        x, state = run_cell(name, layers[index]["params"], x, None if states is None else states[index])
        after.append(state)
    return x, after


def embed(embedding: dict, ids: np.ndarray, size: int, scale: float = 1.0) -> np.ndarray:
    """Looks tokens up; without a table, one-hot vectors of that size."""
    return scale * embedding["table"][ids] if "table" in embedding else np.eye(size)[ids]


def linear(tensors: dict, x: np.ndarray) -> np.ndarray:
    """``x W + b``."""
    return x @ tensors["kernel"] + tensors.get("bias", 0)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities over the last axis."""
    return logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))


def mean_nats(logits: list[np.ndarray], labels: list[np.ndarray]) -> float:
    """Mean cross-entropy over the steps of all sequences."""
    rows, picked = np.concatenate(logits), np.concatenate(labels)
    return float(-np.mean(log_softmax(rows)[np.arange(len(rows)), picked]))


def slope(loss: Any, params: Any, gradient: Any, seed: int = 1) -> tuple[float, float]:
    """Returns the derivative of a loss in a random direction, by central differences and by its gradient."""
    rng = np.random.default_rng(seed)
    direction = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), params)
    move = lambda step: jax.tree.map(lambda p, d: p + step * d, params, direction)  # noqa: E731
    measured = (loss(move(1e-5)) - loss(move(-1e-5))) / 2e-5
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    return float(measured), float(sum(np.vdot(g, d) for g, d in pairs))
