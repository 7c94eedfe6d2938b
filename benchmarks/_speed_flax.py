"""Flax as a peer, NNX and Linen: each of its cells under its RNN."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from benchmarks._speed_programs import CannotError, Entry, Model, on_jax
from benchmarks._speed_rows import Case, Module
from recur import interop

_CELLS = {"elman": ("SimpleCell",), "lstm": ("OptimizedLSTMCell", "LSTMCell"), "gru": ("GRUCell",)}
_GATES = "ifgo"


def nnx_entries(case: Case) -> Iterator[Entry]:
    """Compiles Flax NNX."""
    for cell in _names(case):
        absent = "recurrent_bias" if case.cell == "gru" else None
        yield on_jax(case, _nnx_model(case, cell, f"flax_nnx.{cell}", absent))


def linen_entries(case: Case) -> Iterator[Entry]:
    """Compiles Flax Linen."""
    for cell in _names(case):
        module, _ = interop.to_flax(case.modules[0], api="linen")
        if cell == "LSTMCell":  # which names its weights as the optimised one does
            module = _plain_linen(module)

        def apply(params: Any, x: jax.Array, module: Any = module) -> jax.Array:
            return module.apply(params, x)

        yield on_jax(case, Model(f"flax_linen.{cell}", apply, lambda one: interop.to_flax(one, api="linen")[1]))


def _names(case: Case) -> tuple[str, ...]:
    if case.cell not in _CELLS:
        raise CannotError(f"has no cell {case.cell}")
    return _CELLS[case.cell]


def _nnx_model(case: Case, cell: str, name: str, absent: str | None) -> Model:
    def to_peer(module: Module) -> Any:
        graph, params = nnx.split(module)
        # NNX has no such bias, and the conversion refuses any other value than 0.
        params = jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.zeros_like(leaf) if "recurrent_bias" in jax.tree_util.keystr(path) else leaf, params
        )
        peer = interop.to_flax(nnx.merge(graph, params), api="nnx")
        return _plain_nnx(peer) if cell == "LSTMCell" else peer

    graph, _, rest = nnx.split(to_peer(case.modules[0]), nnx.Param, ...)

    def apply(params: Any, x: jax.Array) -> jax.Array:
        # Copies, as the counter of its random stream may only be used where it was made.
        return nnx.merge(graph, params, rest, copy=True)(x)

    return Model(name, apply, lambda module: nnx.state(to_peer(module), nnx.Param), absent=absent)


def _plain_nnx(peer: Any) -> Any:
    """Puts the weights of an ``OptimizedLSTMCell`` into an ``LSTMCell``, which keeps each gate apart."""
    if isinstance(peer, nnx.Sequential):
        return nnx.Sequential(*(_plain_nnx(layer) for layer in peer.layers))
    optimized = peer.cell
    zeros = nnx.initializers.zeros
    sizes = optimized.in_features, optimized.hidden_features
    cell = nnx.LSTMCell(*sizes, kernel_init=zeros, recurrent_kernel_init=zeros, rngs=nnx.Rngs(0))
    inputs = jnp.split(optimized.dense_i.kernel[...], 4, axis=-1)
    states = jnp.split(optimized.dense_h.kernel[...], 4, axis=-1)
    biases = jnp.split(optimized.dense_h.bias[...], 4)
    for gate, kernel, recurrent_kernel, bias in zip(_GATES, inputs, states, biases, strict=True):
        getattr(cell, "if_" if gate == "f" else f"i{gate}").kernel[...] = kernel
        getattr(cell, f"h{gate}").kernel[...] = recurrent_kernel
        getattr(cell, f"h{gate}").bias[...] = bias
    return nnx.RNN(cell)


def _plain_linen(module: Any) -> Any:
    if isinstance(module, linen.Sequential):
        return linen.Sequential([_plain_linen(layer) for layer in module.layers])
    return linen.RNN(linen.LSTMCell(module.cell.features))
