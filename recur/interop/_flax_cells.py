"""The cells of Flax, NNX and Linen: where each keeps its weights, and which of recur's it is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from recur.interop._layouts import Fused


class FlaxCell(NamedTuple):
    """Where a cell keeps its weights: paths of the arrays that stand side by side, in Flax's order of gates.

    Fields are those of `Fused`. An empty tuple: the cell adds no such bias. None: this gate has none.
    """

    kernel: tuple[str, ...]
    recurrent_kernel: tuple[str, ...]
    bias: tuple[str, ...] = ()
    recurrent_bias: tuple[str | None, ...] = ()


def _each(pattern: str, gates: str = "ifgo") -> tuple[str, ...]:
    return tuple(pattern.format(gate) for gate in gates)


_DENSE = FlaxCell(("dense_i/kernel",), ("dense_h/kernel",), bias=("dense_i/bias",))
_LSTM = FlaxCell(_each("i{}/kernel"), _each("h{}/kernel"), recurrent_bias=_each("h{}/bias"))
NNX_CELLS: dict[type, FlaxCell] = {
    nnx.SimpleCell: _DENSE,
    nnx.OptimizedLSTMCell: FlaxCell(("dense_i/kernel",), ("dense_h/kernel",), recurrent_bias=("dense_h/bias",)),
    # No attribute can be called `if`.
    nnx.LSTMCell: _LSTM._replace(kernel=("ii/kernel", "if_/kernel", "ig/kernel", "io/kernel")),
    nnx.GRUCell: _DENSE,
}
LINEN_CELLS: dict[type, FlaxCell] = {
    linen.SimpleCell: FlaxCell(("i/kernel",), ("h/kernel",), bias=("i/bias",)),
    linen.OptimizedLSTMCell: _LSTM,
    linen.LSTMCell: _LSTM,
    linen.GRUCell: FlaxCell(
        _each("i{}/kernel", "rzn"),
        _each("h{}/kernel", "rzn"),
        bias=_each("i{}/bias", "rzn"),
        recurrent_bias=(None, None, "hn/bias"),
    ),
}
ACTIVATIONS = {"elman": jnp.tanh, "elman_relu": jax.nn.relu, "elman_identity": jax.nn.identity}
"""``activation_fn`` of the ``SimpleCell`` that is this kind of cell."""


def read_kind(cell: Any, label: str) -> str:
    """Returns the kind (key of `recur.interop._layouts.KINDS`) of a cell of Flax.

    Raises:
        ValueError: An option that recur's cell would not reproduce.
    """
    remedy = "declare a cell with other equations by recur.cells.pointwise"
    if cell.carry_init is not None and cell.carry_init is not jax.nn.initializers.zeros:
        raise ValueError(
            f"{label}: expected carry_init=zeros, got {_show(cell.carry_init)}; hand the state in as initial_state"
        )
    if isinstance(cell, (nnx.SimpleCell, linen.SimpleCell)):
        expect(label, "residual", cell.residual, False, remedy)
        for kind, activation in ACTIVATIONS.items():
            if cell.activation_fn is activation:
                return kind
        raise ValueError(
            f"{label}: expected activation_fn tanh, relu or identity of jax, got {_show(cell.activation_fn)}; {remedy}"
        )
    for option, expected in (("gate_fn", jax.nn.sigmoid), ("activation_fn", jnp.tanh)):
        expect(label, option, getattr(cell, option), expected, remedy)
    return "gru" if isinstance(cell, (nnx.GRUCell, linen.GRUCell)) else "lstm"


def read_weights(spec: FlaxCell, params: Mapping, label: str) -> Fused:
    """Returns the weights of a cell from its tree of parameters.

    Raises:
        TypeError: Weights that are no real numbers.
        ValueError: Weights that are missing, or that the cell has not.
    """
    arrays = {path: np.array(array) for path, array in flatten_dict(dict(params), sep="/").items()}
    expected = {path for paths in spec for path in paths if path is not None}
    if set(arrays) != expected:
        raise ValueError(
            f"{label}: expected weights {sorted(expected)}, got {sorted(arrays)}; "
            f"pass the parameters of this module, whose layers share no weights"
        )

    for path, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{label}: expected weights of a floating dtype, got {path} of {array.dtype}")

    def side_by_side(paths: tuple[str | None, ...]) -> np.ndarray | None:
        if not paths:
            return None
        gap = np.zeros_like(next(arrays[path] for path in paths if path is not None))
        return np.concatenate([gap if path is None else arrays[path] for path in paths], axis=-1)

    return Fused(*map(side_by_side, spec))


def write_weights(spec: FlaxCell, fused: Fused) -> dict[str, Any]:
    """Returns the tree of parameters of a cell: `read_weights` turned round.

    Raises:
        ValueError: A recurrent bias where the cell has none.
    """
    if not spec.bias:  # Flax's LSTMs keep the bias on the state's side.
        fused = fused._replace(bias=None, recurrent_bias=fused.bias)
    if not spec.recurrent_bias and fused.recurrent_bias is not None:
        if fused.recurrent_bias.any():
            raise ValueError(
                f"module: expected a GRU with recurrent_bias 0, as flax.nnx.GRUCell has no hidden bias b_hn "
                f"(https://github.com/google/flax/issues/5594), got up to {abs(fused.recurrent_bias).max():g}; "
                f"to_flax(module, api='linen') carries it over"
            )
        fused = fused._replace(recurrent_bias=None)
    arrays = {}
    for paths, array in zip(spec, fused, strict=True):
        if paths:
            blocks = zip(paths, np.split(array, len(paths), axis=-1), strict=True)
            arrays |= {path: jnp.array(block) for path, block in blocks if path is not None}
    return unflatten_dict(arrays, sep="/")


def expect(label: str, option: str, got: Any, expected: Any, remedy: str) -> None:
    """Raises ValueError unless an option is as expected."""
    if got is not expected and got != expected:
        raise ValueError(f"{label}: expected {option}={_show(expected)}, got {_show(got)}; {remedy}")


def _show(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)
