"""The states that a run visits: what every measurement stands on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur._types import Array, Bool, Float, Params, PyTree, State
from recur.cells import Cell
from recur.engines import Scan, unroll
from recur.flow._sequences import Align, MeasuredCell, Sequences, read_sequences


class Trajectory(NamedTuple):
    """A run to be measured. Parameters and inputs in float32 or better, as a gradient has the dtype of its argument.

    Args:
        cell: The cell as it is measured.
        params: The cell's parameters.
        xs: What the cell reads, leaves ``[T, *B, ...]``.
        visited: All states, the initial one first, leaves ``[T + 1, *B, ...]``.
        counts: Which steps count, ``[T, *B]``; None for all.
    """

    cell: Cell
    params: Params
    xs: PyTree
    visited: State
    counts: Bool[Array, "T *B"] | None

    @property
    def features(self) -> jax.Array:
        """The inputs ``[T, *B, X]``."""
        return jax.tree.leaves(self.xs)[0]

    @property
    def batch_axes(self) -> int:
        """Number of batch axes."""
        return self.features.ndim - 2

    def within(self, by_lag: Any) -> Any:
        """Returns results by lag ``[L, *B]`` with -inf beyond each sequence."""
        if self.counts is None:
            return by_lag
        length = self.counts.sum(0)

        def leaf(array: jax.Array) -> jax.Array:
            lags = jnp.arange(len(array)).reshape(-1, *(1,) * length.ndim)
            return jnp.where(lags <= length[None], array, -jnp.inf)

        return jax.tree.map(leaf, by_lag)


def trajectory(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None,
    lengths: Any = None,
    mask: Any = None,
    reset: Any = None,
    reverse: bool = False,
    *,
    align: Align = "end",
    through: bool = False,
) -> Trajectory:
    """Runs the cell.

    Args:
        cell: The recurrence.
        params: Its parameters.
        xs: Inputs.
        initial_state: State before the first step.
        lengths: Steps of each sequence that count, from the first on.
        mask: Which steps count.
        reset: Where a new sequence begins.
        reverse: Whether to take the last step first.
        align: Where the steps that count are moved: the ``"end"``, so that lags are counted from each sequence's own
            last step; the ``"start"``; ``"none"``.
        through: Whether differences of the state pass a reset.

    Raises:
        TypeError: As `recur.unroll`.
        ValueError: As `recur.unroll`, or a state that is not finite; the first step, its field and unit are named.
            Under a transformation nothing can be raised: `mark_not_finite` then makes the results nan.
    """
    sequences, visited = visited_states(cell, params, xs, initial_state, lengths, mask, reset, reverse, align=align)
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(visited))
    if not traced and not bool(_all_finite(visited)):
        _say_where(cell, visited)
    inputs = at_least_float32(sequences.inputs() if sequences.flagged else sequences.xs)
    wrapped = MeasuredCell(cell, sequences.flagged, through)
    return Trajectory(wrapped, at_least_float32(params), inputs, visited, sequences.counts)


def visited_states(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *B X"],
    initial_state: State | None,
    lengths: Any = None,
    mask: Any = None,
    reset: Any = None,
    reverse: bool = False,
    *,
    align: Align = "end",
) -> tuple[Sequences, State]:
    """Returns the inputs in order, and all states of a run, the initial one first, leaves ``[T + 1, *B, ...]``."""
    sequences = read_sequences(xs, lengths, mask, reset, reverse, align)
    flags = {"mask": sequences.counts, "reset": sequences.resets}
    run = unroll(cell, params, sequences.xs, initial_state, **flags, engine=Scan())
    if initial_state is None:
        initial_state = cell.initial_state(run.outputs.shape[1:-1], run.outputs.dtype)
    visited = jax.tree.map(lambda first, later: jnp.concatenate([first[None], later]), initial_state, run.states)
    return sequences, visited


@jax.jit
def _all_finite(tree: PyTree) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def at_least_float32(tree: PyTree) -> PyTree:
    """Widens half precision, which loses nothing."""

    def leaf(array: jax.Array) -> jax.Array:
        array = jnp.asarray(array)
        is_number = jnp.issubdtype(array.dtype, jnp.inexact)
        return array.astype(jnp.promote_types(array.dtype, jnp.float32)) if is_number else array

    return jax.tree.map(leaf, tree)


class NonFiniteState(NamedTuple):
    """The first state of a run that is infinite or not a number.

    Attributes:
        step: After which step; 0 is the initial state.
        field: Layer and field of the state, such as ``layer_0.c``.
        entry: Where in it: batch axes, and last the unit.
        value: What it is.
    """

    step: int
    field: str
    entry: tuple[int, ...]
    value: float


def first_nonfinite_state(visited: State) -> NonFiniteState | None:
    """Returns the first of the states ``[T + 1, *B, ...]`` that is not finite, None if all are."""
    first = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(visited):
        bad = ~np.isfinite(np.asarray(leaf))
        step = int(bad.reshape(len(bad), -1).any(axis=1).argmax())
        if bad[step].any() and (first is None or step < first.step):
            entry = tuple(np.argwhere(bad[step])[0].tolist())
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            first = NonFiniteState(step, name, entry, leaf[(step, *entry)].item())
    return first


def _say_where(cell: Cell, visited: State) -> None:
    first = first_nonfinite_state(visited)
    if first is not None:
        raise ValueError(
            f"states: expected finite numbers, got {first.value} after step {first.step} in state.{first.field} of "
            f"{cell!r}, (*batch, unit) = {first.entry}; lower the gain of the recurrent kernel, or look for nan in xs, "
            "params"
        )


def mark_not_finite(visited: State, results: Any) -> Any:
    """Turns the results of one sequence into nan if its states are not finite: a rectifier would hide them as zero."""
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(visited)]).all()
    return jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.nan), results)


def over_batch(function: Callable[..., Any], batch_axes: int, in_axes: tuple[int, ...], out_axes: Any) -> Callable:
    """Maps a function of one sequence over batch axes: ``in_axes`` and ``out_axes`` say where they stand."""
    for _ in range(batch_axes):
        function = jax.vmap(function, in_axes=in_axes, out_axes=out_axes)
    return function
