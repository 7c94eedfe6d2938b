"""The states that a run visits: what every measurement stands on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from recur._types import Array, Float, Params, PyTree, State
from recur.cells import Cell
from recur.engines import Scan, unroll


class Trajectory(NamedTuple):
    """A run to be measured. Parameters and inputs in float32 or better, as a gradient has the dtype of its argument.

    Args:
        params: The cell's parameters.
        xs: Inputs ``[T, *B, X]``.
        visited: All states, the initial one first, leaves ``[T + 1, *B, ...]``.
    """

    params: Params
    xs: jax.Array
    visited: State


def trajectory(cell: Cell, params: Params, xs: Float[Array, "T *B X"], initial_state: State | None) -> Trajectory:
    """Runs the cell.

    Raises:
        TypeError: As `recur.unroll`.
        ValueError: As `recur.unroll`, or a state that is not finite; the first step, its field and unit are named.
            Under a transformation nothing can be raised: `mark_not_finite` then makes the results nan.
    """
    visited = visited_states(cell, params, xs, initial_state)
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(visited)):
        _check_finite(cell, visited)
    return Trajectory(at_least_float32(params), at_least_float32(jnp.asarray(xs)), visited)


def visited_states(cell: Cell, params: Params, xs: Float[Array, "T *B X"], initial_state: State | None) -> State:
    """Returns all states of a run, the initial one first, leaves ``[T + 1, *B, ...]``."""
    run = unroll(cell, params, xs, initial_state, engine=Scan())
    if initial_state is None:
        initial_state = cell.initial_state(run.outputs.shape[1:-1], run.outputs.dtype)
    return jax.tree.map(lambda first, later: jnp.concatenate([first[None], later]), initial_state, run.states)


def at_least_float32(tree: PyTree) -> PyTree:
    """Widens half precision, which loses nothing."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), tree)


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


def _check_finite(cell: Cell, visited: State) -> None:
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
