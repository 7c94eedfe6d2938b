"""The contract of an engine: how a cell runs over time."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax

from recur._types import Array, Bool, Float, Params, PyTree, State
from recur.cells._base import Cell
from recur.engines._steps import Steps


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Info:
    """What ran. A pytree, so that a jitted function may return it; the words in it are static.

    Args:
        engine: Name of the engine that ran, a key of `ENGINES`.
        reason: Why it was chosen.
        iterations: Iterations of a solver ``[]``; None where nothing is solved.
        residual: Largest residual of the solution ``[]``; None likewise.
        converged: Whether the residual met the tolerance ``[]``; None likewise.
    """

    engine: str = dataclasses.field(metadata={"static": True})
    reason: str = dataclasses.field(metadata={"static": True})
    iterations: jax.Array | None = None
    residual: jax.Array | None = None
    converged: jax.Array | None = None


class Run(NamedTuple):
    """A cell run over a sequence.

    Args:
        outputs: Output of every step, zero where masked, ``[T, *B, H]``.
        states: State after every step: the cell's NamedTuple of ``[T, *B, H]``.
        final: State after the last unmasked step: the cell's NamedTuple of ``[*B, H]``.
        info: What ran.
    """

    outputs: Float[Array, "T *B H"]
    states: State
    final: State
    info: Info


class Problem(NamedTuple):
    """All that an engine is handed: checked, with time forwards, and at least one step.

    Shapes agree; `start` and `restart` are states of the right dtype.

    Args:
        params: The cell's parameters.
        xs: Inputs ``[T, *B, X]``, zero where masked.
        start: State before the first step, leaves ``[*B, ...]``.
        restart: State that a reset returns to, leaves ``[*B, ...]``.
        mask: False where a step holds the state, ``[T, *B]``; None where all steps count.
        reset: True where the state is set to `restart` before the step, ``[T, *B]``; None where it never is.
    """

    params: Params
    xs: PyTree
    start: State
    restart: State
    mask: Bool[Array, "T *B"] | None
    reset: Bool[Array, "T *B"] | None

    def prepared(self, cell: Cell) -> Steps:
        """Returns the run with the parameters prepared, and the inputs' share of all steps computed."""
        prepared = cell.prepare(self.params)
        return Steps(prepared, cell.project(prepared, self.xs), *self[2:])

    @property
    def length(self) -> int:
        """Steps T."""
        return len(jax.tree.leaves(self.xs)[0])

    @property
    def dtype(self) -> Any:
        """Dtype of the state."""
        return jax.tree.leaves(self.start)[0].dtype


class Engine(Protocol):
    """How a cell runs over time: a small frozen, hashable object that holds its own knobs."""

    def refusal(self, cell: Cell) -> str:
        """Says what `cell` lacks to be run by this engine, in words that follow the cell's name; '' if nothing."""
        ...

    def run(self, cell: Cell, problem: Problem) -> tuple[State, Info]:
        """Runs `cell` over `problem`.

        Returns:
            The state after every step (leaves ``[T, *B, ...]``), and what ran.

        `unroll` has asked for a `refusal` before.
        """
        ...
