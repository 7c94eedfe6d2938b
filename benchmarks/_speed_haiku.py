"""Haiku as a peer: its cores under `haiku.dynamic_unroll`."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from benchmarks._speed_programs import CannotError, Entry, Model, on_jax
from benchmarks._speed_rows import Case, Module, directions

_OTHERWISE = {
    "elman": "its VanillaRNN has relu, not tanh",
    "gru": "its GRU resets the state before the recurrent product, another cell",
}


def entries(case: Case) -> Iterator[Entry]:
    """Compiles Haiku."""
    import haiku

    if case.cell != "lstm" or case.row.bidirectional:
        raise CannotError(_OTHERWISE.get(case.cell, f"has no cell {case.cell}"))

    def network(x: jax.Array) -> jax.Array:
        core = haiku.DeepRNN([haiku.LSTM(case.row.hidden) for _ in range(case.row.layers)])
        return haiku.dynamic_unroll(core, x, core.initial_state(x.shape[0]), time_major=False)[0]

    transformed = haiku.without_apply_rng(haiku.transform(network))
    x = jax.ShapeDtypeStruct(case.x.shape[-3:], case.x.dtype)
    shapes = jax.eval_shape(transformed.init, jax.random.key(0), x)

    def convert(module: Module) -> dict[str, Any]:
        layers = [_linear(*layer) for layer in directions(module)]
        return dict(zip(shapes, layers, strict=True))

    yield on_jax(case, Model("haiku.LSTM", transformed.apply, convert))


def _linear(rnn: Any) -> dict[str, np.ndarray]:
    """Puts both kernels on top of one another, gates i, g, f, o; Haiku adds 1 to f by itself."""
    order = ["ifgo".index(gate) for gate in "igfo"]
    kernels = [np.asarray(rnn.params[name][...])[:, order] for name in ("kernel", "recurrent_kernel")]
    bias = np.asarray(rnn.params["bias"][...])[order] - np.array([[0], [0], [1], [0]], np.float32)
    return {"w": np.concatenate([kernel.reshape(len(kernel), -1) for kernel in kernels]), "b": bias.ravel()}
