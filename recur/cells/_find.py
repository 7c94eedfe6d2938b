"""Finds a cell's factory by its name: one of the table, one of a module, one of a file."""

import difflib
import hashlib
import importlib
import importlib.util
import pathlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from recur.cells._base import Cell
from recur.cells._table import CELLS


def find_factory(name: str) -> Callable[..., Cell]:
    """Finds a factory ``(hidden_size, **options) -> Cell`` by name.

    Args:
        name: A name of `CELLS`, as in ``"lstm"``; ``"module:factory"`` of a module that can be imported; or
            ``"path/to/file.py:factory"`` of a file, which is run once.

    Returns:
        The factory.

    Raises:
        TypeError: No name.
        ValueError: An unknown name (the nearest known one is told), or a module or file without that factory.

    Example:
        >>> from recur import cells
        >>> cells.find_factory("gru") is cells.gru
        True
        >>> cells.find_factory("lsmt")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: cell: expected a name of recur.cells.CELLS, ... got 'lsmt'; did you mean 'lstm'?
    """
    if not isinstance(name, str):
        raise TypeError(f"cell: expected the name of a cell, got {type(name).__name__}")
    place, colon, attribute = name.rpartition(":")
    if not colon:
        if name in CELLS:
            return CELLS[name]
        near = difflib.get_close_matches(name, CELLS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(CELLS))}"
        raise ValueError(
            f"cell: expected a name of recur.cells.CELLS, module:factory or file.py:factory, got {name!r}; {hint}"
        )
    module = _module_of_file(place) if place.endswith(".py") else _module(place)
    try:
        factory: Any = getattr(module, attribute)
    except AttributeError:
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        near = difflib.get_close_matches(attribute, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"cell: expected a factory in {place!r}, got no {attribute!r} there{hint}") from None
    if not callable(factory):
        raise ValueError(
            f"cell: expected {name!r} to be a factory such as recur.cells.pointwise makes, got {type(factory).__name__}"
        )
    return factory


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that fails over an import of its own is found, and its error is the user's to see.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ValueError(
                f"cell: expected a module that can be imported, got {name!r}; name a file as path/file.py:factory"
            ) from None
        raise
    except (TypeError, ValueError):
        raise ValueError(f"cell: expected module:factory, got no module's name before the colon: {name!r}") from None


def _module_of_file(place: str) -> ModuleType:
    """Runs a file as a module, once a process and path; cells that it declares pickle where the file is found again."""
    path = pathlib.Path(place).expanduser().resolve()
    if not path.is_file():
        raise ValueError(f"cell: expected a file of Python, got {place!r}, where there is none")
    # The plain name where it is free, so that pickled cells are found by processes that have the folder on their path.
    name = path.stem
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) and pathlib.Path(known.__file__).resolve() == path:
            return known
        name = f"{path.stem}_{hashlib.sha256(bytes(path)).hexdigest()[:8]}"
        if name in sys.modules:
            return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
