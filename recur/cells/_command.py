"""`recur cells`: the table of cells in a terminal."""

from collections.abc import Sequence

from recur.cells._pointwise import PointwiseCell
from recur.cells._table import CELLS


def main(argv: Sequence[str]) -> int:
    """Prints one line a cell: its state, its gates, and whether it is affine in the state."""
    if {"-h", "--help"} & set(argv):
        print("usage: recur cells\n\nLists the cells of recur.cells.CELLS: state, gates, structure.")
        return 0
    rows = [("cell", "state", "gates", "structure")]
    for name, make in CELLS.items():
        cell = make(2)
        gates = ", ".join(cell.declaration.gate_names) if isinstance(cell, PointwiseCell) else ""
        kind = "affine in the state" if cell.is_affine else "declared" if gates else "its own step"
        rows.append((name, ", ".join(cell.initial_state()._fields), gates, kind))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    return 0
