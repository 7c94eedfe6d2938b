"""The oracle engine: one step after the other."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Literal

import jax

from recur._checks import brief, check_positive, is_one_of
from recur._types import State
from recur.cells._base import Cell
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines._affine import affine_scan
from recur.engines._base import Info, Problem
from recur.engines._chunks import Chunk, check_chunk, chunk_steps, in_chunks
from recur.engines._linear import How
from recur.engines._steps import Steps, lean_scan, plain_scan, shielded_scan


@dataclasses.dataclass(frozen=True)
class Scan:
    """Runs any cell step by step with `jax.lax.scan`; the input's share is computed for many steps at once.

    The gradient of a `PointwiseCell` works on what the forward pass kept of the gates;
    a cell whose step is affine in the state runs as a linear recurrence, its readout outside the loop; any other cell
    is differentiated by JAX. All are exact and take every transformation.

    Args:
        unroll: Steps per iteration of the compiled loop; the result does not depend on it.
        remat: Steps of a block whose inside is computed anew in the backward pass, which then remembers one state a
            block and one block: memory O(T/k + k) for k, least, O(sqrt T), for ``"sqrt"``; time of about one more
            forward pass. By default None, which remembers every step. Gradients are the same.
        truncate: Steps of a window that gradients do not leave: truncated backpropagation through time. States are
            carried from window to window as they are, their gradient is stopped at every window's first step but that
            of the sequence, so the gradient is **not** exact: shares of lags beyond the window, and within it of steps
            before its start, are missing. By default None: exact. Windows are counted from the first step taken.
        chunk: Steps whose input's share is computed at once; the result does not depend on it but for rounding. None:
            all steps. ``"auto"``: on a CPU so many that their share takes 2 MB, or has 1,024 rows, if that is more,
            where that of all steps takes more than 16 MB (of one network, under `jax.vmap`); else all.

    Raises:
        TypeError: A number of steps that is not whole.
        ValueError: One below 1, or an unknown word.

    Reference:
        Williams and Peng (1990), https://doi.org/10.1162/neco.1990.2.4.490 (truncation, there at every step).
    """

    unroll: int = 1
    remat: int | Literal["sqrt"] | None = None
    truncate: int | None = None
    chunk: Chunk = "auto"

    def __post_init__(self) -> None:
        """Checks the knobs."""
        check_positive("unroll", self.unroll)
        if self.truncate is not None:
            check_positive("truncate", self.truncate)
        if isinstance(self.remat, str) and self.remat != "sqrt":
            raise ValueError(f"remat: expected None, 'sqrt' or a number of steps, got {brief(self.remat)}")
        if not is_one_of(self.remat, (None, "sqrt")):
            check_positive("remat", self.remat)
        check_chunk(self.chunk)

    def refusal(self, cell: Cell) -> str:
        """Says nothing: every cell runs."""
        del cell
        return ""

    def run(self, cell: Cell, problem: Problem) -> tuple[State, Info]:
        """Runs the cell (see `Engine.run`)."""
        prepared, length = cell.prepare(problem.params), problem.length
        scan = _fastest(cell, problem, self.unroll)

        def at_once(state: State, inputs: tuple) -> State:
            xs, mask, reset = inputs
            return scan(Steps(prepared, cell.project(prepared, xs), state, problem.restart, mask, reset))

        def steps(state: State, inputs: tuple) -> State:
            xs = inputs[0]
            # What a cell does not do ahead is no share of it.
            share = None if type(cell).project is Cell.project else jax.eval_shape(cell.project, prepared, xs)
            shape = (len(jax.tree.leaves(xs)[0]), *jax.tree.leaves(xs)[0].shape[1:-1])
            size = chunk_steps(self.chunk, share, shape, jax.default_backend())
            return in_chunks(at_once, state, inputs, size)

        def remembered(state: State, inputs: tuple) -> State:
            if self.remat is None:
                return steps(state, inputs)
            # A last, shorter window may hold fewer steps than a block.
            taken = len(jax.tree.leaves(inputs)[0])
            size = math.isqrt(taken) if self.remat == "sqrt" else min(self.remat, taken)
            policy = jax.checkpoint_policies.nothing_saveable
            return in_chunks(jax.checkpoint(steps, prevent_cse=False, policy=policy), state, inputs, size)

        self._check_length(length)
        inputs, info = (problem.xs, problem.mask, problem.reset), Info(engine="scan", reason="asked for")
        if self.truncate is None:
            return remembered(problem.start, inputs), info
        stop = jax.lax.stop_gradient
        return in_chunks(remembered, problem.start, inputs, self.truncate, carried=stop), info

    def _check_length(self, length: int) -> None:
        for name, size, other in (
            ("remat", self.remat, "remat='sqrt' fits any length"),
            ("truncate", self.truncate, "truncate=None leaves the gradient exact"),
        ):
            if isinstance(size, int) and size > length > 0:
                raise ValueError(f"{name}: expected at most the {length} steps of xs, got {size}; {other}")


def _fastest(cell: Cell, problem: Problem, unroll: int) -> Callable[[Steps], State]:
    """Returns the scan that suits the cell's structure; all give the same values."""
    if cell.is_affine:
        return functools.partial(affine_scan, cell, How(unroll=unroll))
    if isinstance(cell, PointwiseCell):
        return functools.partial(lean_scan, cell, unroll)
    return functools.partial(plain_scan if problem.reset is None else shielded_scan, cell, unroll)
