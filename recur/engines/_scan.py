"""The oracle engine: one step after the other."""

import dataclasses

import jax

from recur._checks import check_positive
from recur._types import State
from recur.cells._base import Cell, FactoredCell
from recur.engines._base import Info, Problem
from recur.engines._stepping import lean_scan, plain_scan


@dataclasses.dataclass(frozen=True)
class Scan:
    """Runs any cell step by step with `jax.lax.scan`; the input's share is computed for all steps beforehand.

    Args:
        unroll: Steps per iteration of the compiled loop; the result does not depend on it.
    """

    unroll: int = 1

    def __post_init__(self) -> None:
        """Checks the knob."""
        check_positive("unroll", self.unroll)

    def refusal(self, cell: Cell) -> str:
        """Says nothing: every cell runs."""
        del cell
        return ""

    def run(self, cell: Cell, problem: Problem, *, reverse: bool) -> tuple[State, State, Info]:
        """Runs the cell (see `Engine.run`)."""
        params, xs, start, restart, mask, reset = problem
        prepared = cell.prepare(params)
        lean = isinstance(cell, FactoredCell) and len(xs)
        scan = lean_scan if lean else plain_scan
        projected = cell.project(prepared, xs)
        states = scan(cell, reverse, self.unroll, prepared, projected, start, restart, mask, reset)
        final = jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states) if len(xs) else start
        return states, final, Info(engine="scan", reason="asked for")
