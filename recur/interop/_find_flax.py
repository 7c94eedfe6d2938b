"""Recurrent modules of a Flax NNX model."""

import functools
from typing import Any

from flax import nnx

from recur.interop._flax import from_flax
from recur.interop._flax_cells import NNX_CELLS
from recur.interop._found import convert
from recur.interop._network import RecurModule
from recur.nn import RNN, Bidirectional, Stack

_OWN = (RNN, Bidirectional, Stack)
_WHOLE = (*_OWN, nnx.RNN, nnx.Bidirectional, *NNX_CELLS)


def find(model: Any) -> dict[str, RecurModule]:
    """Finds the outermost recurrent modules, by their path; recur's own are handed out as they are."""
    if isinstance(model, list | tuple):
        model = nnx.List(model)
    paths: dict[tuple, Any] = {}
    for path, module in nnx.iter_modules(model):
        if isinstance(module, _WHOLE):
            paths[path] = module
    # What stands inside another one belongs to it.
    outer = {p: m for p, m in paths.items() if not any(q != p and p[: len(q)] == q for q in paths)}
    return convert(
        {
            ".".join(map(str, path)) or type(module).__name__.lower(): functools.partial(_convert, module)
            for path, module in sorted(outer.items(), key=lambda item: tuple(map(str, item[0])))
        }
    )


def _convert(module: Any) -> RecurModule:
    return module if isinstance(module, _OWN) else from_flax(module)
