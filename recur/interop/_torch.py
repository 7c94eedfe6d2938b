"""Weights from and to torch."""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from recur._checks import as_native, brief, is_one_of
from recur.interop._layouts import KINDS, Fused, from_params, gate_count, kind_of, to_params
from recur.interop._network import Direction, Layer, Network, RecurModule, build, import_peer, read, weights_dtype
from recur.nn._dropout import check_rate

_ELMAN_KINDS = {"tanh": "elman", "relu": "elman_relu"}
_KINDS_BY_GATES = {gate_count(kind): kind for kind in ("gru", "lstm")}
_KEY = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(0|[1-9]\d{0,5})(_reverse)?)?")


def from_torch(
    source: Any,
    *,
    nonlinearity: str | None = None,
    dropout: float | None = None,
    prefix: str = "",
    engine: Any = None,
) -> RecurModule:
    """Returns the recur module that computes the same as a recurrent layer of torch.

    | torch | recur |
    |---|---|
    | ``RNN``, ``RNNCell`` (tanh, relu) | `recur.cells.elman` |
    | ``LSTM``, ``LSTMCell`` | `recur.cells.lstm` |
    | ``GRU``, ``GRUCell`` | `recur.cells.gru` |
    | one layer | `recur.nn.RNN`, or `recur.nn.Bidirectional` that concatenates |
    | several layers | `recur.nn.Stack`, with torch's dropout between the layers |

    torch adds two biases to every gate. Only their sum matters, so they become one ``bias``; the exception is the
    GRU's ``b_hn``, inside the product with the reset gate, which becomes ``recurrent_bias``. A layer without biases
    gets zeros. The result is batch-major ``[*B, T, X]`` whatever ``batch_first`` says, and has copies of the weights,
    in their dtype.

    Half-precision weights stay so, but recur keeps the state in float32, so results differ by that rounding.

    torch returns ``h_n`` as ``[layers * directions, B, H]``; recur returns one state a layer (see `recur.nn.Stack`).

    Args:
        source: A layer of torch, or its ``state_dict()`` (arrays of NumPy will do too, and torch is not needed then).
            A state dict shows by its shapes what kind of cell it is for.
        nonlinearity: For the state dict of an ``RNN``: ``"tanh"`` (default) or ``"relu"``, which no shape shows.
        dropout: For a state dict: rate of the dropout between layers, 0 by default, as no weight shows it.
        prefix: What the names in a state dict begin with, as in ``"encoder."``; others are left aside.
        engine: How to run the cells over time (see `recur.nn.RNN`).

    Raises:
        TypeError: Something that is no recurrent layer and no state dict; float64 weights outside of x64 mode.
        ValueError: ``proj_size``, weights that are missing or do not fit together, or arguments that a layer knows.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"prefix: expected a string, got {brief(prefix)}")
    if isinstance(source, Mapping):
        state = source
    else:
        _check_layer(source)
        for name, value in (("nonlinearity", nonlinearity), ("dropout", dropout), ("prefix", prefix or None)):
            if value is not None:
                raise ValueError(
                    f"{name}: expected none with a torch module, which knows it, got {value!r}; "
                    f"leave it out, or pass source.state_dict()"
                )
        nonlinearity = getattr(source, "nonlinearity", None)
        state = source.state_dict()
    weights = _read_names(state, prefix)
    layers = []
    for index in range(1 + max(layer for layer, _ in weights)):
        directions = [
            _direction(weights[index, reverse], nonlinearity, _suffix(index, reverse))
            for reverse in (False, True)
            if (index, reverse) in weights
        ]
        layers.append(Layer(*directions))
    if dropout is not None and check_rate(dropout) and len(layers) == 1:
        raise ValueError(
            f"dropout: expected None for one layer, as it acts between layers, got {dropout}; leave it out"
        )
    if dropout is None:
        dropout = getattr(source, "dropout", 0.0)
    return build(Network(tuple(layers), dropout), engine)


def to_torch(module: RecurModule) -> Any:
    """Returns the layer of torch (``batch_first=True``) that computes the same as a recur module.

    The inverse of `from_torch`: an `recur.nn.Stack` becomes one layer with ``num_layers``. Biases go to torch's
    ``bias_ih``; ``bias_hh`` is zero but for the GRU's ``b_hn``. Nothing is drawn from torch's generator.

    Args:
        module: `recur.nn.RNN`, `recur.nn.Bidirectional` that concatenates, or `recur.nn.Stack` of equal layers.

    Raises:
        ImportError: torch is not installed.
        TypeError: Another module.
        ValueError: What torch's layers cannot do: other cells, layers that differ in cell or size, another merge,
            residual connections, weights of several dtypes.
    """
    torch = import_peer("torch", "to_torch")
    network = read(module)
    directions = [direction for layer in network.layers for direction in layer.directions]
    kinds = {kind_of(direction.cell, "torch") for direction in directions}
    sizes = {direction.hidden_size for direction in directions}
    for what, values in (("cell", kinds), ("hidden size", sizes)):
        if len(values) > 1:
            raise ValueError(
                f"module: expected layers of one {what}, as torch's layers are, got {sorted(values)}; "
                f"convert them one by one"
            )
    merges = {layer.merge for layer in network.layers if layer.backward is not None} - {"concat"}
    if merges:
        raise ValueError(
            f"module: expected merge 'concat', the only one of torch, got {merges.pop()!r}; "
            f"convert forward and backward one by one"
        )
    (kind,), (hidden_size,), dtype = kinds, sizes, weights_dtype(directions)
    name, options = {
        "elman": ("RNN", {"nonlinearity": "tanh"}),
        "elman_relu": ("RNN", {"nonlinearity": "relu"}),
        "lstm": ("LSTM", {}),
        "gru": ("GRU", {}),
    }[kind]
    layer = getattr(torch.nn, name)(
        directions[0].params["kernel"].shape[0],
        hidden_size,
        num_layers=len(network.layers),
        batch_first=True,
        bidirectional=network.layers[0].backward is not None,
        dropout=network.dropout if len(network.layers) > 1 else 0.0,
        dtype=getattr(torch, dtype.name),
        device="meta",  # draws nothing
        **options,
    )

    def tensor(array: np.ndarray) -> Any:
        if dtype == jnp.bfloat16:  # which torch cannot read from NumPy; the way by float32 is exact
            return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
        return torch.from_numpy(np.ascontiguousarray(array))

    state = {}
    for index, (forward, backward, _) in enumerate(network.layers):
        for reverse, direction in ((False, forward), (True, backward)):
            if direction is None:
                continue
            fused = from_params(direction.params, kind, "torch")
            zeros = np.zeros_like(fused.bias)
            suffix = _suffix(index, reverse)
            state |= {
                f"weight_ih{suffix}": tensor(fused.kernel.T),
                f"weight_hh{suffix}": tensor(fused.recurrent_kernel.T),
                f"bias_ih{suffix}": tensor(fused.bias),
                f"bias_hh{suffix}": tensor(zeros if fused.recurrent_bias is None else fused.recurrent_bias),
            }
    layer.load_state_dict(state, assign=True)
    return layer


def _suffix(layer: int, reverse: bool) -> str:
    return f"_l{layer}" + "_reverse" * reverse


def _check_layer(source: Any) -> None:
    """Refuses what is no recurrent layer of torch itself, told by its class so that torch need not be loaded."""
    cls = type(source)
    known = ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"]
    if cls.__module__ != "torch.nn.modules.rnn" or cls.__name__ not in known:
        raise TypeError(
            f"source: expected one of {known} of torch.nn or a state dict, got {cls.__module__}.{cls.__name__}; "
            f"of a larger model pass the layer itself, of a subclass that computes the same its state_dict()"
        )
    if getattr(source, "proj_size", 0):
        _refuse_projection(source.proj_size)


def _refuse_projection(size: int) -> None:
    raise ValueError(
        f"source: expected an LSTM with proj_size=0, got proj_size={size}: it feeds a projection of its output back, "
        f"which no cell of recur does; use a layer without projection"
    )


def _read_names(state: Mapping[str, Any], prefix: str) -> dict[tuple[int, bool], dict[str, np.ndarray]]:
    """Sorts a state dict by (layer, reverse)."""
    groups: dict[tuple[int, bool], dict[str, np.ndarray]] = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not name.startswith(prefix):
            continue
        match = _KEY.fullmatch(name.removeprefix(prefix))
        if match is None:
            raise ValueError(
                f"source: expected names such as {prefix}weight_ih_l0 of one recurrent layer, got {name!r}; "
                f"{_prefixes(state)}"
            )
        weight, layer, reverse = match.groups()
        groups.setdefault((int(layer or 0), reverse is not None), {})[weight] = to_numpy(tensor)
    if not groups:
        raise ValueError(
            f"source: expected weights such as {prefix}weight_ih_l0, got none among {len(state)}; {_prefixes(state)}"
        )
    # Counted, not taken from the largest number: a name may hold any.
    depth = len({layer for layer, _ in groups})
    directions = (False, True) if (0, True) in groups else (False,)
    expected = {(layer, reverse) for layer in range(depth) for reverse in directions}
    for key in sorted(expected | set(groups)):
        missing = {"weight_ih", "weight_hh"} - set(groups.get(key, ()))
        if missing or key not in expected:
            raise ValueError(
                f"source: expected all weights of {depth} layers in {len(directions)} direction(s), got a state dict "
                f"without {sorted(name + _suffix(*key) for name in missing) or 'layer 0 in reverse'}; "
                f"pass the whole state dict of one layer"
            )
        if "weight_hr" in groups[key]:
            _refuse_projection(groups[key]["weight_hr"].shape[0])
    return groups


def _prefixes(state: Mapping[str, Any]) -> str:
    found = sorted({name[: -len("weight_ih_l0")] for name in map(str, state) if name.endswith("weight_ih_l0")})
    if found and found != [""]:
        return f"give prefix=, one of {found}"
    return "pass the state_dict() of the recurrent layer alone, or prefix="


def to_numpy(tensor: Any) -> np.ndarray:
    """Returns a tensor of torch, or an array, as an array of NumPy; bfloat16 stays so."""
    if not hasattr(tensor, "detach"):
        return as_native("source", np.array(tensor))
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # which NumPy lacks; the way by float32 is exact
        return tensor.float().numpy().astype(jnp.bfloat16)
    return np.array(tensor.numpy())


def _direction(group: dict[str, np.ndarray], nonlinearity: str | None, suffix: str) -> Direction:
    for name, array in group.items():
        rank = 2 if name.startswith("weight") else 1
        if array.ndim != rank:
            raise ValueError(
                f"source: expected {name}{suffix} with {rank} axes, got shape {array.shape}; pass a state dict of torch"
            )
    rows, hidden_size = group["weight_hh"].shape
    if not hidden_size:
        raise ValueError(f"source: expected at least one hidden unit, got weight_hh{suffix} of shape {(rows, 0)}")
    gates = rows / hidden_size
    if gates == 1:
        kind = _kind_of_one_gate("tanh" if nonlinearity is None else nonlinearity)
    elif gates not in _KINDS_BY_GATES:
        raise ValueError(
            f"source: expected weight_hh{suffix} [G * H, H] with G = 1 (RNN), 3 (GRU) or 4 (LSTM) gates, "
            f"got shape {rows, hidden_size}; pass the state dict of one of these layers"
        )
    elif nonlinearity is not None:
        raise ValueError(
            f"nonlinearity: expected None for the weights of an LSTM or a GRU, got {nonlinearity!r}; leave it out"
        )
    else:
        kind = _KINDS_BY_GATES[gates]
    fused = Fused(
        kernel=group["weight_ih"].T,
        recurrent_kernel=group["weight_hh"].T,
        bias=group.get("bias_ih"),
        recurrent_bias=group.get("bias_hh"),
    )
    params = to_params(fused, kind, "torch", f"source (weights *{suffix})")
    return Direction(KINDS[kind].factory(hidden_size), params)


def _kind_of_one_gate(nonlinearity: str) -> str:
    if not is_one_of(nonlinearity, _ELMAN_KINDS):
        raise ValueError(f"nonlinearity: expected one of {sorted(_ELMAN_KINDS)}, got {nonlinearity!r}")
    return _ELMAN_KINDS[nonlinearity]
