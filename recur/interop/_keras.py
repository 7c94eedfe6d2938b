"""Weights from and to Keras 3."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recur.interop._layouts import KINDS, Fused, from_params, kind_of, to_params
from recur.interop._network import Direction, Layer, Network, RecurModule, build, import_peer, read, weights_dtype

MERGES = {"concat": "concat", "sum": "sum", "ave": "mean", "mul": "product"}


class _KerasCell(NamedTuple):
    """A cell of Keras: the layer's name and the options that make it this cell."""

    layer: str
    options: dict[str, Any]


CELLS = {
    "elman": _KerasCell("SimpleRNN", {"activation": "tanh"}),
    "elman_relu": _KerasCell("SimpleRNN", {"activation": "relu"}),
    "elman_identity": _KerasCell("SimpleRNN", {"activation": "linear"}),
    "lstm": _KerasCell("LSTM", {"activation": "tanh", "recurrent_activation": "sigmoid"}),
    "gru": _KerasCell("GRU", {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}),
    "gru_reset_before": _KerasCell(
        "GRU", {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": False}
    ),
}


def from_keras(layer: Any, *, engine: Any = None) -> RecurModule:
    """Returns the recur module that computes the same as a recurrent layer of Keras 3.

    | Keras | recur |
    |---|---|
    | ``SimpleRNN`` (tanh, relu, linear) | `recur.cells.elman` |
    | ``LSTM`` | `recur.cells.lstm` |
    | ``GRU`` | `recur.cells.gru`, with the same ``reset_after`` |
    | ``Bidirectional`` (concat, sum, ave, mul) | `recur.nn.Bidirectional` (concat, sum, mean, product) |
    | ``Sequential`` or list of these, equal ``Dropout`` layers between | `recur.nn.Stack` |

    A GRU with ``reset_after=True`` has two biases a gate, ``bias [2, 3 * H]``. Only their sum matters, so they become
    one ``bias``, except for the candidate's second one, which becomes ``recurrent_bias``. A layer without biases gets
    zeros. The weights are copied in their dtype.

    Options that say what a layer hands out are arguments of the call in recur, and not carried over:
    ``return_sequences`` (Keras False, recur True by default) and ``return_state``. At a masked step recur's output is
    zero, Keras's the output of the step before unless ``zero_output_for_mask=True``; states and later outputs agree.

    Half-precision weights stay so, but recur keeps the state in float32, so results differ by that rounding.

    Args:
        layer: A built layer, or a sequence of them, bottom first.
        engine: How to run the cells over time (see `recur.nn.RNN`).

    Raises:
        TypeError: Something that is none of these layers; float64 weights outside of x64 mode.
        ValueError: A layer without weights yet, or with an option that recur's module would not reproduce: other
            activations, ``go_backwards`` outside of ``Bidirectional``, ``stateful``, ``dropout``,
            ``recurrent_dropout``, regularisers, constraints, a compute dtype other than the weights', merge None.
    """
    layers = list(layer) if isinstance(layer, Sequence) and not isinstance(layer, str) else [layer]
    for item in layers:
        if not any(base.__module__.split(".")[0] == "keras" for base in type(item).__mro__):
            raise TypeError(f"layer: expected recurrent layers of Keras 3, got {type(item).__name__}")
    keras = import_peer("keras", "from_keras")
    if len(layers) == 1 and type(layers[0]) is keras.Sequential:
        layers = layers[0].layers
    recurrent, dropout = _take_dropout(keras, layers)
    read_layers = []
    for index, item in enumerate(recurrent):
        label = f"layer {item.name!r}"
        if index < len(recurrent) - 1:
            _expect(
                label, "return_sequences", getattr(item, "return_sequences", True), True, "the next layer reads them"
            )
        read_layers.append(_read_layer(keras, item, label))
    return build(Network(tuple(read_layers), dropout), engine)


def to_keras(module: RecurModule, *, return_sequences: bool = True) -> Any:
    """Returns the built Keras 3 layer that computes the same as a recur module; `from_keras` turned round.

    `recur.nn.RNN` becomes ``SimpleRNN``, ``LSTM`` or ``GRU``; `recur.nn.Bidirectional` becomes ``Bidirectional``;
    `recur.nn.Stack` a ``Sequential`` of these, with ``Dropout`` between if it has dropout.

    Args:
        module: The module.
        return_sequences: The option of that name, of the last layer.

    Raises:
        ImportError: Keras is not installed.
        TypeError: Another module.
        ValueError: Cells that Keras lacks, residual connections, a layer with weights of several dtypes.
    """
    keras = import_peer("keras", "to_keras")
    network = read(module)
    layers = []
    for index, layer in enumerate(network.layers):
        last = index == len(network.layers) - 1
        if index > 0 and network.dropout > 0:
            layers.append(keras.layers.Dropout(network.dropout))
        layers.append(_write_layer(keras, layer, return_sequences=return_sequences or not last))
    if len(network.layers) == 1:
        return layers[0]
    model = keras.Sequential(layers)
    model.build((None, None, network.layers[0].forward.input_size))
    return model


def _take_dropout(keras: Any, layers: list[Any]) -> tuple[list[Any], float]:
    """Takes the Dropout layers out, if there is one of the same rate between all others."""
    recurrent = [layer for layer in layers if type(layer) is not keras.layers.Dropout]
    drops = [layer for layer in layers if type(layer) is keras.layers.Dropout]
    if not recurrent:
        raise ValueError(f"layer: expected at least one recurrent layer, got {len(layers)} layer(s) without any")
    if not drops:
        return recurrent, 0.0
    between = [layer for layer in layers[1::2] if type(layer) is keras.layers.Dropout]
    rates = {layer.rate for layer in drops}
    if len(between) != len(drops) or len(drops) != len(recurrent) - 1 or len(rates) > 1 or drops[0].noise_shape:
        raise ValueError(
            f"layer: expected Dropout layers of one rate between all recurrent layers, as recur.nn.Stack has them, "
            f"got {[type(layer).__name__ for layer in layers]} with rates {sorted(rates)}; "
            f"convert the recurrent layers one by one"
        )
    return recurrent, float(rates.pop())


def _read_layer(keras: Any, layer: Any, label: str) -> Layer:
    if type(layer) is keras.layers.Bidirectional:
        if layer.merge_mode not in MERGES:
            raise ValueError(
                f"{label}: expected merge_mode one of {sorted(MERGES)}, got {layer.merge_mode!r}; "
                f"convert forward_layer alone, and backward_layer with go_backwards=False"
            )
        return Layer(
            _read_direction(keras, layer.forward_layer, label, backwards=False),
            _read_direction(keras, layer.backward_layer, label, backwards=True),
            MERGES[layer.merge_mode],
        )
    return Layer(_read_direction(keras, layer, label, backwards=False))


def _read_direction(keras: Any, layer: Any, label: str, *, backwards: bool) -> Direction:
    names = {type(layer) is getattr(keras.layers, name): name for name in ("SimpleRNN", "LSTM", "GRU")}
    if True not in names:
        raise TypeError(
            f"{label}: expected SimpleRNN, LSTM, GRU, or Bidirectional or Sequential of these, "
            f"got {type(layer).__name__}; of a larger model pass the recurrent layers alone"
        )
    cell = layer.cell
    if not cell.built:
        raise ValueError(f"{label}: expected weights, got a layer that is not built; call layer.build((None, None, X))")
    _check_options(layer, label, backwards)
    kind = _read_kind(keras, names[True], cell, label)
    kernel, recurrent_kernel, *biases = (keras.ops.convert_to_numpy(weight.value) for weight in cell.weights)
    bias, recurrent_bias = (*biases, None, None)[:2]
    if bias is not None and kind == "gru":
        bias, recurrent_bias = bias
    params = to_params(Fused(kernel, recurrent_kernel, bias, recurrent_bias), kind, "keras", label)
    return Direction(KINDS[kind].factory(cell.units), params)


def _expect(label: str, option: str, got: Any, expected: Any, remedy: str) -> None:
    if got != expected:
        raise ValueError(f"{label}: expected {option}={expected!r}, got {got!r}; {remedy}")


def _check_options(layer: Any, label: str, backwards: bool) -> None:
    """Refuses options that would make Keras compute, or learn, something else than recur's module."""
    in_call = "recur takes that as an argument of the call (reverse=True)"
    _expect(label, "go_backwards", layer.go_backwards, backwards, f"build it anew, {in_call}")
    _expect(label, "stateful", layer.stateful, False, "recur's modules hold no state: hand it in as initial_state")
    cell = layer.cell
    for option in ("dropout", "recurrent_dropout"):
        remedy = f"set layer.cell.{option} = 0.0 to leave it out, as in evaluation"
        _expect(label, option, getattr(cell, option), 0.0, remedy)
    for option in [
        *(f"{weight}_{rule}" for weight in ("kernel", "recurrent", "bias") for rule in ("regularizer", "constraint")),
        "activity_regularizer",
    ]:
        owner = "layer" if option == "activity_regularizer" else "layer.cell"
        remedy = f"set {owner}.{option} = None and put it into your loss or your update instead"
        _expect(label, option, getattr(layer if owner == "layer" else cell, option), None, remedy)
    remedy = "carry the weights over to a layer with one dtype by set_weights(get_weights())"
    _expect(label, "compute dtype", cell.compute_dtype, cell.variable_dtype, remedy)


def _read_kind(keras: Any, name: str, cell: Any, label: str) -> str:
    candidates = {kind: options for kind, (layer, options) in CELLS.items() if layer == name}
    for kind, options in candidates.items():
        # Functions are compared by identity: a user's function called tanh has the same name.
        wanted = {
            option: getattr(keras.activations, value) if option.endswith("activation") else value
            for option, value in options.items()
        }
        if all(getattr(cell, option) is value for option, value in wanted.items()):
            return kind
    got = {option: getattr(cell, option) for option in options}
    raise ValueError(
        f"{label}: expected a {name} with one of {list(candidates.values())}, Keras's own functions, got {got}; "
        f"declare a cell with other activations by recur.cells.pointwise"
    )


def _write_layer(keras: Any, layer: Layer, *, return_sequences: bool) -> Any:
    forward = _write_direction(keras, layer.forward, return_sequences=return_sequences)
    if layer.backward is None:
        return forward
    backward = _write_direction(keras, layer.backward, return_sequences=return_sequences, go_backwards=True)
    both = keras.layers.Bidirectional(
        forward,
        backward_layer=backward,
        merge_mode={ours: theirs for theirs, ours in MERGES.items()}[layer.merge],
        dtype=weights_dtype(list(layer.directions)).name,
    )
    both.build((None, None, layer.forward.input_size))
    # Keras made a new forward layer from the configuration of the one it was given.
    both.forward_layer.set_weights([keras.ops.convert_to_numpy(weight.value) for weight in forward.weights])
    return both


def _write_direction(keras: Any, direction: Direction, **options: Any) -> Any:
    kind, dtype = kind_of(direction.cell, "keras"), weights_dtype([direction])
    fused = from_params(direction.params, kind, "keras")
    name, own = CELLS[kind]
    if dtype.itemsize < 4:  # Keras on JAX cannot draw orthogonal matrices in half precision.
        options["recurrent_initializer"] = "glorot_uniform"
    layer = getattr(keras.layers, name)(direction.hidden_size, dtype=dtype.name, **own, **options)
    layer.build((None, None, direction.input_size))
    bias = fused.bias if fused.recurrent_bias is None else np.stack([fused.bias, fused.recurrent_bias])
    layer.set_weights([fused.kernel, fused.recurrent_kernel, bias])
    return layer
