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
        products: In the rows for a GPU, what products round their factors to: a name in `RESOLUTIONS`. None in those
            for a CPU, which multiplies in float32.
        engines: Keys of `recur.engines.ENGINES`: what to run beside the engine that recur chooses by itself.
    """

    batch: int
    steps: int
    inputs: int
    hidden: int
    cells: tuple[str, ...]
    layers: int = 1
    bidirectional: bool = False
    seeds: int = 1
    products: str | None = None
    engines: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        """Dtype of weights and inputs."""
        return "bfloat16" if self.products == "bfloat16" else "float32"

    @property
    def sizes(self) -> str:
        """The sizes in words."""
        words = f"B={self.batch} T={self.steps} X={self.inputs} H={self.hidden}"
        words += f", {self.layers} layers" * (self.layers > 1) + ", both directions" * self.bidirectional
        words += f", {self.seeds} seeds" * (self.seeds > 1)
        return words + (f", products in {self.products}" if self.products else "")


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


@cells.pointwise(state=("h", "c", "n", "m"), gates={"i": None, "f": jax.nn.log_sigmoid, "z": jnp.tanh, "o": sigmoid})
def slstm(gate: Any, state: Any) -> Mapping[str, jax.Array]:
    """The LSTM with exponential input gate, in its stable form (Beck et al. 2024, arXiv 2405.04517, eqs. 8-17)."""
    m = jnp.maximum(gate.f + state.m, gate.i)
    keep, write = jnp.exp(gate.f + state.m - m), jnp.exp(gate.i - m)
    c, n = keep * state.c + write * gate.z, keep * state.n + write
    return {"h": gate.o * c / n, "c": c, "n": n, "m": m}


CELLS: dict[str, Callable[[int], cells.Cell]] = {
    "elman": cells.elman,
    "lstm": cells.lstm,
    "gru": cells.gru,
    "min_gru": cells.min_gru,
    "leaky": leaky,
    "slstm": slstm,
    "ind_rnn": cells.ind_rnn,
    "diagonal_gru": diagonal_gru,
    "lru": cells.lru,
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

RESOLUTIONS = {"float32": 2.0**-24, "tf32": 2.0**-11, "bfloat16": 2.0**-9}
"""Relative error of rounding. A GPU multiplies float32 in TF32 unless it is asked for more, as in "float32" here."""

_DIAGONAL = ("ind_rnn", "diagonal_gru", "lru", "min_gru")
_IN_PARALLEL = {"products": "float32", "engines": ("scan", "associative", "newton")}
_DENSE = {
    "G1": Row(16, 1024, 768, 768, ("lstm",), engines=("cudnn",)),
    # Twelve heads of 64 units, each with a share of the inputs of its own.
    "G2": Row(16, 1024, 64, 64, ("lstm", "slstm"), seeds=12, engines=("cudnn",)),
    "G3": Row(64, 512, 128, 128, (*_THREE, "leaky"), engines=("cudnn",)),
    "G4": Row(2048, 64, 128, 128, ("gru",)),
    "G5": Row(128, 256, 1024, 1024, ("lstm",), engines=("cudnn",)),
}
GPU_ROWS = {
    **{name: row._replace(products="tf32") for name, row in _DENSE.items()},
    # cuDNN takes float32 alone.
    **{f"{name}_bf16": row._replace(products="bfloat16", engines=()) for name, row in _DENSE.items()},
    "G6": Row(16, 2048, 1024, 1024, _DIAGONAL, **_IN_PARALLEL),
    "G6_long": Row(8, 65536, 256, 256, _DIAGONAL, **_IN_PARALLEL),
    "G7": Row(1, 100_000, 16, 16, ("gru",), products="float32", engines=("newton",)),
    "G7_batch": Row(16, 100_000, 32, 32, ("gru",), products="float32", engines=("newton",)),
}
"""Rows for a GPU: hours on a CPU, where they are refused."""

Module = recur.nn.RNN | recur.nn.Bidirectional | recur.nn.Stack


class Case(NamedTuple):
    """A row and a cell, with the weights and data that all peers get.

    Args:
        row: The sizes.
        cell: Key of `CELLS`.
        modules: One recur module a seed; its weights are copied to the peers.
        x: Inputs ``[B, T, X]``, with several seeds ``[S, B, T, X]``, in the row's dtype as the weights are.
        target: What the outputs are to become, of their shape, float32.
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
        options = {"rngs": nnx.Rngs(seed + index), "dtype": row.dtype}
        if row.layers > 1:
            module = recur.nn.Stack([made] * row.layers, row.inputs, bidirectional=row.bidirectional, **options)
        elif row.bidirectional:
            module = recur.nn.Bidirectional(made, row.inputs, **options)
        else:
            module = recur.nn.RNN(made, row.inputs, **options)
        for rnn in (rnn for layer in directions(module) for rnn in layer if "bias" in rnn.params):
            bias = rnn.params["bias"]
            bias[...] = bias[...] + jnp.asarray(generator.normal(0, 0.1, bias.shape), row.dtype)
        modules.append(module)
    lead = (row.seeds,) * (row.seeds > 1)
    outputs = row.hidden * (1 + row.bidirectional)
    x = generator.standard_normal((*lead, row.batch, row.steps, row.inputs), np.float32).astype(row.dtype)
    target = generator.uniform(-1, 1, (*lead, row.batch, row.steps, outputs)).astype(np.float32)
    return Case(row, cell, tuple(modules), x, target)


def directions(module: Module) -> list[list[recur.nn.RNN]]:
    """Returns the layers of a module, bottom first, each as its one or two directions."""
    layers = module.layers if isinstance(module, recur.nn.Stack) else [module]
    return [[x.forward, x.backward] if isinstance(x, recur.nn.Bidirectional) else [x] for x in layers]
