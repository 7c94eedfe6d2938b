"""Where each library keeps which gate, as one table, and the pure functions that read it.

torch, Keras and Flax all compute ``x W + b + h U + b'`` for blocks of gates; they differ in the order of the blocks, in
which of the two biases exist, and in what is transposed. The modules beside this one bring a library's arrays into
the form of `Fused`; everything else is the same for all of them and done here, in NumPy, so that nothing is rounded.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from recur.cells import Cell, elman, gru, lstm


class Kind(NamedTuple):
    """A cell that other libraries have too, and the order of its gates there; None where they lack it.

    The letters are recur's gate names. Keras writes c for the LSTM's g, h for the GRU's n;
    """

    factory: Callable[[int], Cell]
    torch: str | None
    keras: str | None
    nnx: str | None
    linen: str | None


KINDS: dict[str, Kind] = {
    "elman": Kind(elman, torch="h", keras="h", nnx="h", linen="h"),
    "elman_relu": Kind(partial(elman, activation="relu"), torch="h", keras="h", nnx="h", linen="h"),
    "elman_identity": Kind(partial(elman, activation="identity"), torch=None, keras="h", nnx="h", linen="h"),
    "lstm": Kind(lstm, torch="ifgo", keras="ifgo", nnx="ifgo", linen="ifgo"),
    "gru": Kind(gru, torch="rzn", keras="zrn", nnx="rzn", linen="rzn"),
    "gru_reset_before": Kind(partial(gru, reset_after=False), torch=None, keras="zrn", nnx=None, linen=None),
}
"""Every cell that can be carried over, by its name in `recur.cells.CELLS`."""


class Fused(NamedTuple):
    """One direction of one layer, its G gates side by side in the order of the library it comes from.

    Args:
        kernel: W ``[X, G * H]``.
        recurrent_kernel: U ``[H, G * H]``.
        bias: What is added to ``x W``, ``[G * H]``; None for nothing.
        recurrent_bias: What is added to ``h U``, ``[G * H]``; None for nothing.
    """

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray | None = None
    recurrent_bias: np.ndarray | None = None


def _fingerprint(cell: Cell) -> tuple:
    # Initialisers and size aside, two pointwise cells are the same if they were declared the same.
    return type(cell), getattr(cell, "declaration", None)


_KIND_OF = {_fingerprint(kind.factory(1)): name for name, kind in KINDS.items()}


def kind_of(cell: Cell, library: str) -> str:
    """Returns the key of `cell` in `KINDS`.

    Raises:
        ValueError: A cell that `library` (a field of `Kind`) does not have.
    """
    name = _KIND_OF.get(_fingerprint(cell))
    if name is None or getattr(KINDS[name], library) is None:
        known = sorted(name for name, kind in KINDS.items() if getattr(kind, library) is not None)
        raise ValueError(f"module: expected a cell that {library} has too, one of {known}, got {cell!r}")
    return name


def gate_count(kind: str) -> int:
    """Returns the number of gates G of a kind of cell."""
    return len(KINDS[kind].factory(1).inits.gates)


def to_params(fused: Fused, kind: str, library: str, label: str) -> dict[str, np.ndarray]:
    """Returns recur's parameters for the weights of one direction of one layer.

    Two biases of one gate only ever appear as their sum, so they become one, save for the GRU's candidate, whose
    recurrent bias is inside the product with the reset gate: that one is ``recurrent_bias [H]``.

    Args:
        fused: The weights.
        kind: Key of `KINDS`.
        library: Field of `Kind`.
        label: What `fused` is, for messages.

    Raises:
        ValueError: Arrays whose shapes do not fit together.
    """
    ours, theirs = KINDS[kind].factory(1).inits.gates, getattr(KINDS[kind], library)
    order = [theirs.index(gate) for gate in ours]
    hidden_size = fused.recurrent_kernel.shape[0]
    columns = len(ours) * hidden_size
    for name, array, shape in (
        ("kernel", fused.kernel, (fused.kernel.shape[0], columns)),
        ("recurrent_kernel", fused.recurrent_kernel, (hidden_size, columns)),
        ("bias", fused.bias, (columns,)),
        ("recurrent_bias", fused.recurrent_bias, (columns,)),
    ):
        if array is not None and array.shape != shape:
            raise ValueError(
                f"{label}: expected {name} of shape {shape} for {hidden_size} units and {len(ours)} gates of {kind}, "
                f"got {array.shape}; take all weights from one layer"
            )

    def blocks(array: np.ndarray) -> np.ndarray:
        return array.reshape(*array.shape[:-1], len(ours), hidden_size)[..., order, :]

    zeros = np.zeros(columns, fused.kernel.dtype)
    bias = blocks(zeros if fused.bias is None else fused.bias)
    recurrent_bias = blocks(zeros if fused.recurrent_bias is None else fused.recurrent_bias)
    own = {}
    if kind == "gru":
        n = ours.index("n")
        own["recurrent_bias"] = recurrent_bias[n].copy()
        recurrent_bias[n] = 0
    return {
        "kernel": blocks(fused.kernel),
        "recurrent_kernel": blocks(fused.recurrent_kernel),
        "bias": bias + recurrent_bias,
        **own,
    }


def from_params(params: dict[str, np.ndarray], kind: str, library: str) -> Fused:
    """Returns the weights of one direction of one layer in the gate order of `library`: `to_params` turned round.

    The bias goes to the input's side. ``recurrent_bias`` is None but for the GRU whose reset acts after the product.
    """
    ours, theirs = KINDS[kind].factory(1).inits.gates, getattr(KINDS[kind], library)
    order = [ours.index(gate) for gate in theirs]

    def side_by_side(array: np.ndarray) -> np.ndarray:
        return array[..., order, :].reshape(*array.shape[:-2], -1)

    recurrent_bias = None
    if kind == "gru":
        recurrent_bias = np.zeros_like(params["bias"])
        recurrent_bias[ours.index("n")] = params["recurrent_bias"]
        recurrent_bias = side_by_side(recurrent_bias)
    return Fused(
        kernel=side_by_side(params["kernel"]),
        recurrent_kernel=side_by_side(params["recurrent_kernel"]),
        bias=side_by_side(params["bias"]),
        recurrent_bias=recurrent_bias,
    )
