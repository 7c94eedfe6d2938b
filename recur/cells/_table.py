"""The table of cells: name -> factory of one argument, the hidden size (and the factory's options)."""

import functools
from collections.abc import Callable

from recur.cells._antisymmetric import antisymmetric
from recur.cells._base import Cell
from recur.cells._elman import elman
from recur.cells._gru import gru
from recur.cells._ind_rnn import ind_rnn
from recur.cells._lru import lru
from recur.cells._lstm import lstm
from recur.cells._min_gru import min_gru
from recur.cells._orthogonal import orthogonal

CELLS: dict[str, Callable[..., Cell]] = {
    "antisymmetric": antisymmetric,
    "elman": elman,
    "elman_relu": functools.partial(elman, activation="relu"),
    "elman_identity": functools.partial(elman, activation="identity"),
    "gru": gru,
    "gru_reset_before": functools.partial(gru, reset_after=False),
    "ind_rnn": ind_rnn,
    "lru": lru,
    "lstm": lstm,
    "min_gru": min_gru,
    "orthogonal": orthogonal,
}
"""Every cell by name. A new cell is one file and one row here; suites, flags and reports then know it."""
