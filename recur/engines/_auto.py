"""The engine that chooses."""

import dataclasses

from recur._types import State
from recur.cells._base import Cell
from recur.engines._base import Info, Problem
from recur.engines._scan import Scan


@dataclasses.dataclass(frozen=True)
class Auto:
    """Chooses an engine by the first rule that fits, and says which in ``info``.

    1. Any cell: `Scan`, which runs every cell exactly on every platform.
    """

    def refusal(self, cell: Cell) -> str:
        """Says nothing: every cell has an engine."""
        del cell
        return ""

    def run(self, cell: Cell, problem: Problem, *, reverse: bool) -> tuple[State, State, Info]:
        """Runs the cell with the engine chosen (see `Engine.run`)."""
        states, final, info = Scan().run(cell, problem, reverse=reverse)
        return states, final, dataclasses.replace(info, reason="auto: runs every cell exactly")
