"""Affine recurrences in parallel over time."""

import dataclasses

from recur._types import State
from recur.cells._base import Cell
from recur.engines._affine import affine_scan, refusal
from recur.engines._base import Info, Problem
from recur.engines._linear import How


@dataclasses.dataclass(frozen=True)
class Associative:
    """Runs cells whose step is affine in the state, entry by entry, such as `min_gru` and `lru`: exact, depth O(log T).

    Steps compose: two of them in a row are one with ``decay = decay_2 decay_1``, ``drive = decay_2 drive_1 + drive_2``.
    A tree of such pairs gives all states, for any T, real or complex. Sums are taken in another order than `Scan` takes
    them, so results agree to rounding.

    Reference:
        Blelloch (1990), "Prefix sums and their applications"; Martin and Cundy (2018),
        https://arxiv.org/abs/1709.04057.
    """

    def refusal(self, cell: Cell) -> str:
        """Says why `cell` cannot be run, or nothing."""
        return refusal(cell)

    def run(self, cell: Cell, problem: Problem) -> tuple[State, Info]:
        """Runs the cell (see `Engine.run`)."""
        return affine_scan(cell, How(parallel=True), problem.prepared(cell)), Info("associative", "asked for")
