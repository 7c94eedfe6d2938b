"""Recurrent cells among named parameters, told by the names of their weights."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import linen, nnx

from recur.interop import _find_haiku, _find_torch
from recur.interop._flax_cells import LINEN_CELLS, NNX_CELLS, FlaxCell, read_weights
from recur.interop._found import convert, join
from recur.interop._layouts import KINDS, to_params
from recur.interop._network import Direction, Layer, Network, RecurModule, build
from recur.interop._torch import to_numpy

Tree = Mapping[str, Any]

# NNX keeps several kinds of cells under the same names: the number of gates tells them apart.
_BY_GATES = {1: "elman", 3: "gru", 4: "lstm"}
_LINEN = {
    "lstm": LINEN_CELLS[linen.LSTMCell],
    "gru": LINEN_CELLS[linen.GRUCell],
    "elman": LINEN_CELLS[linen.SimpleCell],
}
_NNX_DENSE = (NNX_CELLS[nnx.SimpleCell], NNX_CELLS[nnx.OptimizedLSTMCell])
_NNX_LSTM = NNX_CELLS[nnx.LSTMCell]
_PAIRS = (("forward_rnn", "backward_rnn"), ("forward", "backward"))


def find(params: Tree) -> dict[str, RecurModule]:
    """Finds the cells among the parameters of torch, Linen, NNX, Haiku or recur."""
    tree = _nested(params)
    if set(tree) == {"params"}:
        tree = tree["params"]
    # A state dict is flat, but may have been kept inside of a mapping.
    flat = {".".join(path): leaf for path, leaf in _leaves(tree)}
    layers = _find_torch.find_in_state(flat)
    return layers or convert(_walk(tree, ""))


def _nested(params: Tree) -> dict[str, Any]:
    """Returns plain dicts with names as keys; Haiku's names are paths, ``"net/~/lstm/linear"``."""
    tree: dict[str, Any] = {}
    for name, value in params.items():
        *above, last = [part for part in str(name).split("/") if part not in ("", "~")] or [str(name)]
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        value = _nested(value) if isinstance(value, Mapping) else value
        place[last] = {**place.get(last, {}), **value} if isinstance(value, dict) else value
    return tree


def _leaves(tree: Tree, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    leaves = []
    for name, value in tree.items():
        leaves += _leaves(value, (*path, name)) if isinstance(value, Mapping) else [((*path, name), value)]
    return leaves


def _walk(tree: Tree, name: str) -> dict[str, Callable[[], RecurModule]]:
    """Returns what makes each module that stands in a tree, by its name."""
    for forward, backward in _PAIRS:
        if forward in tree and backward in tree:
            ways = [_direction_of(tree[side]) for side in (forward, backward)]
            if all(ways):
                return {name or "bidirectional": functools.partial(_build, [name] * 2, ways)}
    if (direction := _direction(tree, name)) is not None:
        place = name.removesuffix(".cell") if name != "cell" else "rnn"
        return {place or "rnn": functools.partial(_build, [place], [direction])}
    found = {}
    for part, value in tree.items():
        if isinstance(value, Mapping):
            found |= _walk(value, join(name, part))
    return found


def _direction_of(tree: Any) -> Callable[[str], Direction] | None:
    """The cell that a tree is, or the one inside of it."""
    if not isinstance(tree, Mapping):
        return None
    inner = [value for value in tree.values() if isinstance(value, Mapping)]
    return _direction(tree, "") or (_direction(inner[0], "") if len(inner) == 1 else None)


def _build(labels: list[str], ways: list[Callable[[str], Direction]]) -> RecurModule:
    directions = [way(f"weights of {label!r}") for way, label in zip(ways, labels, strict=True)]
    return build(Network((Layer(*directions),)))


def _direction(tree: Tree, name: str) -> Callable[[str], Direction] | None:
    """Returns what reads the cell whose own weights these are, by the names; None where they are of no cell."""
    paths = {"/".join(path) for path, _ in _leaves(tree)}
    for kind, spec in _LINEN.items():
        if _fits(spec, paths):
            return functools.partial(_flax, spec, kind, "linen", tree)
    if _fits(_NNX_LSTM, paths):
        return functools.partial(_flax, _NNX_LSTM, "lstm", "nnx", tree)
    for spec in _NNX_DENSE:
        if _fits(spec, paths):
            return functools.partial(_flax, spec, None, "nnx", tree)
    if {"kernel", "recurrent_kernel", "bias"} <= paths <= {"kernel", "recurrent_kernel", "bias", "recurrent_bias"}:
        return functools.partial(_own, tree)
    return _find_haiku.direction(name, {"/".join(path): leaf for path, leaf in _leaves(tree)}, _array)


def _fits(spec: FlaxCell, paths: set[str]) -> bool:
    kernels = {*spec.kernel, *spec.recurrent_kernel}
    biases = {path for group in (spec.bias, spec.recurrent_bias) for path in group if path is not None}
    return kernels <= paths <= kernels | biases


def _flax(spec: FlaxCell, kind: str | None, library: str, tree: Tree, label: str) -> Direction:
    present = {"/".join(path) for path, _ in _leaves(tree)}
    # A cell without biases has not even their names.
    without = {
        name: paths if {path for path in paths if path is not None} <= present else ()
        for name, paths in spec._asdict().items()
    }
    fused = read_weights(FlaxCell(**without), jax.tree.map(_array, _nested(tree)), label)
    units = fused.recurrent_kernel.shape[0]
    if kind is None:
        gates = fused.recurrent_kernel.shape[-1] // max(units, 1)
        if gates not in _BY_GATES:
            raise ValueError(f"{label}: expected 1, 3 or 4 gates, got {gates}")
        kind = _BY_GATES[gates]
    return Direction(KINDS[kind].factory(units), to_params(fused, kind, library, label))


def _own(tree: Tree, label: str) -> Direction:
    """Recur's own names: the number of gates tells the cell, the GRU's second bias its kind."""
    params = {name: _array(leaf) for name, leaf in tree.items()}
    gates, units = params["recurrent_kernel"].shape[-2:]
    kind = _BY_GATES.get(gates)
    if kind == "gru" and "recurrent_bias" not in params:
        kind = "gru_reset_before"
    if kind is None or set(params) != set(KINDS[kind].factory(1).init(jax.random.key(0), 1)):
        raise ValueError(f"{label}: expected those of elman, gru or lstm, got {sorted(params)} with {gates} gates")
    return Direction(KINDS[kind].factory(units), params)


def _array(leaf: Any) -> np.ndarray:
    array = to_numpy(leaf)
    if array.dtype.kind not in "f" and array.dtype.name != "bfloat16":
        raise TypeError(f"expected weights of a floating dtype, got {array.dtype}")
    return array
