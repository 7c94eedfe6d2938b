"""Axis letters and type names used in every signature and docstring of recur.

| letter | axis | letter | axis |
|---|---|---|---|
| T | time steps | H | hidden units |
| B | batch; ``*B`` is any number of leading batch axes, none too | G | gates |
| X | input features | L | lag in steps |
| S | seeds | V | vocabulary |

Functional code is time-major (``xs [T, *B, X]``, as `jax.lax.scan` wants it); Flax modules are batch-major.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Bool, Complex, Float, Int, Key, PyTree, Shaped

Params = dict[str, Any]
"""Named parameters: ``kernel [X, G, H]``, ``recurrent_kernel [H, G, H]``, ``bias [G, H]``, weights ``[H]``."""

State = Any
"""NamedTuple of arrays ``[*B, H]``; its first field, ``h``, is the output."""

Initializer = Callable[[Key[Array, ""], tuple[int, ...], Any], jax.Array]
"""``initializer(key, shape, dtype) -> array``, the convention of `jax.nn.initializers`."""

__all__ = [
    "Array",
    "Bool",
    "Complex",
    "Float",
    "Initializer",
    "Int",
    "Key",
    "Params",
    "PyTree",
    "Shaped",
    "State",
]
