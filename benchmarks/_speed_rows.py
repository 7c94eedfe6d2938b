"""What is timed: the rows of the table, and the networks and data of one case (a row and a cell)."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn import sigmoid

import recur.nn
from recur import cells


class Row(NamedTuple):
    """Sizes that several cells are timed at.

    Args:
        batch: Sequences B.
        steps: Time steps T.
        inputs: Features X.
        hidden: Units H of a layer and direction.
        cells: Keys of `CELLS`.
        layers: Layers on top of one another.
        bidirectional: Whether each layer runs both ways.
        seeds: Independent networks, each with data of its own, trained side by side.
    """

    batch: int
    steps: int
    inputs: int
    hidden: int
    cells: tuple[str, ...]
    layers: int = 1
    bidirectional: bool = False
    seeds: int = 1

    @property
    def sizes(self) -> str:
        """The sizes in words."""
        words = f"B={self.batch} T={self.steps} X={self.inputs} H={self.hidden}"
        words += f", {self.layers} layers" * (self.layers > 1) + ", both directions" * self.bidirectional
        return words + f", {self.seeds} seeds" * (self.seeds > 1)


@cells.pointwise(state=("h",), gates={"u": sigmoid, "n": jnp.tanh}, keep="u")
def leaky(gate: Any, state: Any) -> Mapping[str, jax.Array]:
    """Stands for a cell of a user's own, which no library has: a leak that the input and the state set."""
    return {"h": gate.u * state.h + (1 - gate.u) * gate.n}


@cells.pointwise(
    state=("h",), gates={"r": sigmoid, "z": sigmoid, "n": None}, split=("n",), keep="z", recurrence="diagonal"
)
def diagonal_gru(gate: Any, state: Any) -> Mapping[str, jax.Array]:
    """A GRU whose units see themselves alone: diagonal, and not affine (Danieli et al. 2025, arXiv 2510.21450)."""
    n = jnp.tanh(gate.n.x + gate.r * gate.n.h)
    return {"h": gate.z * state.h + (1 - gate.z) * n}


CELLS: dict[str, Callable[[int], cells.Cell]] = {
    "elman": cells.elman,
    "lstm": cells.lstm,
    "gru": cells.gru,
    "min_gru": cells.min_gru,
    "leaky": leaky,
    "diagonal_gru": diagonal_gru,
}
_THREE = ("elman", "lstm", "gru")
ROWS = {
    "C0": Row(32, 100, 2, 30, _THREE, layers=2),
    "C1": Row(1, 1000, 32, 32, (*_THREE, "leaky")),
    "C2": Row(32, 128, 128, 128, _THREE),
    "C3": Row(64, 128, 256, 256, ("lstm", "gru")),
    "C4": Row(16, 128, 512, 512, ("lstm",)),
    "C5": Row(128, 28, 28, 128, ("lstm", "gru")),
    "C6": Row(8, 1024, 64, 64, ("gru",), bidirectional=True),
    "C7": Row(8, 4096, 256, 256, ("min_gru",)),
    "C8": Row(32, 100, 2, 30, _THREE, layers=2, seeds=8),
}

Module = recur.nn.RNN | recur.nn.Bidirectional | recur.nn.Stack


class Case(NamedTuple):
    """A row and a cell, with the weights and data that all peers get.

    Args:
        row: The sizes.
        cell: Key of `CELLS`.
        modules: One recur module a seed; its weights are copied to the peers.
        x: Inputs ``[B, T, X]``, with several seeds ``[S, B, T, X]``, float32.
        target: What the outputs are to become, of their shape.
    """

    row: Row
    cell: str
    modules: tuple[Module, ...]
    x: np.ndarray
    target: np.ndarray


def make_case(row: Row, cell: str, seed: int = 0) -> Case:
    """Draws the weights and data of a case; biases too, as zeros would hide one that is in the wrong place.

    Only the candidate's recurrent bias of a GRU stays zero, as Flax NNX has none; its gradient is not zero.
    """
    made = CELLS[cell](row.hidden)
    generator = np.random.default_rng(seed)
    modules = []
    for index in range(row.seeds):
        rngs = nnx.Rngs(seed + index)
        if row.layers > 1:
            module = recur.nn.Stack([made] * row.layers, row.inputs, bidirectional=row.bidirectional, rngs=rngs)
        elif row.bidirectional:
            module = recur.nn.Bidirectional(made, row.inputs, rngs=rngs)
        else:
            module = recur.nn.RNN(made, row.inputs, rngs=rngs)
        for rnn in (rnn for layer in directions(module) for rnn in layer):
            bias = rnn.params["bias"]
            bias[...] = bias[...] + jnp.asarray(generator.normal(0, 0.1, bias.shape), jnp.float32)
        modules.append(module)
    lead = (row.seeds,) * (row.seeds > 1)
    outputs = row.hidden * (1 + row.bidirectional)
    x = generator.standard_normal((*lead, row.batch, row.steps, row.inputs), np.float32)
    target = generator.uniform(-1, 1, (*lead, row.batch, row.steps, outputs)).astype(np.float32)
    return Case(row, cell, tuple(modules), x, target)


def directions(module: Module) -> list[list[recur.nn.RNN]]:
    """Returns the layers of a module, bottom first, each as its one or two directions."""
    layers = module.layers if isinstance(module, recur.nn.Stack) else [module]
    return [[x.forward, x.backward] if isinstance(x, recur.nn.Bidirectional) else [x] for x in layers]
