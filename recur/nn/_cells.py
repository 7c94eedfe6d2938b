"""From what a model is given as its cell to one cell a layer."""

from collections.abc import Callable

from recur._checks import brief, check_positive
from recur.cells import Cell

CellOrFactory = Cell | Callable[[int], Cell]


def layer_cells(cell: CellOrFactory, hidden_size: int | None, layers: int) -> list[Cell]:
    """Returns one cell a layer, bottom first.

    Args:
        cell: A cell, or what makes one of a size, such as ``recur.cells.lstm``.
        hidden_size: Its size H; None beside a cell, which has one already.
        layers: How many.

    Raises:
        TypeError: Neither a cell nor a factory of cells.
        ValueError: A size that is missing, or given twice.
    """
    check_positive("layers", layers)
    if isinstance(cell, Cell):
        if hidden_size is not None:
            raise ValueError(f"hidden_size: expected None beside the cell {cell!r}, got {hidden_size}; leave it out")
        return [cell] * layers
    if not callable(cell):
        raise TypeError(f"cell: expected a recur.cells.Cell, or a factory such as recur.cells.lstm, got {brief(cell)}")
    if hidden_size is None:
        raise ValueError("hidden_size: expected the number of hidden units beside a factory of cells, got None")
    made = cell(check_positive("hidden_size", hidden_size))
    if not isinstance(made, Cell):
        raise TypeError(f"cell: expected a factory of recur.cells.Cell, got one that makes {brief(made)}")
    return [made] * layers
