"""Recurrent cells of a module of Equinox."""

import functools
from typing import Any

import jax
import numpy as np

from recur.interop._found import convert
from recur.interop._layouts import KINDS, Fused, to_params
from recur.interop._network import Direction, Layer, Network, RecurModule, build


def find(model: Any) -> dict[str, RecurModule]:
    """Finds ``LSTMCell`` and ``GRUCell`` by their place in the tree."""
    leaves = jax.tree_util.tree_leaves_with_path(model, is_leaf=_is_cell)
    found = {
        jax.tree_util.keystr(path, simple=True, separator=".") or type(cell).__name__.lower(): cell
        for path, cell in leaves
        if _is_cell(cell)
    }
    return convert({name: functools.partial(_convert, cell, name) for name, cell in found.items()})


def _is_cell(value: Any) -> bool:
    cls = type(value)
    return cls.__module__ == "equinox.nn._rnn" and cls.__name__ in ("LSTMCell", "GRUCell")


def _convert(cell: Any, label: str) -> RecurModule:
    """Equinox has torch's order of gates, one bias, and a second one for the GRU's candidate."""
    kind = {"LSTMCell": "lstm", "GRUCell": "gru"}[type(cell).__name__]
    kernel, recurrent_kernel = np.asarray(cell.weight_ih).T, np.asarray(cell.weight_hh).T
    bias = np.asarray(cell.bias) if cell.use_bias else None
    recurrent_bias = None
    if kind == "gru" and cell.use_bias:
        recurrent_bias = np.concatenate([np.zeros(2 * cell.hidden_size, kernel.dtype), np.asarray(cell.bias_n)])
    params = to_params(Fused(kernel, recurrent_kernel, bias, recurrent_bias), kind, "torch", label)
    return build(Network((Layer(Direction(KINDS[kind].factory(cell.hidden_size), params)),)))
