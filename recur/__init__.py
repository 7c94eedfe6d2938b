"""recur: write a recurrent cell once, get every engine, exact gradient flow, Flax modules and reports."""

import importlib
from types import ModuleType

from recur import cells, engines, flow
from recur._version import __version__ as __version__
from recur.engines import unroll

__all__ = [
    "cells",
    "check",
    "engines",
    "flow",
    "interop",
    "nn",
    "report",
    "runs",
    "study",
    "tasks",
    "train",
    "unroll",
]


def __getattr__(name: str) -> ModuleType:
    """Loads the other packages when they are first named, so that `import recur` needs neither Flax nor Orbax."""
    if name in __all__:
        return importlib.import_module(f"recur.{name}")
    raise AttributeError(f"module 'recur' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names all packages, those that are not loaded yet too."""
    return sorted({*globals(), *__all__})
