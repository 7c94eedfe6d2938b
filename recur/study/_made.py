"""Cells with other initialisers: made by name, or from a cell that was given."""

from typing import Any

from recur import cells
from recur.study._variants import with_options

INITIALIZERS = ("own", "orthogonal", "identity", "gaussian", "glorot_uniform", "chrono")


def make_cell(name: str, hidden_size: int, initializer: str, gain: float, max_steps: int) -> cells.Cell:
    """Makes the cell with recurrent kernels drawn as `initializer` says.

    Args:
        name: See `cells.find_factory`.
        hidden_size: Units H.
        initializer: One of `INITIALIZERS`; own leaves the cell as its factory makes it, chrono is orthogonal kernels
            with chrono biases.
        gain: Factor of the recurrent kernels; 1 for own and glorot_uniform.
        max_steps: T_max of chrono.

    Raises:
        ValueError: A name, initialiser or gain that does not fit the cell.
    """
    factory = cells.find_factory(name)
    options = _options(initializer, gain, max_steps)
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


def with_initializer(cell: cells.Cell, initializer: str, gain: float, max_steps: int) -> cells.Cell:
    """Returns a cell that was given with other initialisers; arguments and errors as for `make_cell`."""
    options = _options(initializer, gain, max_steps)
    return with_options(initializer, cell, options) if options else cell


def _options(initializer: str, gain: float, max_steps: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
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
    return options
