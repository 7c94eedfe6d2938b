"""Flax NNX modules: they own parameters and axes, and hold no equations. Batch-major, ``x [*B, T, X]``."""

from recur.nn._bidirectional import Bidirectional
from recur.nn._rnn import RNN
from recur.nn._stack import Stack

__all__ = [
    "RNN",
    "Bidirectional",
    "Stack",
]
