"""All time steps at once by Newton's method."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from recur._checks import brief, check_number, check_positive, is_one_of
from recur._types import Array, Float, PyTree, State
from recur.cells._base import Cell
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines._base import Info, Problem
from recur.engines._jacobian import JacobianForm, at_solution, jacobians, solve
from recur.engines._linear import shifted
from recur.engines._reach import select
from recur.engines._steps import Steps, before_each, hold, plain_scan

FULL_UP_TO = 64


@dataclasses.dataclass(frozen=True)
class Newton:
    """Solves ``s_t = F(s_{t-1}, x_t)`` for all steps at once, for cells whose step is taken apart.

    From a guess s of all states, the next one is s + e with

        e_t = J_t e_{t-1} + F(s_{t-1}, x_t) - s_t,   J_t = dF/ds at s_{t-1}

    a linear recurrence, which an associative scan solves in O(log T) steps. It pays for long sequences of small states
    on an accelerator; a network with a positive Lyapunov exponent needs more iterations than it saves. Where the
    residual ``max |F(s_{t-1}, x_t) - s_t|`` does not come down to `tol` in `max_iters` iterations, the sequence is run
    step by step instead, and ``info.converged`` says so. The gradient is exact at the solution, whatever `jacobian`.

    Args:
        max_iters: Iterations at most; T of them always suffice in exact arithmetic.
        tol: Largest residual to stop at; by default 32 units in the last place of the state's dtype at 1.
        jacobian: ``"full"``: n x n for a state of n numbers, memory T n^2; ``"diagonal"``: each unit's own part alone,
            exact for cells with a diagonal recurrence or none, for others several times the iterations; ``"auto"``:
            diagonal where that is exact or n is above 64, else full.
        damping: Factor of e, in (0, 1].

    Reference:
        Lim et al. (2024), https://arxiv.org/abs/2309.12252 (DEER); Gonzalez et al. (2024),
        https://arxiv.org/abs/2407.19115 (quasi-DEER); Danieli et al. (2025), https://arxiv.org/abs/2510.21450
        (structured Jacobians).
    """

    max_iters: int = 64
    tol: float | None = None
    jacobian: Literal["auto", "full", "diagonal"] = "auto"
    damping: float = 1.0

    def __post_init__(self) -> None:
        """Checks the knobs."""
        check_positive("max_iters", self.max_iters)
        if self.tol is not None and not check_number("tol", self.tol) > 0:
            raise ValueError(f"tol: expected a positive number or None, got {self.tol}")
        if not is_one_of(self.jacobian, ("auto", "full", "diagonal")):
            raise ValueError(f"jacobian: expected 'auto', 'full' or 'diagonal', got {brief(self.jacobian)}")
        if not 0 < check_number("damping", self.damping) <= 1:
            raise ValueError(f"damping: expected a number in (0, 1], got {self.damping}")

    def refusal(self, cell: Cell) -> str:
        """Says why `cell` cannot be run, or nothing."""
        if not isinstance(cell, PointwiseCell):
            return "its step is not declared as pointwise"
        if cell.structure.only_reverse:
            return "its step holds a function with jax.custom_vjp, whose Jacobian JAX does not give forwards"
        return ""

    def run(self, cell: PointwiseCell, problem: Problem) -> tuple[State, Info]:
        """Runs the cell (see `Engine.run`)."""
        steps = problem.prepared(cell)
        form = self._form(cell, steps.start)
        # The search is no part of the derivative, which belongs to the solution.
        still = jax.lax.stop_gradient(steps)
        states, iterations, residual = self._search(cell, form, still)
        converged = residual <= self._tolerance(steps.start)
        states = jax.lax.cond(converged, lambda: states, lambda: plain_scan(cell, 1, still))
        states = at_solution(cell, form if form.exact else None, steps, states)
        return states, Info("newton", "asked for; falls back to scan", iterations, residual, converged)

    def _form(self, cell: PointwiseCell, start: State) -> JacobianForm:
        units = jax.tree.leaves(start)[0].shape[-1]
        size = units * len(jax.tree.leaves(start))
        diagonal = cell.own_units and not cell.structure.mixes_units
        if diagonal or self.jacobian == "diagonal" or (self.jacobian == "auto" and size > FULL_UP_TO):
            return JacobianForm(full=False, exact=diagonal)
        return JacobianForm(full=True, exact=True)

    def _tolerance(self, start: State) -> float:
        resolution = float(jnp.finfo(start[0].dtype).eps)
        if self.tol is not None and self.tol < resolution:
            raise ValueError(
                f"tol: expected at least {resolution:.2g}, what a state in {start[0].dtype} resolves, got "
                f"{self.tol:g}; tol=None takes 32 times that, and a float64 initial_state resolves more"
            )
        return 32 * resolution if self.tol is None else self.tol

    def _search(
        self, cell: PointwiseCell, form: JacobianForm, steps: Steps
    ) -> tuple[State, jax.Array, Float[Array, ""]]:
        prepared, projected, start, restart, mask, reset = steps

        def evaluate(states: State) -> tuple[State, PyTree, State, Float[Array, ""]]:
            before = before_each(states, start, restart, reset)
            kept = cell.keep(projected, cell.recurrent_share(prepared, before[0]))
            after = cell.update(prepared, before, projected, kept)
            if mask is not None:
                after = select(mask, after, shifted(states, start))
            lacking = jax.tree.map(jnp.subtract, after, states)
            leaves = [jnp.max(jnp.abs(leaf), initial=0.0) for leaf in jax.tree.leaves(lacking)]
            return before, kept, lacking, jnp.stack(leaves).max()

        def iterate(carry: tuple) -> tuple:
            states, before, kept, lacking, _, count = carry
            blocks = jacobians(cell, form, prepared, before, projected, kept)
            step = solve(form, blocks, lacking, Steps(None, None, None, None, mask, reset))
            states = jax.tree.map(lambda state, e: state + self.damping * e, states, step)
            return states, *evaluate(states), count + 1

        def unfinished(carry: tuple) -> jax.Array:
            # Not `worst > tolerance`: what is not a number will not get better.
            return (carry[4] > self._tolerance(start)) & (carry[5] < self.max_iters)

        length = len(jax.tree.leaves(projected)[0])
        guess = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (length, *leaf.shape)), start)
        states, _, _, _, worst, count = jax.lax.while_loop(
            unfinished, iterate, (guess, *evaluate(guess), jnp.zeros((), jnp.int32))
        )
        return (states if mask is None else hold(states, start, mask)), count, worst
