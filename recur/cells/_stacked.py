"""A deep recurrent network as one cell."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from recur._checks import check_bool, check_key
from recur._types import Array, Float, Key, Params, State
from recur.cells._base import Cell, check_cell, output_size, state_type


@dataclasses.dataclass(frozen=True, repr=False)
class StackedCell(Cell):
    """Layers of cells, each reading the output of the one below in the same step. Made by `stacked`."""

    cells: tuple[Cell, ...]
    residual: bool = False
    name = "stacked"

    @property
    def _layers(self) -> tuple[str, ...]:
        return tuple(f"layer_{index}" for index in range(len(self.cells)))

    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws ``{"layer_0": params, "layer_1": params, ...}``, bottom first."""
        check_key("key", key)
        params = {}
        keys = jax.random.split(key, len(self.cells))
        for layer, cell, layer_key in zip(self._layers, self.cells, keys, strict=True):
            params[layer] = cell.init(layer_key, input_size, dtype)
            input_size = output_size(cell)
        return params

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns a NamedTuple of the layers' states, fields ``layer_0, layer_1, ...``."""
        return state_type(*self._layers)(*(cell.initial_state(batch_shape, dtype) for cell in self.cells))

    def prepare(self, params: Params) -> Any:
        """Returns what the layers prepare."""
        return {layer: cell.prepare(params[layer]) for layer, cell in zip(self._layers, self.cells, strict=True)}

    def project(self, params: Any, xs: Float[Array, "*A X"]) -> Any:
        """Returns what the lowest layer can do without a state."""
        return self.cells[0].project(params["layer_0"], xs)

    def advance(self, params: Any, state: State, projected: Any) -> State:
        """Returns the next states, from the bottom up."""
        states, below = [], None
        for index, (layer, cell) in enumerate(zip(self._layers, self.cells, strict=True)):
            if index > 0:
                projected = cell.project(params[layer], below)
            states.append(cell.advance(params[layer], state[index], projected))
            output = cell.output(states[-1])
            below = below + output if self.residual and index > 0 else output
        return type(state)(*states)

    def output(self, state: State) -> Float[Array, "*B H"]:
        """Returns the top layer's output, or with ``residual`` the sum of all layers' outputs."""
        outputs = [cell.output(layer) for cell, layer in zip(self.cells, state, strict=True)]
        return sum(outputs[1:], outputs[0]) if self.residual else outputs[-1]

    def __repr__(self) -> str:
        """Shows the layers."""
        options = ", residual=True" if self.residual else ""
        return f"stacked({', '.join(map(repr, self.cells))}{options})"


def stacked(*cells: Cell, residual: bool = False) -> StackedCell:
    """Returns a deep recurrent network as one cell, which can be unrolled, measured and streamed like any other.

    Args:
        *cells: The layers, bottom first.
        residual: Whether every layer above the lowest adds its input to its output; all sizes must then agree.

    Raises:
        ValueError: No cell, or residual layers of different sizes.
        TypeError: Something that is no cell.
    """
    if not cells:
        raise ValueError("cells: expected at least one cell, got none")
    for index, cell in enumerate(cells):
        check_cell(f"cells[{index}]", cell)
    sizes = [output_size(cell) for cell in cells]
    if check_bool("residual", residual) and len(set(sizes)) > 1:
        raise ValueError(f"residual: expected layers of one output size, got {sizes}")
    return StackedCell(tuple(cells), residual)
