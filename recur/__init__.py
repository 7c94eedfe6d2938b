"""recur: write a recurrent cell once, get every engine, exact gradient flow, Flax modules and reports."""

from recur import cells, engines, flow
from recur.engines import unroll

__all__ = [
    "cells",
    "engines",
    "flow",
    "unroll",
]
