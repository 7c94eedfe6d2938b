"""The oracle engine: one step after the other."""

import dataclasses

import jax

from recur._checks import check_positive
from recur._types import State
from recur.cells._base import Cell
from recur.engines._base import Info, Problem
from recur.engines._flags import select


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

        def step(state: State, inputs: tuple) -> tuple[State, State]:
            projected, mask, reset = inputs
            before = state if reset is None else select(reset, problem.restart, state)
            after = cell.advance(params, before, projected)
            if mask is not None:
                after = select(mask, after, state)
            return after, after

        params = cell.prepare(problem.params)
        projected = cell.project(params, problem.xs)
        inputs = (projected, problem.mask, problem.reset)
        final, states = jax.lax.scan(step, problem.start, inputs, reverse=reverse, unroll=self.unroll)
        return states, final, Info(engine="scan", reason="asked for")
