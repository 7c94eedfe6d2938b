"""The table of cells: name -> factory of one argument, the hidden size (and the factory's options)."""

import functools
from collections.abc import Callable

from recur.cells._base import Cell
from recur.cells._elman import elman
from recur.cells._gru import gru
from recur.cells._lstm import lstm

CELLS: dict[str, Callable[..., Cell]] = {
    "elman": elman,
    "elman_relu": functools.partial(elman, activation="relu"),
    "elman_identity": functools.partial(elman, activation="identity"),
    "gru": gru,
    "gru_reset_before": functools.partial(gru, reset_after=False),
    "lstm": lstm,
}
"""Every cell by name. A new cell is one file and one row here; suites, flags and reports then know it."""
