"""The engine that runs all steps in one compiled kernel."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from recur._types import State
from recur.cells._base import Cell, FactoredCell
from recur.engines._base import Info, Problem


@dataclasses.dataclass(frozen=True)
class Fused:
    """X.
    """

    def refusal(self, cell: Cell) -> str:
        if not isinstance(cell, FactoredCell):
            return "its step is not declared by recur.cells.pointwise"
        return ""

    def run(self, cell: Cell, problem: Problem, *, reverse: bool) -> tuple[State, State, Info]:
        params, xs, start, restart, mask, reset = problem
        from recur.engines.kernels._fused_scan import fused_scan

        info = Info(engine="fused", reason="asked for")
        prepared = cell.prepare(params)
        projected = cell.project(prepared, xs)
        states = fused_scan(cell, reverse, prepared, projected, start, restart, mask, reset)
        return states, jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states), info
