"""Packages of the extra ``data``, imported when they are needed."""

import importlib
from typing import Any


def extra(module: str, wants: str) -> Any:
    """Imports a module of the extra ``data``; `wants` is what needs it.

    Raises:
        ImportError: It is not installed; the message says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(f'{wants}: expected {module}, got none; pip install "recur-jax[data]"') from None
