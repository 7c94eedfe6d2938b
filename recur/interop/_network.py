"""What all libraries are turned into and out of: layers of cells with NumPy arrays; and recur's modules from these."""

import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from recur.cells import Cell
from recur.nn import RNN, Bidirectional, Stack

RecurModule = RNN | Bidirectional | Stack


class Direction(NamedTuple):
    """A cell with its parameters, as NumPy arrays."""

    cell: Cell
    params: dict[str, np.ndarray]

    @property
    def hidden_size(self) -> int:
        """Hidden units H."""
        return self.cell.hidden_size

    @property
    def input_size(self) -> int:
        """Input features X."""
        return self.params["kernel"].shape[0]


class Layer(NamedTuple):
    """One layer, in one direction or in two whose outputs are merged."""

    forward: Direction
    backward: Direction | None = None
    merge: str = "concat"

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The one or two directions."""
        return (self.forward,) if self.backward is None else (self.forward, self.backward)


class Network(NamedTuple):
    """Layers, bottom first, and the rate of the dropout between them."""

    layers: tuple[Layer, ...]
    dropout: float = 0.0


def build(network: Network, engine: Any = None) -> RecurModule:
    """Returns the recur module of a network: `RNN` or `Bidirectional` for one layer, `Stack` for several.

    Raises:
        TypeError: float64 weights outside of x64 mode.
        ValueError: Layers that `Stack` cannot hold, or that do not fit on each other.
    """
    first = network.layers[0]
    options = {} if engine is None else {"engine": engine}

    def module() -> RecurModule:
        own = {**options, "rngs": nnx.Rngs(0)}
        if len(network.layers) > 1:
            cells = [layer.forward.cell for layer in network.layers]
            both_ways = first.backward is not None
            return Stack(cells, first.forward.input_size, bidirectional=both_ways, dropout=network.dropout, **own)
        if first.backward is not None:
            cell, backward_cell = first.forward.cell, first.backward.cell
            return Bidirectional(cell, first.forward.input_size, backward_cell=backward_cell, merge=first.merge, **own)
        return RNN(first.forward.cell, first.forward.input_size, **own)

    if len(network.layers) > 1:
        _check_stackable(network.layers)
    # Only the outline: drawing parameters just to replace them would cost an orthogonalisation for each gate.
    result = nnx.eval_shape(module)
    for index, (layer, target) in enumerate(zip(network.layers, _layers(result), strict=True)):
        for direction, rnn in zip(layer.directions, _directions(target), strict=True):
            for name, array in direction.params.items():
                label = f"layer {index}, {name}"
                expected = rnn.params[name].shape
                if array.shape != expected:
                    raise ValueError(
                        f"{label}: expected shape {expected}, got {array.shape}; "
                        f"each layer must read what the one below gives"
                    )
                rnn.params[name] = nnx.Param(_to_jax(label, array))
    return result


def read(module: RecurModule) -> Network:
    """Returns the network of a recur module.

    Raises:
        TypeError: Another module.
        ValueError: Residual connections, which no other library's layers have.
    """
    if type(module) not in (RNN, Bidirectional, Stack):
        raise TypeError(
            f"module: expected recur.nn.RNN, Bidirectional or Stack, got {type(module).__name__}; "
            f"convert the recurrent layers of a larger model one by one"
        )
    if isinstance(module, Stack) and module.residual:
        raise ValueError(
            "module: expected a Stack without residual connections, which torch, Keras and Flax do not have, "
            "got residual=True; convert module.layers one by one and add the connections there"
        )
    layers = []
    for target in _layers(module):
        directions = [_read_direction(rnn) for rnn in _directions(target)]
        layers.append(Layer(*directions, **({"merge": target.merge} if len(directions) > 1 else {})))
    return Network(tuple(layers), dropout=module.dropout if isinstance(module, Stack) else 0.0)


def weights_dtype(directions: list[Direction]) -> np.dtype:
    """Returns the one dtype of all weights.

    Raises:
        ValueError: Several dtypes, which a layer of another library cannot hold.
    """
    dtypes = {array.dtype for direction in directions for array in direction.params.values()}
    if len(dtypes) > 1:
        raise ValueError(
            f"module: expected weights of one dtype, got {sorted(dtype.name for dtype in dtypes)}; "
            f"cast them all to one of these"
        )
    return dtypes.pop()


def import_peer(name: str, function: str) -> Any:
    """Imports a library that recur does not need otherwise.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(
            f"{function}: expected {name} to be installed; pip install 'recur-jax[peers]' brings it"
        ) from error


def _layers(module: RecurModule) -> list[RNN | Bidirectional]:
    return list(module.layers) if isinstance(module, Stack) else [module]


def _directions(layer: RNN | Bidirectional) -> list[RNN]:
    return [layer.forward, layer.backward] if isinstance(layer, Bidirectional) else [layer]


def _read_direction(rnn: RNN) -> Direction:
    cell, params = rnn.as_cell()
    return Direction(cell, jax.tree.map(np.asarray, params))


def _check_stackable(layers: tuple[Layer, ...]) -> None:
    remedy = "convert the layers one by one and call them in turn"
    if len({layer.backward is None for layer in layers}) > 1:
        ways = [len(layer.directions) for layer in layers]
        raise ValueError(
            f"layers: expected all in one direction or all in two, as recur.nn.Stack has them, got {ways}; {remedy}"
        )
    for index, layer in enumerate(layers):
        if layer.merge != "concat":
            raise ValueError(
                f"layers[{index}]: expected directions that are concatenated, as in recur.nn.Stack, "
                f"got merge {layer.merge!r}; {remedy}"
            )
        if layer.backward is not None and layer.backward.cell != layer.forward.cell:
            raise ValueError(
                f"layers[{index}]: expected one cell for both directions, as in recur.nn.Stack, "
                f"got {layer.forward.cell!r} and {layer.backward.cell!r}; {remedy}"
            )


def _to_jax(label: str, array: np.ndarray) -> jax.Array:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{label}: expected a floating dtype, got {array.dtype}; recur's cells compute in real numbers")
    result = jnp.array(array)
    if result.dtype != array.dtype:
        raise TypeError(
            f"{label}: expected at most float32, because JAX is not in x64 mode and would round, got {array.dtype}; "
            f"call jax.config.update('jax_enable_x64', True) first, or cast the weights to float32"
        )
    return result
