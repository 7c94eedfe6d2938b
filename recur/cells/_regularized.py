"""Cells whose recurrence is regularised while they are trained: some units keep their state, or are not seen."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from recur._types import Array, Float, Key, Params, PyTree, State
from recur.cells._base import Cell
from recur.cells._pointwise_cell import PointwiseCell


@dataclasses.dataclass(frozen=True)
class ZoneoutCell(Cell):
    """A cell some of whose units keep their state, instead of taking the one that a step gives them.

        state_t = kept_t state_{t-1} + (1 - kept_t) F(state_{t-1}, x_t),   kept_t = 1 with probability rate, else 0

    In the mean, as it is evaluated, `kept_t` is the rate. Where it is drawn, it comes with the inputs, as a pair of the
    features and a list: for every array of the state one like it, 1 where that entry is kept.

    Args:
        cell: F.
        rates: Probability for each array of the state.
        drawn: Whether the inputs say what is kept.

    Reference:
        Krueger et al. (2017), "Zoneout: regularizing RNNs by randomly preserving hidden activations",
        https://arxiv.org/abs/1606.01305, section 3.2.
    """

    cell: Cell
    rates: tuple[float, ...]
    drawn: bool = False

    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws the parameters of the cell."""
        return self.cell.init(key, input_size, dtype)

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns that of the cell."""
        return self.cell.initial_state(batch_shape, dtype)

    def prepare(self, params: Params) -> Any:
        """Returns what the cell prepares."""
        return self.cell.prepare(params)

    def project(self, params: Any, xs: PyTree) -> Any:
        """Returns the cell's share without the state, and what is kept."""
        xs, kept = xs if self.drawn else (xs, None)
        return self.cell.project(params, xs), kept

    def advance(self, params: Any, state: State, projected: Any) -> State:
        """Returns the next state."""
        own, drawn = projected
        after = self.cell.advance(params, state, own)
        leaves, tree = jax.tree.flatten(state)
        pairs = zip(leaves, jax.tree.leaves(after), strict=True)
        if drawn is None:
            mixed = [
                rate * old + (1 - rate) * new if rate else new
                for rate, (old, new) in zip(self.rates, pairs, strict=True)
            ]
        else:
            mixed = [jnp.where(kept != 0, old, new) for kept, (old, new) in zip(drawn, pairs, strict=True)]
        return jax.tree.unflatten(tree, mixed)

    def output(self, state: State) -> Float[Array, "*B H"]:
        """Reads what the cell reads."""
        return self.cell.output(state)


@dataclasses.dataclass(frozen=True)
class MaskedRecurrenceCell(Cell):
    """A cell whose recurrent product sees ``mask * h_{t-1}``, with a mask for each sequence that all steps share.

    Everything but the product, such as a gate that lets the state pass, sees the state as it is. The mask is a
    parameter, ``{"cell": ..., "mask": [*B, H]}``.

    Args:
        cell: Whose product.
        batch_shape: ``*B``.
    """

    cell: PointwiseCell
    batch_shape: tuple[int, ...]

    def init(self, key: Key[Array, ""], input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draws the parameters of the cell, with a mask that hides nothing."""
        mask = jnp.ones_like(self.cell.initial_state(self.batch_shape)[0])
        return {"cell": self.cell.init(key, input_size, dtype), "mask": mask}

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Returns that of the cell."""
        return self.cell.initial_state(batch_shape, dtype)

    def prepare(self, params: Params) -> Any:
        """Returns what the cell prepares, with the mask."""
        return self.cell.prepare(params["cell"]), params["mask"]

    def project(self, params: Any, xs: Float[Array, "*A X"]) -> Any:
        """Returns the cell's share without the state."""
        return self.cell.project(params[0], xs)

    def advance(self, params: Any, state: State, projected: Any) -> State:
        """Returns the next state."""
        prepared, mask = params
        seen = state[0] * mask.astype(state[0].dtype)
        kept = self.cell.keep(projected, self.cell.recurrent_share(prepared, seen))
        return self.cell.update(prepared, state, projected, kept)

    def output(self, state: State) -> Float[Array, "*B H"]:
        """Reads what the cell reads."""
        return self.cell.output(state)
