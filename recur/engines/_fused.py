"""The engine that runs all steps in one compiled kernel."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp

from recur._types import State
from recur.cells._base import Cell
from recur.cells._pointwise_cell import PointwiseCell
from recur.engines._base import Info, Problem
from recur.engines._chunks import Chunk, check_chunk, chunk_steps, in_chunks
from recur.engines._steps import Steps
from recur.engines.kernels._fused_scan import fused_scan
from recur.engines.kernels._program import refusal


@dataclasses.dataclass(frozen=True)
class Fused:
    """Runs a cell declared by `recur.cells.pointwise` in one kernel for many time steps: on a CPU, in float32.

    The kernel is compiled by LLVM from the declaration: a block of rows of the recurrent product stays in registers,
    the declared function follows on vectors of units, and no step is dispatched on its own. A second kernel runs
    backwards on what was kept of the gates; weight gradients are products over all steps, outside of it. Rows of a
    batch are shared among the cores of a device, and the result does not depend on how.

    The gradient is exact, and takes every transformation: `jax.vmap` over data enlarges the batch, over parameters the
    kernel takes several networks; forward mode and derivatives of the gradient run by `jax.lax.scan`.

    Elementary functions are exact to a few units in the last place, as XLA's own. Other numbers than float32, and other
    devices, run the same step and the same gradient by `jax.lax.scan`, and ``info`` says so. A program compiled with
    kernels calls code of its process: for `jax.export` take `Scan`.

    Args:
        chunk: Steps of a kernel's run, whose input's share is computed at once: as `Scan` has it.

    Raises:
        TypeError: A number of steps that is not whole.
        ValueError: One below 1, or an unknown word.

    Reference:
        One kernel over all steps: Diamos et al. (2016), https://proceedings.mlr.press/v48/diamos16.html (on a GPU).
    """

    chunk: Chunk = "auto"

    def __post_init__(self) -> None:
        """Checks the knob."""
        check_chunk(self.chunk)

    def refusal(self, cell: Cell) -> str:
        """Says what the cell lacks: a step that works unit by unit, of functions that are compiled."""
        if not isinstance(cell, PointwiseCell):
            return "its step is not declared unit by unit, as recur.cells.pointwise does"
        if importlib.util.find_spec("llvmlite") is None:
            return "the kernels are compiled by llvmlite, which is not installed"
        return refusal(cell)

    def run(self, cell: PointwiseCell, problem: Problem) -> tuple[State, Info]:
        """Runs the cell (see `Engine.run`)."""
        other = without_kernel(problem.dtype, jax.default_backend())
        info = Info(engine="fused", reason="asked for" + (f", by jax.lax.scan for {other}" if other else ""))
        prepared = cell.prepare(problem.params)

        def steps(state: State, inputs: tuple) -> State:
            xs, mask, reset = inputs
            product, bias = cell.input_product(prepared, xs)
            return fused_scan(cell, bias, Steps(prepared, product, state, problem.restart, mask, reset))

        share = jax.eval_shape(cell.input_product, prepared, problem.xs)[0]
        size = chunk_steps(self.chunk, share, share.shape[:-1], jax.default_backend())
        return in_chunks(steps, problem.start, (problem.xs, problem.mask, problem.reset), size), info


def without_kernel(dtype: jnp.dtype, platform: str) -> str:
    """Returns which of both there are no kernels for, '' where there are."""
    return dtype.name if dtype != jnp.float32 else "" if platform == "cpu" else platform
