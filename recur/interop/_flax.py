"""Weights from and to Flax, NNX and Linen."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from recur._checks import is_one_of
from recur.interop._flax_cells import (
    ACTIVATIONS,
    LINEN_CELLS,
    NNX_CELLS,
    FlaxCell,
    expect,
    read_kind,
    read_weights,
    write_weights,
)
from recur.interop._layouts import KINDS, from_params, kind_of, to_params
from recur.interop._network import Direction, Layer, Network, RecurModule, build, read, weights_dtype


def _sum(forward: jax.Array, backward: jax.Array) -> jax.Array:
    return forward + backward


def _mean(forward: jax.Array, backward: jax.Array) -> jax.Array:
    return (forward + backward) / 2


def _product(forward: jax.Array, backward: jax.Array) -> jax.Array:
    return forward * backward


_MERGES: dict[str, tuple[Callable, ...]] = {
    "concat": (nnx.Bidirectional.merge_fn, linen.Bidirectional.merge_fn),
    "sum": (_sum, operator.add, jnp.add),
    "mean": (_mean,),
    "product": (_product, operator.mul, jnp.multiply),
}


class _Api(NamedTuple):
    """One of the two interfaces of Flax; `name` is the field of `recur.interop._layouts.Kind`."""

    name: str
    RNN: type
    Bidirectional: type
    Sequential: type
    cells: dict[type, FlaxCell]
    simple: type
    lstm: type
    gru: type


_NNX = _Api(
    name="nnx",
    RNN=nnx.RNN,
    Bidirectional=nnx.Bidirectional,
    Sequential=nnx.Sequential,
    cells=NNX_CELLS,
    simple=nnx.SimpleCell,
    lstm=nnx.OptimizedLSTMCell,
    gru=nnx.GRUCell,
)
_LINEN = _Api(
    name="linen",
    RNN=linen.RNN,
    Bidirectional=linen.Bidirectional,
    Sequential=linen.Sequential,
    cells=LINEN_CELLS,
    simple=linen.SimpleCell,
    lstm=linen.OptimizedLSTMCell,
    gru=linen.GRUCell,
)
_APIS = {api.name: api for api in (_NNX, _LINEN)}


def from_flax(module: Any, params: Mapping[str, Any] | None = None, *, engine: Any = None) -> RecurModule:
    """Returns the recur module that computes the same as a recurrent module of Flax.

    | Flax, NNX and Linen | recur |
    |---|---|
    | ``SimpleCell`` (tanh, relu, identity) | `recur.cells.elman` |
    | ``LSTMCell``, ``OptimizedLSTMCell`` | `recur.cells.lstm` |
    | ``GRUCell`` | `recur.cells.gru`; NNX has no hidden bias, so ``recurrent_bias`` is zero |
    | a cell, or a cell in ``RNN`` | `recur.nn.RNN` |
    | ``Bidirectional`` | `recur.nn.Bidirectional` |
    | ``Sequential`` (NNX: list too) of these | `recur.nn.Stack` |

    The result is batch-major whatever ``time_major`` says; the weights are copied in their dtype. States are named:
    Flax's carry ``(c, h)`` of an LSTM is ``state.c, state.h``. Flax leaves the outputs of padding as they come, recur
    has zeros there.

    Half-precision weights stay so, but recur keeps the state in float32, so results differ by that rounding.

    Args:
        module: An NNX module, or a Linen module with its
        params: parameters, as ``module.init`` returns them; None for NNX.
        engine: How to run the cells over time (see `recur.nn.RNN`).

    Raises:
        TypeError: Something that is none of these; Linen without, or NNX with, `params`; float64 weights outside of
            x64 mode.
        ValueError: Options that recur's module would not reproduce: other activations, ``residual``, ``carry_init``
            other than zeros, ``reverse`` outside of ``Bidirectional``, a compute dtype other than the weights',
            another ``merge_fn``; shared or missing weights.
    """
    if isinstance(module, Sequence) and not isinstance(module, str):
        if not all(isinstance(item, nnx.Module) for item in module):
            raise TypeError(
                f"module: expected a list of NNX modules, got {[type(item).__name__ for item in module]}; "
                f"put Linen modules into linen.Sequential"
            )
        module = nnx.Sequential(*module)
    if isinstance(module, nnx.Module):
        if params is not None:
            raise TypeError("params: expected None with an NNX module, which holds its own, got parameters")
        layers = _read_layers(_NNX, module, nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    elif isinstance(module, linen.Module):
        if not isinstance(params, Mapping):
            raise TypeError(
                f"params: expected the parameters of a Linen module, as module.init(...) returns them, got {params!r}"
            )
        layers = _read_layers(_LINEN, module, linen.meta.unbox(params.get("params", params)))
    else:
        raise TypeError(f"module: expected a recurrent module of flax.nnx or flax.linen, got {type(module).__name__}")
    return build(Network(tuple(layers)), engine)


def to_flax(module: RecurModule, *, api: str = "nnx") -> Any:
    """Returns the Flax module that computes the same as a recur module; `from_flax` turned round.

    `recur.nn.RNN` becomes ``RNN`` of a ``SimpleCell``, ``OptimizedLSTMCell`` or ``GRUCell``; `recur.nn.Bidirectional`
    becomes ``Bidirectional``, `recur.nn.Stack` a ``Sequential`` of these.

    Args:
        module: The module.
        api: ``"nnx"`` for an NNX module, ``"linen"`` for the pair (Linen module, variables).

    Raises:
        TypeError: Another module.
        ValueError: An unknown `api`, a cell that Flax lacks, dropout or residual connections, a layer with weights of
            several dtypes, and for NNX a GRU whose ``recurrent_bias`` is not zero: ``nnx.GRUCell`` has no such bias
            (https://github.com/google/flax/issues/5594), ``linen.GRUCell`` has.
    """
    if not is_one_of(api, _APIS):
        raise ValueError(f"api: expected one of {sorted(_APIS)}, got {api!r}")
    network = read(module)
    if network.dropout > 0:
        raise ValueError(
            f"module: expected a Stack without dropout, got dropout={network.dropout}; in Flax it is a module of its "
            f"own, with keys: convert module.layers one by one and put Dropout between them"
        )
    target = _APIS[api]
    written = [_write_layer(target, layer) for layer in network.layers]
    (result, params), *above = written
    if above:
        layers = [layer for layer, _ in written]
        result = nnx.Sequential(*layers) if target is _NNX else linen.Sequential(layers)
        params = {f"layers_{index}": layer_params for index, (_, layer_params) in enumerate(written)}
    return result if target is _NNX else (result, {"params": params})


def _read_layers(api: _Api, module: Any, params: Mapping) -> list[Layer]:
    if type(module) is not api.Sequential:
        return [_read_layer(api, module, params, "module")]
    if not module.layers:
        raise ValueError("module: expected at least one recurrent layer, got an empty Sequential or list")
    label = "module.layers[{}]".format
    if api is _NNX:
        params = {f"layers_{index}": layer for index, layer in params.get("layers", {}).items()}
    return [
        _read_layer(api, layer, params.get(f"layers_{index}", {}), label(index))
        for index, layer in enumerate(module.layers)
    ]


def _read_layer(api: _Api, module: Any, params: Mapping, label: str) -> Layer:
    if type(module) is not api.Bidirectional:
        expect(
            label, "reverse", getattr(module, "reverse", False), False, "give reverse=True to the call of recur's RNN"
        )
        return Layer(_read_direction(api, module, params, label))
    directions = []
    for name in ("forward_rnn", "backward_rnn"):
        place = f"{label}.{name}"
        if type(rnn := getattr(module, name)) is not api.RNN:
            raise TypeError(f"{place}: expected an RNN, got {type(rnn).__name__}")
        directions.append(_read_direction(api, rnn, _child(params, name, place), place))
    for merge, functions in _MERGES.items():
        if any(module.merge_fn is function for function in functions):
            return Layer(*directions, merge)
    raise ValueError(
        f"{label}: expected merge_fn to be Flax's default, operator.add or operator.mul (or jnp's), "
        f"got {module.merge_fn!r}; convert forward_rnn and backward_rnn, call the latter with reverse=True, and merge"
    )


def _read_direction(api: _Api, module: Any, params: Mapping, label: str) -> Direction:
    cell = module
    if type(module) is api.RNN:
        label = f"{label}.cell"
        cell, params = module.cell, _child(params, "cell", label)
    if type(cell) not in api.cells:
        raise TypeError(
            f"{label}: expected one of {[known.__name__ for known in api.cells]} of flax.{api.name}, bare, in RNN, in "
            f"Bidirectional or in Sequential of these, got {type(cell).__name__}; "
            f"of a larger model pass the recurrent modules alone"
        )
    kind = read_kind(cell, label)
    fused = read_weights(api.cells[type(cell)], params, label)
    if cell.dtype is not None:
        expect(label, "dtype", np.dtype(cell.dtype).name, fused.kernel.dtype.name, "build it with dtype=None")
    return Direction(KINDS[kind].factory(fused.recurrent_kernel.shape[0]), to_params(fused, kind, api.name, label))


def _child(params: Mapping, name: str, label: str) -> Mapping:
    if name not in params:
        raise ValueError(
            f"{label}: expected its weights under {name!r}, got only {sorted(params)}; pass the parameters of this "
            f"module, whose layers share no weights"
        )
    return params[name]


def _write_layer(api: _Api, layer: Layer) -> tuple[Any, dict]:
    rnns, params = zip(*(_write_direction(api, direction) for direction in layer.directions), strict=True)
    if layer.backward is None:
        return rnns[0], params[0]
    merge = {} if layer.merge == "concat" else {"merge_fn": _MERGES[layer.merge][0]}
    names = ("forward_rnn", "backward_rnn")
    return api.Bidirectional(*rnns, **merge), dict(zip(names, params, strict=True))


def _write_direction(api: _Api, direction: Direction) -> tuple[Any, dict]:
    kind = kind_of(direction.cell, api.name)
    cls = {"lstm": api.lstm, "gru": api.gru}.get(kind, api.simple)
    options: dict[str, Any] = {"dtype": None, "param_dtype": weights_dtype([direction])}
    if kind in ACTIVATIONS:
        options["activation_fn"] = ACTIVATIONS[kind]
    params = write_weights(api.cells[cls], from_params(direction.params, kind, api.name))
    if api is _LINEN:
        return linen.RNN(cls(direction.hidden_size, **options)), {"cell": params}
    sizes = direction.input_size, direction.hidden_size
    # The outline only; the default initialiser would ask for a QR decomposition, which half precision lacks.
    zeros = jax.nn.initializers.zeros
    cell = nnx.eval_shape(lambda: cls(*sizes, recurrent_kernel_init=zeros, rngs=nnx.Rngs(0), **options))
    nnx.update(cell, params)
    return nnx.RNN(cell), {"cell": params}
