"""Weights from and to torch, Keras and Flax. Importing this loads neither torch nor Keras."""

from recur.interop._find import find_recurrent
from recur.interop._flax import from_flax
from recur.interop._flax import to_flax
from recur.interop._keras import from_keras
from recur.interop._keras import to_keras
from recur.interop._torch import from_torch
from recur.interop._torch import to_torch

__all__ = [
    "find_recurrent",
    "from_flax",
    "from_keras",
    "from_torch",
    "to_flax",
    "to_keras",
    "to_torch",
]
