"""Cells from flags: names of the table, or a user's own as module:factory."""

import importlib
from collections.abc import Callable

from recur import cells

INITIALIZERS = ("own", "orthogonal", "identity", "gaussian", "glorot_uniform", "chrono")


def cell_factory(name: str) -> Callable[..., cells.Cell]:
    """Finds a factory ``(hidden_size, **options) -> Cell`` by its name in `CELLS` or as ``module:factory``.

    Raises:
        ValueError: An unknown name, or a module without that factory.
    """
    if ":" not in name:
        if name not in cells.CELLS:
            raise ValueError(f"cells: expected names among {sorted(cells.CELLS)} or module:factory, got {name!r}")
        return cells.CELLS[name]
    module_name, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise ValueError(f"cells: expected a module that can be imported, got {module_name!r}: {error}") from None
    except AttributeError:
        raise ValueError(f"cells: expected a factory in module {module_name!r}, got no {attribute!r} there") from None
    if not callable(factory):
        raise ValueError(f"cells: expected {name} to be a factory such as recur.cells.pointwise makes, got {factory!r}")
    return factory


def make_cell(name: str, hidden_size: int, initializer: str, gain: float, max_steps: int) -> cells.Cell:
    """Makes the cell with recurrent kernels drawn as `initializer` says.

    Args:
        name: See `cell_factory`.
        hidden_size: Units H.
        initializer: One of `INITIALIZERS`; own leaves the cell as its factory makes it, chrono is orthogonal kernels
            with chrono biases.
        gain: Factor of the recurrent kernels; 1 for own and glorot_uniform.
        max_steps: T_max of chrono.

    Raises:
        ValueError: A name, initialiser or gain that does not fit the cell.
    """
    factory, options = cell_factory(name), {}
    if initializer not in INITIALIZERS:
        raise ValueError(f"initializer: expected one of {INITIALIZERS}, got {initializer!r}")
    if initializer in ("own", "glorot_uniform") and gain != 1.0:
        raise ValueError(f"gain: expected 1 with --initializer={initializer}, got {gain}; use orthogonal or gaussian")
    if initializer == "glorot_uniform":
        options["recurrent_init"] = "glorot_uniform"
    elif initializer != "own":
        kinds = {"identity": cells.Identity, "gaussian": cells.Gaussian}
        options["recurrent_init"] = kinds.get(initializer, cells.Orthogonal)(gain)
    if initializer == "chrono":
        options["bias_init"] = cells.Chrono(max_steps)
    try:
        cell = factory(hidden_size, **options)
    except TypeError as error:
        raise ValueError(
            f"cells: expected {name} to take a size and the options {sorted(options)}, as recur.cells.pointwise makes "
            f"it, got: {error}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not isinstance(cell, cells.Cell):
        raise ValueError(f"cells: expected {name} to return a recur.cells.Cell, got {cell!r}")
    return cell
